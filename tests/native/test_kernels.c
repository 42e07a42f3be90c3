/* The names of the kernels that this build has and this machine runs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <qstore.h>

#include "core/simd.h"

/* Is the word in a list of words with a space between each two? */
static int has_word(const char *list, const char *word)
{
	char spaced[256], wanted[64];
	snprintf(spaced, sizeof(spaced), " %s ", list);
	snprintf(wanted, sizeof(wanted), " %s ", word);
	return !!strstr(spaced, wanted);
}

static void test_scalar_kernels_are_everywhere(void **state)
{
	(void)state;
	assert_true(has_word(qstore_kernels_built(), "scalar"));
	assert_true(has_word(qstore_kernels_used(), "scalar"));
}

static void test_no_other_words(void **state)
{
	(void)state;
	static const char *const known[] = {"scalar", "sse4.1", "avx2", "avx512", "neon"};
	char list[256];
	snprintf(list, sizeof(list), "%s", qstore_kernels_built());
	for (char *word = strtok(list, " "); word; word = strtok(NULL, " ")) {
		int found = 0;
		for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
			found |= strcmp(word, known[i]) == 0;
		assert_true(found);
	}
}

static void test_the_machine_uses_only_what_was_built(void **state)
{
	(void)state;
	char used[256];
	snprintf(used, sizeof(used), "%s", qstore_kernels_used());
	for (char *word = strtok(used, " "); word; word = strtok(NULL, " "))
		assert_true(has_word(qstore_kernels_built(), word));
}

static void test_this_architecture(void **state)
{
	(void)state;
#if defined(__x86_64__)
	assert_true(has_word(qstore_kernels_built(), "avx2"));
	assert_false(has_word(qstore_kernels_built(), "neon"));
	assert_int_equal(has_word(qstore_kernels_built(), "sse4.1"), QS_HAVE_SIMD128);
	assert_int_equal(has_word(qstore_kernels_used(), "avx2"),
	                 __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2"));
#elif defined(__aarch64__)
	assert_int_equal(has_word(qstore_kernels_used(), "neon"), QS_HAVE_SIMD128);
	assert_false(has_word(qstore_kernels_built(), "avx2"));
#else
	assert_string_equal(qstore_kernels_built(), "scalar");
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_scalar_kernels_are_everywhere),
	    cmocka_unit_test(test_no_other_words),
	    cmocka_unit_test(test_the_machine_uses_only_what_was_built),
	    cmocka_unit_test(test_this_architecture),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

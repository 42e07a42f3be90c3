/* XXH3-64 by every kernel of this machine: the library's own, which the format names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "core/checksum.h"
#include "core/simd.h"

static void known_values(void **state)
{
	(void)state;
	/* xxhash's specification: of nothing, and of one "a". */
	assert_true(qs_checksum("", 0) == 0x2d06800538d394c2);
	assert_true(qs_checksum("a", 1) == 0xe6c632b61e964e1f);
}

/* Each size up to a few blocks, then some around larger ones, in memory that ends where they do. */
static void all_sizes(void **state)
{
	(void)state;
	for (size_t size = 0; size < 300000; size += size < 4200 ? 1 : 9973) {
		uint8_t *bytes = malloc(size > 0 ? size : 1);
		assert_non_null(bytes);
		for (size_t i = 0; i < size; i++)
			bytes[i] = (uint8_t)((i * 2654435761u) >> 13);
		uint64_t expected = XXH3_64bits(bytes, size);
		assert_true(qs_checksum(bytes, size) == expected);
#if QS_HAVE_AVX2
		if (qs_cpu_has_avx2())
			assert_true(qs_checksum_avx2(bytes, size) == expected);
#endif
#if QS_HAVE_AVX512
		if (qs_cpu_has_avx512())
			assert_true(qs_checksum_avx512(bytes, size) == expected);
#endif
		free(bytes);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(known_values),
	    cmocka_unit_test(all_sizes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

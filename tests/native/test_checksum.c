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
#include "kernel_help.h"

static void known_values(void **state)
{
	(void)state;
	/* xxhash's specification: of nothing, and of one "a". */
	assert_true(qs_checksum("", 0) == 0x2d06800538d394c2);
	assert_true(qs_checksum("a", 1) == 0xe6c632b61e964e1f);
}

/* Compares with the library for each size up to a few blocks and some larger ones, in memory that ends where
 * the bytes do. */
static void check_all_sizes(uint64_t (*checksum)(const void *bytes, size_t size))
{
	for (size_t size = 0; size < 300000; size += size < 4200 ? 1 : 9973) {
		uint8_t *bytes = malloc(size ? size : 1);
		assert_non_null(bytes);
		for (size_t i = 0; i < size; i++)
			bytes[i] = (uint8_t)((i * 2654435761u) >> 13);
		assert_true(checksum(bytes, size) == XXH3_64bits(bytes, size));
		free(bytes);
	}
}

static void all_sizes(void **state)
{
	(void)state;
	check_all_sizes(qs_checksum);
}

static void all_sizes_avx2(void **state)
{
	(void)state;
	need_kernels(KERNEL_AVX2);
#if QS_HAVE_AVX2
	check_all_sizes(qs_checksum_avx2);
#endif
}

static void all_sizes_avx512(void **state)
{
	(void)state;
	need_kernels(KERNEL_AVX512);
#if QS_HAVE_AVX512
	check_all_sizes(qs_checksum_avx512);
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(known_values),
	    cmocka_unit_test(all_sizes),
	    cmocka_unit_test(all_sizes_avx2),
	    cmocka_unit_test(all_sizes_avx512),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

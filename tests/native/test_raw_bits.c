/* Raw low bits: every kernel against the layout as FORMAT.md tells it, bit by bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernel_help.h"
#include "core/raw_bits.h"
#include "core/simd.h"

enum { GROUPS = 5, SYMBOLS = GROUPS * QS_RAW_GROUP };

static uint32_t random_state = 1;

static uint8_t random_byte(void)
{
	random_state = random_state * 1664525 + 1013904223;
	return (uint8_t)(random_state >> 24);
}

/* Bit `bit` of the raw bits of symbol i of a group: planes of 4, 2 and 1 bits a symbol, from the lowest bits
 * up. */
static unsigned raw_bit(const uint8_t *group, unsigned bits, unsigned i, unsigned bit)
{
	unsigned at = 0;
	for (unsigned width = 4; width; width /= 2) {
		unsigned bytes = 16 * width;
		if (!(bits & width))
			continue;
		if (bit < at + width)
			return group[i % bytes] >> (i / bytes * width + bit - at) & 1;
		group += bytes;
		at += width;
	}
	return 0;
}

static void check_kernel(qs_raw_bits_kernel *kernel, unsigned bits, int zigzag)
{
	uint8_t tops[SYMBOLS], raw[SYMBOLS], expected[SYMBOLS];
	for (unsigned i = 0; i < SYMBOLS; i++) {
		tops[i] = random_byte();
		raw[i] = random_byte();
	}
	for (unsigned i = 0; i < SYMBOLS; i++) {
		unsigned u = 0;
		for (unsigned bit = 0; bit < bits; bit++)
			u |= raw_bit(raw + i / QS_RAW_GROUP * (QS_RAW_GROUP / 8) * bits, bits, i % QS_RAW_GROUP, bit)
			     << bit;
		expected[i] = (uint8_t)(tops[i] ^ (zigzag ? u >> 1 ^ (0u - (u & 1)) : u));
	}
	kernel(tops, raw, GROUPS, bits, zigzag);
	assert_memory_equal(tops, expected, SYMBOLS);
}

static void check_all(qs_raw_bits_kernel *kernel)
{
	for (unsigned bits = 1; bits < 8; bits++)
		for (int zigzag = 0; zigzag < 2; zigzag++)
			check_kernel(kernel, bits, zigzag);
}

static void test_portable(void **state)
{
	(void)state;
	check_all(qs_raw_bits_groups);
}

static void test_avx512(void **state)
{
	(void)state;
	need_kernels(KERNEL_GFNI);
#if QS_HAVE_AVX512
	check_all(qs_raw_bits_groups_avx512);
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_portable), cmocka_unit_test(test_avx512)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Elements made singles: every pattern of the small floats, and blocks as ggml computes them. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/bytes.h"
#include "core/checksum.h"
#include "core/dequantize.h"
#include "core/facts.h"
#include "../generate/gguf_blocks.h"
#include "../generate/random.h"

/* The value of a float of `exponent` and `mantissa` bits, by its definition in IEEE 754. has_inf: the
 * greatest exponent is that of infinities and NaN; otherwise only the pattern of all ones is a NaN. */
static double value_of(uint32_t pattern, int exponent, int mantissa, int has_inf)
{
	uint32_t e = pattern >> mantissa & ((1u << exponent) - 1), m = pattern & ((1u << mantissa) - 1);
	int bias = (1 << (exponent - 1)) - 1;
	double sign = pattern >> (exponent + mantissa) & 1 ? -1 : 1;
	if (e == (1u << exponent) - 1 && (has_inf ? m != 0 : m == (1u << mantissa) - 1))
		return NAN;
	if (e == (1u << exponent) - 1 && has_inf)
		return sign * INFINITY;
	return e == 0 ? sign * ldexp(m, 1 - bias - mantissa)
	              : sign * ldexp(m + (1u << mantissa), (int)e - bias - mantissa);
}

static void check_float(uint32_t dtype, uint32_t pattern, double expected)
{
	uint8_t src[2] = {(uint8_t)pattern, (uint8_t)(pattern >> 8)}, dst[4];
	qs_dequantize(dtype, src, 1, dst);
	float got = qs_load_f32(dst);
	if (isnan(expected) ? !isnan(got) : ((double)got != expected || signbit(got) != signbit((float)expected)))
		fail_msg("%s: pattern %#x is %g, not %g", qs_dtype_name(dtype), pattern, (double)got, expected);
}

static void keeps_the_value_of_floats(void **state)
{
	(void)state;
	for (uint32_t pattern = 0; pattern < 65536; pattern++) {
		check_float(QS_F16, pattern, value_of(pattern, 5, 10, 1));
		check_float(QS_BF16, pattern, value_of(pattern, 8, 7, 1));
	}
	for (uint32_t pattern = 0; pattern < 256; pattern++) {
		check_float(QS_F8_E4M3, pattern, value_of(pattern, 4, 3, 0));
		check_float(QS_F8_E5M2, pattern, value_of(pattern, 5, 2, 1));
		check_float(QS_F8_E8M0, pattern, pattern == 255 ? (double)NAN : ldexp(1, (int)pattern - 127));
	}
}

/* Blocks of noise, whose scales are finite. */
static void make_blocks(uint32_t dtype, size_t n_blocks, uint8_t *blocks)
{
	static const struct {
		uint32_t dtype;
		unsigned at, n;
	} halves[] = {{QS_Q4_0, 0, 1}, {QS_Q4_1, 0, 2},   {QS_Q5_0, 0, 1},   {QS_Q5_1, 0, 2},
	              {QS_Q8_0, 0, 1}, {QS_Q2_K, 80, 2},  {QS_Q3_K, 108, 1}, {QS_Q4_K, 0, 2},
	              {QS_Q5_K, 0, 2}, {QS_Q6_K, 208, 1}, {QS_IQ4_NL, 0, 1}, {QS_IQ4_XS, 0, 1}};
	uint32_t size = qs_block_size(dtype);
	rng r;
	rng_seed(&r, 7, "blocks", dtype);
	for (size_t i = 0; i < n_blocks * size; i++)
		blocks[i] = (uint8_t)(rng_next(&r) >> 20);
	for (size_t i = 0; i < sizeof halves / sizeof *halves; i++)
		for (size_t b = 0; b < n_blocks && halves[i].dtype == dtype; b++)
			for (unsigned k = 0; k < halves[i].n; k++)
				blocks[b * size + halves[i].at + 2 * k + 1] &= 0xbb;
}

enum { BLOCKS = 500 };

/* The tests' own quantizers are written from ggml-quants.c without the library. */
static void agrees_with_the_generator(void **state)
{
	static const uint32_t dtypes[] = {QS_Q8_0, QS_Q4_0, QS_Q4_1, QS_Q5_0, QS_Q5_1, QS_Q4_K, QS_Q5_K, QS_Q6_K};
	static uint8_t blocks[BLOCKS * 210], got[BLOCKS * 256 * 4];
	static float expected[BLOCKS * 256];
	(void)state;
	for (size_t t = 0; t < sizeof dtypes / sizeof *dtypes; t++) {
		assert_true(qs_dequantizes(dtypes[t]));
		make_blocks(dtypes[t], BLOCKS, blocks);
		qs_dequantize(dtypes[t], blocks, BLOCKS, got);
		gguf_dequantize(dtypes[t], blocks, BLOCKS, expected);
		assert_memory_equal(got, expected, BLOCKS * 4 * (size_t)qs_block_elems(dtypes[t]));
	}
}

/* Checksums of the values that libggml-base of llama.cpp (node-llama-cpp 3.22.1) makes of these blocks. */
static void makes_the_values_of_ggml(void **state)
{
	static const struct {
		uint32_t dtype;
		uint64_t checksum;
	} known[] = {
	    {QS_Q2_K, 0x8e1b23be705b5af2},   {QS_Q3_K, 0xf14c6fb4e74edb0e},  {QS_IQ4_NL, 0xf9b5df52740721d1},
	    {QS_IQ4_XS, 0x37a2e0e00507ae7c}, {QS_MXFP4, 0x24ba4550904d1c6e}, {QS_Q4_K, 0xa504e0868a3469c3},
	    {QS_Q6_K, 0xe042660fe1c0c741},   {QS_Q5_1, 0x01942f167a6d2d0a},
	};
	static uint8_t blocks[BLOCKS * 210], got[BLOCKS * 256 * 4];
	(void)state;
	for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
		uint32_t dtype = known[i].dtype;
		assert_true(qs_dequantizes(dtype));
		make_blocks(dtype, BLOCKS, blocks);
		qs_dequantize(dtype, blocks, BLOCKS, got);
		uint64_t checksum = qs_checksum(got, BLOCKS * 4 * (size_t)qs_block_elems(dtype));
		if (checksum != known[i].checksum)
			fail_msg("%s: %#llx", qs_dtype_name(dtype), (unsigned long long)checksum);
	}
	assert_false(qs_dequantizes(QS_IQ2_XXS));
	assert_false(qs_dequantizes(QS_I8));
	assert_false(qs_dequantizes(QS_F32));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(keeps_the_value_of_floats),
	    cmocka_unit_test(agrees_with_the_generator),
	    cmocka_unit_test(makes_the_values_of_ggml),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

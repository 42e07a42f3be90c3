/* qs_cells_build against FORMAT.md's "Cells" taken literally: all magnitudes of a dtype, one by one, in
 * double precision. */
#include "codec_help.h"

#include <math.h>

#include "core/cells.h"

enum { MAGNITUDES = 0x8000 };

static double halves[2][MAGNITUDES]; /* h(m) of F16, BF16 */

static const double *halves_of(uint32_t dtype)
{
	return halves[dtype == QS_BF16];
}

static int fill_halves(void **state)
{
	(void)state;
	for (uint32_t m = 0; m < MAGNITUDES; m++) {
		halves[0][m] = ref_half_of(m, QS_F16);
		halves[1][m] = ref_half_of(m, QS_BF16);
	}
	return 0;
}

static void reference_borders(uint32_t first[129], uint32_t dtype, float scale)
{
	const double *h = halves_of(dtype);
	uint32_t k = 1, m = 0;
	while (!(h[m] > (double)scale) && isfinite(h[m]))
		m++;
	first[128] = m;
	float inverse = (float)(127.0 / (double)scale);
	for (m = 0; m < first[128]; m++) {
		float q = (float)(h[m] * (double)inverse);
		/* nearbyint is slow under sanitizers, and most magnitudes are far from the next border. */
		if (k < 128 && (double)q < k - 0.75)
			continue;
		for (double code = nearbyint((double)q); k < 128 && code >= k; k++)
			first[k] = m;
	}
	for (; k < 128; k++)
		first[k] = first[128];
}

static void check_cell(qs_cell cell, uint32_t first, uint32_t n, uint32_t code, float scale)
{
	uint32_t f = 65536 / n > 65535 ? 65535 : 65536 / n;
	if (QS_CELL_FIRST(cell) == first && QS_CELL_COUNT(cell) == n && QS_CELL_F(cell) == f &&
	    QS_CELL_G(cell) == 65536 / f)
		return;
	fail_msg("scale %a, code %d: first %x for %x, n %u for %u, F %u for %u, G %u for %u", (double)scale,
	         (int8_t)code, QS_CELL_FIRST(cell), first, QS_CELL_COUNT(cell), n, QS_CELL_F(cell), f,
	         QS_CELL_G(cell), 65536 / f);
}

static void check_scale(uint32_t dtype, float scale)
{
	qs_cell cells[QS_CELL_TABLE];
	memset(cells, 0xa5, sizeof cells);
	qs_cells_build(cells, dtype, QS_RULE_LLM_INT8, scale);
	check_cell(cells[0], 0, 1, 0, scale);
	check_cell(cells[0x80], 0, 1, 0x80, scale);
	uint32_t first[129] = {0};
	int usable = scale > 0 && scale <= 65504;
	if (usable)
		reference_borders(first, dtype, scale);
	for (uint32_t k = 1; k < 128; k++) {
		uint32_t n = usable ? first[k + 1] - first[k] : 0;
		check_cell(cells[k], first[k], n ? n : 1, k, scale);
		check_cell(cells[256 - k], first[k] | 0x8000, n ? n : 1, 256 - k, scale);
	}
}

static float from_bits(uint32_t bits)
{
	float f;
	memcpy(&f, &bits, 4);
	return f;
}

static void test_every_half_scale(void **state)
{
	(void)state;
	/* LLM.int8's scales are FP16 values. All of them when asked for, else every 61st and those around powers
	 * of two. */
	const char *all = getenv("QSTORE_TEST_ALL");
	for (uint32_t bits = 1; bits < 0x7c00; bits++) {
		uint32_t low = bits & 0x3ff;
		if (!all && bits % 61 && low > 1 && low < 0x3ff)
			continue;
		check_scale(QS_F16, (float)ref_value(bits, QS_F16));
		check_scale(QS_BF16, (float)ref_value(bits, QS_F16));
	}
}

static void test_special_scales(void **state)
{
	(void)state;
	static const uint32_t bits[] = {
	    0,          0x80000000, 1,          0x80000001, 0x007fffff,
	    0x00800000, /* zeros, subnormals, least normal */
	    0x7f7fffff, 0x7f800000, 0xff800000, 0x7fc00000, 0xffc00001,
	    0x7f800001, 0xbf800000,                                     /* huge, infinite, NaN, −1 */
	    0x33000000, 0x33000001, 0x33800000, 0x337fffff, 0x33800001, /* around 2^-25, 2^-24 */
	    0x38800000, 0x387fffff, 0x387fc000, 0x38000000,             /* around FP16's least normal */
	    0x477fe000, 0x477fe001, 0x477fdfff, 0x477fefff, 0x477ff000,
	    0x47800000, /* around 65504, 65520, 65536 */
	    0x3f800000, 0x3f7fffff, 0x3f800001, 0x42fe0000, 0x42fdffff,
	    0x42fe0001,                         /* around 1 and 127 */
	    0x027c0000, 0x02800000, 0x00fe0000, /* 127 / s around the largest single */
	};
	for (size_t i = 0; i < sizeof bits / sizeof *bits; i++) {
		check_scale(QS_F16, from_bits(bits[i]));
		check_scale(QS_BF16, from_bits(bits[i]));
	}
}

static void test_random_scales(void **state)
{
	(void)state;
	rng r = {1};
	for (int i = 0; i < 600; i++) {
		uint32_t bits = (uint32_t)rng_next(&r);
		if (i % 3) /* from 2^-27 to 2^17 */
			bits = (100 + bits % 44) << 23 | (uint32_t)rng_next(&r) >> 9;
		check_scale(QS_F16, from_bits(bits));
		check_scale(QS_BF16, from_bits(bits));
	}
}

static void test_tiny_bf16_scales(void **state)
{
	/* Below 2^-8 a row has BF16 values that the cast to FP16 rounds; ties go to even there. */
	(void)state;
	for (int exponent = -25; exponent < -7; exponent++)
		for (int mantissa = 1024; mantissa < 2048; mantissa += 93)
			check_scale(QS_BF16, (float)ref_cast_half(ldexp(mantissa, exponent - 10)));
}

static void test_cells_hold_codes(void **state)
{
	/* The other way round: each value is in the cell of the code that LLM.int8 gives it, and in no other. */
	(void)state;
	static const float scales[] = {1.0f, 0.3125f, 0x1p-24f, 0x1.8p-20f, 0x1p-14f, 0.0004f, 448.0f, 65504.0f};
	for (size_t s = 0; s < sizeof scales / sizeof *scales; s++)
		for (int d = 0; d < 2; d++) {
			uint32_t dtype = d ? QS_BF16 : QS_F16;
			qs_cell cells[QS_CELL_TABLE];
			qs_cells_build(cells, dtype, QS_RULE_LLM_INT8, scales[s]);
			for (uint32_t pattern = 0; pattern < 65536; pattern++) {
				double h = halves_of(dtype)[pattern & 0x7fff];
				if (!(h <= (double)scales[s]))
					continue;
				uint32_t code = (uint32_t)ref_code(pattern, dtype, scales[s]) & 255;
				if (!code)
					continue;
				uint32_t rank = pattern - QS_CELL_FIRST(cells[code]);
				if (rank >= QS_CELL_COUNT(cells[code]))
					fail_msg("scale %a: pattern %x is not in the cell of code %d", (double)scales[s], pattern,
					         (int8_t)code);
			}
		}
}

static void test_cache(void **state)
{
	(void)state;
	static qs_cell_cache cache;
	memset(&cache, 0xa5, sizeof cache);
	qs_cell_cache_init(&cache, QS_BF16, QS_RULE_LLM_INT8);
	rng r = {2};
	float scales[700]; /* more than slots */
	for (int i = 0; i < 700; i++)
		scales[i] = from_bits((110 + rng_below(&r, 20)) << 23 | (uint32_t)rng_next(&r) >> 9);
	scales[0] = 0.0f;
	scales[1] = -0.0f;
	scales[2] = NAN;
	for (int i = 0; i < 3000; i++) {
		float scale = scales[i < 700 ? i : (int)rng_below(&r, 700)];
		qs_cell cells[QS_CELL_TABLE];
		qs_cells_build(cells, QS_BF16, QS_RULE_LLM_INT8, scale);
		assert_memory_equal(qs_cell_cache_get(&cache, scale), cells, sizeof cells);
	}
	/* After a change of dtype nothing of before is used. */
	qs_cell cells[QS_CELL_TABLE];
	qs_cell_cache_init(&cache, QS_F16, QS_RULE_LLM_INT8);
	qs_cells_build(cells, QS_F16, QS_RULE_LLM_INT8, scales[5]);
	assert_memory_equal(qs_cell_cache_get(&cache, scales[5]), cells, sizeof cells);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_every_half_scale), cmocka_unit_test(test_special_scales),
	    cmocka_unit_test(test_random_scales),    cmocka_unit_test(test_tiny_bf16_scales),
	    cmocka_unit_test(test_cells_hold_codes), cmocka_unit_test(test_cache),
	};
	return cmocka_run_group_tests(tests, fill_halves, NULL);
}

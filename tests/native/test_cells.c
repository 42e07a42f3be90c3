/* qs_cells_build against FORMAT.md's "Cells" taken literally: all magnitudes of a dtype, one by one, in
 * double precision. */
#include "codec_help.h"

#include <math.h>

#include "core/cells.h"

enum { MAGNITUDES = 0x8000 };

static double halves[2][MAGNITUDES]; /* h(m) of F16, BF16 */
static double values[2][MAGNITUDES]; /* v(m) */

/* What a rule scales: v(m), or rule 1 h(m). */
static const double *inputs_of(uint32_t rule, uint32_t dtype)
{
	return rule == QS_RULE_LLM_INT8 ? halves[dtype == QS_BF16] : values[dtype == QS_BF16];
}

static int is_usable(uint32_t rule, float scale)
{
	return scale > 0 && (rule == QS_RULE_LLM_INT8 ? scale <= 65504 : scale < INFINITY);
}

static int fill_halves(void **state)
{
	(void)state;
	for (uint32_t m = 0; m < MAGNITUDES; m++) {
		halves[0][m] = ref_half_of(m, QS_F16);
		halves[1][m] = ref_half_of(m, QS_BF16);
		values[0][m] = ref_value(m, QS_F16);
		values[1][m] = ref_value(m, QS_BF16);
	}
	return 0;
}

static void reference_borders(uint32_t first[129], uint32_t rule, uint32_t dtype, float scale)
{
	const double *v = inputs_of(rule, dtype);
	uint32_t k = 1, m = 0, end = 0;
	while (isfinite(v[end]) && (rule != QS_RULE_LLM_INT8 || v[end] <= (double)scale))
		end++;
	for (; m < end && k < 129; m++) {
		double scaled = ref_scaled(rule, v[m], scale);
		/* nearbyint is slow under sanitizers, and most magnitudes are far from the next border. */
		if (scaled < k - 0.75)
			continue;
		for (double code = nearbyint(scaled); k < 129 && code >= k; k++)
			first[k] = m;
	}
	for (; k < 129; k++)
		first[k] = end;
	if (rule == QS_RULE_LLM_INT8)
		first[128] = end;
}

static void check_cell(qs_cell cell, uint32_t first, uint32_t n, uint32_t code, uint32_t rule, float scale)
{
	uint32_t f = 65536 / n > 65535 ? 65535 : 65536 / n;
	if (QS_CELL_FIRST(cell) == first && QS_CELL_COUNT(cell) == n && QS_CELL_F(cell) == f &&
	    QS_CELL_G(cell) == 65536 / f)
		return;
	fail_msg("rule %u, scale %a, code %d: first %x for %x, n %u for %u, F %u for %u, G %u for %u", rule,
	         (double)scale, (int8_t)code, QS_CELL_FIRST(cell), first, QS_CELL_COUNT(cell), n, QS_CELL_F(cell),
	         f, QS_CELL_G(cell), 65536 / f);
}

static void check_rule(uint32_t rule, uint32_t dtype, float scale)
{
	qs_cell cells[QS_CELL_TABLE];
	memset(cells, 0xa5, sizeof cells);
	qs_cells_build(cells, dtype, rule, scale);
	check_cell(cells[0], 0, 1, 0, rule, scale);
	check_cell(cells[0x80], 0, 1, 0x80, rule, scale);
	uint32_t first[129] = {0};
	if (is_usable(rule, scale))
		reference_borders(first, rule, dtype, scale);
	for (uint32_t k = 1; k < 128; k++) {
		uint32_t n = first[k + 1] - first[k];
		check_cell(cells[k], first[k], n ? n : 1, k, rule, scale);
		check_cell(cells[256 - k], first[k] | 0x8000, n ? n : 1, 256 - k, rule, scale);
	}
}

/* LLM.int8's scale is a row's absmax, the others' is the distance of codes: about a 127th. */
static void check_scale(uint32_t dtype, float scale)
{
	check_rule(QS_RULE_LLM_INT8, dtype, scale);
	check_rule(QS_RULE_MULTIPLY, dtype, scale / 127);
	check_rule(QS_RULE_DIVIDE, dtype, scale / 127);
	check_rule(QS_RULE_DIVIDE_HALF, dtype, scale / 127);
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
		for (uint32_t rule = QS_RULE_LLM_INT8; rule < QS_RULE_COUNT; rule++) {
			check_rule(rule, QS_F16, from_bits(bits[i]));
			check_rule(rule, QS_BF16, from_bits(bits[i]));
		}
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

/* The other way round: each value is in the cell of the code that its rule gives it, and in no other; and
 * qs_cell_code knows it. */
static void test_cells_hold_codes(void **state)
{
	(void)state;
	static const float scales[] = {1.0f,     0.3125f, 0x1p-24f,  0x1.8p-20f, 0x1p-14f,    0.0004f,  448.0f,
	                               65504.0f, 3e38f,   0x1p-149f, 0x1p-133f,  0x1.5p-130f, 0x1.1p-9f};
	for (size_t s = 0; s < sizeof scales / sizeof *scales; s++)
		for (uint32_t both = 0; both < 8; both++) {
			uint32_t dtype = both & 1 ? QS_BF16 : QS_F16, rule = QS_RULE_LLM_INT8 + both / 2;
			qs_cell cells[QS_CELL_TABLE];
			qs_cells_build(cells, dtype, rule, scales[s]);
			for (uint32_t pattern = 0; pattern < 65536; pattern++) {
				double v = inputs_of(rule, dtype)[pattern & 0x7fff],
				       code = nearbyint(ref_scaled(rule, v, scales[s]));
				int known = qs_cell_code(dtype, rule, scales[s], (uint16_t)pattern);
				if (!is_usable(rule, scales[s]) || !isfinite(v) || !(code < 1000)) {
					if (known != QS_NO_CODE && abs(known) < 1000)
						fail_msg("rule %u, scale %a: pattern %x has code %d", rule, (double)scales[s],
						         pattern, known);
					continue;
				}
				if (known != (pattern & 0x8000 ? -(int)code : (int)code))
					fail_msg("rule %u, scale %a: pattern %x has code %d", rule, (double)scales[s], pattern,
					         known);
				if (code < 1 || code > 127 || (rule == QS_RULE_LLM_INT8 && v > (double)scales[s]))
					continue;
				qs_cell cell = cells[(uint8_t)known];
				if (pattern - QS_CELL_FIRST(cell) >= QS_CELL_COUNT(cell))
					fail_msg("rule %u, scale %a: pattern %x is not in the cell of code %d", rule,
					         (double)scales[s], pattern, known);
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

/* Tables of cells against FORMAT.md's "Rules" taken literally: all values of a dtype, one by one, in double
 * precision rounded to singles. */
#include "codec_help.h"

#include <math.h>

#include "core/cells.h"

enum { MAGNITUDES = 0x8000, BORDERS = 258 };

static double halves[2][MAGNITUDES]; /* h(m) of F16, BF16 */
static double values[2][MAGNITUDES]; /* v(m) */
static qs_cell_cache cache;

/* The numbers that a rule scales: v(m), or h(m) for rule 1. */
static const double *inputs_of(uint32_t rule, uint32_t dtype)
{
	return rule == QS_RULE_LLM_INT8 ? halves[dtype == QS_BF16] : values[dtype == QS_BF16];
}

static int is_usable(uint32_t rule, const qs_step *step)
{
	double s = (double)step->scale, o = (double)step->offset;
	int zero = step->zero - step->centre, half = (int)qs_rule_levels(rule) / 2;
	if (qs_rule_adds_zero(rule) && (zero < -half || zero >= half))
		return 0;
	if (rule == QS_RULE_LLM_INT8)
		return s > 0 && s <= 65504;
	if (qs_rule_is_symmetric(rule))
		return s > 0x1p-119 && s < INFINITY;
	if (qs_rule_has_either_sign(rule))
		s = fabs(s);
	return s > 0x1p-119 && s <= 0x1p100 && fabs(o) <= 0x1p100;
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

static void check_cell(qs_cell cell, uint32_t first, uint32_t n, uint32_t index, uint32_t rule,
                       const qs_step *step)
{
	n = n ? n : 1;
	uint32_t f = 65536 / n > 65535 ? 65535 : 65536 / n;
	if ((QS_CELL_FIRST(cell) == (first & 0xffff) || n == 1) && QS_CELL_COUNT(cell) == n &&
	    QS_CELL_F(cell) == f && QS_CELL_G(cell) == 65536 / f)
		return;
	fail_msg("rule %u, scale %a, offset %a, zero %d, index %u: first %x for %x, n %u for %u, F %u for %u",
	         rule, (double)step->scale, (double)step->offset, step->zero, index, QS_CELL_FIRST(cell), first,
	         QS_CELL_COUNT(cell), n, QS_CELL_F(cell), f);
}

/* first(k) of symmetric rules, k = 1 to 257. */
static void reference_borders(uint32_t *first, uint32_t rule, uint32_t dtype, float scale, int shift)
{
	const double *v = inputs_of(rule, dtype);
	uint32_t k = 1, m = 0, end = 0, above;
	while (isfinite(v[end]))
		end++;
	for (above = 0; above < end && v[above] <= (double)scale; above++)
		;
	for (; m < end && k < BORDERS; m++) {
		double scaled = ref_scaled(rule, dtype, v[m], scale, shift);
		/* Rounding is slow under sanitizers, and most magnitudes are far from the next border. */
		if (!(scaled >= k - 0.75))
			continue;
		for (double code = ref_round(rule, scaled); k < BORDERS && code >= k; k++)
			first[k] = m;
	}
	for (; k < BORDERS; k++)
		first[k] = end;
	if (rule == QS_RULE_LLM_INT8 || rule == QS_RULE_Q8_0)
		for (k = 1; k < BORDERS; k++)
			first[k] = k < 128 && first[k] < above ? first[k] : above;
}

/* Widens first(k) of reference_borders for borders that cells share. */
static void share_borders(uint32_t *first, uint32_t rule, uint32_t dtype, const qs_step *step)
{
	const double *v = values[dtype == QS_BF16];
	int has_absmax = rule == QS_RULE_LLM_INT8 || rule == QS_RULE_Q8_0;
	for (uint32_t k = 1; k < (has_absmax ? 128 : BORDERS); k++) {
		double middle = (v[first[k] - 1] + v[first[k]]) / 2;
		if (!isfinite(inputs_of(rule, dtype)[first[k]]))
			continue;
		middle = rule == QS_RULE_LLM_INT8 && dtype == QS_BF16 ? ref_cast_half(middle) : middle;
		first[k] -= ref_round(rule, ref_scaled(rule, dtype, middle, step->scale, step->shift)) >= k;
	}
}

static void check_symmetric(const qs_cell_table *table, uint32_t rule, uint32_t dtype, const qs_step *step,
                            uint32_t codes_dtype, int shared)
{
	uint32_t first[BORDERS] = {0};
	int positive = (codes_dtype == QS_I8 ? 127 : 255) - step->zero;
	positive = positive < 0 ? 0 : positive > 255 ? 255 : positive;
	int negative = 255 - positive;
	reference_borders(first, rule, dtype, step->scale, step->shift);
	if (shared)
		share_borders(first, rule, dtype, step);
	assert_int_equal(table->zero, step->zero);
	for (int i = 1; i < 256; i++) {
		int below = i > positive, k = below ? 256 - i : i;
		int ends = below ? k == negative || (k == 127 && !step->zero && codes_dtype == QS_I8) : k == positive;
		check_cell(table->cells[i], first[k] | (below ? 0x8000 : 0), first[k + 1 + ends] - first[k],
		           (uint32_t)i, rule, step);
	}
}

/* X of the rules for blocks, not yet rounded. */
static double block_scaled(uint32_t rule, uint32_t dtype, double w, double s, double o)
{
	float inverse = (float)(1 / s), less = (float)(w - o), quotient = (float)(w / s);
	switch (rule) {
	case QS_RULE_ADD:
	case QS_RULE_ADD_4:
		return (double)(float)((double)quotient + o);
	case QS_RULE_ADD_HALF:
	case QS_RULE_ADD_HALF_4:
		return ref_round_half((double)(float)(ref_round_half((double)quotient, dtype) + o), dtype);
	case QS_RULE_Q4_0:
		return (double)(float)((double)(float)(w * (double)inverse) + 8.5);
	case QS_RULE_Q5_0:
		return (double)(float)((double)(float)(w * (double)inverse) + 16.5);
	case QS_RULE_Q4_1:
	case QS_RULE_Q5_1:
		return (double)(float)((double)(float)((double)less * (double)inverse) + 0.5);
	case QS_RULE_Q6_K:
		return (double)(float)(w / s);
	default:
		return (double)(float)((double)less / s);
	}
}

static int block_reaches(uint32_t rule, double x, int c, int levels)
{
	int is_cut = qs_rule_rounds_down(rule),
	    centre = rule == QS_RULE_Q6_K || qs_rule_adds_zero(rule) ? levels / 2 : 0;
	if (c == 0)
		return x >= (is_cut ? -0.75 : -1.25 - centre);
	if (c == levels)
		return x >= levels + (is_cut ? 0.75 : 0.25 - centre);
	if (is_cut)
		return x >= c;
	return x > c - 0.5 - centre || (c % 2 == 0 && x == c - 0.5 - centre);
}

static void check_block(const qs_cell_table *table, uint32_t rule, uint32_t dtype, const qs_step *step)
{
	int levels = (int)qs_rule_levels(rule), negated = step->scale < 0,
	    end = dtype == QS_F16 ? 0x7c00 : 0x7f80;
	const double *v = values[dtype == QS_BF16];
	int border[257], c = 0, zero = 128;
	double offset = qs_rule_adds_zero(rule) ? step->zero - step->centre : (double)step->offset;
	for (int place = 1 - end; place < end && c <= levels; place++) {
		double w = place < 0 ? -v[-place] : v[place],
		       x = block_scaled(rule, dtype, w, fabs((double)step->scale), offset);
		for (; c <= levels && block_reaches(rule, x, c, levels); c++)
			border[c] = place;
	}
	for (; c <= levels; c++)
		border[c] = end;
	for (c = 0; c < levels; c++)
		zero = border[c] <= 0 && border[c + 1] > 0 ? c : zero;
	assert_int_equal(table->zero, qs_rule_adds_zero(rule) ? step->zero : zero);
	assert_true(!qs_rule_adds_zero(rule) || zero == step->zero - step->centre + levels / 2);
	for (c = 0; c < levels; c++) {
		int below = border[c] <= 0, first = below ? 1 - border[c + 1] : border[c];
		if (c != zero)
			check_cell(table->cells[(c - zero) & 255], (uint32_t)first | (below != negated ? 0x8000 : 0),
			           (uint32_t)(border[c + 1] - border[c]), (uint32_t)c, rule, step);
	}
}

static const qs_cell_table *table_of(uint32_t rule, uint32_t dtype, const qs_step *step, uint32_t codes_dtype)
{
	qs_cell_cache_init(&cache, dtype, rule, codes_dtype);
	return qs_cell_cache_get(&cache, step, 255);
}

/* Machines without long vectors build their tables in another way. */
static void check_narrow(const qs_cell_table *table, const qs_step *step)
{
	static qs_cell_cache narrow;
	qs_cell_cache_init(&narrow, cache.dtype, cache.rule, cache.codes_dtype);
	narrow.wide = 0;
	const qs_cell_table *other = qs_cell_cache_get(&narrow, step, 255);
	assert_int_equal(other->zero, table->zero);
	for (uint32_t i = 0; i < QS_CELL_TABLE && table->zero != QS_ALL_ZERO; i++)
		if (qs_rule_levels(cache.rule) == 256 && other->cells[i] != table->cells[i])
			fail_msg("rule %u, scale %a, index %u: cell %llx for %llx", cache.rule, (double)step->scale, i,
			         (unsigned long long)other->cells[i], (unsigned long long)table->cells[i]);
}

static void check_step(uint32_t rule, uint32_t dtype, qs_step step, uint32_t codes_dtype)
{
	const qs_cell_table *table = table_of(rule, dtype, &step, codes_dtype);
	check_narrow(table, &step);
	if (!is_usable(rule, &step)) {
		assert_int_equal(table->zero, QS_ALL_ZERO);
		return;
	}
	check_cell(table->cells[0], 0, 1, 0, rule, &step);
	if (qs_rule_is_symmetric(rule)) {
		check_symmetric(table, rule, dtype, &step, codes_dtype, 0);
		qs_cell_cache_init(&cache, dtype, rule, codes_dtype);
		cache.shared = 1;
		check_symmetric(qs_cell_cache_get(&cache, &step, 255), rule, dtype, &step, codes_dtype, 1);
	} else
		check_block(table, rule, dtype, &step);
}

/* LLM.int8's scale is a row's absmax, the others' is the distance of codes: about a 127th. */
static void check_scale(uint32_t dtype, float scale)
{
	for (uint32_t rule = 1; rule < QS_RULE_COUNT; rule++)
		if (qs_rule_takes_factors(rule))
			check_step(rule, dtype, (qs_step){.scale = rule == QS_RULE_LLM_INT8 ? scale : scale / 127},
			           QS_I8);
}

static uint32_t bits_of(float f)
{
	uint32_t bits;
	memcpy(&bits, &f, 4);
	return bits;
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
			check_step(rule, QS_F16, (qs_step){.scale = from_bits(bits[i])}, QS_I8);
			check_step(rule, QS_BF16, (qs_step){.scale = from_bits(bits[i])}, QS_I8);
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

/* A zero point that rules which add it can have, for both dtypes of codes. */
static void add_zero(qs_step *step, uint32_t rule, uint32_t *codes_dtype, rng *r)
{
	uint32_t levels = qs_rule_levels(rule);
	*codes_dtype = levels < 256 ? QS_U8 : *codes_dtype;
	step->centre = *codes_dtype == QS_U8 ? (int32_t)levels / 2 : 0;
	step->zero = (int32_t)rng_below(r, levels) - (*codes_dtype == QS_I8 ? 128 : 0);
}

/* Zero points, both dtypes of codes, ggml's rules with scales and offsets as blocks have them. */
static void test_random_steps(void **state)
{
	(void)state;
	rng r = {3};
	for (int i = 0; i < 400; i++) {
		uint32_t rule = 1 + (uint32_t)i % (QS_RULE_COUNT - 1), dtype = rng_below(&r, 2) ? QS_BF16 : QS_F16,
		         codes_dtype = rng_below(&r, 2) ? QS_I8 : QS_U8;
		qs_step step = {.scale = from_bits((105 + rng_below(&r, 25)) << 23 | (uint32_t)rng_next(&r) >> 9)};
		if (qs_rule_is_symmetric(rule)) {
			step.zero = rng_below(&r, 4) ? (int32_t)rng_below(&r, 384) - 128 : 0;
			step.shift = rng_below(&r, 2) ? (int32_t)rng_below(&r, 256) - 128 : 0;
		} else if (qs_rule_adds_zero(rule)) {
			add_zero(&step, rule, &codes_dtype, &r);
			step.zero += rng_below(&r, 10) ? 0 : 300; /* beyond all codes */
		} else if (qs_rule_has_either_sign(rule))
			step.scale = rng_below(&r, 2) ? step.scale : -step.scale;
		else if (rng_below(&r, 4))
			step.offset = (float)(-(double)step.scale * rng_below(&r, 50000) / 1000);
		else
			step.offset = (float)((double)step.scale * rng_below(&r, 50000) / 1000); /* all values above */
		check_step(rule, dtype, step, codes_dtype);
	}
}

/* The other way round: each value is in the cell of the code that its rule gives it, and in no other but
 * where −127 has what −128 has; and qs_cell_code knows it. */
static void test_cells_hold_codes(void **state)
{
	(void)state;
	rng r = {4};
	for (int i = 0; i < 10 * (QS_RULE_COUNT - 1); i++) {
		uint32_t rule = 1 + (uint32_t)i % (QS_RULE_COUNT - 1),
		         dtype = i / (QS_RULE_COUNT - 1) % 2 ? QS_BF16 : QS_F16,
		         codes_dtype = rng_below(&r, 2) ? QS_I8 : QS_U8, levels = qs_rule_levels(rule);
		qs_step step = {.scale = from_bits((108 + rng_below(&r, 20)) << 23 | (uint32_t)rng_next(&r) >> 9)};
		if (qs_rule_is_symmetric(rule)) {
			step.zero = rng_below(&r, 2) ? (int32_t)rng_below(&r, 256) - (codes_dtype == QS_I8 ? 128 : 0) : 0;
			step.shift = rng_below(&r, 2) ? (int32_t)rng_below(&r, 9) - 4 : 0;
		} else if (qs_rule_adds_zero(rule)) {
			add_zero(&step, rule, &codes_dtype, &r);
		} else if (!qs_rule_has_either_sign(rule))
			step.offset = -step.scale * 7.3f;
		const qs_cell_table *table = table_of(rule, dtype, &step, codes_dtype);
		for (uint32_t pattern = 0; pattern < 65536; pattern++) {
			int holders = 0, code = qs_cell_code(dtype, rule, &step, (uint16_t)pattern), low = 0, high = 255;
			for (uint32_t index = 1; index < 256; index++) {
				qs_cell cell = table->cells[index];
				uint32_t own = (index + (uint32_t)table->zero) & 255;
				int there = (levels == 256 || own < levels) && QS_CELL_COUNT(cell) > 1 &&
				            pattern - QS_CELL_FIRST(cell) < QS_CELL_COUNT(cell);
				int twin = index == 128 && !step.zero && codes_dtype == QS_I8;
				holders += there && !twin;
			}
			if (holders > 1)
				fail_msg("rule %u: pattern %x is in %d cells", rule, pattern, holders);
			if (levels == 256 && codes_dtype == QS_I8) {
				low = -128;
				high = 127;
			} else if (!qs_rule_is_symmetric(rule)) {
				high = (int)levels - 1;
			}
			if (code == QS_NO_CODE || code < low || code > high || code == table->zero)
				continue;
			qs_cell cell = table->cells[(code - table->zero) & 255];
			if ((pattern - QS_CELL_FIRST(cell)) >= QS_CELL_COUNT(cell) &&
			    !(rule == QS_RULE_Q8_0 || rule == QS_RULE_LLM_INT8))
				fail_msg("rule %u, scale %a, zero %d: pattern %x is not in the cell of code %d", rule,
				         (double)step.scale, step.zero, pattern, code);
		}
	}
}

/* Blocks as ggml makes them, of values of a dtype: the scale before it was rounded to FP16, from the stored
 * one. */
static void test_recovered_scales(void **state)
{
	(void)state;
	rng r = {5};
	for (int d = 0; d < 2; d++) {
		uint32_t dtype = d ? QS_BF16 : QS_F16, found = 0, nearest = 0, blocks = 3000;
		for (uint32_t i = 0; i < blocks; i++) {
			int levels = i % 2 ? 32 : 16, at = QS_SHIFT_NONE;
			uint32_t rule = i % 2 ? QS_RULE_Q5_1 : QS_RULE_Q4_1;
			float low = (float)ref_value(ref_pattern(-0.01 - fabs(rng_normal(&r)) * 0.02, dtype), dtype);
			float high = (float)ref_value(ref_pattern(0.01 + fabs(rng_normal(&r)) * 0.02, dtype), dtype);
			float exact = (high - low) / (float)(levels - 1);
			qs_step stored = {.scale = (float)ref_cast_half((double)exact), .offset = low};
			for (int shift = -8; shift <= 8; shift++) {
				qs_step step = stored;
				qs_step_shift(&step, rule, dtype, (int8_t)shift);
				if (step.scale == exact)
					at = shift;
			}
			found += at != QS_SHIFT_NONE;
			nearest += at == 0;
			qs_step step = stored;
			qs_step_shift(&step, rule, dtype, QS_SHIFT_NONE);
			assert_true(step.scale == stored.scale);
			/* Numbers that no block has. */
			step = (qs_step){.scale = i % 3 ? from_bits((uint32_t)rng_next(&r)) : 0x1p-20f,
			                 .offset = from_bits((uint32_t)rng_next(&r))};
			stored = step;
			qs_step_shift(&step, rule, dtype, (int8_t)(int)rng_below(&r, 256));
			assert_true(!(fabsf(step.scale) < 0.49f * fabsf(stored.scale)) &&
			            !(fabsf(step.scale) > 2.01f * fabsf(stored.scale)));
		}
		print_message("%u of %u scales recovered, %u with no shift\n", found, blocks, nearest);
		assert_int_equal(found, blocks);
		assert_true(nearest > (dtype == QS_BF16 ? blocks * 9 / 10 : blocks / 3));
	}
}

/* 15 · s + o is above all values of FP16: 0x7c01, if exponents went on. */
static void test_recovered_scales_beyond_the_largest_value(void **state)
{
	(void)state;
	qs_step step = {.scale = 4372};
	qs_step_shift(&step, QS_RULE_Q4_1, QS_F16, -1);
	assert_true(step.scale == 4372);
	qs_step_shift(&step, QS_RULE_Q4_1, QS_F16, -2);
	assert_true(step.scale == 65504.0f / 15.0f);
}

static void test_codes_of_values(void **state)
{
	(void)state;
	static const float scales[] = {1.0f,    0.3125f, 0x1p-24f, 0x1.8p-20f, 0x1p-14f,
	                               0.0004f, 448.0f,  65504.0f, 3e38f,      0x1.1p-9f};
	for (size_t s = 0; s < sizeof scales / sizeof *scales; s++)
		for (uint32_t rule = 1; qs_rule_is_symmetric(rule); rule++)
			for (uint32_t dtype = QS_F16; dtype <= QS_BF16; dtype++) {
				qs_step step = {.scale = scales[s], .zero = 3};
				for (uint32_t pattern = 0; pattern < 65536; pattern++) {
					double v = inputs_of(rule, dtype)[pattern & 0x7fff],
					       code = ref_round(rule, ref_scaled(rule, dtype, v, scales[s], 0));
					int known = qs_cell_code(dtype, rule, &step, (uint16_t)pattern);
					if (!is_usable(rule, &step) || !isfinite(v) || !(code < 1000)) {
						if (known != QS_NO_CODE && abs(known) < 990)
							fail_msg("rule %u, scale %a: pattern %x has code %d", rule, (double)scales[s],
							         pattern, known);
					} else if (known != (pattern & 0x8000 ? -(int)code : (int)code) + 3) {
						fail_msg("rule %u, scale %a: pattern %x has code %d", rule, (double)scales[s],
						         pattern, known);
					}
				}
			}
}

/* The cache's tables are equal to fresh ones, for any reach and after a change of dtype. */
static void test_cache(void **state)
{
	(void)state;
	static qs_cell_cache fresh, used;
	memset(&used, 0xa5, sizeof used);
	qs_cell_cache_init(&used, QS_BF16, QS_RULE_DIVIDE, QS_U8);
	rng r = {2};
	qs_step steps[700] = {{.scale = 0.0f}, {.scale = -0.0f}, {.scale = NAN}}; /* more than slots */
	for (int i = 3; i < 700; i += 2) {
		steps[i] =
		    (qs_step){.scale = from_bits((110 + rng_below(&r, 20)) << 23 | (uint32_t)rng_next(&r) >> 9),
		              .zero = (int32_t)rng_below(&r, 3) * 64,
		              .shift = (int32_t)rng_below(&r, 3) * 127 - 128};
		/* Tables that differ in the shift alone. */
		if (i + 1 < 700) {
			steps[i + 1] = steps[i];
			steps[i + 1].shift++;
		}
	}
	for (int i = 0; i < 3000; i++) {
		const qs_step *step = &steps[i < 700 ? i : (int)rng_below(&r, 700)];
		uint32_t reach = 1 + rng_below(&r, 255);
		qs_cell_cache_init(&fresh, QS_BF16, QS_RULE_DIVIDE, QS_U8);
		const qs_cell_table *a = qs_cell_cache_get(&used, step, reach),
		                    *b = qs_cell_cache_get(&fresh, step, 255);
		assert_int_equal(a->zero, b->zero);
		if (a->zero == QS_ALL_ZERO)
			continue;
		assert_memory_equal(a->cells, b->cells,
		                    sizeof *a->cells * (reach + 1 < 256 - (uint32_t)a->zero ? reach + 1 : 1));
		for (uint32_t k = 1; k <= reach && (int)k <= a->zero; k++)
			assert_true(a->cells[256 - k] == b->cells[256 - k]);
	}
	qs_cell_cache_init(&used, QS_F16, QS_RULE_DIVIDE, QS_U8);
	qs_cell_cache_init(&fresh, QS_F16, QS_RULE_DIVIDE, QS_U8);
	assert_memory_equal(qs_cell_cache_get(&used, &steps[5], 100)->cells,
	                    qs_cell_cache_get(&fresh, &steps[5], 100)->cells, 100 * sizeof(qs_cell));
	/* Chunks follow one another with and without shared borders, of the same scales. */
	for (int shared = 1; shared >= 0; shared--) {
		qs_cell_cache_init(&fresh, QS_F16, QS_RULE_DIVIDE, QS_U8);
		fresh.shared = shared;
		qs_cell_cache_use(&used, QS_F16, QS_RULE_DIVIDE, QS_U8, shared);
		assert_memory_equal(qs_cell_cache_get(&used, &steps[5], 100)->cells,
		                    qs_cell_cache_get(&fresh, &steps[5], 100)->cells, 100 * sizeof(qs_cell));
	}
}

/* A table of one scale gives the cells of those 2^e times as large: all mantissas that scales in 16 bits have
 * under many exponents, and others. */
static void check_moved(qs_cell_cache *used, qs_cell_cache *exact, qs_step step)
{
	const qs_cell_table *table = qs_cell_cache_get(exact, &step, 255);
	qs_cells cells = qs_cell_cache_find(used, &step, 255);
	assert_int_equal(cells.table->zero, table->zero);
	for (uint32_t k = 0; k < qs_rule_levels(used->rule) && table->zero != QS_ALL_ZERO; k++) {
		uint32_t i = (k - (uint32_t)table->zero) & 255;
		if (!i)
			continue;
		qs_cell cell = qs_cells_at(cells, (uint8_t)i);
		if (cell != table->cells[i])
			fail_msg("rule %u, scale %a, place %x, index %u: cell %llx for %llx", used->rule,
			         (double)step.scale, used->keys[cells.table - used->tables].place, i,
			         (unsigned long long)cell, (unsigned long long)table->cells[i]);
	}
}

/* Tables of some rules move: of these types of values and codes, and with shared borders or not. */
static uint32_t kinds_of_tables(uint32_t rule)
{
	if (qs_rule_is_symmetric(rule))
		return 8;
	return qs_rule_has_either_sign(rule) && qs_rule_rounds_down(rule) ? 2 : 0;
}

static void test_moved_tables(void **state)
{
	(void)state;
	static qs_cell_cache used, exact;
	rng r = {6};
	for (uint32_t rule = 1; rule < QS_RULE_COUNT; rule++)
		for (uint32_t kind = 0; kind < kinds_of_tables(rule); kind++) {
			uint32_t dtype = kind & 1 ? QS_F16 : QS_BF16, codes_dtype = kind & 2 ? QS_U8 : QS_I8;
			int shared = kind >> 2;
			qs_cell_cache_init(&used, dtype, rule, codes_dtype);
			used.shared = shared;
			exact = used;
			/* With signed codes every mantissa of a 16-bit type; else some, zero points and shifts. */
			uint32_t every = kind > 1 ? 0 : dtype == QS_F16 ? 1024 : 128, moved = 0;
			for (uint32_t m = 0; m < (every ? every : 64); m++) {
				uint32_t mantissa = every ? m * (1 << 23) / every : (uint32_t)rng_next(&r) >> 9;
				qs_step step = {.zero = codes_dtype == QS_U8 ? (int32_t)rng_below(&r, 256) : 0,
				                .shift = every || m % 2 ? 0 : (int32_t)rng_below(&r, 256) - 128};
				/* From the middle to both ends, beyond which tables are of one scale. */
				for (uint32_t e = 0; e < 36; e++) {
					step.scale = from_bits((e % 2 ? 125 + e / 2 : 125 - e / 2) << 23 | mantissa);
					if (!qs_rule_is_symmetric(rule) && rng_below(&r, 2))
						step.scale = -step.scale;
					check_moved(&used, &exact, step);
					moved += qs_cell_cache_find(&used, &step, 255).move != 0;
				}
			}
			assert_true(moved > 0);
			/* The ends of the range, and far away. */
			const float ends[] = {from_bits(used.movable_min),
			                      from_bits(used.movable_min + used.movable_span), 0x1p-100f, 0x1p100f,
			                      65504};
			for (uint32_t i = 0; i < 5 * 16; i++)
				for (int e = -20; e <= 20; e++) {
					float scale = from_bits((uint32_t)((int32_t)bits_of(ends[i % 5]) + (int)i / 5 - 8));
					check_moved(&used, &exact, (qs_step){.scale = ldexpf(scale, e), .shift = (int)i % 3 - 1});
				}
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_every_half_scale),
	    cmocka_unit_test(test_special_scales),
	    cmocka_unit_test(test_random_scales),
	    cmocka_unit_test(test_tiny_bf16_scales),
	    cmocka_unit_test(test_random_steps),
	    cmocka_unit_test(test_cells_hold_codes),
	    cmocka_unit_test(test_codes_of_values),
	    cmocka_unit_test(test_recovered_scales),
	    cmocka_unit_test(test_recovered_scales_beyond_the_largest_value),
	    cmocka_unit_test(test_cache),
	    cmocka_unit_test(test_moved_tables),
	};
	return cmocka_run_group_tests(tests, fill_halves, NULL);
}

/* Cells without tables: every kernel finds what the tables have. */
#include "codec_help.h"
#include "kernel_help.h"

#include <math.h>

#include "core/cell_fields.h"
#include "core/simd.h"

typedef struct level {
	const char *name;
	const qs_fields_set *set;
} level;

static unsigned list_levels(level out[3])
{
	unsigned n = 0;
#if QS_HAVE_FIELDS
	if (qs_cpu_has_fields())
		out[n++] = (level){"128 bits", &qs_fields_sse41};
#if defined(__x86_64__)
	if (__builtin_cpu_supports("avx2"))
		out[n++] = (level){"AVX2", &qs_fields_avx2};
#endif
#if QS_HAVE_AVX512
	if (qs_cpu_has_avx512())
		out[n++] = (level){"AVX-512", &qs_fields_avx512};
#endif
#endif
	return n;
}

typedef struct totals {
	unsigned runs, unsure;
} totals;

static qs_cell_cache cache;

static void check_element(const char *name, const qs_grid *grid, uint32_t dtype, const qs_step *step,
                          const qs_cell_table *table, uint8_t code, uint32_t first, uint32_t f, uint32_t g,
                          int counts)
{
	uint32_t index = table->zero == QS_ALL_ZERO ? 0 : (uint8_t)(code - (uint32_t)table->zero);
	qs_cell cell = table->cells[index];
	uint32_t n = QS_CELL_COUNT(cell);
	int right_g = counts ? g == n : g == QS_CELL_G(cell) || (g == n && n <= 256);
	int right = index ? QS_CELL_FIRST(cell) == first && right_g : g == 0;
	if (!right || f != QS_CELL_F(cell))
		fail_msg("%s, rule %u, %s, scale %a, offset %a, zero %d, shift %d, code %u: first %x for %x, F %u "
		         "for %u, G %u for %u, n %u",
		         name, grid->rule, dtype == QS_F16 ? "FP16" : "BF16", (double)step->scale,
		         (double)step->offset, step->zero, step->shift, code, first, QS_CELL_FIRST(cell), f,
		         QS_CELL_F(cell), g, QS_CELL_G(cell), n);
}

/* Runs of these scales, all codes or random ones. */
static void check_strip(const qs_grid *grid, uint32_t dtype, const qs_step *steps, const qs_run *runs,
                        uint32_t n_runs, const uint8_t *codes, totals *sum)
{
	level levels[3];
	uint32_t n = runs[n_runs - 1].begin + runs[n_runs - 1].count;
	uint8_t padded[QS_STRIP_MAX + QS_STRIP_OVERSHOOT];
	memset(padded, 0xa5, sizeof padded);
	memcpy(padded, codes, n);
	qs_cell_cache_init(&cache, dtype, grid->rule, grid->codes_dtype);
	for (unsigned l = 2 * list_levels(levels); l-- > 0;) {
		int counts = l & 1;
		qs_strip_cells cells;
		uint16_t fields[3][QS_STRIP_MAX + QS_STRIP_OVERSHOOT];
		qs_cell_fields out = {fields[0], fields[1], fields[2]};
		qs_strip_cells_init(&cells, dtype, grid, 32);
		cells.kernel = levels[l / 2].set->kernels[cells.kind][dtype == QS_F16];
		cells.strip.counts = (int16_t)counts;
		uint32_t unsure = qs_strip_find(&cells, runs, steps, n_runs, padded, &out);
		for (uint32_t r = 0; r < n_runs; r++) {
			const qs_cell_table *table = qs_cell_cache_get(&cache, &steps[r], 255);
			sum->runs++;
			sum->unsure += unsure >> r & 1;
			for (uint32_t i = runs[r].begin; !(unsure >> r & 1) && i < runs[r].begin + runs[r].count; i++)
				check_element(levels[l / 2].name, grid, dtype, &steps[r], table, codes[i], fields[0][i],
				              fields[1][i], fields[2][i], counts);
		}
	}
}

/* All codes under one scale. */
static void check_scale(uint32_t rule, uint32_t codes_dtype, uint32_t dtype, qs_step step, totals *sum)
{
	qs_grid grid = {.rule = rule, .codes_dtype = codes_dtype};
	uint8_t codes[256];
	uint32_t levels = qs_rule_levels(rule);
	for (uint32_t i = 0; i < 256; i++)
		codes[i] = (uint8_t)(i % levels);
	qs_run run = {.count = levels};
	check_strip(&grid, dtype, &step, &run, 1, codes, sum);
}

static float from_bits(uint32_t bits)
{
	float f;
	memcpy(&f, &bits, 4);
	return f;
}

static int has_offset(uint32_t rule)
{
	return rule == QS_RULE_Q4_1 || rule == QS_RULE_Q5_1 || rule == QS_RULE_Q4_K || rule == QS_RULE_Q5_K;
}

/* Kernels are there for all rules but these. */
static int has_kernel(uint32_t rule)
{
	return rule != QS_RULE_NONE && !qs_rule_casts(rule) && !qs_rule_adds_zero(rule);
}

/* A scale as models have them, of a type of few bits or of singles. */
static qs_step random_step(rng *r, uint32_t rule, uint32_t codes_dtype)
{
	static const uint32_t kept[] = {0xffffffff, 0xffff0000, 0xffffe000, 0xff800000};
	qs_step step = {.scale = from_bits(((107 + rng_below(r, 20)) << 23 | (uint32_t)rng_next(r) >> 9) &
	                                   kept[rng_below(r, 4)])};
	if (rule == QS_RULE_Q8_0)
		step.scale *= 127;
	if (qs_rule_is_symmetric(rule) && rng_below(r, 2)) {
		step.zero = (int32_t)rng_below(r, 252) + (codes_dtype == QS_I8 ? -126 : 2);
		step.shift = (int32_t)rng_below(r, 256) - 128;
	}
	if (qs_rule_zero(rule))
		step.zero = (int32_t)qs_rule_zero(rule);
	if (qs_rule_has_either_sign(rule) && rng_below(r, 2))
		step.scale = -step.scale;
	if (has_offset(rule) && rng_below(r, 8))
		step.offset = step.scale * (float)((int)rng_below(r, 70000) - 60000) * 0x1p-11f;
	return step;
}

static void test_scales_of_models(void **state)
{
	(void)state;
	need_kernels(KERNEL_FIELDS | KERNEL_AVX2 | KERNEL_AVX512);
	rng r = {11};
	for (uint32_t rule = 0; rule < QS_RULE_COUNT; rule++)
		for (uint32_t dtype = QS_F16; dtype <= QS_BF16 && has_kernel(rule); dtype++) {
			totals sum = {0};
			for (int i = 0; i < 600; i++) {
				uint32_t codes_dtype = i & 1 || qs_rule_levels(rule) < 256 ? QS_U8 : QS_I8;
				check_scale(rule, codes_dtype, dtype, random_step(&r, rule, codes_dtype), &sum);
			}
			/* Only borders next to 0 are left to tables. */
			if (sum.unsure > (has_offset(rule) ? sum.runs / 2 : 0))
				fail_msg("rule %u: %u of %u runs are not sure", rule, sum.unsure, sum.runs);
		}
}

/* Scales that no model has: tables may have to do it, but nothing is wrong. */
static void test_odd_scales(void **state)
{
	(void)state;
	need_kernels(KERNEL_FIELDS | KERNEL_AVX2 | KERNEL_AVX512);
	static const uint32_t special[] = {
	    0,          0x80000000, 1,          0x007fffff, 0x00800000, 0x7f7fffff, 0x7f800000, 0xff800000,
	    0x7fc00000, 0xbf800000, 0x33800000, 0x337fffff, 0x38800000, 0x387fffff, 0x477fe000, 0x47800000,
	    0x3f800000, 0x3f7fffff, 0x42fe0000, 0x43700000, 0x43700001, 0x21800000, 0x217fffff, 0x5d800000,
	    0x5d800001, 0x46ee8000, 0x44000000, 0x04000000, 0x71800000, 0x71800001,
	};
	rng r = {12};
	totals sum = {0};
	for (uint32_t rule = 0; rule < QS_RULE_COUNT; rule++)
		for (uint32_t dtype = QS_F16; dtype <= QS_BF16 && has_kernel(rule); dtype++)
			for (int i = 0; i < 260; i++) {
				uint32_t codes_dtype = i & 1 || qs_rule_levels(rule) < 256 ? QS_U8 : QS_I8;
				qs_step step = random_step(&r, rule, codes_dtype);
				if (i < (int)(2 * sizeof special / sizeof *special))
					step.scale = from_bits(special[i / 2]);
				else
					step.scale = from_bits((uint32_t)rng_next(&r));
				if (has_offset(rule) && rng_below(&r, 3))
					step.offset =
					    from_bits(rng_below(&r, 3) ? (uint32_t)rng_next(&r) : special[rng_below(&r, 30)]);
				if (qs_rule_is_symmetric(rule) && rng_below(&r, 3) == 0)
					step.zero = (int32_t)rng_below(&r, 420) - 140;
				check_scale(rule, codes_dtype, dtype, step, &sum);
			}
	assert_true(sum.unsure < sum.runs / 2);
}

/* Every scale in FP16, as blocks have them. */
static void test_half_scales(void **state)
{
	(void)state;
	need_kernels(KERNEL_FIELDS | KERNEL_AVX2 | KERNEL_AVX512);
	static const uint32_t rules[] = {QS_RULE_Q8_0, QS_RULE_Q8_0_D, QS_RULE_Q4_0, QS_RULE_Q5_0, QS_RULE_Q6_K};
	uint32_t stride = getenv("QSTORE_TEST_ALL") ? 1 : 29;
	totals sum = {0};
	for (size_t k = 0; k < sizeof rules / sizeof *rules; k++)
		for (uint32_t bits = 1; bits < 0x7c00; bits += stride)
			for (uint32_t dtype = QS_F16; dtype <= QS_BF16; dtype++)
				check_scale(rules[k], qs_rule_levels(rules[k]) < 256 ? QS_U8 : QS_I8, dtype,
				            (qs_step){.scale = (float)ref_value(bits, QS_F16),
				                      .zero = (int32_t)qs_rule_zero(rules[k])},
				            &sum);
	assert_true(sum.unsure < sum.runs / 4); /* those above 240 in FP16 */
}

/* Strips of runs of any length. */
static void test_strips(void **state)
{
	(void)state;
	need_kernels(KERNEL_FIELDS | KERNEL_AVX2 | KERNEL_AVX512);
	rng r = {13};
	totals sum = {0};
	for (int i = 0; i < 3000; i++) {
		uint32_t rule = QS_RULE_MULTIPLY + (uint32_t)i % (QS_RULE_Q6_K + 1 - QS_RULE_MULTIPLY),
		         dtype = i & 1 ? QS_BF16 : QS_F16, n_runs = 0, n = 0, levels = qs_rule_levels(rule),
		         longest = rng_below(&r, 2) ? 20 : 130;
		qs_grid grid = {.rule = rule, .codes_dtype = levels < 256 || rng_below(&r, 2) ? QS_U8 : QS_I8};
		qs_step steps[QS_STRIP_RUNS_MAX];
		qs_run runs[QS_STRIP_RUNS_MAX];
		uint8_t codes[QS_STRIP_MAX];
		for (uint32_t k = 0; k < QS_STRIP_MAX; k++)
			codes[k] = (uint8_t)rng_below(&r, levels);
		for (; n_runs < QS_STRIP_RUNS_MAX && n < QS_STRIP_MAX && (!n || rng_below(&r, 20)); n_runs++) {
			uint32_t count = 1 + rng_below(&r, longest), left = QS_STRIP_MAX - n;
			runs[n_runs] = (qs_run){0, n, count < left ? count : left};
			steps[n_runs] = random_step(&r, rule, grid.codes_dtype);
			if (rng_below(&r, 10) == 0)
				steps[n_runs].scale = rng_below(&r, 2) ? 0 : NAN;
			n += runs[n_runs].count;
		}
		check_strip(&grid, dtype, steps, runs, n_runs, codes, &sum);
	}
	assert_true(sum.runs > sum.unsure);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_scales_of_models),
	    cmocka_unit_test(test_odd_scales),
	    cmocka_unit_test(test_half_scales),
	    cmocka_unit_test(test_strips),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The kernels of cell_fetch.h against the scalar one, which reads each cell of a table by itself. */
#include "codec_help.h"
#include "kernel_help.h"

#include <math.h>

#include "core/cell_fetch.h"

enum { MAX_ELEMS = 256, MAX_RUNS = 8, GUARD = 0x5a5a };

typedef struct kernel {
	const char *name;
	qs_fetch_kernel *run;
} kernel;

static unsigned list_kernels(kernel *out, uint32_t rule)
{
	unsigned n = 0;
#if QS_HAVE_SIMD128
	if (qs_cpu_has_simd128())
		out[n++] = (kernel){"simd128", qs_fetch_simd128};
#endif
#if QS_HAVE_AVX512
	if (qs_cpu_has_avx512())
		out[n++] = (kernel){"avx512", qs_rule_levels(rule) < 256 ? qs_fetch_few_avx512 : qs_fetch_avx512};
#endif
	(void)rule;
	return n;
}

static float random_scale(rng *r)
{
	static const float special[] = {0, -1, 0x1p-20f, 0x1p-30f, 0x1p40f, 1e-40f, 60000};
	float scale = (float)ldexp(1 + rng_below(r, 1024) / 1024.0, (int)rng_below(r, 12) - 8);
	return rng_below(r, 8) ? scale : special[rng_below(r, sizeof special / sizeof *special)];
}

/* Scales that are usable and others, in turn, so that tables are of other octaves and signs than asked for.
 */
static void check_runs(qs_cell_cache *cache, rng *r, const guarded *codes_memory)
{
	uint32_t rule = cache->rule, levels = qs_rule_levels(rule), n_runs = 1 + rng_below(r, MAX_RUNS), n = 0;
	int counted = (int)rng_below(r, 2);
	uint32_t counts[MAX_RUNS] = {0};
	qs_cells cells[MAX_RUNS];
	for (uint32_t i = 0; i < n_runs; i++) {
		qs_step step = {.scale = random_scale(r), .zero = levels < 256 ? (int32_t)levels / 2 : 0};
		step.scale = levels < 256 && rng_below(r, 2) ? -step.scale : step.scale;
		n += counts[i] = rng_below(r, 3) ? 32 : 1 + rng_below(r, MAX_ELEMS / MAX_RUNS);
		cells[i] = qs_cell_cache_find(cache, &step, 128);
		qs_cells again;
		if (qs_cell_cache_has(cache, &step, 128, &again)) {
			assert_ptr_equal(again.table, cells[i].table);
			assert_int_equal(again.move, cells[i].move);
			assert_int_equal(again.is_small, cells[i].is_small);
		}
		/* A later table may have taken its place. */
		for (uint32_t k = 0; k < i; k++)
			if (cells[k].table == cells[i].table)
				cells[k] = cells[i];
	}
	/* Kernels of AVX-512 take codes, the others indexes, which are 0 where all elements are. */
	uint8_t *codes = guarded_place(codes_memory, n), indexes[MAX_ELEMS];
	uint16_t values[MAX_ELEMS]; /* of the cells */
	for (uint32_t i = 0, run = 0, end = counts[0]; i < n; i++) {
		codes[i] = levels < 256      ? (uint8_t)rng_below(r, levels)
		           : rng_below(r, 4) ? (uint8_t)(int)(rng_normal(r) * 30)
		                             : (uint8_t[]){0, 1, 127, 128, 129, 255}[rng_below(r, 6)];
		if (i == end)
			end += counts[++run];
		int32_t zero = cells[run].table->zero;
		indexes[i] = zero == QS_ALL_ZERO ? 0 : (uint8_t)(codes[i] - (uint32_t)zero);
		values[i] = (uint16_t)QS_CELL_COUNT(cells[run].table->cells[indexes[i]]);
	}
	uint16_t expected[3][MAX_ELEMS], got[3][MAX_ELEMS + 1];
	qs_fetch_scalar(cells, counts, n_runs, indexes, counted,
	                &(qs_cell_fields){expected[0], expected[1], expected[2]});
	kernel kernels[2];
	unsigned n_kernels = list_kernels(kernels, rule);
	assert_true(n_kernels > 0);
	for (unsigned k = n_kernels; k-- > 0;) {
		int by_code = kernels[k].run != qs_fetch_simd128;
		for (int f = 0; f < 3; f++)
			got[f][n] = GUARD;
		kernels[k].run(cells, counts, n_runs, by_code ? codes : memcpy(codes, indexes, n), counted,
		               &(qs_cell_fields){got[0], got[1], got[2]});
		for (int f = 0; f < 3; f++)
			assert_int_equal(got[f][n], GUARD);
		for (uint32_t i = 0; i < n; i++) {
			/* The number of values does for G; what index 0 begins with is not looked at. */
			uint32_t g = expected[2][i], ok = got[2][i] == g || (by_code && g && got[2][i] == values[i]);
			if (!ok || got[1][i] != expected[1][i] || (g && got[0][i] != expected[0][i]))
				fail_msg("%s, rule %u, element %u: first %x for %x, F %u for %u, g %u for %u",
				         kernels[k].name, rule, i, got[0][i], expected[0][i], got[1][i], expected[1][i],
				         got[2][i], g);
		}
	}
}

static void test_kernels_agree(void **state)
{
	(void)state;
	need_kernels(KERNEL_SIMD128 | KERNEL_AVX512);
	static const uint32_t rules[] = {QS_RULE_LLM_INT8, QS_RULE_MULTIPLY, QS_RULE_DIVIDE, QS_RULE_DIVIDE_HALF,
	                                 QS_RULE_Q8_0,     QS_RULE_Q8_0_D,   QS_RULE_Q4_0,   QS_RULE_Q5_0};
	static qs_cell_cache cache;
	rng r = {1};
	guarded codes;
	guarded_create(&codes, MAX_ELEMS);
	for (uint32_t i = 0; i < 16; i++) {
		uint32_t rule = rules[i / 2];
		qs_cell_cache_init(&cache, i % 2 ? QS_F16 : QS_BF16, rule,
		                   qs_rule_levels(rule) < 256 ? QS_U8 : QS_I8);
		for (int round = 0; round < 1000; round++)
			check_runs(&cache, &r, &codes);
	}
	guarded_destroy(&codes);
}

/* Runs of a strip whose tables want the same slots: none is read once another has taken its place. */
static void test_tables_in_one_slot(void **state)
{
	(void)state;
	need_kernels(KERNEL_AVX512);
	static qs_cell_cache cache, exact;
	rng r = {2};
	for (int round = 0; round < 400; round++) {
		uint32_t dtype = round % 2 ? QS_F16 : QS_BF16, n = 32 * MAX_RUNS;
		qs_grid grid = {.rule = QS_RULE_Q8_0, .codes_dtype = QS_I8};
		int by_code;
		qs_fetch_kernel *fetch = qs_fetch_best(&grid, &by_code);
		assert_true(by_code);
		if (round < 2)
			qs_cell_cache_init(&cache, dtype, grid.rule, grid.codes_dtype);
		qs_cell_cache_use(&cache, dtype, grid.rule, grid.codes_dtype, 0);
		qs_cell_cache_init(&exact, dtype, grid.rule, grid.codes_dtype);
		qs_run runs[MAX_RUNS];
		qs_step steps[MAX_RUNS] = {{0}};
		uint8_t codes[32 * MAX_RUNS];
		uint16_t expected[3][32 * MAX_RUNS], got[3][32 * MAX_RUNS];
		for (uint32_t i = 0; i < MAX_RUNS; i++) {
			runs[i] = (qs_run){.begin = 32 * i, .count = 32};
			/* Mantissas that differ in bits which do not choose the slot. */
			steps[i].scale = ldexpf(1 + (float)rng_below(&r, 3) * 0x1p-20f, (int)rng_below(&r, 6) - 3);
		}
		for (uint32_t i = 0; i < n; i++)
			codes[i] = (uint8_t)rng_next(&r);
		for (uint32_t i = 0; i < MAX_RUNS; i++) {
			qs_cells cells = {.table = qs_cell_cache_get(&exact, &steps[i], 128)};
			qs_cell_fields to = {expected[0] + 32 * i, expected[1] + 32 * i, expected[2] + 32 * i};
			qs_fetch_scalar(&cells, &runs[i].count, 1, codes + 32 * i, 1, &to);
		}
		qs_fetch_runs(fetch, &cache, runs, steps, MAX_RUNS, codes, 1,
		              &(qs_cell_fields){got[0], got[1], got[2]});
		for (uint32_t i = 0; i < n; i++)
			if (got[1][i] != expected[1][i] || got[2][i] != expected[2][i] ||
			    (expected[2][i] && got[0][i] != expected[0][i]))
				fail_msg("run %u, code %d: first %x for %x, F %u for %u, count %u for %u", i / 32,
				         (int8_t)codes[i], got[0][i], expected[0][i], got[1][i], expected[1][i], got[2][i],
				         expected[2][i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_kernels_agree),
	                                   cmocka_unit_test(test_tables_in_one_slot)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

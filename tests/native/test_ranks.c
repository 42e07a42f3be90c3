/* The kernels that decode ranks give the same values, take the same units and end in the same states; and a
 * second, slow encoder written from FORMAT.md ("Lanes") agrees with them. */
#include "codec_help.h"
#include "kernel_help.h"

#include <math.h>

#include "core/ranks.h"
#include "core/simd.h"

enum { MAX_ELEMS = 4096, MAX_UNITS = 2 * MAX_ELEMS, MAX_RUNS = 5 };

typedef struct kernel {
	const char *name;
	qs_ranks_kernel *run;
	unsigned lanes; /* 0: any */
	int plain;      /* it has tables of signed codes only */
} kernel;

static unsigned list_kernels(kernel out[4])
{
	unsigned n = 0;
	out[n++] = (kernel){"scalar", qs_ranks_scalar, 0, 0};
#if QS_HAVE_SIMD128
	if (qs_cpu_has_simd128())
		out[n++] = (kernel){"simd128", qs_ranks_simd128, 0, 0};
#endif
#if QS_HAVE_AVX2 && QS_HAVE_SIMD128
	if (qs_cpu_has_avx2())
		out[n++] = (kernel){"avx2", qs_ranks_avx2, QS_LANES_MAX, 0};
#endif
#if QS_HAVE_AVX512
	if (qs_cpu_has_avx512())
		out[n++] = (kernel){"avx512", qs_ranks_avx512, QS_LANES_MAX, 1};
#endif
	return n;
}

typedef struct fields_kernel {
	const char *name;
	qs_ranks_fields_kernel *run;
	unsigned lanes; /* 0: any */
} fields_kernel;

static unsigned list_fields_kernels(fields_kernel out[4])
{
	unsigned n = 0;
	out[n++] = (fields_kernel){"scalar", qs_ranks_fields_scalar, 0};
#if QS_HAVE_SIMD128
	if (qs_cpu_has_simd128())
		out[n++] = (fields_kernel){"simd128", qs_ranks_fields_simd128, 0};
#endif
#if QS_HAVE_AVX2 && QS_HAVE_SIMD128
	if (qs_cpu_has_avx2())
		out[n++] = (fields_kernel){"avx2", qs_ranks_fields_avx2, QS_LANES_MAX};
#endif
#if QS_HAVE_AVX512
	if (qs_cpu_has_avx512())
		out[n++] = (fields_kernel){"avx512", qs_ranks_fields_avx512, QS_LANES_MAX};
#endif
	return n;
}

typedef struct buffers {
	guarded codes, units, escapes, dst[2];
	qs_cell_table tables[MAX_RUNS];
	/* Runs of elements by these. */
	qs_cells cells[MAX_RUNS];
	uint32_t counts[MAX_RUNS], n_runs;
} buffers;

static float random_scale(rng *r)
{
	static const float special[] = {0,     -1,    NAN, INFINITY, 0x1p-30f,  0x1p-24f,
	                                65504, 65505, 1,   448,      0x1p-126f, 1e-40f};
	uint32_t pick = rng_below(r, 24);
	return pick < sizeof special / sizeof *special
	           ? special[pick]
	           : (float)ldexp(1 + rng_below(r, 1024) / 1024.0, (int)rng_below(r, 40) - 24);
}

/* Runs of n elements in all, multiples of `step`, some of them empty; each has the cells of a rule with
 * signed codes around 0, which all kernels take, as those of another table that are moved. */
static void make_runs(rng *r, buffers *b, uint32_t dtype, size_t n, unsigned step)
{
	static qs_cell_cache cache;
	uint32_t left = (uint32_t)n;
	qs_cell_cache_init(&cache, dtype, 1 + rng_below(r, QS_RULE_Q8_0_D), QS_I8);
	b->n_runs = 1 + rng_below(r, MAX_RUNS);
	for (uint32_t k = 0; k < b->n_runs; k++) {
		float scale = random_scale(r);
		/* Under an unusable scale there are no cells to decode with. */
		if (qs_cell_cache_get(&cache, &(qs_step){.scale = scale}, 255)->zero == QS_ALL_ZERO)
			scale = 1;
		b->tables[k] = *qs_cell_cache_get(&cache, &(qs_step){.scale = scale}, 255);
		b->cells[k] = moved_cells(&b->tables[k], (uint16_t)rng_next(r));
		b->counts[k] = k == b->n_runs - 1 ? left : step * rng_below(r, left / step + 1);
		left -= b->counts[k];
	}
}

/* The cell of the i-th element. */
static qs_cell cell_of(const buffers *b, size_t i, uint8_t code)
{
	uint32_t k = 0;
	for (; i >= b->counts[k]; k++)
		i -= b->counts[k];
	return qs_cells_at(b->cells[k], code);
}

static int set_up(void **state)
{
	buffers *b = malloc(sizeof *b);
	guarded_create(&b->codes, MAX_ELEMS);
	guarded_create(&b->units, 2 * MAX_UNITS);
	guarded_create(&b->escapes, 2 * MAX_ELEMS + QS_ESCAPES_SLACK);
	guarded_create(&b->dst[0], 2 * MAX_ELEMS);
	guarded_create(&b->dst[1], 2 * MAX_ELEMS);
	*state = b;
	return 0;
}

static int tear_down(void **state)
{
	buffers *b = *state;
	guarded_destroy(&b->codes);
	guarded_destroy(&b->units);
	guarded_destroy(&b->escapes);
	guarded_destroy(&b->dst[0]);
	guarded_destroy(&b->dst[1]);
	free(b);
	return 0;
}

static void fill_codes(rng *r, uint8_t *codes, size_t n)
{
	uint32_t style = rng_below(r, 4);
	for (size_t i = 0; i < n; i++)
		codes[i] = style == 0   ? (uint8_t)rng_next(r)
		           : style == 1 ? (uint8_t)(int)(rng_normal(r) * 30)
		           : style == 2 ? 0
		                        : (uint8_t)(0x7f + rng_below(r, 3));
}

/* A state's copy, ready to decode. */
static void copy_start(qs_ranks *ranks, const qs_ranks *start)
{
	*ranks = *start;
	qs_ranks_begin(ranks, start->src, (size_t)(start->src_end - start->src));
}

/* Runs one kernel from the given state on copies that end at guard pages. Returns what the kernel returned.
 */
static int run(const kernel *k, const buffers *b, int which, qs_ranks *ranks, size_t n)
{
	uint8_t *dst = guarded_place(&b->dst[which], 2 * n);
	memset(dst, 0xee, 2 * n);
	return k->run(ranks, b->cells, b->counts, b->n_runs, b->codes.end - n, dst);
}

static void compare_kernels(const buffers *b, const qs_ranks *start, size_t n)
{
	kernel kernels[4];
	unsigned n_kernels = list_kernels(kernels);
	qs_ranks expected, got;
	copy_start(&expected, start);
	int result = run(&kernels[0], b, 0, &expected, n);
	for (unsigned k = 1; k < n_kernels; k++) {
		if (kernels[k].lanes && kernels[k].lanes != start->lanes)
			continue;
		copy_start(&got, start);
		assert_int_equal(run(&kernels[k], b, 1, &got, n), result);
		if (!result)
			continue; /* out of units: the rest says nothing */
		if (memcmp(b->dst[0].end - 2 * n, b->dst[1].end - 2 * n, 2 * n) != 0)
			for (size_t i = 0; i < n; i++)
				if (get16(b->dst[0].end - 2 * n + 2 * i) != get16(b->dst[1].end - 2 * n + 2 * i))
					fail_msg("%s differs at %zu of %zu: %x for %x, code %d", kernels[k].name, i, n,
					         get16(b->dst[1].end - 2 * n + 2 * i), get16(b->dst[0].end - 2 * n + 2 * i),
					         (int8_t)b->codes.end[-(ptrdiff_t)n + (ptrdiff_t)i]);
		assert_int_equal(got.src_end - got.src, expected.src_end - expected.src);
		assert_ptr_equal(got.escapes, expected.escapes);
		assert_int_equal(got.next, expected.next);
		assert_memory_equal(got.low, expected.low, 2 * start->lanes);
		assert_memory_equal(got.high, expected.high, 2 * start->lanes);
	}
}

/* Kernels that take cells field by field do as kernels that take tables; with the number of values in place
 * of G, where that is allowed. */
static void compare_fields(const buffers *b, const qs_ranks *start, size_t n)
{
	static uint16_t fields[3][MAX_ELEMS];
	fields_kernel kernels[4];
	unsigned n_kernels = list_fields_kernels(kernels);
	const uint8_t *codes = b->codes.end - n;
	for (size_t i = 0; i < n; i++) {
		qs_cell cell = cell_of(b, i, codes[i]);
		uint32_t count = QS_CELL_COUNT(cell);
		fields[0][i] = QS_CELL_FIRST(cell);
		fields[1][i] = (uint16_t)QS_CELL_F(cell);
		fields[2][i] = (uint16_t)(!codes[i] ? 0 : count <= 256 && i & 1 ? count : QS_CELL_G(cell));
	}
	qs_cell_fields cells = {fields[0], fields[1], fields[2]};
	qs_ranks expected, got;
	copy_start(&expected, start);
	int result = run(&(kernel){"", qs_ranks_scalar, 0, 0}, b, 0, &expected, n);
	for (unsigned k = 0; k < n_kernels; k++) {
		if (kernels[k].lanes && kernels[k].lanes != start->lanes)
			continue;
		copy_start(&got, start);
		uint8_t *dst = guarded_place(&b->dst[1], 2 * n);
		assert_int_equal(kernels[k].run(&got, &cells, n, dst), result);
		if (!result)
			continue;
		if (memcmp(b->dst[0].end - 2 * n, dst, 2 * n) != 0)
			fail_msg("fields, %s: values differ", kernels[k].name);
		assert_int_equal(got.src_end - got.src, expected.src_end - expected.src);
		assert_ptr_equal(got.escapes, expected.escapes);
		assert_int_equal(got.next, expected.next);
		assert_memory_equal(got.low, expected.low, 2 * start->lanes);
		assert_memory_equal(got.high, expected.high, 2 * start->lanes);
	}
}

static void test_kernels_agree(void **state)
{
	buffers *b = *state;
	need_kernels(KERNEL_SIMD128 | KERNEL_AVX2 | KERNEL_AVX512);
	rng r = {7};
	for (int round = 0; round < 3000; round++) {
		unsigned lanes = round & 1 ? QS_LANES_MAX : QS_LANES_MIN, step = qs_ranks_step(lanes);
		size_t n = (size_t)step * rng_below(&r, round % 10 ? 12 : MAX_ELEMS / 32 + 1),
		       units = rng_below(&r, (uint32_t)n + 40);
		if (round % 3 == 0)
			units = n; /* cannot run out */
		make_runs(&r, b, round & 2 ? QS_BF16 : QS_F16, n, step);
		fill_codes(&r, guarded_place(&b->codes, n), n);
		qs_ranks start = {.lanes = lanes, .next = step * rng_below(&r, lanes / step)};
		rng_bytes(&r, guarded_place(&b->units, 2 * units), 2 * units);
		start.src_end = b->units.end;
		start.src = start.src_end - 2 * units;
		start.escapes = guarded_place(&b->escapes, 2 * n + QS_ESCAPES_SLACK);
		rng_bytes(&r, guarded_place(&b->escapes, 2 * n + QS_ESCAPES_SLACK), 2 * n + QS_ESCAPES_SLACK);
		int valid = rng_below(&r, 4) > 0;
		for (unsigned lane = 0; lane < lanes; lane++) {
			start.low[lane] = (uint16_t)rng_next(&r);
			start.high[lane] = (uint16_t)rng_next(&r);
			if (!start.high[lane] && valid)
				start.high[lane] = 1;
			if (rng_below(&r, 8) == 0)
				start.high[lane] = valid ? 1 : 0;
			if (rng_below(&r, 8) == 0)
				start.low[lane] = 0xffff;
		}
		compare_kernels(b, &start, n);
		compare_fields(b, &start, n);
	}
}

/* One lane's state, backwards: the inverse of FORMAT.md's decoding step, in plain integer arithmetic. */
static uint64_t push(uint64_t state, uint32_t n, uint32_t rank, uint8_t *units, size_t *n_units)
{
	uint64_t f = 65536 / n < 65535 ? 65536 / n : 65535;
	if (state >= f << 16) {
		put16(units - 2 * ++*n_units, (uint32_t)state & 0xffff);
		state >>= 16;
	}
	return state / f * 65536 + rank * f + state % f;
}

static void test_ranks_come_back(void **state)
{
	buffers *b = *state;
	rng r = {11};
	static uint8_t units[2 * MAX_UNITS];
	static uint32_t values[MAX_ELEMS];
	kernel kernels[4];
	unsigned n_kernels = list_kernels(kernels);
	for (int round = 0; round < 400; round++) {
		unsigned lanes = round & 1 ? QS_LANES_MAX : QS_LANES_MIN;
		uint32_t dtype = round & 2 ? QS_BF16 : QS_F16;
		size_t n = (size_t)qs_ranks_step(lanes) * (1 + rng_below(&r, round % 10 ? 10 : MAX_ELEMS / 32)),
		       n_units = 0, n_escapes = 0;
		uint64_t states[QS_LANES_MAX];
		make_runs(&r, b, dtype, n, qs_ranks_step(lanes));
		uint8_t *codes = guarded_place(&b->codes, n),
		        *escapes = guarded_place(&b->escapes, 2 * n + QS_ESCAPES_SLACK);
		fill_codes(&r, codes, n);
		rng_bytes(&r, escapes, 2 * n + QS_ESCAPES_SLACK);
		for (unsigned lane = 0; lane < lanes; lane++)
			states[lane] = 65536;
		for (size_t i = 0; i < n; i++)
			if (!codes[i])
				values[i] = get16(escapes + 2 * n_escapes++);
		for (size_t i = n; i-- > 0;) {
			qs_cell cell = cell_of(b, i, codes[i]);
			uint32_t edge = rng_below(&r, 4), count = QS_CELL_COUNT(cell);
			uint32_t rank = edge == 0 ? 0 : edge == 1 ? count - 1 : rng_below(&r, count);
			if (codes[i])
				values[i] = QS_CELL_FIRST(cell) + rank;
			states[i % lanes] = push(states[i % lanes], count, rank, units + sizeof units, &n_units);
		}
		qs_ranks start = {.lanes = lanes, .src_end = b->units.end, .escapes = escapes};
		start.src = guarded_copy(&b->units, units + sizeof units - 2 * n_units, 2 * n_units);
		for (unsigned lane = 0; lane < lanes; lane++) {
			assert_true(states[lane] >= 65536 && states[lane] >> 32 == 0);
			start.low[lane] = (uint16_t)states[lane];
			start.high[lane] = (uint16_t)(states[lane] >> 16);
		}
		for (unsigned k = 0; k < n_kernels; k++) {
			if (kernels[k].lanes && kernels[k].lanes != lanes)
				continue;
			qs_ranks ranks;
			copy_start(&ranks, &start);
			assert_true(run(&kernels[k], b, 0, &ranks, n));
			for (size_t i = 0; i < n; i++)
				if (get16(b->dst[0].end - 2 * n + 2 * i) != values[i])
					fail_msg("%s: element %zu of %zu is %x for %x", kernels[k].name, i, n,
					         get16(b->dst[0].end - 2 * n + 2 * i), values[i]);
			assert_ptr_equal(ranks.src, ranks.src_end);
			assert_ptr_equal(ranks.escapes, escapes + 2 * n_escapes);
			for (unsigned lane = 0; lane < lanes; lane++)
				assert_true(ranks.low[lane] == 0 && ranks.high[lane] == 1);
			/* One unit less, and every kernel notices. */
			if (n_units) {
				start.src = guarded_copy(&b->units, units + sizeof units - 2 * n_units, 2 * n_units - 2);
				copy_start(&ranks, &start);
				assert_false(run(&kernels[k], b, 0, &ranks, n));
				start.src = guarded_copy(&b->units, units + sizeof units - 2 * n_units, 2 * n_units);
			}
		}
	}
}

static void test_best_kernel(void **state)
{
	(void)state;
	kernel kernels[4];
	unsigned n = list_kernels(kernels);
	for (unsigned lanes = QS_LANES_MIN; lanes <= QS_LANES_MAX; lanes *= QS_LANES_MAX / QS_LANES_MIN)
		for (int plain = 0; plain < 2; plain++) {
			qs_ranks_kernel *best = qs_ranks_best(lanes, plain);
			unsigned k = n;
			while (k-- > 0)
				if ((!kernels[k].lanes || kernels[k].lanes == lanes) && (plain || !kernels[k].plain))
					break;
			assert_true(best == kernels[k].run);
		}
}

int main(void)
{
	kernel kernels[4];
	for (unsigned n = list_kernels(kernels), k = 0; k < n; k++)
		print_message("kernel: %s\n", kernels[k].name);
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_kernels_agree),
	    cmocka_unit_test(test_ranks_come_back),
	    cmocka_unit_test(test_best_kernel),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}

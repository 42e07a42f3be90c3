/* The kernels that write ranks against their scalar oracles: the same ranks, states and units. */
#include "codec_help.h"
#include "kernel_help.h"

#include <math.h>

#include "core/simd.h"
#include "encode/rank_lanes.h"

enum { MAX_ELEMS = 512 };

typedef struct written {
	uint8_t units[2 * MAX_ELEMS + 2];
	qs_rank_lanes lanes;
} written;

#if QS_HAVE_AVX2 || QS_HAVE_AVX512 /* elsewhere there is only the scalar one */
static void put(qs_put_ranks_kernel *kernel, unsigned lanes, const uint32_t *states, const uint16_t *f,
                const uint16_t *rank, uint32_t n, written *w)
{
	memset(w->units, 0xee, sizeof w->units);
	w->lanes = (qs_rank_lanes){.at = w->units + sizeof w->units, .lanes = lanes};
	memcpy(w->lanes.state, states, sizeof w->lanes.state);
	kernel(&w->lanes, f, rank, n);
}

static void compare_kernel(qs_put_ranks_kernel *kernel, unsigned lanes, const uint32_t *states,
                           const uint16_t *f, const uint16_t *rank, uint32_t n)
{
	written expected, got;
	put(qs_put_ranks_scalar, lanes, states, f, rank, n, &expected);
	put(kernel, lanes, states, f, rank, n, &got);
	size_t size = (size_t)(expected.units + sizeof expected.units - expected.lanes.at);
	assert_int_equal(size, got.units + sizeof got.units - got.lanes.at);
	assert_memory_equal(expected.lanes.at, got.lanes.at, size);
	assert_memory_equal(expected.lanes.state, got.lanes.state, sizeof expected.lanes.state);
}
#endif

/* Every kernel that this machine runs. */
static void compare_put(const uint32_t *states, const uint16_t *f, const uint16_t *rank, uint32_t n)
{
#if QS_HAVE_AVX512
	if (qs_cpu_has_avx512())
		compare_kernel(qs_put_ranks_avx512, QS_LANES_MAX, states, f, rank, n);
#endif
#if QS_HAVE_AVX2
	if (qs_cpu_has_avx2()) {
		compare_kernel(qs_put_ranks_avx2, QS_LANES_MAX, states, f, rank, n);
		compare_kernel(qs_put_ranks_avx2, QS_LANES_MIN, states, f, rank, n);
	}
#endif
	(void)states, (void)f, (void)rank, (void)n;
}

/* Every F, and states around its multiples, where a quotient that is not exact would show: small, random and
 * the greatest ones. */
static void test_every_quotient(void **state)
{
	(void)state;
	need_kernels(KERNEL_AVX2 | KERNEL_AVX512);
	rng r = {3};
	uint16_t fs[QS_LANES_MAX], rank[QS_LANES_MAX];
	uint32_t states[QS_LANES_MAX];
	for (uint32_t f = 1; f < 65536; f++)
		for (int style = 0; style < 4; style++) {
			for (uint32_t lane = 0; lane < QS_LANES_MAX; lane++) {
				uint32_t pick = style == 0   ? 65536 - lane / 3
				                : style == 1 ? 65536 / f + 1 + lane / 3
				                             : 1 + rng_below(&r, 65536);
				uint64_t s = (uint64_t)f * pick + lane % 3 - 1;
				s = style == 3 ? (uint32_t)rng_next(&r) : s;
				states[lane] = s < 65536 ? 65536 : (uint32_t)s;
				fs[lane] = (uint16_t)f;
				rank[lane] = (uint16_t)rng_below(&r, 65536 / f);
			}
			compare_put(states, fs, rank, QS_LANES_MAX);
		}
}

static void test_put_agrees(void **state)
{
	(void)state;
	need_kernels(KERNEL_AVX2 | KERNEL_AVX512);
	rng r = {5};
	uint16_t fs[MAX_ELEMS], rank[MAX_ELEMS];
	uint32_t states[QS_LANES_MAX];
	for (int round = 0; round < 4000; round++) {
		uint32_t n = rng_below(&r, MAX_ELEMS + 1), most = 1u << (1 + rng_below(&r, 15));
		for (uint32_t i = 0; i < n; i++) {
			uint32_t count = 1 + rng_below(&r, most), f = 65536 / count;
			fs[i] = (uint16_t)(f < 65535 ? f : 65535);
			rank[i] = (uint16_t)rng_below(&r, count);
		}
		for (uint32_t lane = 0; lane < QS_LANES_MAX; lane++)
			states[lane] = QS_LANE_START + (uint32_t)(rng_next(&r) % (0xffffffffu - QS_LANE_START));
		compare_put(states, fs, rank, n);
	}
}

typedef struct ranks_of {
	uint16_t rank[MAX_ELEMS], f[MAX_ELEMS];
	uint8_t outside[MAX_ELEMS];
	qs_found_ranks found;
} ranks_of;

static void find(qs_find_ranks_kernel *kernel, qs_cells cells, const uint8_t *codes, const uint8_t *src,
                 uint32_t n, uint32_t at, ranks_of *out)
{
	memset(out, 0xee, sizeof *out);
	out->found = (qs_found_ranks){.rank = out->rank, .f = out->f, .outside = out->outside};
	kernel(cells, codes, src, n, at, &out->found);
}

static void compare_ranks_of(const ranks_of *expected, const ranks_of *got)
{
	assert_memory_equal(expected->rank, got->rank, sizeof got->rank);
	assert_memory_equal(expected->f, got->f, sizeof got->f);
	assert_memory_equal(expected->outside, got->outside, sizeof got->outside);
	assert_int_equal(expected->found.escapes, got->found.escapes);
	assert_int_equal(expected->found.outsiders, got->found.outsiders);
}

/* With cells field by field, in arrays that end where the elements do. */
static void compare_find_fields(qs_cells cells, const uint8_t *codes, const uint8_t *src, uint32_t n,
                                uint32_t at, const ranks_of *expected)
{
	qs_find_ranks_fields_kernel *kernels[] = {qs_find_ranks_fields_scalar, qs_find_ranks_fields_best()};
	uint16_t *first = malloc(2 * (size_t)n + 1), *f = malloc(2 * (size_t)n + 1),
	         *count = malloc(2 * (size_t)n + 1);
	for (uint32_t i = 0; i < n; i++) {
		qs_cell cell = qs_cells_at(cells, codes[at + i]);
		first[i] = QS_CELL_FIRST(cell);
		f[i] = (uint16_t)QS_CELL_F(cell);
		count[i] = codes[at + i] ? (uint16_t)QS_CELL_COUNT(cell) : 0;
	}
	for (int k = 0; k < 2; k++) {
		ranks_of got;
		uint8_t indexes[MAX_ELEMS];
		memset(&got, 0xee, sizeof got);
		got.found = (qs_found_ranks){.rank = got.rank, .f = got.f, .outside = got.outside};
		kernels[k](&(qs_cell_fields){first, f, count}, src, n, at, indexes, &got.found);
		compare_ranks_of(expected, &got);
		for (uint32_t i = at; i < at + n; i++)
			assert_int_equal(indexes[i], codes[i] != 0);
	}
	free(first);
	free(f);
	free(count);
}

static void test_find_agrees(void **state)
{
	(void)state;
	need_kernels(KERNEL_AVX2 | KERNEL_AVX512);
	rng r = {9};
	static qs_cell_cache cache;
	guarded codes, values;
	guarded_create(&codes, MAX_ELEMS);
	guarded_create(&values, 2 * MAX_ELEMS);
	for (int round = 0; round < 4000; round++) {
		uint32_t n = rng_below(&r, MAX_ELEMS / 2), at = rng_below(&r, MAX_ELEMS / 2);
		uint32_t rule = 1 + rng_below(&r, QS_RULE_Q8_0_D);
		qs_step step = {.scale = (float)ldexp(1 + rng_below(&r, 1024) / 1024.0, (int)rng_below(&r, 40) - 24)};
		qs_cell_cache_init(&cache, round & 1 ? QS_BF16 : QS_F16, rule, QS_I8);
		qs_cell_table table = *qs_cell_cache_get(&cache, &step, 128);
		qs_cells cells = moved_cells(&table, (uint16_t)rng_next(&r));
		uint8_t *q = guarded_place(&codes, at + n), *v = guarded_place(&values, 2 * (size_t)(at + n));
		rng_bytes(&r, q, at + n);
		for (uint32_t i = 0; i < at + n; i++) {
			if (rng_below(&r, 16) == 0)
				q[i] = (uint8_t[]){0, 127, 128, 129}[rng_below(&r, 4)];
			qs_cell cell = qs_cells_at(cells, q[i]);
			/* In the cell, around its ends, or anywhere. */
			uint32_t count = QS_CELL_COUNT(cell), style = rng_below(&r, 4),
			         rank = style == 0   ? (uint32_t)rng_next(&r)
			                : style == 1 ? count + rng_below(&r, 3) - 1
			                             : rng_below(&r, count);
			put16(v + 2 * (size_t)i, (QS_CELL_FIRST(cell) + rank) & 0xffff);
		}
		ranks_of expected, got;
		find(qs_find_ranks_scalar, cells, q, v, n, at, &expected);
		find(qs_find_ranks_best(1), cells, q, v, n, at, &got);
		compare_ranks_of(&expected, &got);
		compare_find_fields(cells, q, v, n, at, &expected);
	}
	guarded_destroy(&codes);
	guarded_destroy(&values);
}

static void test_take_zeros_agrees(void **state)
{
	(void)state;
	rng r = {11};
	for (int round = 0; round < 2000; round++) {
		uint32_t n = rng_below(&r, MAX_ELEMS + 1), one_of = 1 + rng_below(&r, 40), expected = 0;
		uint8_t *indexes = malloc(n + 1), *values = malloc(2 * (size_t)n + 1);
		uint16_t *all = malloc(2 * ((size_t)n + 1)), *got[2];
		rng_bytes(&r, values, 2 * (size_t)n);
		for (uint32_t i = 0; i < n; i++) {
			indexes[i] = rng_below(&r, one_of) ? (uint8_t)rng_next(&r) : 0;
			if (!indexes[i])
				all[expected++] = (uint16_t)get16(values + 2 * (size_t)i);
		}
		qs_take_escapes_kernel *kernels[] = {qs_take_escapes_scalar, qs_take_escapes_best()};
		for (int k = 0; k < 2; k++) {
			/* No more room than is asked for. */
			got[k] = malloc(2 * ((size_t)expected + QS_TAKE_ROOM));
			kernels[k](indexes, values, n, got[k]);
			assert_memory_equal(all, got[k], 2 * (size_t)expected);
			free(got[k]);
		}
		free(indexes);
		free(values);
		free(all);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_every_quotient),
	    cmocka_unit_test(test_put_agrees),
	    cmocka_unit_test(test_find_agrees),
	    cmocka_unit_test(test_take_zeros_agrees),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

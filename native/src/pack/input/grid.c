/* The grids of codes, read from the packer's inputs. */
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/factors.h"
#include "core/rules.h"
#include "core/simd.h"
#include "pack/pack.h"

void pack_grid_free(pack_grid_memory *memory)
{
	free(memory->scales);
	free(memory->zeros);
	free(memory->order);
	free(memory->factors);
	*memory = (pack_grid_memory){0};
}

/* Elements [first, first + n) of a tensor into memory that grows. */
static qstore_status read_elems(const packer *p, const pack_tensor *t, uint64_t first, uint64_t n,
                                uint8_t **memory, size_t *cap, uint8_t *scratch, qs_error *error)
{
	size_t elem_size = qs_dtype_size(t->dtype), size = (size_t)n * elem_size;
	if (size > *cap) {
		free(*memory);
		*memory = malloc(size);
		*cap = !*memory ? 0 : size;
		if (!*memory)
			return pack_no_memory(error);
	}
	return pack_tensor_read(p, t, *memory, size, first * elem_size, scratch, error);
}

qstore_status pack_load_grid(const packer *p, const pack_grid *grid, uint32_t codes_dtype, uint64_t cols,
                             uint64_t first, uint64_t n, pack_grid_memory *memory, uint8_t *scratch,
                             qs_grid *loaded, qs_error *error)
{
	uint64_t at, count;
	qstore_status status = QSTORE_OK;
	*loaded = (qs_grid){.rule = grid->rule,
	                    .codes_dtype = codes_dtype,
	                    .group = grid->group,
	                    .row_stride = grid->row_stride,
	                    .group_stride = grid->group_stride,
	                    .scales_dtype = grid->scales->dtype,
	                    .zero_offset = grid->zero_offset};
	if (grid->order) {
		status = read_elems(p, grid->order, 0, cols, &memory->order, &memory->order_cap, scratch, error);
		loaded->order = memory->order;
	}
	qs_grid_needs(loaded, cols, first, n, &at, &count);
	if (!status)
		status = read_elems(p, grid->scales, at, count, &memory->scales, &memory->scales_cap, scratch, error);
	loaded->scales = memory->scales;
	if (!status && grid->zeros) {
		status = read_elems(p, grid->zeros, loaded->scales_first, loaded->zeros_size, &memory->zeros,
		                    &memory->zeros_cap, scratch, error);
		loaded->zeros = memory->zeros;
	}
	if (!status && !qs_grid_covers(loaded, cols, first, n))
		return qs_fail(error, QSTORE_INPUT, "%s: names groups that have no scale",
		               grid->order ? grid->order->name : grid->scales->name);
	return status;
}

/* Sums of every eighth element of a run, so that they are added side by side, and to the same on every
 * machine. */
enum { SUM_LANES = 8 };
#define STEP_MAX 0x1p100f
typedef struct lane_sums {
	double errors[SUM_LANES], squares[SUM_LANES], coarse_squares[SUM_LANES];
} lane_sums;

/* Without comparisons of floats, which compilers leave scalar. */
QS_ALWAYS_INLINE void add_lane(lane_sums *sums, uint32_t lane, uint8_t byte, uint32_t pattern, qs_line line,
                               uint32_t dtype, uint32_t coarse_dtype)
{
	/* Infinities and NaN say nothing about the rest. */
	uint32_t exponent = dtype == QS_F16 ? 0x7c00 : 0x7f80, finite = (pattern & exponent) != exponent,
	         mask = 0u - finite;
	int code = coarse_dtype == QS_I8 ? (int8_t)byte : byte;
	float magnitude = qs_magnitude_value(pattern & 0x7fff & mask, dtype),
	      line_value = line.slope * (float)code + line.start;
	double value = (double)qs_f32_from_bits(qs_f32_bits(magnitude) | (pattern & 0x8000 & mask) << 16),
	       coarse = (double)qs_f32_from_bits(qs_f32_bits(line_value) & mask), difference = coarse - value;
	sums->errors[lane] += difference * difference;
	sums->squares[lane] += value * value;
	sums->coarse_squares[lane] += coarse * coarse;
}

QS_ALWAYS_INLINE void add_run(lane_sums *sums, const uint8_t *codes, const uint8_t *fine, uint32_t n,
                              qs_line line, uint32_t dtype, uint32_t coarse_dtype)
{
	for (; n >= SUM_LANES; n -= SUM_LANES, codes += SUM_LANES, fine += 2 * SUM_LANES)
		for (uint32_t lane = 0; lane < SUM_LANES; lane++)
			add_lane(sums, lane, codes[lane], qs_load16(fine + 2 * lane), line, dtype, coarse_dtype);
	for (uint32_t lane = 0; lane < n; lane++)
		add_lane(sums, lane, codes[lane], qs_load16(fine + 2 * lane), line, dtype, coarse_dtype);
}

/* Types are constants in each case, so that the loops become SIMD. */
QS_ALWAYS_INLINE void add_any_run(lane_sums *sums, const uint8_t *codes, const uint8_t *fine, uint32_t n,
                                  qs_line line, uint32_t dtype, uint32_t coarse_dtype)
{
	switch (2 * (dtype == QS_F16) + (coarse_dtype == QS_I8)) {
	case 0:
		add_run(sums, codes, fine, n, line, QS_BF16, QS_U8);
		break;
	case 1:
		add_run(sums, codes, fine, n, line, QS_BF16, QS_I8);
		break;
	case 2:
		add_run(sums, codes, fine, n, line, QS_F16, QS_U8);
		break;
	default:
		add_run(sums, codes, fine, n, line, QS_F16, QS_I8);
	}
}

#if QS_HAVE_AVX512
static __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq"))) void
add_run_avx512(lane_sums *sums, const uint8_t *codes, const uint8_t *fine, uint32_t n, qs_line line,
               uint32_t dtype, uint32_t coarse_dtype)
{
	add_any_run(sums, codes, fine, n, line, dtype, coarse_dtype);
}
#endif

/* Steps that weights have; no others are summed. */
static int is_sane(qs_line line)
{
	return line.slope >= -STEP_MAX && line.slope <= STEP_MAX && line.start >= -STEP_MAX &&
	       line.start <= STEP_MAX;
}

/* Each element has a step of its own. */
static void add_run_of_factors(lane_sums *sums, const qs_chunk_desc *desc, const qs_run *run, qs_line line,
                               const uint8_t *fine)
{
	for (uint32_t i = run->begin, end = i + run->count; i < end; i++) {
		float factor = qs_factor_value(desc->factors_dtype, qs_factors_at(desc, i));
		qs_line own = {line.slope / factor, line.start / factor};
		if (is_sane(own))
			add_lane(sums, i % SUM_LANES, desc->coarse[i], qs_load16(fine + 2 * (size_t)i), own, desc->dtype,
			         desc->coarse_dtype);
	}
}

qstore_status pack_load_factors(const packer *p, const pack_tensor *fine, pack_grid_memory *memory,
                                uint8_t *scratch, qs_chunk_desc *desc, qs_error *error)
{
	if (!fine->factors)
		return QSTORE_OK;
	qstore_status status =
	    read_elems(p, fine->factors, 0, desc->cols, &memory->factors, &memory->factors_cap, scratch, error);
	desc->factors = memory->factors;
	desc->factors_dtype = fine->factors->dtype;
	return status;
}

static void add_best_run(lane_sums *sums, const uint8_t *codes, const uint8_t *fine, uint32_t n, qs_line line,
                         const qs_chunk_desc *desc)
{
#if QS_HAVE_AVX512
	if (qs_cpu_has_avx512()) {
		add_run_avx512(sums, codes, fine, n, line, desc->dtype, desc->coarse_dtype);
		return;
	}
#endif
	add_any_run(sums, codes, fine, n, line, desc->dtype, desc->coarse_dtype);
}

/* n elements of a column, from one of the chunk's on: brought together first. */
static void add_column(lane_sums *sums, const uint8_t *fine, size_t first, uint32_t n, qs_line line,
                       const qs_chunk_desc *desc)
{
	enum { GATHERED = 256 };
	uint8_t codes[GATHERED], values[2 * GATHERED];
	while (n > 0) {
		uint32_t some = n < GATHERED ? n : GATHERED;
		for (uint32_t i = 0; i < some; i++, first += (size_t)desc->cols) {
			codes[i] = desc->coarse[first];
			memcpy(values + 2 * i, fine + 2 * first, 2);
		}
		add_best_run(sums, codes, values, some, line, desc);
		n -= some;
	}
}

void pack_add_sums(const qs_chunk_desc *desc, const uint8_t *fine, pack_sums *sums)
{
	lane_sums lanes = {0};
	qs_runs runs;
	const qs_grid *grid = &desc->coarse_grid;
	/* With a scale for each column runs would be single elements, row by row. */
	qs_coded_order order = qs_coded_order_of(grid, desc->cols, desc->first_elem, desc->n_elems);
	int columns = order == QS_CODED_COLUMNS && !desc->factors;
	qs_runs_begin(&runs, grid, desc->cols, desc->first_elem, desc->n_elems,
	              columns ? QS_CODED_COLUMNS : QS_CODED_ROWS, NULL);
	while (qs_runs_next(&runs)) {
		qs_line line = qs_grid_line(grid, runs.run.number);
		uint32_t begin = runs.run.begin, n = runs.run.count;
		if (!is_sane(line))
			continue;
		if (desc->factors)
			add_run_of_factors(&lanes, desc, &runs.run, line, fine);
		else if (columns)
			add_column(&lanes, fine, begin / (desc->n_elems / (uint32_t)desc->cols), n, line, desc);
		else
			add_best_run(&lanes, desc->coarse + begin, fine + 2 * (size_t)begin, n, line, desc);
	}
	for (uint32_t lane = 0; lane < SUM_LANES; lane++) {
		sums->errors += lanes.errors[lane];
		sums->squares += lanes.squares[lane];
		sums->coarse_squares += lanes.coarse_squares[lane];
	}
	sums->n += desc->n_elems;
}

int pack_alike(const pack_sums *sums)
{
	/* Values below FP16's range are rounded to multiples of 2^-24, or to zero, before they are quantized. */
	return sums->errors <= 0.5 * sums->squares + (double)sums->n * 3.5527136788005009e-15 /* 2^-48 */;
}

double pack_correlation(const pack_sums *sums)
{
	double product = (sums->coarse_squares + sums->squares - sums->errors) / 2;
	double squares = sums->coarse_squares * sums->squares;
	return product > 0 && squares > 0 ? product * product / squares : 0;
}

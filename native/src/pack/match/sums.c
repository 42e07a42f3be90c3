#include "sums.h"

#include <string.h>

#include "core/bytes.h"
#include "core/factors.h"
#include "core/rules.h"
#include "core/simd.h"

/* Each of eight lanes adds every eighth element of a run: SIMD adds them side by side, and the sums are the
 * same on every machine. */
enum { SUM_LANES = 8 };
#define LINE_MAX 0x1p100f
typedef struct lane_sums {
	double errors[SUM_LANES], squares[SUM_LANES], coarse_squares[SUM_LANES];
} lane_sums;

/* Compares no floats, because compilers do not vectorize loops that do. */
QS_ALWAYS_INLINE void add_lane(lane_sums *sums, uint32_t lane, uint8_t byte, uint32_t pattern, qs_line line,
                               uint32_t dtype, uint32_t coarse_dtype)
{
	/* Infinities and NaN count as 0. */
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

/* The types are constants in each case, so that compilers vectorize the loops. */
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

/* Does a line have a slope that weights can have? Runs with others are left out of the sums. */
static int is_plausible(qs_line line)
{
	return line.slope >= -LINE_MAX && line.slope <= LINE_MAX && line.start >= -LINE_MAX &&
	       line.start <= LINE_MAX;
}

/* Adds a run whose elements have factors, so that each has a line of its own. */
static void add_run_of_factors(lane_sums *sums, const qs_chunk_desc *desc, const qs_run *run, qs_line line,
                               const uint8_t *fine)
{
	for (uint32_t i = run->begin, end = i + run->count; i < end; i++) {
		float factor = qs_factor_value(desc->factors_dtype, qs_factors_at(desc, i));
		qs_line own = {line.slope / factor, line.start / factor};
		if (is_plausible(own))
			add_lane(sums, i % SUM_LANES, desc->coarse[i], qs_load16(fine + 2 * (size_t)i), own, desc->dtype,
			         desc->coarse_dtype);
	}
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

/* Adds n elements of a column, the first of which is element `first` of the chunk. */
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
	/* With a scale for each column, each run in the order of rows would be a single element. */
	qs_coded_order order = qs_coded_order_of(grid, desc->cols, desc->first_elem, desc->n_elems);
	int columns = order == QS_CODED_COLUMNS && !desc->factors;
	qs_runs_begin(&runs, grid, desc->cols, desc->first_elem, desc->n_elems,
	              columns ? QS_CODED_COLUMNS : QS_CODED_ROWS, NULL);
	while (qs_runs_next(&runs)) {
		qs_line line = qs_grid_line(grid, runs.run.number);
		uint32_t begin = runs.run.begin, n = runs.run.count;
		if (!is_plausible(line))
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

int pack_sums_are_alike(const pack_sums *sums)
{
	/* The second term allows errors of 2^-24 an element: FP16 rounds tiny values to multiples of that before
	 * they are quantized. */
	return sums->errors <= 0.5 * sums->squares + (double)sums->n * 3.5527136788005009e-15 /* 2^-48 */;
}

double pack_sums_correlation(const pack_sums *sums)
{
	double product = (sums->coarse_squares + sums->squares - sums->errors) / 2;
	double squares = sums->coarse_squares * sums->squares;
	return product > 0 && squares > 0 ? product * product / squares : 0;
}

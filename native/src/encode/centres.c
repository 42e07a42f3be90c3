#include "centres.h"

#include <math.h>
#include <string.h>

enum {
	SAMPLE_ROWS = 32,
	LEAST_CODES = 16, /* codes of a column or row; with fewer, a centre costs as much as it gains */
	AT_ONCE = 1 << 16
};

/* Centres must gain this many bits for each code, because adding them takes time. */
static const double least_gain = 0.02;

/* Returns the bits to flip in a code so that it becomes a signed number; unsigned codes become 128 less. */
static unsigned middle(const qs_chunk_desc *desc)
{
	return desc->dtype == QS_U8 ? 128 : 0;
}

/* Sums over a sample of rows: of codes, of their squares, and of (the sum of a row)² / (its length). */
typedef struct sums {
	double all, squares, rows;
	uint32_t n_rows, n_elems;
} sums;

static sums add_up(qs_centres *centres, const qs_chunk_desc *desc, const uint8_t *codes, uint32_t step)
{
	sums s = {0};
	unsigned zero = middle(desc);
	int columns = desc->cols <= QS_CENTRES_MAX;
	if (columns)
		memset(centres->sums, 0, desc->cols * sizeof *centres->sums);
	for (uint32_t row = 0, n_rows = qs_chunk_rows(desc); row < n_rows; row += step) {
		qs_row_slice slice = qs_chunk_row(desc, row);
		const uint8_t *from = codes + slice.begin;
		int32_t *to = centres->sums + (row ? 0 : desc->first_elem % desc->cols), sum = 0;
		for (uint32_t i = 0, end; i < slice.count; i = end) {
			uint32_t squares = 0; /* of at most AT_ONCE codes, so at most 2^30 */
			end = slice.count - i < AT_ONCE ? slice.count : i + AT_ONCE;
			for (uint32_t k = i; k < end; k++) {
				int32_t v = (int8_t)(from[k] ^ zero);
				sum += v;
				squares += (uint32_t)(v * v);
			}
			s.squares += squares;
		}
		for (uint32_t i = 0; columns && i < slice.count; i++)
			to[i] += (int8_t)(from[i] ^ zero);
		s.all += sum;
		s.rows += (double)sum * sum / slice.count;
		s.n_rows++;
		s.n_elems += slice.count;
	}
	return s;
}

/* Returns the bits that are gained for each code if each column (or row) gets a centre. each: codes of a
 * column. of_means: the sum over columns of (the sum of its codes)² / (their number). */
static double gain(const sums *s, double of_means, double each)
{
	double n = s->n_elems, total = s->squares - s->all * s->all / n, between = of_means - s->all * s->all / n;
	/* A part of the variance between means comes from the samples' small size, and is taken off. */
	double within = (total - between) * each / (each > 1 ? each - 1 : 1);
	between -= within / each;
	return between > 0 ? 0.5 * log2((total + n / 12) / (total - between + n / 12)) : 0;
}

/* Returns the mean of n codes, rounded to the nearest code. */
static uint8_t centre_of(int32_t sum, uint32_t n, unsigned zero)
{
	int32_t half = (int32_t)n / 2, mean = n ? (sum >= 0 ? sum + half : sum - half) / (int32_t)n : 0;
	return (uint8_t)((unsigned)mean ^ zero);
}

int qs_find_centres(qs_centres *centres, const qs_chunk_desc *desc, const uint8_t *codes)
{
	uint32_t n_rows = qs_chunk_rows(desc), n = desc->n_elems, zero = middle(desc);
	uint32_t step = n_rows / SAMPLE_ROWS ? n_rows / SAMPLE_ROWS : 1;
	sums s = add_up(centres, desc, codes, step);
	double by_column = 0, of_columns = 0, by_row = 0, cost = 6.0 / n;
	if (desc->cols <= QS_CENTRES_MAX && n_rows >= LEAST_CODES) {
		for (uint64_t c = 0; c < desc->cols; c++)
			of_columns += (double)centres->sums[c] * centres->sums[c] / s.n_rows;
		by_column = gain(&s, of_columns, s.n_rows) - cost * (double)desc->cols;
	}
	if (n_rows <= QS_CENTRES_MAX && n_rows > 1 && s.n_elems / s.n_rows >= LEAST_CODES)
		by_row = gain(&s, s.rows, (double)s.n_elems / s.n_rows) - cost * n_rows;
	if (by_column < least_gain && by_row < least_gain)
		return 0;
	centres->by_row = by_row > by_column;
	centres->n = centres->by_row ? n_rows : (uint32_t)desc->cols;
	if (centres->by_row) {
		for (qs_row_slice slice = qs_first_row(desc); slice.count; slice = qs_next_row(desc, slice)) {
			int32_t sum = 0;
			for (uint32_t i = slice.begin; i < slice.begin + slice.count; i++)
				sum += (int8_t)(codes[i] ^ zero);
			centres->centre[slice.row] = centre_of(sum, slice.count, zero);
		}
		return 1;
	}
	add_up(centres, desc, codes, 1);
	for (uint32_t c = 0; c < centres->n; c++) {
		/* The chunk may begin and end within a row, so that some columns have one code less than others. */
		uint64_t first = desc->first_elem % desc->cols, end = (desc->first_elem + n) % desc->cols;
		uint32_t count = n_rows - (c < first) - (end && c >= end);
		centres->centre[c] = centre_of(centres->sums[c], count, zero);
	}
	return 1;
}

void qs_subtract_centres(const qs_centres *centres, const qs_chunk_desc *desc, const uint8_t *codes,
                         uint8_t *dst)
{
	for (qs_row_slice slice = qs_first_row(desc); slice.count; slice = qs_next_row(desc, slice)) {
		uint32_t column = slice.row ? 0 : (uint32_t)(desc->first_elem % desc->cols);
		for (uint32_t i = 0; i < slice.count; i++) {
			uint32_t at = centres->by_row ? slice.row : column + i;
			dst[slice.begin + i] = (uint8_t)(codes[slice.begin + i] - centres->centre[at]);
		}
	}
}

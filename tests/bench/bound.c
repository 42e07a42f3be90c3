#include "bound.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/factors.h"
#include "bench.h"

static double entropy(const uint64_t *counts, int n_symbols)
{
	double n = 0, bits = 0;
	for (int s = 0; s < n_symbols; s++)
		n += (double)counts[s];
	for (int s = 0; s < n_symbols; s++)
		if (counts[s])
			bits -= (double)counts[s] * log2((double)counts[s] / n);
	return bits;
}

double bound_bytes(const uint8_t *bytes, uint64_t n)
{
	uint64_t counts[256] = {0};
	for (uint64_t i = 0; i < n; i++)
		counts[bytes[i]]++;
	return entropy(counts, 256);
}

double bound_codes(const uint8_t *codes, uint64_t rows, uint64_t cols)
{
	enum { CLASSES = 64 };
	uint64_t(*counts)[256] = need(calloc(CLASSES, sizeof *counts));
	double bits = 0;
	for (uint64_t r = 0; r < rows; r++) {
		double sum = 0;
		for (uint64_t c = 0; c < cols; c++)
			sum += abs((int8_t)codes[r * cols + c]);
		/* The class of a row is its mean magnitude, rounded to a quarter of an octave. */
		long k = lround(4 * log2(sum / (double)cols + 0.01));
		k = k < 0 ? 0 : k >= CLASSES ? CLASSES - 1 : k;
		for (uint64_t c = 0; c < cols; c++)
			counts[k][codes[r * cols + c]]++;
	}
	for (int k = 0; k < CLASSES; k++)
		bits += entropy(counts[k], 256);
	free(counts);
	return bits;
}

static qs_cell_cache *cell_cache(uint32_t dtype, const qs_grid *grid)
{
	qs_cell_cache *cache = need(malloc(sizeof *cache));
	qs_cell_cache_init(cache, dtype, grid->rule, grid->codes_dtype);
	return cache;
}

void bound_indexes(const qs_chunk_desc *desc, uint8_t *indexes)
{
	qs_cell_cache *cache = cell_cache(QS_BF16, &desc->coarse_grid);
	qs_runs runs;
	qs_runs_begin(&runs, &desc->coarse_grid, desc->cols, desc->first_elem, desc->n_elems, QS_CODED_ROWS,
	              NULL);
	while (qs_runs_next(&runs)) {
		qs_step step;
		qs_grid_step(&desc->coarse_grid, runs.run.number, &step);
		int32_t zero = qs_cell_cache_get(cache, &step, 255)->zero;
		for (uint32_t i = runs.run.begin, end = i + runs.run.count; i < end; i++)
			indexes[i] = (uint8_t)(desc->coarse[i] - (zero == QS_ALL_ZERO ? step.zero : zero));
	}
	free(cache);
}

/* ---- Values in cells ---- */

/* Returns the spacing of the values around a magnitude, relative to the smallest spacing. */
static double width(uint32_t magnitude, unsigned mantissa_bits)
{
	uint32_t exponent = magnitude >> mantissa_bits;
	return ldexp(1, (int)(exponent ? exponent - 1 : 0));
}

static double interval_width(uint32_t first, uint32_t end, unsigned mantissa_bits)
{
	double sum = 0;
	while (first < end) {
		uint32_t next = ((first >> mantissa_bits) + 1) << mantissa_bits;
		next = next < end ? next : end;
		sum += (next - first) * width(first, mantissa_bits);
		first = next;
	}
	return sum;
}

/* A walk through a chunk, with the cells of the scale at hand. */
typedef struct walk {
	const qs_chunk_desc *desc;
	const qs_cell_table *table;
	uint32_t at; /* the number of the element in the chunk */
	unsigned mantissa_bits;
	int low, high; /* the least and the greatest code */
} walk;

static int has_code(const walk *w, int code)
{
	return code >= w->low && code <= w->high;
}

static qs_cell cell_of(const walk *w, uint8_t index)
{
	qs_cell cell = w->table->cells[index];
	if (w->desc->factors)
		qs_factor_cells(w->desc, w->at, (qs_cells){.table = w->table}, &index, 1, &cell);
	return cell;
}

/* Returns the bits that say which value of a code's cell this one is; -1 if it is not in that cell. */
static double place_bits(const walk *w, int code, uint16_t value)
{
	uint32_t magnitude = value & 0x7fff;
	int zero = w->table->zero;
	if (code == zero) {
		/* The cell of the zero point has values of both signs, up to where the cells of the neighbouring
		 * codes begin. If there is no such code, it goes on to the value. */
		uint32_t above = has_code(w, zero + 1) ? QS_CELL_FIRST(cell_of(w, 1)) & 0x7fffu : 0,
		         below = has_code(w, zero - 1) ? QS_CELL_FIRST(cell_of(w, 255)) & 0x7fffu : 0;
		if (magnitude >= (value & 0x8000 ? below : above)) {
			if (has_code(w, value & 0x8000 ? zero - 1 : zero + 1))
				return -1;
			*(value & 0x8000 ? &below : &above) = magnitude + 1;
		}
		return log2(interval_width(0, above, w->mantissa_bits) + interval_width(0, below, w->mantissa_bits)) -
		       log2(width(magnitude, w->mantissa_bits));
	}
	qs_cell cell = cell_of(w, (uint8_t)(code - zero));
	uint32_t first = QS_CELL_FIRST(cell) & 0x7fffu, end = first + QS_CELL_COUNT(cell);
	if ((QS_CELL_FIRST(cell) ^ value) & 0x8000 || magnitude < first || magnitude >= end)
		return -1;
	return log2(interval_width(first, end, w->mantissa_bits)) - log2(width(magnitude, w->mantissa_bits));
}

void bound_add_values(bound_values *values, const qs_chunk_desc *desc, const uint8_t *fine)
{
	const qs_grid *grid = &desc->coarse_grid;
	int is_signed = desc->coarse_dtype == QS_I8;
	uint32_t products = desc->factors ? desc->factors_dtype : desc->dtype;
	walk w = {.desc = desc,
	          .mantissa_bits = desc->dtype == QS_F16 ? 10 : 7,
	          .low = is_signed ? -128 : 0,
	          .high = is_signed ? 127 : (int)qs_rule_levels(grid->rule) - 1};
	qs_cell_cache *cache = cell_cache(products, grid);
	qs_runs runs;
	qs_runs_begin(&runs, grid, desc->cols, desc->first_elem, desc->n_elems, QS_CODED_ROWS, NULL);
	while (qs_runs_next(&runs)) {
		qs_step step;
		qs_grid_step(grid, runs.run.number, &step);
		w.table = qs_cell_cache_get(cache, &step, 255);
		for (uint32_t i = runs.run.begin, end = i + runs.run.count; i < end; i++) {
			uint16_t value = qs_load16(fine + 2 * (size_t)i), product = value;
			int given = is_signed ? (int8_t)desc->coarse[i] : desc->coarse[i], own = QS_NO_CODE;
			w.at = i;
			if (desc->factors)
				product = qs_factor_product(desc->dtype, products, value,
				                            qs_factor_value(products, qs_factors_at(desc, i)));
			double bits = w.table->zero == QS_ALL_ZERO ? -1 : place_bits(&w, given, value);
			if (bits >= 0) {
				own = given;
			} else if (w.table->zero != QS_ALL_ZERO) {
				own = qs_cell_code(products, grid->rule, &step, product);
				if (own != QS_NO_CODE)
					own = own < w.low ? w.low : own > w.high ? w.high : own;
				bits = own == QS_NO_CODE ? -1 : place_bits(&w, own, value);
			}
			values->missed[bits < 0 ? 256 : (own - given) & 255]++;
			if (bits >= 0 && own == w.table->zero) {
				values->zero_bits += bits;
				values->planes[0][value >> 7 & 255]++;
				values->planes[1][(value << 1 | value >> 15) & 255]++;
				continue;
			}
			/* Values without a cell take 16 bits; zeros take none, since whole rows of them cost nothing. */
			values->bits += bits >= 0 ? bits : value ? 16 : 0;
		}
	}
	free(cache);
}

double bound_of_values(const bound_values *values)
{
	double planes = entropy(values->planes[0], 256) + entropy(values->planes[1], 256);
	return values->bits + entropy(values->missed, 257) +
	       (planes < values->zero_bits ? planes : values->zero_bits);
}

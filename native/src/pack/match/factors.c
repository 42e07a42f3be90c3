/* Factors of columns: those under which the fewest codes differ from the rule's. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/factors.h"
#include "core/rules.h"
#include "rule.h"

#define ROWS_MIN 16u  /* fewer rows say little about a column */
#define ROWS_MAX 512u /* rows that are looked at */
#define NEIGHBOURS 8u /* rows that are read at once: packed words have codes of several rows */
#define COLS_MAX ((size_t)1 << 20)
#define SAMPLE_SIZE_MAX ((size_t)1 << 26) /* bytes of the values that are looked at */
/* Columns by which the rule is chosen. */
#define TRIED_COLUMNS ((size_t)64)
/* Factors are used when at most this share of the codes differs under them, and at most half as many as
 * without factors. */
#define DIFFERING_MAX 0.4
/* Factors that are tried at a time, on each side of the best one. */
#define TRIED 8

/* Some rows of a matrix, column by column: element (row, column) is number column * n_rows + row. */
typedef struct sample {
	size_t n_rows, cols;
	uint32_t dtype, codes_dtype, rule;
	uint16_t *values;
	uint8_t *codes;
	qs_step *steps; /* that of (group, row) is number group * n_rows + row */
	size_t group;   /* columns that share a step; 1 where columns have an order */
} sample;

static void free_sample(sample *s)
{
	free(s->values);
	free(s->codes);
	free(s->steps);
}

static qstore_status read_rows(pack_search *search, const pack_tensor *fine, const pack_tensor *codes,
                               uint64_t first, size_t n, uint8_t *values, uint8_t *row_codes,
                               qstore_error *error)
{
	/* Scratch memory is enough for a chunk at a time. */
	for (size_t done = 0, some; done < n; done += some) {
		some = n - done < QS_CHUNK_SIZE_MAX / 4 ? n - done : QS_CHUNK_SIZE_MAX / 4;
		qstore_status status =
		    pack_tensor_read(fine, values + 2 * done, 2 * some, 2 * (first + done), search->scratch, error);
		if (!status)
			status = pack_tensor_read(codes, row_codes + done, some, first + done, search->scratch, error);
		if (status)
			return status;
	}
	return QSTORE_OK;
}

static qstore_status read_sample_rows(pack_search *search, const pack_tensor *fine, const pack_tensor *codes,
                                      sample *s, qstore_error *error)
{
	uint64_t rows = pack_rows(fine);
	s->cols = (size_t)pack_cols(fine);
	s->n_rows = rows < ROWS_MAX ? (size_t)rows : ROWS_MAX;
	if (s->n_rows > SAMPLE_SIZE_MAX / 4 / s->cols)
		s->n_rows = SAMPLE_SIZE_MAX / 4 / s->cols;
	s->dtype = fine->dtype;
	s->codes_dtype = codes->dtype;
	s->rule = strstr(codes->coding.grid.scales->name, "SCB") ? QS_RULE_LLM_INT8 : QS_RULE_DIVIDE;
	s->group = codes->coding.grid.order             ? 1
	           : codes->coding.grid.group < s->cols ? codes->coding.grid.group
	                                                : s->cols;
	size_t n_groups = (s->cols + s->group - 1) / s->group;
	s->values = malloc(s->n_rows * s->cols * sizeof(*s->values));
	s->codes = malloc(s->n_rows * s->cols);
	s->steps = malloc(s->n_rows * n_groups * sizeof(*s->steps));
	uint8_t *values = malloc(2 * NEIGHBOURS * s->cols), *row_codes = malloc(NEIGHBOURS * s->cols);
	int ok = s->values && s->codes && s->steps && values && row_codes;
	qstore_status status = ok ? QSTORE_OK : qs_no_memory(error);
	for (size_t i = 0; i < s->n_rows && !status; i++) {
		size_t first_read = i / NEIGHBOURS * NEIGHBOURS, number = i - first_read,
		       n = s->n_rows - first_read < NEIGHBOURS ? s->n_rows - first_read : NEIGHBOURS;
		uint64_t row = first_read * rows / s->n_rows + number, first = row * s->cols;
		qs_grid grid;
		if (number == 0)
			status = read_rows(search, fine, codes, first, n * s->cols, values, row_codes, error);
		if (!status)
			status = pack_load_grid(&codes->coding.grid, codes->dtype, s->cols, first, s->cols, &search->grid,
			                        search->scratch, &grid, error);
		if (status)
			break;
		for (size_t c = 0; c < s->cols; c++) {
			s->values[c * s->n_rows + i] = qs_load16(values + 2 * (number * s->cols + c));
			s->codes[c * s->n_rows + i] = row_codes[number * s->cols + c];
		}
		qs_runs runs;
		qs_runs_begin(&runs, &grid, s->cols, first, (uint32_t)s->cols, QS_CODED_ROWS, NULL);
		while (qs_runs_next(&runs))
			for (uint32_t c = runs.run.begin; c < runs.run.begin + runs.run.count; c += (uint32_t)s->group)
				qs_grid_step(&grid, runs.run.number, &s->steps[c / s->group * s->n_rows + i]);
		if (!status)
			status = pack_check_cancelled(search->progress, error);
	}
	free(values);
	free(row_codes);
	return status;
}

static int given_code(const sample *s, size_t i)
{
	return s->codes_dtype == QS_I8 ? (int8_t)s->codes[i] : s->codes[i];
}

/* Counts the codes of a column that differ from those of its values multiplied by the factor. */
static size_t count_differing(const sample *s, size_t column, uint32_t factors_dtype, float factor)
{
	const qs_step *steps = s->steps + column / s->group * s->n_rows;
	size_t n = 0;
	for (size_t r = 0; r < s->n_rows; r++) {
		size_t i = column * s->n_rows + r;
		uint16_t product = qs_factor_product(s->dtype, factors_dtype, s->values[i], factor);
		n += qs_cell_code(factors_dtype, s->rule, &steps[r], product) != given_code(s, i);
	}
	return n;
}

/* Guesses a column's factor by least squares; *doubt: how far off it may be, as a share of it. False when
 * there is no such factor. */
static int guess_factor(const sample *s, size_t column, double *factor, double *doubt)
{
	const qs_step *steps = s->steps + column / s->group * s->n_rows;
	double products = 0, squares = 0, spread = 0;
	for (size_t r = 0; r < s->n_rows; r++) {
		size_t i = column * s->n_rows + r;
		double value = (double)qs_half_value(s->values[i], s->dtype),
		       step = (double)qs_rule_step(s->rule, steps[r].scale);
		if (!(value * value < 1e300) || !(step * step < 1e300))
			continue;
		products += value * (given_code(s, i) - steps[r].zero) * step;
		squares += value * value;
		spread += step * step / 12;
	}
	*factor = products / squares;
	if (!(*factor > 0x1p-100) || !(*factor < 0x1p100))
		return 0;
	*doubt = 4 * sqrt(spread / (double)s->n_rows / squares) / *factor;
	return 1;
}

static uint16_t pattern_of(double x, uint32_t dtype)
{
	uint32_t bits = qs_f32_bits(dtype == QS_F16 ? (float)x * 0x1p-112f : (float)x);
	return dtype == QS_F16 ? (uint16_t)((bits + 0x1000) >> 13) : (uint16_t)((bits + 0x8000) >> 16);
}

/* The bit pattern of the factor under which the fewest of a column's codes differ; *differing: how many. */
static uint16_t find_factor(const sample *s, size_t column, uint32_t factors_dtype, size_t *differing)
{
	double guess, doubt;
	uint32_t end = qs_rule_end(QS_RULE_DIVIDE, factors_dtype);
	uint16_t one = pattern_of(1, factors_dtype), best = one;
	*differing = count_differing(s, column, factors_dtype, 1.0f);
	if (*differing == 0 || !guess_factor(s, column, &guess, &doubt))
		return one;
	uint16_t from = pattern_of(guess, factors_dtype);
	/* The doubt in units in the last place: a factor has 2^7 to 2^8 of them in BF16, 2^10 to 2^11 in FP16. */
	double ulps = doubt * (factors_dtype == QS_F16 ? 2048 : 256);
	uint32_t stride = ulps > 4096 ? 4096 / TRIED : (uint32_t)(ulps / TRIED) + 1;
	for (;; stride = (stride + 3) / 4) {
		uint16_t centre = best == one ? from : best, before = best;
		for (int k = -TRIED; k <= TRIED; k++) {
			int64_t pattern = centre + k * (int64_t)stride;
			if (pattern <= 0 || pattern >= end || pattern == best)
				continue;
			size_t n = count_differing(s, column, factors_dtype,
			                           qs_magnitude_value((uint32_t)pattern, factors_dtype));
			if (n < *differing) {
				*differing = n;
				best = (uint16_t)pattern;
			}
		}
		if (stride == 1 && best == before)
			return best;
	}
}

/* Chooses s->rule and the type of products under which the fewest codes of some columns differ; *differing:
 * the share of codes that do. */
static void choose_rule(sample *s, uint32_t *factors_dtype, double *differing)
{
	static const uint32_t rules[] = {QS_RULE_DIVIDE, QS_RULE_DIVIDE_HALF, QS_RULE_MULTIPLY};
	uint32_t dtypes[] = {s->dtype, s->dtype == QS_F16 ? QS_BF16 : QS_F16}, best_rule = s->rule;
	size_t n = s->cols < TRIED_COLUMNS ? s->cols : TRIED_COLUMNS, least = SIZE_MAX;
	/* Absmax scales are 127 times as large as those of other rules, so that no other rule can fit. */
	int is_absmax = qs_rule_has_absmax(s->rule);
	for (size_t k = 0; k < (is_absmax ? 2 : 6) && least > 0; k++) {
		size_t total = 0;
		s->rule = is_absmax ? s->rule : rules[k / 2];
		for (size_t i = 0; i < n && total < least; i++) {
			size_t found;
			find_factor(s, i * s->cols / n, dtypes[k % 2], &found);
			total += found;
		}
		if (total < least) {
			least = total;
			best_rule = s->rule;
			*factors_dtype = dtypes[k % 2];
		}
	}
	s->rule = best_rule;
	*differing = (double)least / (double)(n * s->n_rows);
}

qstore_status pack_find_factors(pack_search *search, pack_tensor *fine, pack_tensor *codes, int *found,
                                qstore_error *error)
{
	sample s = {0};
	uint8_t *factors = NULL;
	*found = 0;
	if (!qs_rule_takes_factors(codes->coding.grid.rule) || pack_rows(fine) < ROWS_MIN ||
	    pack_cols(fine) > COLS_MAX || pack_n_elems(fine) % pack_cols(fine) != 0)
		return QSTORE_OK;
	qstore_status status = read_sample_rows(search, fine, codes, &s, error);
	if (!status && !(factors = malloc(2 * s.cols)))
		status = qs_no_memory(error);
	if (!status) {
		uint32_t dtype = s.dtype;
		double differing, plain = 0, total = (double)s.n_rows * (double)s.cols;
		for (size_t c = 0; c < s.cols; c++)
			plain += (double)count_differing(&s, c, s.dtype, 1.0f);
		choose_rule(&s, &dtype, &differing);
		*found = differing <= DIFFERING_MAX && differing <= plain / total / 2;
		for (size_t c = 0; c < s.cols && *found; c++) {
			size_t n;
			qs_store16(factors + 2 * c, find_factor(&s, c, dtype, &n));
		}
		if (*found) {
			codes->coding.grid.rule = s.rule;
			status =
			    pack_derive_copy(search->derived, fine, dtype, factors, s.cols, &fine->coding.factors, error);
		}
	}
	free_sample(&s);
	free(factors);
	return status;
}

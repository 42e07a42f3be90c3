#include "codes.h"

#include <stdlib.h>

#include "writer.h"

void gen_codes_init(gen_codes *codes, const gen_matrix *matrix, const gen_rounding *rounding, int per,
                    size_t group_size)
{
	size_t cols = matrix->cols;
	group_size = per == GEN_PER_COLUMN ? 1 : per == GEN_PER_GROUP && group_size ? group_size : cols;
	*codes = (gen_codes){.rounding = *rounding, .rows = matrix->rows, .cols = cols};
	codes->per_row = per == GEN_PER_ROW || per == GEN_PER_GROUP;
	codes->n_groups = (cols + group_size - 1) / group_size;
	codes->codes = gen_allocate(codes->rows * cols * sizeof *codes->codes);
	codes->groups = gen_allocate(cols * sizeof *codes->groups);
	codes->params =
	    gen_allocate((codes->per_row ? codes->rows : 1) * codes->n_groups * sizeof *codes->params);
	for (size_t c = 0; c < cols; c++)
		codes->groups[c] = (uint32_t)(c / group_size);
}

void gen_codes_free(gen_codes *codes)
{
	free(codes->codes);
	free(codes->groups);
	free(codes->params);
}

void gen_codes_find_params(gen_codes *codes, const gen_matrix *matrix)
{
	typedef struct range {
		float min, max;
		int any;
	} range;
	size_t n_params = (codes->per_row ? codes->rows : 1) * codes->n_groups;
	range *ranges = gen_allocate(n_params * sizeof *ranges);
	for (size_t r = 0; r < codes->rows; r++)
		for (size_t c = 0; c < codes->cols; c++) {
			float value = matrix->values[r * codes->cols + c];
			range *of = &ranges[gen_codes_params(codes, r, c) - codes->params];
			of->min = of->any && of->min < value ? of->min : value;
			of->max = of->any && of->max > value ? of->max : value;
			of->any = 1;
		}
	for (size_t i = 0; i < n_params; i++)
		codes->params[i] = gen_find_params(&codes->rounding, ranges[i].min, ranges[i].max);
	free(ranges);
}

void gen_codes_round(gen_codes *codes, const gen_matrix *matrix)
{
	for (size_t r = 0; r < codes->rows; r++)
		for (size_t c = 0; c < codes->cols; c++) {
			size_t i = r * codes->cols + c;
			codes->codes[i] =
			    (int16_t)gen_round(&codes->rounding, gen_codes_params(codes, r, c), matrix->values[i]);
		}
}

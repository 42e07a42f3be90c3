/* A matrix, and codes that are made of it. */
#ifndef GENERATE_CODES_H
#define GENERATE_CODES_H

#include <stddef.h>

#include "rounding.h"

typedef struct gen_matrix {
	const char *name; /* of the tensor */
	uint32_t dtype;
	size_t rows, cols; /* outputs, inputs */
	float *values;     /* rows × cols */
} gen_matrix;

typedef struct gen_codes {
	gen_rounding rounding;
	size_t rows, cols;
	int16_t *codes;     /* rows × cols */
	int per_row;        /* each row has parameters of its own */
	size_t n_groups;    /* groups of columns */
	uint32_t *groups;   /* the group of each column */
	gen_params *params; /* (per_row ? rows : 1) × n_groups */
} gen_codes;

/* The elements that share a scale. */
enum { GEN_PER_ROW, GEN_PER_GROUP, GEN_PER_COLUMN, GEN_PER_TENSOR };

/* Allocates codes and parameters; free them with gen_codes_free. With GEN_PER_GROUP, groups have group_size
 * columns; the last one may have fewer. */
void gen_codes_init(gen_codes *codes, const gen_matrix *matrix, const gen_rounding *rounding, int per,
                    size_t group_size);
void gen_codes_free(gen_codes *codes);

static inline gen_params *gen_codes_params(const gen_codes *codes, size_t row, size_t col)
{
	return &codes->params[(codes->per_row ? row * codes->n_groups : 0) + codes->groups[col]];
}

/* Finds the parameters by the matrix's own values. */
void gen_codes_find_params(gen_codes *codes, const gen_matrix *matrix);

/* Makes the codes by plain rounding, with the parameters that were found. */
void gen_codes_round(gen_codes *codes, const gen_matrix *matrix);

#endif

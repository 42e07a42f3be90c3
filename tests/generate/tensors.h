/* Making models tensor by tensor in memory: with odd shapes or names, padded, transposed or sliced. Any
 * failure ends the program. */
#ifndef GENERATE_TENSORS_H
#define GENERATE_TENSORS_H

#include <stddef.h>
#include <stdint.h>

/* A matrix of weights. */
typedef struct gen_matrix {
	uint64_t rows, cols;
	uint32_t dtype; /* BF16, F16 or F32 */
	uint8_t *data;
} gen_matrix;

/* Makes weights like those of a layer, whose rows differ in spread. Equal arguments give equal weights. */
gen_matrix gen_weights(uint64_t seed, uint32_t dtype, uint64_t rows, uint64_t cols);
/* These make copies: resized to rows × cols, elements beyond the matrix being `fill`; transposed; with the
 * rows of b below those of a; cast. */
gen_matrix gen_resized(const gen_matrix *m, uint64_t rows, uint64_t cols, float fill);
gen_matrix gen_transposed(const gen_matrix *m);
gen_matrix gen_stacked(const gen_matrix *a, const gen_matrix *b);
gen_matrix gen_cast(const gen_matrix *m, uint32_t dtype);
/* Makes a copy with normal noise of this standard deviation added to each value. */
gen_matrix gen_noisy(const gen_matrix *m, uint64_t seed, double deviation);
void gen_matrix_free(gen_matrix *m);

/* A safetensors file that is being made; zeroed at first. */
typedef struct gen_tensors {
	struct gen_tensors_entry *entries;
	size_t n;
} gen_tensors;

/* Appends a tensor of up to 4 dims. */
void gen_add(gen_tensors *t, const char *name, uint32_t dtype, uint32_t n_dims, const uint64_t *dims,
             const void *data);
void gen_add_matrix(gen_tensors *t, const char *name, const gen_matrix *m);

/* How codes of a matrix are stored. */
typedef enum gen_scheme {
	GEN_SCHEME_LLM_INT8,   /* "NAME.weight", "NAME.SCB" in F32 */
	GEN_SCHEME_DIVIDE,     /* "NAME.weight", "NAME.weight_scale" in F32, [rows, 1] */
	GEN_SCHEME_DIVIDE_F64, /* as DIVIDE, with scales in F64 */
	GEN_SCHEME_TRANSPOSED, /* "NAME.weight" [cols, rows], "NAME.weight_scales" in F32 */
	GEN_SCHEME_QUANTO      /* "NAME.weight._data", "NAME.weight._scale" in F32 */
} gen_scheme;

/* Appends the INT8 codes of a matrix and their scales, one a row. name: without ".weight". */
void gen_add_int8(gen_tensors *t, const char *name, const gen_matrix *m, gen_scheme scheme);
/* Makes the rows × cols codes and the scales without a tensor, for tensors with other dims. */
void gen_int8_codes(const gen_matrix *m, gen_scheme scheme, int8_t *codes, float *scales);

/* Writes the file at path, and frees all of *t. */
void gen_write_tensors(gen_tensors *t, const char *path);

#endif

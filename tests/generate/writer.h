/* Writing model folders: safetensors files row by row, their INT8 versions, and small files. Any failure ends
 * the program. */
#ifndef GENERATE_WRITER_H
#define GENERATE_WRITER_H

#include <stddef.h>
#include <stdint.h>

#include "core/index.h"
#include "rounding.h"

typedef struct gen_tensor gen_tensor;

/* Writes row `row` of the tensor (its innermost `cols` elements) into dst. */
typedef void gen_row(void *context, const gen_tensor *tensor, uint64_t row, uint8_t *dst);

struct gen_tensor {
	char name[120];
	uint32_t dtype, n_dims;
	uint64_t dims[4];
	const uint8_t *data; /* all bytes; NULL: gen_row is asked for rows */
	int nature;          /* a number for gen_row */
	uint32_t shard;
};

uint64_t gen_tensor_elems(const gen_tensor *tensor);
uint64_t gen_tensor_size(const gen_tensor *tensor); /* bytes */
uint64_t gen_tensor_cols(const gen_tensor *tensor); /* the innermost dimension, 1 for a scalar */

__attribute__((noreturn, format(printf, 1, 2))) void gen_die(const char *format, ...);
void *gen_allocate(size_t size); /* zeroed, never NULL */

void gen_make_folder(const char *path); /* with those above it */
void gen_write_text(const char *folder, const char *name, const char *text, size_t text_size);

typedef struct gen_files {
	const char *high, *low; /* folders; low may be NULL */
	const char *cast;       /* folder of a copy in cast_dtype (QS_BF16 or QS_F16), for F32; or NULL */
	uint32_t cast_dtype;
	/* A rule of rounding.h. Each has its own tensors for a linear weight: LLM_INT8 X.weight, X.SCB,
	 * X.weight_format; DIVIDE X.weight, X.weight.scale; MULTIPLY X.weight, X.scale; COMPRESSED_TENSORS
	 * X.weight, X.weight_scale. */
	int low_rule;
	int per_tensor;    /* one scale for all rows; not for LLM.int8 */
	uint32_t n_shards; /* tensors have the number of their shard; one shard has no index file */
	gen_row *row;
	void *context;
} gen_files;

/* Writes model.safetensors, or the shards and their index, into both folders. In the low one, a tensor that
 * LLM.int8 quantizes becomes X.weight, X.SCB and X.weight_format, if its values are finite. Within a file
 * tensors are sorted by name. */
void gen_write_weights(const gen_files *files, gen_tensor *tensors, size_t n_tensors);

#endif

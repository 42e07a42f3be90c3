/* A model's 16-bit weights, with the INT8 codes that LLM.int8 makes of them, in chunks like those of
 * archives. */
#ifndef BENCH_CHUNKS_H
#define BENCH_CHUNKS_H

#include "core/chunk.h"
#include "formats/model.h"
#include "bench.h"

typedef struct chunk {
	uint32_t n;
	uint64_t cols, first; /* first: the number of the first element in its tensor */
	size_t at;            /* elements of the batch before this chunk */
	size_t n_rows;
	uint8_t *codes, *values, *scales; /* 1 and 2 bytes an element, 4 bytes a row */
} chunk;

/* As many chunks of a model as fit into memory. */
typedef struct batch {
	chunk *chunks;
	size_t n_chunks, cap;
	uint64_t n_weights, n_rows;
	uint32_t dtype;
} batch;

typedef struct chunk_source {
	qs_model model;
	const char *path;
	int to_fp16;                      /* cast BF16 to FP16 */
	uint64_t left;                    /* weights to take at most */
	size_t file, tensor;              /* the next tensor */
	uint64_t row;                     /* its next row */
	double bound_codes, bound_values; /* bits of all batches so far */
} chunk_source;

void chunks_open(chunk_source *source, const char *path, int to_fp16, uint64_t max_weights);

/* Fills the batch with about max_weights weights; returns 0 if there are no more. Free it with
 * chunks_free. */
int chunks_next(chunk_source *source, batch *b, uint64_t max_weights);
void chunks_free(batch *b);
void chunks_close(chunk_source *source);

typedef enum coded_as { AS_CODES, AS_RANKS, AS_PLAIN } coded_as;

/* Returns the description that the codec takes. coarse: the chunk's codes, for AS_RANKS. */
qs_chunk_desc chunk_describe(uint32_t dtype, const chunk *c, coded_as as, const uint8_t *coarse);

#endif

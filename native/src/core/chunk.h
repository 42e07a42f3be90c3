/* Decoding of one chunk: independent, at most QS_CHUNK_SIZE_MAX bytes decoded (FORMAT.md, "Chunks").
 *
 * No allocation, no globals, no I/O; every read and write is bounded by the sizes given. */
#ifndef QS_CHUNK_H
#define QS_CHUNK_H

#include <stddef.h>
#include <stdint.h>

#include "checksum.h"
#include "grid.h"
#include "status.h"

/* The index's description of a chunk, and the data that it is decoded with. */
typedef struct qs_chunk_desc {
	uint32_t kind, dtype;  /* of the object */
	uint32_t n_elems;      /* elements in this chunk */
	uint64_t cols;         /* row length of the object, in elements, at least 1 */
	uint64_t first_elem;   /* index in the object of the chunk's first element */
	const uint8_t *coarse; /* REFINE and CODES: the n_elems codes of the same elements; DELTA: their coarser
	                          values; else NULL */
	uint32_t coarse_dtype; /* of these */
	qs_grid coarse_grid;   /* REFINE and CODES with `coarse`: of the codes there */
	qs_grid grid;          /* CODES with `coarse`: of its own codes */
	/* REFINE: a factor for each of the `cols` columns (factors.h), 2 bytes each, little-endian, and their
	 * dtype; or NULL. */
	const uint8_t *factors;
	uint32_t factors_dtype;
} qs_chunk_desc;

/* Bytes of scratch memory that decoding needs, whatever the chunk; 64-byte aligned memory is fastest. */
size_t qs_chunk_workspace_size(void);

/* Prepares that memory, once before its first use. Tables that one chunk has made are used by later ones. */
void qs_chunk_workspace_init(void *work);

/* Decodes src (exactly one chunk) into dst (exactly n_elems elements).
 * USAGE: desc makes no sense; MEMORY: work_size too small; CORRUPT: anything wrong in src. On success src was
 * consumed exactly and dst filled exactly. dst must not overlap src, coarse or work. */
qstore_status qs_chunk_decode(const qs_chunk_desc *desc, const uint8_t *src, size_t src_size, uint8_t *dst,
                              size_t dst_size, void *work, size_t work_size);

/* Sets *types to the types of the symbol blocks (facts.h) of the chunk that was decoded last with this
 * memory, in order, and returns their number. For those who debug. */
uint32_t qs_chunk_block_types(void *work, size_t work_size, const uint8_t **types);

#endif

/* Decoding of one chunk (FORMAT.md, "Chunks"). Chunks are independent of each other, and have at most
 * QS_CHUNK_SIZE_MAX decoded bytes.
 *
 * There is no allocation, no global data and no I/O; every read and write is bounded by the given sizes. */
#ifndef QS_CHUNK_H
#define QS_CHUNK_H

#include <stddef.h>
#include <stdint.h>

#include "checksum.h"
#include "grid.h"
#include "status.h"

/* The index's description of a chunk, and the data that it is decoded with. */
typedef struct qs_chunk_desc {
	uint32_t kind, dtype; /* of the object */
	uint32_t n_elems;     /* elements in this chunk */
	uint64_t cols;        /* row length of the object, in elements, at least 1 */
	uint64_t first_elem;  /* index in the object of the chunk's first element */
	/* The n_elems decoded elements that the chunk builds on. REFINE: the codes of the same elements. CODES:
	 * coarser codes, or NULL. DELTA: coarser values. NULL for other kinds. */
	const uint8_t *coarse;
	uint32_t coarse_dtype; /* of these elements */
	qs_grid coarse_grid;   /* REFINE, and CODES with `coarse`: the grid of the codes in `coarse` */
	qs_grid grid;          /* CODES with `coarse`: the grid of its own codes */
	/* REFINE: a column factor for each of the `cols` columns (factors.h), 2 bytes each, little-endian; or
	 * NULL. */
	const uint8_t *factors;
	uint32_t factors_dtype;
} qs_chunk_desc;

/* Returns the bytes of scratch memory that decoding any chunk needs. Memory that is 64-byte aligned is
 * fastest. */
size_t qs_chunk_workspace_size(void);

/* Makes the scratch memory ready; call it once, before its first use. Later chunks use tables that earlier
 * ones have made. */
void qs_chunk_workspace_init(void *work);

/* Decodes src (exactly one chunk) into dst (exactly n_elems elements). Returns USAGE if desc makes no sense,
 * MEMORY if work_size is too small, CORRUPT if anything is wrong in src. On success, src was consumed exactly
 * and dst filled exactly. dst must not overlap src, coarse or work. */
qstore_status qs_chunk_decode(const qs_chunk_desc *desc, const uint8_t *src, size_t src_size, uint8_t *dst,
                              size_t dst_size, void *work, size_t work_size);

/* Sets *types to the types of the symbol blocks (facts.h) of the chunk that was decoded last with this
 * scratch memory, in order, and returns their number. This is for debugging. */
uint32_t qs_chunk_block_types(void *work, size_t work_size, const uint8_t **types);

#endif

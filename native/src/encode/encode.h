/* Encoding of one chunk, the inverse of core/chunk.h. Threads share nothing: each has an encoder of its own.
 */
#ifndef QS_ENCODE_H
#define QS_ENCODE_H

#include "core/chunk.h"

/* Allocates the scratch memory of one encoding thread, which the caller owns; NULL if memory is out. */
typedef struct qs_encoder qs_encoder;
qs_encoder *qs_encoder_create(void);
void qs_encoder_destroy(qs_encoder *encoder);

/* Returns the largest coded size, in bytes, of any chunk of src_size decoded bytes. */
size_t qs_chunk_bound(size_t src_size);

typedef struct qs_chunk_stats {
	uint32_t n_exceptions; /* REFINE: elements outside the cell of their code */
	uint32_t mode;         /* the coded chunk's first byte (FORMAT.md, "Chunks") */
} qs_chunk_stats;

/* Encodes src (desc->n_elems elements) into dst, in the smallest of the ways that apply. The decoder must be
 * given the same desc: the same `coarse` elements, grids and factors. dst_cap must be at least
 * qs_chunk_bound(src_size). stats may be NULL. The result depends on nothing but desc and src. */
qstore_status qs_chunk_encode(qs_encoder *encoder, const qs_chunk_desc *desc, const uint8_t *src,
                              size_t src_size, uint8_t *dst, size_t dst_cap, size_t *dst_size,
                              qs_chunk_stats *stats);

#endif

/* The decoder's scratch memory: one piece of memory, which the caller provides, divided into arrays. */
#ifndef QS_WORKSPACE_H
#define QS_WORKSPACE_H

#include "bytes.h"
#include "cells.h"
#include "chunk.h"

typedef struct qs_workspace {
	uint8_t *tables; /* qs_symbols_workspace_size() */
	qs_cell_cache *cells;
	uint8_t
	    *scratch; /* QS_CHUNK_SIZE_MAX + QS_ESCAPES_SLACK: planes, one class of rows, or values of index 0 */
	uint8_t *codes;    /* QS_CHUNK_SIZE_MAX / 2: codes that a residual has changed */
	uint8_t *indexes;  /* QS_CHUNK_SIZE_MAX / 2: cell indexes, in coded order */
	uint8_t *values;   /* QS_CHUNK_SIZE_MAX: in coded order */
	uint16_t *columns; /* QS_GROUPS_COLS_MAX */
	uint8_t *shifts;   /* QS_SHIFTS_MAX */
	uint8_t *zstd;
	size_t zstd_size;
} qs_workspace;

size_t qs_workspace_bytes(void);

/* Divides the memory into arrays; returns 0 if it is too small. */
int qs_workspace_open(qs_workspace *w, void *work, size_t work_size);

/* Decodes n_blocks symbol blocks of n bytes each into dst. */
qstore_status qs_decode_blocks(qs_reader *r, unsigned n_blocks, size_t n, uint8_t *dst,
                               const qs_workspace *w);

/* Decode a chunk of mode RANKS, behind its mode byte (FORMAT.md, "Ranks"). */
qstore_status qs_decode_ranks(qs_reader *r, const qs_chunk_desc *desc, uint8_t *dst, const qs_workspace *w);

/* Returns the order in which a chunk's ranks are coded. */
qs_coded_order qs_chunk_order(const qs_chunk_desc *desc);

/* Predicts n_elems codes from coarser codes (FORMAT.md, "Recoded codes"). */
void qs_predict_codes(const qs_chunk_desc *desc, uint8_t *dst);

#endif

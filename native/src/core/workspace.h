/* The decoder's scratch memory: one block, which the caller provides. */
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
	uint8_t *indexes;  /* QS_CHUNK_SIZE_MAX / 2: of cells, in coded order */
	uint8_t *values;   /* QS_CHUNK_SIZE_MAX: in coded order */
	uint16_t *columns; /* QS_GROUPS_COLS_MAX */
	uint8_t *shifts;   /* QS_SHIFTS_MAX */
	uint8_t *zstd;
	size_t zstd_size;
} qs_workspace;

size_t qs_workspace_bytes(void);

/* Divides the memory; returns 0 when it is too small. */
int qs_workspace_open(qs_workspace *w, void *work, size_t work_size);

/* Decodes n_blocks symbol blocks of n bytes each into dst. */
qstore_status qs_decode_blocks(qs_reader *r, unsigned n_blocks, size_t n, uint8_t *dst,
                               const qs_workspace *w);

/* The bodies of these modes (FORMAT.md, "Ranks" and "Recoded codes"). */
qstore_status qs_decode_ranks(qs_reader *r, const qs_chunk_desc *desc, uint8_t *dst, const qs_workspace *w);

/* The order in which a chunk's ranks are coded. */
qs_coded_order qs_chunk_order(const qs_chunk_desc *desc);

/* Predicts n_elems codes from the coarser ones. */
void qs_predict_codes(const qs_chunk_desc *desc, uint8_t *dst);

#endif

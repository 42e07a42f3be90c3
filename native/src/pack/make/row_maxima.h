/* The scales of LLM.int8: the largest magnitude of each row. */
#ifndef QS_PACK_ROW_MAXIMA_H
#define QS_PACK_ROW_MAXIMA_H

#include "pack/input/input.h"

/* A tensor of HIGH that is to be quantized. */
typedef struct pack_quantized {
	pack_tensor *fine;
	uint64_t cols, chunk_elems, first_job;
	uint64_t scales_offset; /* of its rows' maxima, singles, in the spool */
	int is_finite;
} pack_quantized;

typedef struct pack_candidates {
	pack_spool *spool;
	pack_progress *progress;
	pack_quantized *items;
	size_t n;
	float row; /* maximum so far of a row that spans chunks */
} pack_candidates;

/* Writes the row maxima of all candidates into the spool, and drops candidates that have infinities or NaN.
 */
qstore_status pack_find_row_maxima(pack_candidates *candidates, qstore_error *error);

#endif

/* Writing chunks of mode RANKS, the inverse of core/ranks.h. */
#ifndef QS_RANKS_ENCODE_H
#define QS_RANKS_ENCODE_H

#include "core/cells.h"
#include "core/mode.h"
#include "symbols_encode.h"

/* Scratch memory for one chunk. */
typedef struct qs_ranks_scratch {
	qs_cell_cache cells;
	uint8_t planes[QS_CHUNK_SIZE_MAX]; /* of escaped values */
	uint8_t symbols[QS_CHUNK_SIZE_MAX / 2];
	uint8_t codes[QS_CHUNK_SIZE_MAX / 2], residual[QS_CHUNK_SIZE_MAX / 2], indexes[QS_CHUNK_SIZE_MAX / 2],
	    outside[QS_CHUNK_SIZE_MAX / 2];
	uint8_t values[QS_CHUNK_SIZE_MAX]; /* in coded order */
	uint16_t columns[QS_GROUPS_COLS_MAX];
	uint32_t counts[QS_GROUPS_COLS_MAX];
	uint8_t shifts[QS_SHIFTS_MAX]; /* one for each run */
	uint8_t exceptions[QS_CHUNK_SIZE_MAX];
	uint16_t rank[QS_CHUNK_SIZE_MAX / 2], f[QS_CHUNK_SIZE_MAX / 2]; /* one for each element */
	_Alignas(2) uint8_t units[2 * QS_CHUNK_SIZE_MAX];
} qs_ranks_scratch;

/* Writes the chunk, mode byte first. Sets w->bad if it does not fit, or if it has so many exceptions that
 * another mode is better. shared: borders are shared (FORMAT.md, "Ranks"), for codes that were made of finer
 * values than src; only symmetric rules allow that. */
void qs_ranks_encode(qs_writer *w, const qs_chunk_desc *desc, const uint8_t *src, int shared,
                     qs_ranks_scratch *scratch, uint32_t *n_exceptions);

#endif

#include "ranks_encode.h"

#include "../core/planes.h"
#include "../core/ranks.h"

/* A chunk with more exceptions than this share of its elements is better coded plainly. */
enum { EXCEPTIONS_SHARE = 8 };

typedef struct lanes {
	uint32_t state[QS_LANES_MAX];
	uint8_t *at, *begin; /* units are written towards the front */
	int bad;
} lanes;

static inline void put_rank(lanes *l, unsigned lane, uint32_t f, uint32_t rank)
{
	uint32_t state = l->state[lane];
	if (state >> 16 >= f) {
		if (l->at - l->begin < 2) {
			l->bad = 1;
			return;
		}
		l->at -= 2;
		qs_store16(l->at, (uint16_t)state);
		state >>= 16;
	}
	l->state[lane] = (state / f) << 16 | (rank * f + state % f);
}

/* Rank of a value in the cell of its code; an exception has rank 0. */
static inline uint32_t rank_of(const uint8_t *src, qs_cell cell, int *outside)
{
	uint32_t rank = (uint16_t)(qs_load16(src) - QS_CELL_FIRST(cell));
	*outside = rank >= QS_CELL_COUNT(cell);
	return *outside ? 0 : rank;
}

void qs_ranks_encode(qs_writer *w, const qs_chunk_desc *desc, const uint8_t *src, qs_ranks_scratch *scratch,
                     uint32_t *n_exceptions)
{
	uint32_t n_rows = qs_chunk_rows(desc), n = desc->n_elems, zeros = 0;
	/* 32 lanes pay when their states are small beside the chunk and rows fill them. */
	unsigned n_lanes = n >= 1 << 15 && desc->cols >= 2 * QS_LANES_MAX ? QS_LANES_MAX : QS_LANES_MIN;
	lanes l = {.begin = scratch->units, .at = scratch->units + sizeof scratch->units};
	uint8_t *units_end = l.at;
	for (unsigned lane = 0; lane < n_lanes; lane++)
		l.state[lane] = QS_LANE_START;

	/* Exceptions are found front to back, ranks are coded back to front. */
	uint8_t *list = scratch->exceptions;
	qs_writer e = {list, list + sizeof scratch->exceptions, 0};
	uint32_t count = 0, next = 0;
	qs_cell_cache_init(&scratch->cells, desc->dtype, desc->rule);
	for (uint32_t row = 0; row < n_rows; row++) {
		qs_row_part part = qs_chunk_row(desc, row);
		const qs_cell *cells = qs_cell_cache_get(&scratch->cells, qs_load_f32(desc->scales + 4 * (size_t)row));
		for (uint32_t i = part.begin; i < part.begin + part.count; i++) {
			uint8_t code = desc->coarse[i];
			int outside;
			if (!code) {
				zeros++;
				continue;
			}
			(void)rank_of(src + 2 * (size_t)i, cells[code], &outside);
			if (outside) {
				qs_write_varint(&e, i - next);
				qs_write_bytes(&e, src + 2 * (size_t)i, 2);
				next = i + 1;
				count++;
			}
		}
	}
	*n_exceptions = count;
	if (count > n / EXCEPTIONS_SHARE) {
		w->bad = 1;
		return;
	}
	qs_write8(w, QS_MODE_RANKS);
	qs_write8(w, (uint8_t)((n_lanes == QS_LANES_MAX ? QS_RANKS_WIDE : 0) | (count ? QS_RANKS_EXCEPTIONS : 0)));
	if (count) {
		uint8_t head[5];
		qs_writer h = {head, head + sizeof head, 0};
		qs_write_varint(&h, count);
		qs_write_varint(w, (uint32_t)(h.at - head) + (uint32_t)(e.at - list));
		qs_write_bytes(w, head, (size_t)(h.at - head));
		qs_write_bytes(w, list, (size_t)(e.at - list));
	}
	if (zeros) {
		uint8_t *high = scratch->planes, *low = high + zeros;
		for (uint32_t i = 0; i < n; i++)
			if (!desc->coarse[i]) {
				uint32_t v = qs_load16(src + 2 * (size_t)i);
				*high++ = (uint8_t)(v >> 7);
				*low++ = (uint8_t)(v << 1 | v >> 15);
			}
		for (int b = 0; b < 2; b++) {
			uint32_t counts[256];
			qs_block_plan plan;
			qs_histogram(scratch->planes + (size_t)b * zeros, zeros, counts);
			qs_symbols_plan(counts, zeros, &plan);
			qs_symbols_write(w, scratch->planes + (size_t)b * zeros, zeros, &plan, scratch->symbols);
		}
	}
	for (uint32_t row = n_rows; row-- > 0;) {
		qs_row_part part = qs_chunk_row(desc, row);
		const qs_cell *cells = qs_cell_cache_get(&scratch->cells, qs_load_f32(desc->scales + 4 * (size_t)row));
		uint32_t padded = (part.count + n_lanes - 1) & ~(n_lanes - 1);
		for (uint32_t i = padded; i-- > part.count;)
			put_rank(&l, i & (n_lanes - 1), QS_CELL_F(cells[0]), 0);
		for (uint32_t i = part.count; i-- > 0;) {
			qs_cell cell = cells[desc->coarse[part.begin + i]];
			int outside;
			uint32_t rank = rank_of(src + 2 * ((size_t)part.begin + i), cell, &outside);
			put_rank(&l, i & (n_lanes - 1), QS_CELL_F(cell), rank);
		}
	}
	for (unsigned lane = 0; lane < n_lanes; lane++) {
		uint8_t state[4];
		qs_store32(state, l.state[lane]);
		qs_write_bytes(w, state, 4);
	}
	qs_write_bytes(w, l.at, (size_t)(units_end - l.at));
	w->bad |= l.bad | e.bad;
}

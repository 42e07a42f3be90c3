#include "ranks_encode.h"

#include "../core/planes.h"
#include "../core/ranks.h"

static const uint32_t padding_f = 65535; /* of a cell of one value */

/* A chunk with more exceptions than this share of its elements is better coded plainly. */
enum { EXCEPTIONS_SHARE = 8 };

typedef struct lanes {
	uint32_t state[QS_LANES_MAX];
	uint8_t *at; /* units are written towards the front */
} lanes;

/* No branch: whether a unit is due is as good as random. */
static inline void put_rank(lanes *l, unsigned lane, uint32_t f, uint32_t rank)
{
	uint32_t state = l->state[lane], due = state >> 16 >= f;
	qs_store16(l->at - 2, (uint16_t)state);
	l->at -= 2 * due;
	state >>= 16 * due;
	uint32_t quotient = state / f;
	l->state[lane] = (quotient << 16) + rank * f + (state - quotient * f);
}

void qs_ranks_encode(qs_writer *w, const qs_chunk_desc *desc, const uint8_t *src, qs_ranks_scratch *scratch,
                     uint32_t *n_exceptions)
{
	uint32_t n_rows = qs_chunk_rows(desc), n = desc->n_elems, zeros = 0;
	/* 32 lanes pay when their states are small beside the chunk and rows fill them. */
	unsigned n_lanes = n >= 1 << 15 && desc->cols >= 2 * QS_LANES_MAX ? QS_LANES_MAX : QS_LANES_MIN;
	/* Front to back: each element's rank and F, and the exceptions, whose rank is 0. */
	uint8_t *list = scratch->exceptions;
	qs_writer e = {list, list + sizeof scratch->exceptions, 0};
	uint32_t count = 0, next = 0;
	qs_cell_cache_init(&scratch->cells, desc->dtype, desc->rule);
	for (uint32_t row = 0; row < n_rows; row++) {
		qs_row_part part = qs_chunk_row(desc, row);
		const qs_cell *cells = qs_cell_cache_get(&scratch->cells, qs_load_f32(desc->scales + 4 * (size_t)row));
		for (uint32_t i = part.begin; i < part.begin + part.count; i++) {
			uint8_t code = desc->coarse[i];
			qs_cell cell = cells[code];
			uint32_t rank = (uint16_t)(qs_load16(src + 2 * (size_t)i) - QS_CELL_FIRST(cell));
			zeros += code == 0;
			if (code != 0 && rank >= QS_CELL_COUNT(cell)) {
				qs_write_varint(&e, i - next);
				qs_write_bytes(&e, src + 2 * (size_t)i, 2);
				next = i + 1;
				count++;
			}
			scratch->rank[i] = rank < QS_CELL_COUNT(cell) ? (uint16_t)rank : 0;
			scratch->f[i] = (uint16_t)QS_CELL_F(cell);
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
	/* Back to front: the decoder reads the last unit written first. */
	uint8_t *units_end = scratch->units + sizeof scratch->units;
	lanes l = {.at = units_end};
	for (unsigned lane = 0; lane < n_lanes; lane++)
		l.state[lane] = QS_LANE_START;
	for (uint32_t row = n_rows; row-- > 0;) {
		qs_row_part part = qs_chunk_row(desc, row);
		uint32_t padded = (part.count + n_lanes - 1) & ~(n_lanes - 1);
		if ((size_t)(l.at - scratch->units) < 2 * (size_t)padded + 2) {
			w->bad = 1;
			return;
		}
		for (uint32_t i = padded; i-- > part.count;)
			put_rank(&l, i & (n_lanes - 1), padding_f, 0);
		for (uint32_t i = part.count; i-- > 0;)
			put_rank(&l, i & (n_lanes - 1), scratch->f[part.begin + i], scratch->rank[part.begin + i]);
	}
	for (unsigned lane = 0; lane < n_lanes; lane++) {
		uint8_t state[4];
		qs_store32(state, l.state[lane]);
		qs_write_bytes(w, state, 4);
	}
	qs_write_bytes(w, l.at, (size_t)(units_end - l.at));
	w->bad |= e.bad;
}

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

typedef struct found {
	uint32_t zeros, exceptions;
	size_t list_size; /* bytes of the exceptions in scratch->exceptions */
	int overflow;     /* the list did not fit */
} found;

/* Front to back: each element's rank and F, and the exceptions, whose rank is 0. */
static found find_ranks(const qs_chunk_desc *desc, const uint8_t *src, qs_ranks_scratch *scratch)
{
	uint8_t *list = scratch->exceptions;
	qs_writer e = {list, list + sizeof scratch->exceptions, 0};
	found f = {0};
	uint32_t next = 0;
	for (qs_row_part part = qs_first_row(desc); part.count; part = qs_next_row(desc, part)) {
		const qs_cell *cells = qs_cell_cache_get(&scratch->cells, qs_chunk_scale(desc, part.row));
		for (uint32_t i = part.begin; i < part.begin + part.count; i++) {
			uint8_t code = desc->coarse[i];
			qs_cell cell = cells[code];
			uint32_t rank = (uint16_t)(qs_load16(src + 2 * (size_t)i) - QS_CELL_FIRST(cell));
			f.zeros += code == 0;
			if (code != 0 && rank >= QS_CELL_COUNT(cell)) {
				qs_write_varint(&e, i - next);
				qs_write_bytes(&e, src + 2 * (size_t)i, 2);
				next = i + 1;
				f.exceptions++;
			}
			scratch->rank[i] = rank < QS_CELL_COUNT(cell) ? (uint16_t)rank : 0;
			scratch->f[i] = (uint16_t)QS_CELL_F(cell);
		}
	}
	f.list_size = (size_t)(e.at - list);
	f.overflow = e.bad;
	return f;
}

/* The rule's own codes where they differ from those given, and the differences. */
static void find_residual(const qs_chunk_desc *desc, const uint8_t *src, qs_ranks_scratch *scratch)
{
	for (qs_row_part part = qs_first_row(desc); part.count; part = qs_next_row(desc, part)) {
		float scale = qs_chunk_scale(desc, part.row);
		for (uint32_t i = part.begin; i < part.begin + part.count; i++) {
			int given = (int8_t)desc->coarse[i];
			int code = qs_cell_code(desc->dtype, desc->rule, scale, qs_load16(src + 2 * (size_t)i));
			code = code < -127 || code > 127 ? given : code;
			scratch->codes[i] = (uint8_t)code;
			scratch->residual[i] = (uint8_t)(code - given);
		}
	}
}

void qs_ranks_encode(qs_writer *w, const qs_chunk_desc *desc, const uint8_t *src, qs_ranks_scratch *scratch,
                     uint32_t *n_exceptions)
{
	uint32_t n_rows = qs_chunk_rows(desc), n = desc->n_elems;
	/* 32 lanes pay when their states are small beside the chunk and rows fill them. */
	unsigned n_lanes = n >= 1 << 15 && desc->cols >= 2 * QS_LANES_MAX ? QS_LANES_MAX : QS_LANES_MIN;
	qs_cell_cache_init(&scratch->cells, desc->dtype, desc->rule);
	found f = find_ranks(desc, src, scratch);
	qs_chunk_desc changed = *desc;
	qs_block_plan residual_plan;
	*n_exceptions = f.exceptions;
	int residual = 0;
	if (f.exceptions) {
		/* Values outside the cells of their codes, because the rule is another or the codes were made from
		 * other values: a difference of codes for each element costs less than a list of values as soon as
		 * they are many. */
		uint32_t counts[256];
		find_residual(desc, src, scratch);
		qs_histogram(scratch->residual, n, counts);
		qs_symbols_plan(counts, n, &residual_plan);
		residual = counts[0] < n && (f.overflow || residual_plan.size < f.list_size);
		if (residual) {
			changed.coarse = scratch->codes;
			desc = &changed;
			f = find_ranks(desc, src, scratch);
		}
	}
	uint32_t count = f.exceptions, zeros = f.zeros;
	const uint8_t *list = scratch->exceptions;
	if (count > n / EXCEPTIONS_SHARE || f.overflow) {
		w->bad = 1;
		return;
	}
	qs_write8(w, QS_MODE_RANKS);
	qs_write8(w, (uint8_t)((n_lanes == QS_LANES_MAX ? QS_RANKS_WIDE : 0) | (count ? QS_RANKS_EXCEPTIONS : 0) |
	                       (residual ? QS_RANKS_RESIDUAL : 0)));
	if (count) {
		uint8_t head[5];
		qs_writer h = {head, head + sizeof head, 0};
		qs_write_varint(&h, count);
		qs_write_varint(w, (uint32_t)((size_t)(h.at - head) + f.list_size));
		qs_write_bytes(w, head, (size_t)(h.at - head));
		qs_write_bytes(w, list, f.list_size);
	}
	if (residual)
		qs_symbols_write(w, scratch->residual, n, &residual_plan, scratch->symbols);
	if (zeros) {
		uint8_t *high = scratch->planes, *low = high + zeros;
		for (uint32_t i = 0; i < n; i++)
			if (!desc->coarse[i]) {
				uint32_t v = qs_load16(src + 2 * (size_t)i);
				*high++ = (uint8_t)(v >> 7);
				*low++ = (uint8_t)(v << 1 | v >> 15);
			}
		for (size_t b = 0; b < 2; b++)
			qs_symbols_encode(w, scratch->planes + b * zeros, zeros, scratch->symbols);
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
}

/* Chunks of 16-bit floats given their codes (FORMAT.md, "Ranks"). */
#include <string.h>

#include "mode.h"
#include "planes.h"
#include "ranks.h"
#include "rules.h"
#include "workspace.h"

static qstore_status decode_exceptions(qs_reader *r, size_t n, uint8_t *dst)
{
	uint64_t at = 0; /* wider than a distance, in WebAssembly too */
	uint32_t count = qs_read_varint(r);
	if (r->bad || count > n)
		return QSTORE_CORRUPT;
	for (uint32_t i = 0; i < count; i++) {
		at += (uint64_t)qs_read_varint(r) + (i > 0); /* distances less one, after the first */
		const uint8_t *value = qs_read_bytes(r, 2);
		if (!value || r->bad || at >= n)
			return QSTORE_CORRUPT;
		memcpy(dst + 2 * at, value, 2);
	}
	return QSTORE_OK;
}

/* Elements go to the lanes in turn. Whole vectors of one scale are decoded as they stand; those that two or
 * more scales share are gathered here, with a table of their own. */
typedef struct feed {
	qs_ranks ranks;
	qs_ranks_kernel *whole, *mixed;
	uint32_t filled;
	uint8_t *out; /* of the next element to decode */
	qs_cell cells[QS_LANES_MAX + 1];
	uint8_t indexes[QS_LANES_MAX];
} feed;

static void feed_mixed(feed *f, const qs_cell *cells, const uint8_t *indexes, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		f->cells[f->filled + 1] = cells[indexes[i]];
		f->indexes[f->filled] = indexes[i] ? (uint8_t)(f->filled + 1) : 0;
		f->filled++;
	}
}

static int feed_flush(feed *f)
{
	if (!f->filled)
		return 1;
	if (!(f->filled == f->ranks.lanes ? f->mixed : qs_ranks_scalar)(&f->ranks, f->cells, f->indexes,
	                                                                f->filled, f->out))
		return 0;
	f->out += 2 * f->filled;
	f->filled = 0;
	return 1;
}

static int feed_run(feed *f, const qs_cell *cells, const uint8_t *indexes, uint32_t n)
{
	if (f->filled) {
		uint32_t room = f->ranks.lanes - f->filled, some = n < room ? n : room;
		feed_mixed(f, cells, indexes, some);
		if (f->filled < f->ranks.lanes)
			return 1;
		if (!feed_flush(f))
			return 0;
		indexes += some;
		n -= some;
	}
	uint32_t whole = n & ~(f->ranks.lanes - 1);
	if (whole && !f->whole(&f->ranks, cells, indexes, whole, f->out))
		return 0;
	f->out += 2 * (size_t)whole;
	feed_mixed(f, cells, indexes + whole, n - whole);
	return 1;
}

/* Codes less the zero point; 0 when one is not below `levels`. */
static int make_indexes(const uint8_t *codes, uint32_t n, int32_t zero, uint32_t levels, uint8_t *dst)
{
	uint8_t most = 0;
	for (uint32_t i = 0; i < n; i++) {
		most = codes[i] > most ? codes[i] : most;
		dst[i] = (uint8_t)(codes[i] - (uint32_t)zero);
	}
	return most < levels;
}

/* The shifts of the chunk's runs, one after the other. */
static qstore_status decode_shifts(qs_reader *r, const qs_chunk_desc *desc, qs_coded_order order,
                                   const qs_workspace *w)
{
	qs_runs runs;
	size_t n = 0;
	qs_runs_begin(&runs, &desc->coarse_grid, desc->cols, desc->first_elem, desc->n_elems, order, w->columns);
	while (qs_runs_next(&runs))
		if (++n > QS_SHIFTS_MAX)
			return QSTORE_CORRUPT;
	return qs_decode_blocks(r, 1, n, w->shifts, w);
}

/* codes: in coded order; shifts: of the runs, or NULL. */
static qstore_status decode_lanes(qs_reader *r, const qs_chunk_desc *desc, unsigned lanes,
                                  qs_coded_order order, const uint8_t *codes, const uint8_t *shifts,
                                  uint32_t n_zeros, uint8_t *dst, const qs_workspace *w)
{
	const qs_grid *grid = &desc->coarse_grid;
	uint32_t levels = qs_rule_levels(grid->rule);
	/* The common case: signed codes around 0, in tables of all of them. */
	int plain = qs_grid_is_plain(grid), symmetric = qs_rule_is_symmetric(grid->rule);
	feed f = {.ranks = {.lanes = lanes, .zeros = w->scratch}, .out = dst};
	f.whole = qs_ranks_best(lanes, plain);
	f.mixed = qs_ranks_best(lanes, 0);
	for (unsigned lane = 0; lane < lanes; lane++) {
		const uint8_t *state = qs_read_bytes(r, 4);
		if (!state)
			return QSTORE_CORRUPT;
		f.ranks.low[lane] = qs_load16(state);
		f.ranks.high[lane] = qs_load16(state + 2);
	}
	f.ranks.src = r->at;
	f.ranks.src_end = r->end;
	if (qs_reader_left(r) & 1)
		return QSTORE_CORRUPT;
	qs_runs runs;
	qs_cell_cache_init(w->cells, desc->dtype, grid->rule, grid->codes_dtype);
	qs_runs_begin(&runs, grid, desc->cols, desc->first_elem, desc->n_elems, order, w->columns);
	f.cells[0] = 0;
	while (qs_runs_next(&runs)) {
		const uint8_t *indexes = codes + runs.run.begin;
		uint8_t *own = w->indexes + runs.run.begin;
		uint32_t n = runs.run.count, reach = 128;
		qs_step step;
		qs_grid_step(grid, runs.run.number, &step);
		if (shifts)
			step.shift = (int8_t)*shifts++;
		if (!plain && symmetric) {
			make_indexes(indexes, n, step.zero, levels, own);
			indexes = own;
			reach = qs_cell_reach(grid->codes_dtype, step.zero, own, n);
		}
		const qs_cell_table *table = qs_cell_cache_get(w->cells, &step, reach);
		if (!symmetric) {
			if (!make_indexes(indexes, n, table->zero == QS_ALL_ZERO ? 0 : table->zero, levels, own))
				return QSTORE_CORRUPT;
			indexes = own;
		}
		if (table->zero == QS_ALL_ZERO) {
			memset(own, 0, n);
			indexes = own;
		}
		f.cells[0] = table->cells[0];
		if (!feed_run(&f, table->cells, indexes, n))
			return QSTORE_CORRUPT;
	}
	if (!feed_flush(&f) || f.ranks.zeros != w->scratch + 2 * (size_t)n_zeros)
		return QSTORE_CORRUPT;
	r->at = f.ranks.src;
	/* The encoder began where decoding must end. */
	for (unsigned lane = 0; lane < lanes; lane++)
		if (f.ranks.low[lane] != (QS_LANE_START & 0xffff) || f.ranks.high[lane] != QS_LANE_START >> 16)
			return QSTORE_CORRUPT;
	return QSTORE_OK;
}

qstore_status qs_decode_ranks(qs_reader *r, const qs_chunk_desc *desc, uint8_t *dst, const qs_workspace *w)
{
	const qs_grid *grid = &desc->coarse_grid;
	uint32_t flags = qs_read8(r), n = desc->n_elems, cols = (uint32_t)desc->cols;
	const uint8_t *codes = desc->coarse;
	if (r->bad || flags & ~(uint32_t)QS_RANKS_FLAGS ||
	    (flags & QS_RANKS_SHIFTS && !qs_rule_is_symmetric(grid->rule)))
		return QSTORE_CORRUPT;
	qs_reader exceptions = *r;
	qstore_status status;
	if (flags & QS_RANKS_EXCEPTIONS) {
		uint32_t size = qs_read_varint(r);
		const uint8_t *p = qs_read_bytes(r, size);
		if (!p)
			return QSTORE_CORRUPT;
		exceptions = (qs_reader){p, p + size, 0};
	}
	if (flags & QS_RANKS_RESIDUAL) {
		status = qs_decode_blocks(r, 1, n, w->codes, w);
		if (status)
			return status;
		for (size_t i = 0; i < n; i++)
			w->codes[i] = (uint8_t)(w->codes[i] + codes[i]);
		codes = w->codes;
	}
	qs_coded_order order = qs_coded_order_of(grid, desc->cols, desc->first_elem, n);
	if (order == QS_CODED_GROUPS)
		qs_coded_columns(grid, cols, w->columns, (uint32_t *)w->scratch);
	if (order != QS_CODED_ROWS) {
		qs_coded_gather8(order, w->columns, cols, n, codes, w->indexes);
		codes = w->indexes;
	}
	if (flags & QS_RANKS_SHIFTS) {
		status = decode_shifts(r, desc, order, w);
		if (status)
			return status;
	}
	uint32_t zeros = qs_read_varint(r);
	if (r->bad || zeros > n)
		return QSTORE_CORRUPT;
	if (zeros) {
		/* Their planes may stand in dst, which is not needed yet. */
		status = qs_decode_blocks(r, 2, zeros, dst, w);
		if (status)
			return status;
		qs_planes_join(dst, zeros, 2, 1, w->scratch);
	}
	status = decode_lanes(r, desc, flags & QS_RANKS_WIDE ? QS_LANES_MAX : QS_LANES_MIN, order, codes,
	                      flags & QS_RANKS_SHIFTS ? w->shifts : NULL, zeros,
	                      order == QS_CODED_ROWS ? dst : w->values, w);
	if (status)
		return status;
	if (order != QS_CODED_ROWS)
		qs_coded_scatter16(order, w->columns, cols, n, w->values, dst);
	if (flags & QS_RANKS_EXCEPTIONS) {
		status = decode_exceptions(&exceptions, n, dst);
		if (status || exceptions.at != exceptions.end)
			return QSTORE_CORRUPT;
	}
	return QSTORE_OK;
}

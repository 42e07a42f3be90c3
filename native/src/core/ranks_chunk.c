/* Decoding of chunks of 16-bit floats whose codes are known (FORMAT.md, "Ranks"). */
#include <string.h>

#include "factors.h"
#include "mode.h"
#include "planes.h"
#include "ranks.h"
#include "rules.h"
#include "walk.h"
#include "workspace.h"

static qstore_status decode_exceptions(qs_reader *r, size_t n, uint8_t *dst)
{
	uint64_t at = 0; /* 64 bits, so that adding a distance cannot wrap */
	uint32_t count = qs_read_varint(r);
	if (r->bad || count > n)
		return QSTORE_CORRUPT;
	for (uint32_t i = 0; i < count; i++) {
		at += (uint64_t)qs_read_varint(r) + (i > 0); /* all distances but the first are stored less one */
		const uint8_t *value = qs_read_bytes(r, 2);
		if (!value || r->bad || at >= n)
			return QSTORE_CORRUPT;
		memcpy(dst + 2 * at, value, 2);
	}
	return QSTORE_OK;
}

/* At most this many elements have their cells gathered before their ranks are decoded. */
enum { FIELDS_MAX = 2 * QS_STRIP_MAX + QS_STRIP_OVERSHOOT };
_Static_assert((int)QS_STRIP_MAX >= (int)QS_LANES_STEP, "the rest of a step leaves room for a strip");

/* Feeds elements to the decoder of ranks, in coded order, from two queues. Long runs wait in one, to be
 * decoded by their tables, several runs at a time. The cells of elements of short runs, and of the ends of
 * long runs, are gathered in the other. At any time only one of the queues has elements. */
typedef struct feed {
	qs_ranks ranks;
	qs_ranks_kernel *whole; /* NULL: all runs are gathered */
	qs_ranks_fields_kernel *mixed;
	qs_fetch_kernel *fetch;
	uint32_t whole_min; /* the fewest elements of a run that is decoded by its table */
	uint8_t *out;       /* where the next decoded element is written */

	uint32_t n_runs, n_whole; /* long runs that wait, and their elements */
	const uint8_t *indexes;   /* cell indexes of these elements */
	qs_cells cells[QS_STRIP_RUNS_MAX];
	uint32_t counts[QS_STRIP_RUNS_MAX];

	uint32_t filled; /* elements whose cells are gathered */
	uint16_t first[FIELDS_MAX], f[FIELDS_MAX], g[FIELDS_MAX];
} feed;

/* Returns where the cell of the next gathered element goes. */
static qs_cell_fields feed_fields(feed *f)
{
	return (qs_cell_fields){f->first + f->filled, f->f + f->filled, f->g + f->filled};
}

/* Decodes the first n of the gathered elements. */
static int feed_decode(feed *f, qs_ranks_fields_kernel *kernel, uint32_t n)
{
	qs_cell_fields cells = {f->first, f->f, f->g};
	if (!kernel(&f->ranks, &cells, n, f->out))
		return 0;
	f->out += 2 * n;
	f->filled -= n;
	if (!f->filled)
		return 1;
	memmove(f->first, f->first + n, f->filled * sizeof *f->first);
	memmove(f->f, f->f + n, f->filled * sizeof *f->f);
	memmove(f->g, f->g + n, f->filled * sizeof *f->g);
	return 1;
}

static int feed_gathered(feed *f)
{
	uint32_t n = f->filled & ~(qs_ranks_step(f->ranks.lanes) - 1);
	return !n || feed_decode(f, f->mixed, n);
}

/* Decodes the long runs that wait. */
static int feed_whole(feed *f)
{
	uint32_t n_runs = f->n_runs;
	if (!n_runs)
		return 1;
	uint8_t *out = f->out;
	f->out += 2 * (size_t)f->n_whole;
	f->n_runs = f->n_whole = 0;
	QS_ASSERT(f->whole); /* without it no run waits */
	return f->whole(&f->ranks, f->cells, f->counts, n_runs, f->indexes, out);
}

static int feed_flush(feed *f)
{
	return feed_whole(f) && feed_gathered(f) &&
	       (!f->filled || feed_decode(f, qs_ranks_fields_scalar, f->filled));
}

/* Gathers the cells of n elements of one run, at most QS_STRIP_MAX. */
static void feed_mixed(feed *f, qs_cells cells, const uint8_t *indexes, uint32_t n)
{
	qs_cell_fields to = feed_fields(f);
	QS_ASSERT(n <= QS_STRIP_MAX && f->filled < QS_STRIP_MAX + QS_LANES_STEP);
	f->fetch(&cells, &n, 1, indexes, 0, &to);
	f->filled += n;
}

/* Queues a run. Its table must stay in the cache until the run is decoded. */
static int feed_run(feed *f, qs_cells cells, const uint8_t *indexes, uint32_t n)
{
	if (f->whole && n >= f->whole_min) {
		uint32_t step = qs_ranks_step(f->ranks.lanes), room = -f->filled & (step - 1),
		         whole = (n - room) & ~(step - 1);
		if (room)
			feed_mixed(f, cells, indexes, room);
		indexes += room;
		if (!feed_gathered(f))
			return 0;
		if (whole) {
			if ((f->n_runs == QS_STRIP_RUNS_MAX || (f->n_runs && f->indexes + f->n_whole != indexes)) &&
			    !feed_whole(f))
				return 0;
			if (!f->n_runs)
				f->indexes = indexes;
			f->cells[f->n_runs] = cells;
			f->counts[f->n_runs++] = whole;
			f->n_whole += whole;
		}
		indexes += whole;
		n -= room + whole;
	}
	if (n && !feed_whole(f))
		return 0;
	for (uint32_t some; n; n -= some, indexes += some) {
		some = n < QS_STRIP_MAX ? n : QS_STRIP_MAX;
		feed_mixed(f, cells, indexes, some);
		if (f->filled >= QS_STRIP_MAX && !feed_gathered(f))
			return 0;
	}
	return 1;
}

/* Queues a run under column factors, so that each element has a cell of its own. */
static int feed_factors(feed *f, const qs_chunk_desc *desc, const qs_run *run, qs_cells cells,
                        const uint8_t *indexes)
{
	for (uint32_t done = 0, n; done < run->count; done += n) {
		qs_cell own[QS_STRIP_MAX];
		qs_cell_fields to = feed_fields(f);
		n = run->count - done < QS_STRIP_MAX ? run->count - done : QS_STRIP_MAX;
		qs_factor_cells(desc, run->begin + done, cells, indexes + done, n, own);
		for (uint32_t i = 0; i < n; i++) {
			to.first[i] = QS_CELL_FIRST(own[i]);
			to.f[i] = (uint16_t)QS_CELL_F(own[i]);
			to.g[i] = indexes[done + i] ? (uint16_t)QS_CELL_G(own[i]) : 0;
		}
		f->filled += n;
		if (!feed_gathered(f))
			return 0;
	}
	return 1;
}

static uint8_t greatest(const uint8_t *codes, uint32_t n)
{
	uint8_t most = 0;
	for (uint32_t i = 0; i < n; i++)
		most = codes[i] > most ? codes[i] : most;
	return most;
}

/* The state of decoding a chunk's ranks. */
typedef struct ranks_chunk {
	qs_walk walk;
	feed feed;
	int straight; /* most runs can be decoded by their tables without gathering cells */
} ranks_chunk;

/* Decodes short runs, whose cells are found element by element. */
static int decode_short_runs(ranks_chunk *c, const qs_run *runs, uint32_t n_runs)
{
	if (!feed_whole(&c->feed) || !feed_gathered(&c->feed))
		return 0;
	qs_cell_fields to = feed_fields(&c->feed);
	qs_walk_fields(&c->walk, runs, n_runs, &to);
	c->feed.filled += runs[n_runs - 1].begin + runs[n_runs - 1].count - runs[0].begin;
	return feed_gathered(&c->feed);
}

/* Queues runs as long as their tables are in the cache, without looking for others; returns their number. No
 * run may be waiting. */
static uint32_t take_straight(ranks_chunk *c, const qs_run *runs, const qs_step *steps, uint32_t n_runs)
{
	feed *f = &c->feed;
	uint32_t odd = qs_ranks_step(f->ranks.lanes) - 1, n_whole = 0, r = 0;
	for (; r < n_runs && !(runs[r].count & odd) &&
	       qs_cell_cache_has(c->walk.cells, &steps[r], 128, &f->cells[r]);
	     r++)
		n_whole += f->counts[r] = runs[r].count;
	f->indexes = c->walk.codes + runs[0].begin;
	f->n_runs = r;
	f->n_whole = n_whole;
	return r;
}

/* Decodes runs by their tables. */
static int decode_long_runs(ranks_chunk *c, const qs_run *runs, const qs_step *steps, uint32_t n_runs)
{
	const qs_walk *walk = &c->walk;
	const qs_chunk_desc *desc = walk->desc;
	feed *f = &c->feed;
	int plain = qs_grid_is_plain(&desc->coarse_grid);
	/* Kernels may be given codes in place of indexes if they handle scales that are not usable, under which
	 * all indexes are 0. Column factors, and kernels that find escapes by index 0, need indexes. */
	int codes_do = walk->by_code && !f->whole && !desc->factors;
	for (uint32_t r = 0; r < n_runs; r++) {
		if (c->straight && !f->filled) {
			if (!feed_whole(f))
				return 0;
			r += take_straight(c, runs + r, steps + r, n_runs - r);
			if (r == n_runs)
				break;
		}
		qs_cells cells;
		const uint8_t *indexes = walk->codes + runs[r].begin;
		int is_there = qs_cell_cache_has(walk->cells, &steps[r], plain ? 128 : 255, &cells), done;
		/* Building a missing table may evict one that a queued run needs, so the queue is decoded first. */
		if (!is_there && !feed_whole(f))
			return 0;
		if (!is_there || !plain)
			cells = qs_walk_cells(walk, &runs[r], &steps[r], codes_do, &indexes);
		done = desc->factors ? feed_factors(f, desc, &runs[r], cells, indexes)
		                     : feed_run(f, cells, indexes, runs[r].count);
		if (!done)
			return 0;
	}
	return 1;
}

static int decode_runs(ranks_chunk *c)
{
	qs_run runs[QS_STRIP_RUNS_MAX];
	qs_step steps[QS_STRIP_RUNS_MAX];
	for (;;) {
		uint32_t n = qs_walk_next_short(&c->walk, runs);
		int done = 1;
		if (n)
			done = decode_short_runs(c, runs, n);
		else if ((n = qs_walk_next_runs(&c->walk, runs, steps)))
			done = decode_long_runs(c, runs, steps, n);
		if (!n || !done)
			return done;
	}
}

/* Settles values at shared borders, which belong to two cells. They were decoded as the first value of the
 * upper cell. For each element whose value is the first of its cell, a bit says whether it is the first of
 * the next cell instead. */
static int settle_shared(qs_walk *walk, const uint8_t *bits, size_t size, uint8_t *dst)
{
	const qs_run *run = &walk->runs.run;
	size_t at = 0;
	for (qs_step step; qs_walk_next(walk, &step);) {
		const uint8_t *indexes;
		qs_cells cells = qs_walk_cells(walk, run, &step, 0, &indexes);
		if (8 * size - at < run->count) { /* there may be too few bits left: the first values are counted */
			for (uint32_t i = 0, left = 0; i < run->count; i++) {
				left += indexes[i] && qs_load16(dst + 2 * (size_t)(run->begin + i)) ==
				                          QS_CELL_FIRST(qs_cells_at(cells, indexes[i]));
				if (left > 8 * size - at)
					return 0;
			}
		}
		for (uint32_t i = 0; i < run->count; i++) {
			uint8_t *value = dst + 2 * (size_t)(run->begin + i);
			qs_cell cell = qs_cells_at(cells, indexes[i]);
			uint32_t first = QS_CELL_FIRST(cell);
			if (!indexes[i] || qs_load16(value) != first)
				continue;
			if (bits[at / 8] >> at % 8 & 1)
				qs_store16(value, (uint16_t)(first + QS_CELL_COUNT(cell)));
			at++;
		}
	}
	return (at + 7) / 8 == size && (at % 8 == 0 || !(bits[at / 8] >> at % 8));
}

/* Reads the shifts of the chunk's runs. */
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

/* Reads the lanes' states. For all lanes there is first the number of bits below the state's top bit, then
 * these bits. */
static int read_states(qs_reader *r, qs_ranks *ranks)
{
	const uint8_t *lengths = qs_read_bytes(r, ranks->lanes / 2);
	if (!lengths)
		return 0;
	uint64_t bits = 0;
	unsigned n_bits = 0;
	for (unsigned lane = 0; lane < ranks->lanes; lane++) {
		unsigned length = 16 + (lengths[lane / 2] >> lane % 2 * 4 & 15);
		for (; n_bits < length; n_bits += 8)
			bits |= (uint64_t)qs_read8(r) << n_bits;
		ranks->low[lane] = (uint16_t)bits;
		ranks->high[lane] = (uint16_t)((bits >> 16 & ((1u << (length - 16)) - 1)) | 1u << (length - 16));
		bits >>= length;
		n_bits -= length;
	}
	return !r->bad && !bits;
}

/* Decodes the ranks of all elements. codes: in coded order; shifts: one for each run, or NULL; shared: the
 * bits of values at shared borders, or NULL. */
static qstore_status decode_lanes(qs_reader *r, const qs_chunk_desc *desc, unsigned lanes,
                                  qs_coded_order order, const uint8_t *codes, const uint8_t *shifts,
                                  const qs_reader *shared, uint32_t n_escapes, uint8_t *dst,
                                  const qs_workspace *w)
{
	const qs_grid *grid = &desc->coarse_grid;
	uint32_t levels = qs_rule_levels(grid->rule);
	ranks_chunk c;
	feed *f = &c.feed;
	qs_cell_cache_use(w->cells, desc->factors ? desc->factors_dtype : desc->dtype, grid->rule,
	                  grid->codes_dtype, shared ? 1 : 0);
	qs_walk_begin(&c.walk, desc, order, w->columns, codes, shifts, w->indexes, w->cells, 0);
	f->ranks = (qs_ranks){.lanes = lanes, .escapes = w->scratch};
	f->filled = f->n_runs = f->n_whole = 0;
	f->out = dst;
	/* Whole runs are decoded by their tables. */
	f->whole = qs_ranks_best(lanes, qs_grid_is_plain(grid));
	f->mixed = qs_ranks_fields_best(lanes);
	f->fetch = c.walk.fetch;
	f->whole_min = QS_FETCH_BELOW;
	if (c.walk.by_code && !qs_grid_is_plain(grid))
		f->whole = NULL;
	uint64_t run = qs_coded_run(grid, desc->cols, desc->n_elems, order);
	if (f->whole && !c.walk.by_code && !c.walk.strip.kernel && run % qs_ranks_step(lanes) == 0) {
		/* Tables decode these runs as fast as gathered cells would. */
		c.walk.is_short = 0;
		f->whole_min = qs_ranks_step(lanes);
	}
	c.straight = f->whole && qs_grid_is_plain(grid) && !desc->factors && run >= f->whole_min &&
	             run % qs_ranks_step(lanes) == 0;
	if (levels < 256 && greatest(codes, desc->n_elems) >= levels)
		return QSTORE_CORRUPT;
	if (!read_states(r, &f->ranks))
		return QSTORE_CORRUPT;
	if (qs_reader_left(r) & 1)
		return QSTORE_CORRUPT;
	qs_ranks_begin(&f->ranks, r->at, qs_reader_left(r));
	if (!decode_runs(&c) || !feed_flush(f) || f->ranks.escapes != w->scratch + 2 * (size_t)n_escapes)
		return QSTORE_CORRUPT;
	r->at = r->end - (f->ranks.src_end - f->ranks.src);
	/* Decoding must end in the states from which the encoder started. */
	for (unsigned lane = 0; lane < lanes; lane++)
		if (f->ranks.low[lane] != (QS_LANE_START & 0xffff) || f->ranks.high[lane] != QS_LANE_START >> 16)
			return QSTORE_CORRUPT;
	if (!shared)
		return QSTORE_OK;
	qs_walk_begin(&c.walk, desc, order, w->columns, codes, NULL, w->indexes, w->cells, 0);
	return settle_shared(&c.walk, shared->at, qs_reader_left(shared), dst) ? QSTORE_OK : QSTORE_CORRUPT;
}

qs_coded_order qs_chunk_order(const qs_chunk_desc *desc)
{
	/* Under column factors elements of a row differ in their cells even if they share a scale, so that
	 * another order would gain nothing. */
	return desc->factors ? QS_CODED_ROWS
	                     : qs_coded_order_of(&desc->coarse_grid, desc->cols, desc->first_elem, desc->n_elems);
}

qstore_status qs_decode_ranks(qs_reader *r, const qs_chunk_desc *desc, uint8_t *dst, const qs_workspace *w)
{
	const qs_grid *grid = &desc->coarse_grid;
	uint32_t flags = qs_read8(r), n = desc->n_elems, cols = (uint32_t)desc->cols;
	const uint8_t *codes = desc->coarse;
	if (r->bad || flags & ~(uint32_t)QS_RANKS_FLAGS ||
	    (flags & QS_RANKS_SHIFTS && !qs_rule_takes_shifts(grid->rule)))
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
	qs_coded_order order = qs_chunk_order(desc);
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
	uint32_t escapes = qs_read_varint(r);
	if (r->bad || escapes > n)
		return QSTORE_CORRUPT;
	if (escapes) {
		/* dst is not needed yet, so the planes are decoded there. */
		status = qs_decode_blocks(r, 2, escapes, dst, w);
		if (status)
			return status;
		qs_planes_join(dst, escapes, 2, 1, w->scratch);
	}
	qs_reader shared = {0};
	if (flags & QS_RANKS_SHARED) {
		uint32_t size = qs_read_varint(r);
		const uint8_t *p = qs_read_bytes(r, size);
		if (!p || order != QS_CODED_ROWS || !qs_rule_is_symmetric(grid->rule) || desc->factors ||
		    flags & (QS_RANKS_RESIDUAL | QS_RANKS_SHIFTS))
			return QSTORE_CORRUPT;
		shared = (qs_reader){p, p + size, 0};
	}
	status =
	    decode_lanes(r, desc, flags & QS_RANKS_WIDE ? QS_LANES_MAX : QS_LANES_MIN, order, codes,
	                 flags & QS_RANKS_SHIFTS ? w->shifts : NULL, flags & QS_RANKS_SHARED ? &shared : NULL,
	                 escapes, order == QS_CODED_ROWS ? dst : w->values, w);
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

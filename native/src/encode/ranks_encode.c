#include "ranks_encode.h"

#include <string.h>

#include "core/factors.h"
#include "core/planes.h"
#include "core/rules.h"
#include "core/walk.h"
#include "core/workspace.h"
#include "rank_lanes.h"

/* A chunk is coded by another mode if more than one element of EXCEPTIONS_SHARE is an exception. Values
 * outside their cells are few if they are at most one of FEW_OUTSIDE. */
enum { EXCEPTIONS_SHARE = 8, FEW_OUTSIDE = 512 };

/* Estimates the bytes of n exceptions, which take about 26 bits each. */
#define EXCEPTION_SIZE(n) (3 * (size_t)(n) + (n) / 4)

typedef struct found {
	uint32_t escapes, exceptions;
	size_t list_size; /* bytes of the exceptions in scratch->exceptions */
	int overflow;     /* did the list of exceptions not fit? */
} found;

/* Begins a walk over the chunk's runs. codes and everything after it are in coded order. shifts: one for each
 * run, or NULL. */
static qs_walk walk_begin(const qs_chunk_desc *desc, qs_coded_order order, const uint8_t *codes,
                          const uint8_t *shifts, qs_ranks_scratch *scratch)
{
	qs_walk w;
	qs_walk_begin(&w, desc, order, scratch->columns, codes, shifts, scratch->indexes, &scratch->cells, 1);
	return w;
}

/* Returns the table of cells of a run, whose indexes are written to walk->indexes. */
static qs_cells table_of_run(const qs_walk *w, const qs_run *run, const qs_step *step)
{
	const uint8_t *indexes;
	qs_cells cells = qs_walk_cells(w, run, step, 0, &indexes);
	if (indexes != w->indexes + run->begin)
		memcpy(w->indexes + run->begin, indexes, run->count);
	return cells;
}

/* Finds the ranks of several short runs, with a cell for each element. */
static void find_short_runs(qs_walk *w, const qs_run *runs, uint32_t n_runs, const uint8_t *src,
                            qs_found_ranks *ranks)
{
	uint32_t begin = runs[0].begin, n = runs[n_runs - 1].begin + runs[n_runs - 1].count - begin;
	uint16_t first[QS_STRIP_MAX + QS_STRIP_OVERSHOOT], f[QS_STRIP_MAX + QS_STRIP_OVERSHOOT],
	    count[QS_STRIP_MAX + QS_STRIP_OVERSHOOT];
	qs_cell_fields cells = {first, f, count};
	qs_walk_fields(w, runs, n_runs, &cells);
	qs_find_ranks_fields_best()(&cells, src, n, begin, w->indexes, ranks);
}

/* Finds the ranks of a run under column factors, where each element has a cell of its own. */
static void find_under_factors(const qs_walk *w, qs_cells products, const uint8_t *src, qs_found_ranks *ranks)
{
	enum { MOST = QS_CELL_TABLE - 1 };
	qs_cell_table own = {.cells = {qs_make_cell(0, 1)}};
	uint32_t begin = w->runs.run.begin, end = begin + w->runs.run.count;
	for (uint32_t at = begin, n; at < end; at += n) {
		n = end - at < MOST ? end - at : MOST;
		qs_factor_cells(w->desc, at, products, w->indexes + at, n, own.cells + 1);
		for (uint32_t i = 0; i < n; i++)
			w->indexes[at + i] = w->indexes[at + i] ? (uint8_t)(i + 1) : 0;
		qs_find_ranks_scalar((qs_cells){.table = &own}, w->indexes, src, n, at, ranks);
	}
}

/* Finds each element's index, rank and F, and which values are outside their cells. */
static found find_ranks(qs_walk w, const uint8_t *src, uint8_t *outside, qs_ranks_scratch *scratch)
{
	qs_find_ranks_kernel *find = qs_find_ranks_best(qs_grid_is_plain(&w.desc->coarse_grid));
	qs_found_ranks ranks = {.rank = scratch->rank, .f = scratch->f, .outside = outside};
	const qs_run *run = &w.runs.run;
	qs_run runs[QS_STRIP_RUNS_MAX];
	for (;;) {
		uint32_t n = qs_walk_next_short(&w, runs);
		if (n) {
			find_short_runs(&w, runs, n, src, &ranks);
			continue;
		}
		qs_step step;
		if (!qs_walk_next(&w, &step))
			break;
		qs_cells cells = table_of_run(&w, run, &step);
		if (w.desc->factors)
			find_under_factors(&w, cells, src, &ranks);
		else
			find(cells, w.indexes, src, run->count, run->begin, &ranks);
	}
	return (found){.escapes = ranks.escapes, .exceptions = ranks.outsiders};
}

/* ---- Shifts ---- */

enum { SHIFT_MOST = 4 };

/* Guesses the shift that puts most of a run's outside values into their cells; 0 if no shift does. */
static int guess_shift(const qs_chunk_desc *desc, const qs_run *run, const uint8_t *codes, const uint8_t *src,
                       const uint8_t *outside)
{
	const qs_grid *grid = &desc->coarse_grid;
	uint32_t explained[2 * SHIFT_MOST + 1] = {0};
	qs_step step;
	int best = 0;
	qs_grid_step(grid, run->number, &step);
	for (uint32_t i = run->begin, end = i + run->count; i < end; i++) {
		if (!outside[i])
			continue;
		for (step.shift = -SHIFT_MOST; step.shift <= SHIFT_MOST; step.shift++) {
			int code = qs_cell_code(desc->dtype, grid->rule, &step, qs_load16(src + 2 * (size_t)i));
			explained[step.shift + SHIFT_MOST] += code != QS_NO_CODE && (uint8_t)code == codes[i];
		}
	}
	/* The smallest shift wins a tie. */
	for (int k = 1; k <= SHIFT_MOST; k++)
		for (int sign = -1; sign <= 1; sign += 2)
			if (explained[sign * k + SHIFT_MOST] > explained[best + SHIFT_MOST])
				best = sign * k;
	return best;
}

/* Estimates the bytes that `outside` of n values cost, as exceptions or as a residual, whichever is less. */
static double outside_size(uint32_t n, uint32_t outside)
{
	uint32_t counts[256] = {n - outside, outside / 2, outside - outside / 2};
	double residual = qs_entropy_bits(counts) / 8;
	size_t exceptions = EXCEPTION_SIZE(outside);
	return residual < (double)exceptions ? residual : (double)exceptions;
}

/* Counts a run's values that are outside their cells with this shift. */
static uint32_t count_outside(const qs_walk *w, const qs_run *run, const uint8_t *src, int shift,
                              qs_ranks_scratch *scratch)
{
	const qs_grid *grid = &w->desc->coarse_grid;
	qs_step step;
	qs_found_ranks ranks = {.rank = scratch->rank,
	                        .f = scratch->f,
	                        .outside = scratch->residual /* is not needed before exceptions are listed */};
	qs_grid_step(grid, run->number, &step);
	qs_step_shift(&step, grid->rule, w->desc->dtype, (int8_t)shift);
	qs_cells cells = table_of_run(w, run, &step);
	qs_find_ranks_best(qs_grid_is_plain(grid))(cells, w->indexes, src, run->count, run->begin, &ranks);
	return ranks.outsiders;
}

/* Returns the shift of a run that leaves the fewest values outside their cells; the smallest shift wins a
 * tie. *outside: their number, at first without a shift, then with the best. */
static int best_shift(const qs_walk *w, const qs_run *run, const uint8_t *src, uint32_t *outside,
                      qs_ranks_scratch *scratch)
{
	int best = 0;
	uint32_t fewest = count_outside(w, run, src, 0, scratch);
	for (int k = 1; k <= SHIFT_MOST && fewest; k++)
		for (int sign = -1; sign <= 1 && fewest; sign += 2) {
			uint32_t count = count_outside(w, run, src, sign * k, scratch);
			best = count < fewest ? sign * k : best;
			fewest = count < fewest ? count : fewest;
		}
	best = *outside < fewest ? QS_SHIFT_NONE : best;
	*outside = *outside < fewest ? *outside : fewest;
	return best;
}

/* Finds a shift for each run, into scratch->shifts. A scale that was rounded, or a division that was not
 * exact, leaves some of a run's values just outside their cells; a shift puts them inside. Returns the number
 * of runs, or 0 if shifts gain nothing. *tried: the ranks in scratch were overwritten. */
static uint32_t find_shifts(qs_walk w, const qs_chunk_desc *desc, const uint8_t *src, const uint8_t *outside,
                            qs_block_plan *plan, int *tried, qs_ranks_scratch *scratch)
{
	int symmetric = qs_rule_is_symmetric(desc->coarse_grid.rule);
	uint32_t n_runs = 0, before = 0, after = 0, counts[256];
	const qs_run *run = &w.runs.run;
	for (; qs_runs_next(&w.runs); n_runs++) {
		uint32_t count = 0, left;
		if (n_runs == QS_SHIFTS_MAX)
			return 0;
		for (uint32_t i = run->begin, end = i + run->count; i < end; i++)
			count += outside[i];
		before += left = count;
		int shift = symmetric && count ? guess_shift(desc, run, w.codes, src, outside) : 0;
		if (!symmetric)
			shift = best_shift(&w, run, src, &left, scratch);
		else if (shift)
			left = count_outside(&w, run, src, shift, scratch);
		*tried |= !symmetric || shift;
		/* A shift is kept only if it puts at least half of the outside values into their cells; fewer may be
		 * coincidence. */
		int pays = !symmetric || 2 * left <= count;
		scratch->shifts[n_runs] = pays ? (uint8_t)shift : 0;
		after += pays ? left : count;
	}
	qs_histogram(scratch->shifts, n_runs, counts);
	qs_symbols_plan(counts, n_runs, QS_PREFER_SIZE, plan);
	return (double)plan->size < outside_size(desc->n_elems, before) - outside_size(desc->n_elems, after)
	           ? n_runs
	           : 0;
}

/* ---- Exceptions ---- */

/* Lists the values outside their cells, in the order of the matrix. */
static void list_exceptions(const uint8_t *outside, const uint8_t *src, uint32_t n, qs_ranks_scratch *scratch,
                            found *f)
{
	uint8_t *list = scratch->exceptions;
	qs_writer e = {list, list + sizeof scratch->exceptions, 0};
	uint32_t next = 0;
	for (uint32_t i = 0; i < n; i++) {
		if (!outside[i])
			continue;
		qs_write_varint(&e, i - next);
		qs_write_bytes(&e, src + 2 * (size_t)i, 2);
		next = i + 1;
	}
	f->list_size = (size_t)(e.at - list);
	f->overflow = e.bad;
}

/* Moves elements of 1 byte from coded order to the order of the matrix. */
static void scatter8(qs_coded_order order, const uint16_t *columns, uint32_t cols, uint32_t n,
                     const uint8_t *src, uint8_t *dst)
{
	if (order == QS_CODED_COLUMNS) {
		qs_coded_gather8(order, columns, n / cols, n, src, dst); /* transposing again gives the matrix */
		return;
	}
	for (; n; n -= cols, src += cols, dst += cols)
		for (uint32_t c = 0; c < cols; c++)
			dst[columns[c]] = src[c];
}

/* Does the work of scatter8 in place. memory: n bytes of scratch memory. */
static void to_matrix_order(qs_coded_order order, const uint16_t *columns, uint32_t cols, uint32_t n,
                            uint8_t *bytes, uint8_t *memory)
{
	scatter8(order, columns, cols, n, bytes, memory);
	memcpy(bytes, memory, n);
}

/* Returns eight bytes for the first min(n, 8) elements: the top bit of a byte is set if the element's value
 * is outside its cell or, with `escapes`, is an escape. */
static uint64_t doubtful(const uint8_t *outside, const uint8_t *indexes, uint32_t n, int escapes)
{
	const uint64_t low7 = 0x7f7f7f7f7f7f7f7f;
	uint64_t out = 0, index = ~(uint64_t)0;
	if (n >= 8) {
		out = qs_load64(outside);
		index = qs_load64(indexes);
	} else
		for (uint32_t i = 0; i < n; i++) {
			out |= (uint64_t)outside[i] << 8 * i;
			index ^= (uint64_t)(uint8_t)~indexes[i] << 8 * i;
		}
	return out << 7 | (escapes ? ~(((index & low7) + low7) | index | low7) : 0);
}

/* Finds the residual: for each element, the code that the rule itself would give, less the given code. Values
 * in the cell of their code keep that code, and so do values for whose new code there is no cell. Escapes are
 * looked at only if many values are outside. */
static void find_residual(qs_walk w, const qs_chunk_desc *desc, const uint8_t *src, const uint8_t *outside,
                          int escapes, uint8_t *codes, uint8_t *residual)
{
	const qs_grid *grid = &desc->coarse_grid;
	const qs_run *run = &w.runs.run;
	uint32_t dtype = desc->factors ? desc->factors_dtype : desc->dtype;
	int symmetric = qs_rule_is_symmetric(grid->rule), low = 0, high = (int)qs_rule_levels(grid->rule) - 1;
	if (!symmetric && grid->codes_dtype == QS_I8) {
		low = -128;
		high = 127;
	}
	memcpy(codes, w.codes, desc->n_elems);
	memset(residual, 0, desc->n_elems);
	for (qs_step step; qs_walk_next(&w, &step);) {
		if (symmetric) {
			/* Every index has a cell, even those beyond the range of codes. */
			high = (int)qs_positive_codes(grid->codes_dtype, step.zero) + step.zero;
			low = high - 255;
		}
		uint32_t end = run->begin + run->count;
		for (uint32_t at = run->begin; at < end; at += 8)
			for (uint64_t left = doubtful(outside + at, w.indexes + at, end - at, escapes); left;
			     left &= left - 1) {
				uint32_t i = at + (uint32_t)__builtin_ctzll(left) / 8;
				uint16_t value = qs_load16(src + 2 * (size_t)i);
				if (desc->factors)
					value = qs_factor_product(desc->dtype, desc->factors_dtype, value,
					                          qs_factor_value(desc->factors_dtype, qs_factors_at(desc, i)));
				int code = qs_cell_code(dtype, grid->rule, &step, value);
				int out = code == QS_NO_CODE; /* QS_NO_CODE too if the scale is not usable */
				if (!symmetric && !out)
					code = code < low ? low : code > high ? high : code;
				if (out || code < low || code > high)
					continue;
				codes[i] = (uint8_t)code;
				residual[i] = (uint8_t)(codes[i] - w.codes[i]);
			}
	}
}

/* Writes a bit for each value that is in two cells: 1 if it belongs to the lower one. `bits` must be zeros.
 * Returns the number of bits. */
static uint32_t share_borders(qs_walk w, const uint8_t *src, found *f, uint8_t *bits,
                              qs_ranks_scratch *scratch)
{
	uint32_t n_bits = 0;
	const qs_run *run = &w.runs.run;
	for (qs_step step; qs_walk_next(&w, &step);) {
		qs_cells cells = table_of_run(&w, run, &step);
		for (uint32_t i = run->begin, end = i + run->count; i < end; i++) {
			uint32_t value = qs_load16(src + 2 * (size_t)i);
			qs_cell cell = qs_cells_at(cells, w.indexes[i]);
			if (!w.indexes[i] || scratch->rank[i])
				continue;
			if (scratch->outside[i] && value == ((QS_CELL_FIRST(cell) + QS_CELL_COUNT(cell)) & 0xffff)) {
				scratch->outside[i] = 0;
				f->exceptions--;
				bits[n_bits / 8] |= (uint8_t)(1 << n_bits % 8);
			}
			n_bits++;
		}
	}
	return n_bits;
}

/* Writes for each state the number of bits below its top bit, then all these bits. */
static void write_states(qs_writer *w, const qs_rank_lanes *lanes)
{
	unsigned lengths[QS_LANES_MAX] = {0}, n_bits = 0;
	uint64_t bits = 0;
	for (unsigned lane = 0; lane < lanes->lanes; lane++)
		lengths[lane] = 31u - (unsigned)__builtin_clz(lanes->state[lane]);
	for (unsigned lane = 0; lane < lanes->lanes; lane += 2)
		qs_write8(w, (uint8_t)((lengths[lane] - 16) | (lengths[lane + 1] - 16) << 4));
	for (unsigned lane = 0; lane < lanes->lanes; lane++) {
		bits |= (uint64_t)(lanes->state[lane] ^ 1u << lengths[lane]) << n_bits;
		for (n_bits += lengths[lane]; n_bits >= 8; n_bits -= 8, bits >>= 8)
			qs_write8(w, (uint8_t)bits);
	}
	if (n_bits)
		qs_write8(w, (uint8_t)bits);
}

static void write_exceptions(qs_writer *w, const found *f, const qs_ranks_scratch *scratch)
{
	uint8_t head[5];
	qs_writer h = {head, head + sizeof head, 0};
	qs_write_varint(&h, f->exceptions);
	qs_write_varint(w, (uint32_t)((size_t)(h.at - head) + f->list_size));
	qs_write_bytes(w, head, (size_t)(h.at - head));
	qs_write_bytes(w, scratch->exceptions, f->list_size);
}

/* Writes the number of escapes, and their values as byte planes. */
static void write_escapes(qs_writer *w, const uint8_t *values, uint32_t n, uint32_t escapes,
                          qs_ranks_scratch *scratch)
{
	qs_write_varint(w, escapes);
	if (!escapes)
		return;
	/* The memory for units is free until ranks are written. */
	uint16_t *of_zeros = (uint16_t *)scratch->units;
	uint8_t *high = scratch->planes, *low = high + escapes;
	qs_take_escapes_best()(scratch->indexes, values, n, of_zeros);
	for (uint32_t i = 0; i < escapes; i++) {
		high[i] = (uint8_t)(of_zeros[i] >> 7);
		low[i] = (uint8_t)(of_zeros[i] << 1 | of_zeros[i] >> 15);
	}
	for (size_t b = 0; b < 2; b++)
		qs_symbols_encode(w, scratch->planes + b * escapes, escapes, QS_PREFER_SPEED, scratch->symbols);
}

/* Writes the lanes' states and the units of n ranks. */
static void write_ranks(qs_writer *w, unsigned n_lanes, uint32_t n, qs_ranks_scratch *scratch)
{
	/* Units are written back to front, because the decoder reads the last one first. */
	uint8_t *units_end = scratch->units + sizeof scratch->units;
	qs_rank_lanes l = {.at = units_end, .lanes = n_lanes};
	for (unsigned lane = 0; lane < n_lanes; lane++)
		l.state[lane] = QS_LANE_START;
	qs_put_ranks_best(n_lanes)(&l, scratch->f, scratch->rank, n);
	write_states(w, &l);
	qs_write_bytes(w, l.at, (size_t)(units_end - l.at));
}

void qs_ranks_encode(qs_writer *w, const qs_chunk_desc *desc, const uint8_t *src, int shared,
                     qs_ranks_scratch *scratch, uint32_t *n_exceptions)
{
	const qs_grid *grid = &desc->coarse_grid;
	uint32_t n = desc->n_elems, cols = (uint32_t)desc->cols;
	const uint8_t *codes = desc->coarse, *values = src;
	/* 64 lanes are used if their states are small compared with the chunk. */
	unsigned n_lanes = n >= 1 << 16 ? QS_LANES_MAX : QS_LANES_MIN;
	qs_coded_order order = qs_chunk_order(desc);
	uint8_t *outside = scratch->outside;
	/* A code that the rule does not have has no cell, so this mode cannot code the chunk. */
	for (uint32_t i = 0, levels = qs_rule_levels(grid->rule); levels < 256 && i < n; i++)
		if (codes[i] >= levels) {
			w->bad = 1;
			return;
		}
	if (order == QS_CODED_GROUPS)
		qs_coded_columns(grid, cols, scratch->columns, scratch->counts);
	if (order != QS_CODED_ROWS) {
		qs_coded_gather8(order, scratch->columns, cols, n, codes, scratch->codes);
		qs_coded_gather16(order, scratch->columns, cols, n, src, scratch->values);
		codes = scratch->codes;
		values = scratch->values;
	}
	qs_cell_cache_init(&scratch->cells, desc->factors ? desc->factors_dtype : desc->dtype, grid->rule,
	                   grid->codes_dtype);
	scratch->cells.shared = shared;
	found f = find_ranks(walk_begin(desc, order, codes, NULL, scratch), values, outside, scratch);
	qs_block_plan residual_plan, shifts_plan;
	int residual = 0, tried = 0;
	uint32_t n_shifts = 0, n_shared = 0;
	const uint8_t *shifts = NULL;
	if (shared) {
		if (order != QS_CODED_ROWS || !qs_rule_is_symmetric(grid->rule) || desc->factors) {
			w->bad = 1;
			return;
		}
		memset(scratch->residual, 0, n / 8 + 1);
		n_shared = share_borders(walk_begin(desc, order, codes, NULL, scratch), values, &f, scratch->residual,
		                         scratch);
	} else if (f.exceptions && qs_rule_takes_shifts(grid->rule) && !desc->factors) {
		n_shifts = find_shifts(walk_begin(desc, order, codes, NULL, scratch), desc, values, outside,
		                       &shifts_plan, &tried, scratch);
		shifts = n_shifts ? scratch->shifts : NULL;
		if (tried)
			f = find_ranks(walk_begin(desc, order, codes, shifts, scratch), values, outside, scratch);
	}
	*n_exceptions = f.exceptions;
	if (f.exceptions && !shared) {
		/* Many values are outside their cells if codes were made by another rule or from other values. A
		 * residual, which has a difference of codes for each element, then costs less than a list of
		 * exceptions. */
		uint32_t counts[256];
		int escapes = f.exceptions > n / FEW_OUTSIDE;
		find_residual(walk_begin(desc, order, codes, shifts, scratch), desc, values, outside, escapes,
		              scratch->planes, scratch->residual);
		qs_histogram(scratch->residual, n, counts);
		qs_symbols_plan(counts, n, QS_PREFER_SIZE, &residual_plan);
		residual = counts[0] < n && residual_plan.size < EXCEPTION_SIZE(f.exceptions);
		if (residual) {
			memcpy(scratch->codes, scratch->planes, n);
			codes = scratch->codes;
			f = find_ranks(walk_begin(desc, order, codes, shifts, scratch), values, outside, scratch);
		}
	}
	if (order != QS_CODED_ROWS) {
		to_matrix_order(order, scratch->columns, cols, n, outside, scratch->planes);
		if (residual)
			to_matrix_order(order, scratch->columns, cols, n, scratch->residual, scratch->planes);
	}
	if (f.exceptions)
		list_exceptions(outside, src, n, scratch, &f);
	uint32_t count = f.exceptions;
	if (count > n / EXCEPTIONS_SHARE || f.overflow) {
		w->bad = 1;
		return;
	}
	qs_write8(w, QS_MODE_RANKS);
	qs_write8(w, (uint8_t)((n_lanes == QS_LANES_MAX ? QS_RANKS_WIDE : 0) | (count ? QS_RANKS_EXCEPTIONS : 0) |
	                       (residual ? QS_RANKS_RESIDUAL : 0) | (n_shifts ? QS_RANKS_SHIFTS : 0) |
	                       (shared ? QS_RANKS_SHARED : 0)));
	if (count)
		write_exceptions(w, &f, scratch);
	if (residual)
		qs_symbols_write(w, scratch->residual, n, &residual_plan, scratch->symbols);
	if (n_shifts)
		qs_symbols_write(w, shifts, n_shifts, &shifts_plan, scratch->symbols);
	write_escapes(w, values, n, f.escapes, scratch);
	if (shared) {
		qs_write_varint(w, (n_shared + 7) / 8);
		qs_write_bytes(w, scratch->residual, (n_shared + 7) / 8);
	}
	write_ranks(w, n_lanes, n, scratch);
}

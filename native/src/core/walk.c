#include "walk.h"

#include <string.h>

#include "rules.h"

void qs_walk_begin(qs_walk *walk, const qs_chunk_desc *desc, qs_coded_order order, const uint16_t *columns,
                   const uint8_t *codes, const uint8_t *shifts, uint8_t *indexes, qs_cell_cache *cells,
                   int counted)
{
	const qs_grid *grid = &desc->coarse_grid;
	uint64_t run = qs_coded_run(grid, desc->cols, desc->n_elems, order);
	*walk = (qs_walk){.desc = desc, .codes = codes, .shifts = shifts, .indexes = indexes, .cells = cells};
	walk->fetch = qs_fetch_best(grid, &walk->by_code);
	if (!desc->factors && !cells->shared)
		qs_strip_cells_init(&walk->strip, desc->dtype, grid, run);
	walk->strip.strip.counts = counted;
	walk->is_short = walk->strip.kernel || (!desc->factors && run < QS_FETCH_BELOW);
	qs_runs_begin(&walk->runs, grid, desc->cols, desc->first_elem, desc->n_elems, order, columns);
}

static void find_steps(qs_walk *walk, const qs_run *runs, uint32_t n_runs, qs_step *steps)
{
	qs_grid_steps(&walk->desc->coarse_grid, runs, n_runs, steps);
	for (uint32_t r = 0; walk->shifts && r < n_runs; r++)
		qs_walk_shift(walk, &steps[r]);
}

uint32_t qs_walk_next_runs(qs_walk *walk, qs_run *runs, qs_step *steps)
{
	uint32_t n = qs_runs_next_some(&walk->runs, runs, QS_STRIP_RUNS_MAX, walk->desc->n_elems);
	if (n)
		find_steps(walk, runs, n, steps);
	return n;
}

/* Makes cell indexes of n codes: subtracts the zero point. */
static void make_indexes(const uint8_t *codes, uint32_t n, int32_t zero, uint8_t *dst)
{
	for (uint32_t i = 0; i < n; i++)
		dst[i] = (uint8_t)(codes[i] - (uint32_t)zero);
}

qs_cells qs_walk_cells(const qs_walk *walk, const qs_run *run, const qs_step *step, int codes_do,
                       const uint8_t **indexes)
{
	const qs_grid *grid = &walk->desc->coarse_grid;
	const uint8_t *codes = walk->codes + run->begin;
	uint8_t *own = walk->indexes + run->begin;
	uint32_t n = run->count, reach = 128;
	int symmetric = qs_rule_is_symmetric(grid->rule), plain = qs_grid_is_plain(grid);
	*indexes = plain || codes_do ? codes : own;
	if (!plain && symmetric) {
		make_indexes(codes, n, step->zero, own);
		reach = qs_cell_reach(grid->codes_dtype, step->zero, own, n);
	}
	qs_cells cells = qs_cell_cache_find(walk->cells, step, reach);
	if (codes_do)
		return cells;
	if (cells.table->zero == QS_ALL_ZERO) {
		memset(own, 0, n);
		*indexes = own;
	} else if (!symmetric) {
		make_indexes(codes, n, cells.table->zero, own);
	}
	return cells;
}

/* Fetches the cells of the runs for which `by_table` has a bit. to: the fields of the first run's first
 * element. */
static void fetch_runs(const qs_walk *walk, const qs_run *runs, const qs_step *steps, uint32_t n_runs,
                       uint32_t by_table, const qs_cell_fields *to)
{
	int counted = walk->strip.strip.counts;
	if (walk->by_code && !walk->strip.kernel) {
		qs_fetch_runs(walk->fetch, walk->cells, runs, steps, n_runs, walk->codes, counted, to);
		return;
	}
	for (uint32_t r = 0; by_table; r++, by_table >>= 1) {
		const uint8_t *indexes;
		uint32_t at = runs[r].begin - runs[0].begin;
		if (!(by_table & 1))
			continue;
		qs_cells cells = qs_walk_cells(walk, &runs[r], &steps[r], walk->by_code, &indexes);
		walk->fetch(&cells, &runs[r].count, 1, indexes, counted,
		            &(qs_cell_fields){to->first + at, to->f + at, to->g + at});
	}
}

void qs_walk_fields(qs_walk *walk, const qs_run *runs, uint32_t n_runs, const qs_cell_fields *to)
{
	uint32_t begin = runs[0].begin, n = runs[n_runs - 1].begin + runs[n_runs - 1].count - begin;
	uint32_t by_table = (uint32_t)((UINT64_C(1) << n_runs) - 1);
	qs_step steps[QS_STRIP_RUNS_MAX];
	find_steps(walk, runs, n_runs, steps);
	if (walk->strip.kernel) {
		uint8_t codes[QS_STRIP_MAX + QS_STRIP_OVERSHOOT];
		memcpy(codes, walk->codes + begin, n);
		memset(codes + n, 0, QS_STRIP_OVERSHOOT);
		by_table = qs_strip_find(&walk->strip, runs, steps, n_runs, codes, to);
	}
	if (by_table)
		fetch_runs(walk, runs, steps, n_runs, by_table, to);
}

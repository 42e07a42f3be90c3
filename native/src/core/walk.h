/* Walks through a chunk of 16-bit floats run by run, and finds the scale and the cells of each run
 * (FORMAT.md, "Ranks"). The decoder and the encoder of ranks walk the same way. */
#ifndef QS_WALK_H
#define QS_WALK_H

#include "cell_fetch.h"
#include "chunk.h"

typedef struct qs_walk {
	const qs_chunk_desc *desc;
	const uint8_t *codes;  /* in coded order, as all arrays here */
	const uint8_t *shifts; /* of the runs that are left, or NULL */
	uint8_t *indexes;      /* memory for n_elems cell indexes, used if codes are not the indexes themselves */
	qs_cell_cache *cells;  /* prepared for the chunk (qs_cell_cache_use) */
	qs_fetch_kernel *fetch;
	int by_code;  /* fetch takes codes instead of indexes */
	int is_short; /* most runs are short: the cells of several are found at a time */
	qs_strip_cells strip;
	qs_runs runs;
} qs_walk;

/* Begins a walk. columns: see qs_runs_begin. counted: should fields have the number of a cell's values in
 * place of g? */
void qs_walk_begin(qs_walk *walk, const qs_chunk_desc *desc, qs_coded_order order, const uint16_t *columns,
                   const uint8_t *codes, const uint8_t *shifts, uint8_t *indexes, qs_cell_cache *cells,
                   int counted);

/* Applies the next shift to the scale of the next run. */
static inline void qs_walk_shift(qs_walk *walk, qs_step *step)
{
	qs_step_shift(step, walk->desc->coarse_grid.rule, walk->desc->dtype, (int8_t)*walk->shifts++);
}

/* Finds the next run, which is in walk->runs.run then, and its scale. Returns 0 if there is none. */
static inline int qs_walk_next(qs_walk *walk, qs_step *step)
{
	if (!qs_runs_next(&walk->runs))
		return 0;
	qs_grid_step(&walk->desc->coarse_grid, walk->runs.run.number, step);
	if (walk->shifts)
		qs_walk_shift(walk, step);
	return 1;
}

/* Finds the next runs and their scales. Returns their number, at most QS_STRIP_RUNS_MAX; 0 if there are
 * none. */
uint32_t qs_walk_next_runs(qs_walk *walk, qs_run *runs, qs_step *steps);

/* If most runs are short, finds the next ones and returns their number: at most QS_STRIP_RUNS_MAX runs with
 * at most QS_STRIP_MAX elements together. qs_walk_fields must then find their cells before the next runs are
 * asked for. */
static inline uint32_t qs_walk_next_short(qs_walk *walk, qs_run *runs)
{
	return walk->is_short ? qs_runs_next_some(&walk->runs, runs, QS_STRIP_RUNS_MAX, QS_STRIP_MAX) : 0;
}

/* Writes the fields of the elements of these runs; g is 0 for index 0. `to` must have room for
 * QS_STRIP_OVERSHOOT elements more. */
void qs_walk_fields(qs_walk *walk, const qs_run *runs, uint32_t n_runs, const qs_cell_fields *to);

/* Returns the cells of a run, and sets *indexes to the run's cell indexes; with `codes_do`, for kernels that
 * take codes, to its codes. */
qs_cells qs_walk_cells(const qs_walk *walk, const qs_run *run, const qs_step *step, int codes_do,
                       const uint8_t **indexes);

#endif

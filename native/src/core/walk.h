/* Walks through a chunk of 16-bit floats run by run, and finds the scale and the cells of each run
 * (FORMAT.md, "Ranks"). The decoder and the encoder of ranks walk the same way. */
#ifndef QS_WALK_H
#define QS_WALK_H

#include "cell_fetch.h"
#include "chunk.h"

typedef struct qs_walk {
	const qs_chunk_desc *desc;
	const uint8_t *codes;  /* in coded order, as all fields here */
	const uint8_t *shifts; /* of the runs that are left, or NULL */
	uint8_t *indexes;      /* memory for n_elems indexes, used where they are not the codes themselves */
	qs_cell_cache *cells;  /* ready for the chunk */
	qs_fetch_kernel *fetch;
	int by_code;  /* fetch takes codes instead of indexes */
	int is_short; /* most runs are short: the cells of several are found at a time */
	qs_strip_cells strip;
	qs_runs runs;
} qs_walk;

/* columns: those of the order, as qs_runs_begin takes them. counted: fields are to have the number of a
 * cell's values in place of g. */
void qs_walk_begin(qs_walk *walk, const qs_chunk_desc *desc, qs_coded_order order, const uint16_t *columns,
                   const uint8_t *codes, const uint8_t *shifts, uint8_t *indexes, qs_cell_cache *cells,
                   int counted);

/* Shifts the scale of the next run that has not been shifted. */
static inline void qs_walk_shift(qs_walk *walk, qs_step *step)
{
	qs_step_shift(step, walk->desc->coarse_grid.rule, walk->desc->dtype, (int8_t)*walk->shifts++);
}

/* The next run and its scale; 0 when there is none. */
static inline int qs_walk_next(qs_walk *walk, qs_step *step)
{
	if (!qs_runs_next(&walk->runs))
		return 0;
	qs_grid_step(&walk->desc->coarse_grid, walk->runs.run.number, step);
	if (walk->shifts)
		qs_walk_shift(walk, step);
	return 1;
}

/* The next runs and their scales: their number, at most QS_STRIP_RUNS_MAX; 0 when there is none. */
uint32_t qs_walk_next_runs(qs_walk *walk, qs_run *runs, qs_step *steps);

/* The next runs, if they are short: their number; at most QS_STRIP_RUNS_MAX of QS_STRIP_MAX elements
 * together, whose cells qs_walk_fields must find before the next runs are asked for. */
static inline uint32_t qs_walk_next_short(qs_walk *walk, qs_run *runs)
{
	return walk->is_short ? qs_runs_next_some(&walk->runs, runs, QS_STRIP_RUNS_MAX, QS_STRIP_MAX) : 0;
}

/* Writes the fields of these runs' elements; g is 0 for index 0. to has room for QS_STRIP_OVERSHOOT more. */
void qs_walk_fields(qs_walk *walk, const qs_run *runs, uint32_t n_runs, const qs_cell_fields *to);

/* The cells of a run, and the run's indexes into these; with `codes_do`, codes, for kernels that take them.
 */
qs_cells qs_walk_cells(const qs_walk *walk, const qs_run *run, const qs_step *step, int codes_do,
                       const uint8_t **indexes);

#endif

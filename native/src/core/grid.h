/* The grid of a matrix's codes says which scale, offset and zero point belong to each element (FORMAT.md,
 * "Grids"). Element e of a matrix with `cols` columns is in row e / cols. */
#ifndef QS_GRID_H
#define QS_GRID_H

#include <stddef.h>
#include <stdint.h>

#include "index.h"

typedef struct qs_grid {
	uint32_t rule, codes_dtype; /* codes_dtype: QS_I8 or QS_U8 */
	/* Element (row, column) has the scale number row * row_stride + g * group_stride. Without an order, g =
	 * column / group. `order` has a little-endian I32 for each column, or is NULL; with it, g =
	 * order[column], which is below n_groups. */
	union {
		uint32_t group;    /* without an order: columns that share a scale */
		uint32_t n_groups; /* with an order: groups of a row */
	};
	uint64_t row_stride, group_stride;
	const uint8_t *order;
	/* The scales from number scales_first on: floats, or the records of ggml's blocks (of dtype QS_BYTES;
	 * scales_first is then the first scale of a record). They are little-endian and need not be aligned. */
	const uint8_t *scales;
	size_t scales_size;
	uint32_t scales_dtype;
	uint64_t scales_first;
	/* The zero points of the same scales, a byte each, or NULL; zero_offset is added to each. */
	const uint8_t *zero_points;
	size_t zero_points_size;
	int32_t zero_offset;
} qs_grid;

/* A scale with its offset and its zero point: the value of a code q is about (q - zero) * scale + offset. */
typedef struct qs_step {
	float scale, offset;
	int32_t zero;
	int32_t centre; /* rules that add the zero point add zero - centre */
	int32_t shift;  /* the rule's factor is this many ulps larger; chunks have shifts, grids do not */
} qs_step;

/* Are the rule symmetric and the codes signed around 0, as in most INT8 formats? Then the cells of negative
 * codes are those of positive ones with the sign flipped. */
int qs_grid_is_plain(const qs_grid *grid);

/* Finds the numbers of the scales that elements [first, first + n), n > 0, of a matrix can have: *low to
 * *high. */
void qs_grid_window(const qs_grid *grid, uint64_t cols, uint64_t first, uint64_t n, uint64_t *low,
                    uint64_t *high);

/* Finds the scales that elements [first, first + n), n > 0, need: *count elements of the scales' object, from
 * *at on. Sets the grid's scales_first and scales_size, and zero_points_size: the bytes of the zero points
 * that are needed, from number scales_first on, if there are any. */
void qs_grid_needs(qs_grid *grid, uint64_t cols, uint64_t first, uint64_t n, uint64_t *at, uint64_t *count);

/* Are the scales of elements [first, first + n) loaded, and are all numbers in `order` below n_groups? */
int qs_grid_covers(const qs_grid *grid, uint64_t cols, uint64_t first, uint64_t n);

/* Reads the scale with this number, which must be loaded. */
void qs_grid_step(const qs_grid *grid, uint64_t number, qs_step *step);

/* A run of elements that share a scale and are coded one after the other. */
typedef struct qs_run {
	uint64_t number;       /* of the scale */
	uint32_t begin, count; /* elements, from the chunk's start, in coded order */
} qs_run;

/* Reads the scales of n runs, as qs_grid_step does. */
void qs_grid_steps(const qs_grid *grid, const qs_run *runs, uint32_t n, qs_step *steps);

/* Applies the shift that a chunk has for a run, under rules that take shifts (FORMAT.md, "Ranks"). */
void qs_step_shift(qs_step *step, uint32_t rule, uint32_t dtype, int8_t shift);
enum { QS_SHIFT_NONE = -128 }; /* "no shift", for rules of which a shift of 0 changes the scale */

/* The order in which a chunk's elements are coded. It brings elements that share a scale together. */
typedef enum qs_coded_order {
	QS_CODED_ROWS,    /* the order of the matrix */
	QS_CODED_COLUMNS, /* column by column: each has a scale of its own */
	QS_CODED_GROUPS   /* each row's columns sorted by group; those of a group keep their order */
} qs_coded_order;

enum { QS_GROUPS_COLS_MAX = 1 << 16 }; /* wider rows are coded in the order of the matrix */

qs_coded_order qs_coded_order_of(const qs_grid *grid, uint64_t cols, uint64_t first, uint32_t n);

/* For QS_CODED_GROUPS: sets columns[j] to the column that is coded j-th of each row. grid->n_groups must be
 * at most 2^16. counts: scratch memory for n_groups elements. */
void qs_coded_columns(const qs_grid *grid, uint32_t cols, uint16_t *columns, uint32_t *counts);

/* Copy n elements of 1 or 2 bytes from the order of the matrix to coded order (gather), and back (scatter).
 * columns: for QS_CODED_GROUPS, those of qs_coded_columns. */
void qs_coded_gather8(qs_coded_order order, const uint16_t *columns, uint32_t cols, uint32_t n,
                      const uint8_t *src, uint8_t *dst);
void qs_coded_gather16(qs_coded_order order, const uint16_t *columns, uint32_t cols, uint32_t n,
                       const uint8_t *src, uint8_t *dst);
void qs_coded_scatter16(qs_coded_order order, const uint16_t *columns, uint32_t cols, uint32_t n,
                        const uint8_t *src, uint8_t *dst);

/* Returns the usual length of a run in a chunk of n elements. */
uint64_t qs_coded_run(const qs_grid *grid, uint64_t cols, uint32_t n, qs_coded_order order);

/* Finds all runs of n elements from `first` on: call qs_runs_begin, then qs_runs_next, which sets `run`,
 * until it returns 0. */
typedef struct qs_runs {
	const qs_grid *grid;
	const uint16_t *columns;
	qs_coded_order order;
	/* cols: elements of a row; row and column: of the next element. For QS_CODED_COLUMNS a "row" is a column
	 * of the chunk. */
	uint64_t cols, row, column;
	uint64_t group; /* column / grid->group */
	uint32_t at, n;
	qs_run run;
} qs_runs;

void qs_runs_begin(qs_runs *runs, const qs_grid *grid, uint64_t cols, uint64_t first, uint32_t n,
                   qs_coded_order order, const uint16_t *columns);
int qs_runs_next(qs_runs *runs);

/* Finds the next runs, as many as together have at most max_elems elements; returns their number. */
uint32_t qs_runs_next_some(qs_runs *runs, qs_run *out, uint32_t max_runs, uint32_t max_elems);

/* The approximate values of codes, by which codes predict others: the value of a code q is start + q ·
 * slope. */
typedef struct qs_line {
	float slope, start;
} qs_line;

qs_line qs_grid_line(const qs_grid *grid, uint64_t number);

#endif

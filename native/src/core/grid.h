/* The grid of a matrix's codes says which scale, offset and zero point belong to each element (FORMAT.md,
 * "Grids"). Element e of a matrix with `cols` columns is in row e / cols. */
#ifndef QS_GRID_H
#define QS_GRID_H

#include <stddef.h>
#include <stdint.h>

#include "index.h"

typedef struct qs_grid {
	uint32_t rule, codes_dtype; /* codes_dtype: QS_I8 or QS_U8 */
	/* Element (row, column) has the scale number row * row_stride + g * group_stride, where g = column /
	 * group; with `order`, an I32 for each column, little-endian, g = order[column] < group. */
	uint32_t group;
	uint64_t row_stride, group_stride;
	const uint8_t *order;
	/* The scales from number scales_first on: floats, or the records of ggml's blocks (QS_BYTES; scales_first
	 * is then a record's first). Little-endian, need not be aligned. */
	const uint8_t *scales;
	size_t scales_size;
	uint32_t scales_dtype;
	uint64_t scales_first;
	/* The zero points of the same scales, a byte each, or NULL; zero_offset is added to each. */
	const uint8_t *zero_points;
	size_t zero_points_size;
	int32_t zero_offset;
} qs_grid;

/* One scale: a code q stands for (q - zero) * scale + offset, about. */
typedef struct qs_step {
	float scale, offset;
	int32_t zero;
	int32_t centre; /* rules that add the zero point do so less this */
	int32_t shift;  /* the rule's factor is this many ulps larger: chunks say so, not the grid */
} qs_step;

/* Signed codes around 0, as most INT8 formats have them: a table for a scale then has all of them. */
int qs_grid_is_plain(const qs_grid *grid);

/* The scales that elements [first, first + n), n > 0, of a matrix can have: numbers *low to *high. */
void qs_grid_window(const qs_grid *grid, uint64_t cols, uint64_t first, uint64_t n, uint64_t *low,
                    uint64_t *high);

/* Finds the scales that elements [first, first + n), n > 0, need: `count` elements of the scales' object from
 * `at` on, and of the zero points, if there are any, zero_points_size from scales_first on. Sets these two
 * and scales_size. */
void qs_grid_needs(qs_grid *grid, uint64_t cols, uint64_t first, uint64_t n, uint64_t *at, uint64_t *count);

/* Do the scales that are loaded cover the elements, and are all groups in `order` below `group`? */
int qs_grid_covers(const qs_grid *grid, uint64_t cols, uint64_t first, uint64_t n);

/* The number-th scale, which must be covered. */
void qs_grid_step(const qs_grid *grid, uint64_t number, qs_step *step);

/* A run of elements that share a scale and are coded one after the other. */
typedef struct qs_run {
	uint64_t number;       /* of the scale */
	uint32_t begin, count; /* elements, from the chunk's start, in coded order */
} qs_run;

/* The steps of n runs, as qs_grid_step gives them. */
void qs_grid_steps(const qs_grid *grid, const qs_run *runs, uint32_t n, qs_step *steps);

/* A chunk may shift the scale of a run, by rules that take shifts (FORMAT.md, "Ranks"). */
void qs_step_shift(qs_step *step, uint32_t rule, uint32_t dtype, int8_t shift);
enum { QS_SHIFT_NONE = -128 }; /* by rules whose shift 0 is one */

/* The order in which a chunk's elements are coded. It brings those that share a scale together. */
typedef enum qs_coded_order {
	QS_CODED_ROWS,    /* the order of the matrix */
	QS_CODED_COLUMNS, /* column by column: each has a scale of its own */
	QS_CODED_GROUPS   /* each row's columns sorted by `order`, equal ones as they are */
} qs_coded_order;

enum { QS_GROUPS_COLS_MAX = 1 << 16 }; /* wider rows are coded in the order of the matrix */

qs_coded_order qs_coded_order_of(const qs_grid *grid, uint64_t cols, uint64_t first, uint32_t n);

/* GROUPS: the column that is coded j-th of each row. `order` names groups below `group`, at most 2^16.
 * counts: scratch memory, grid->group elements. */
void qs_coded_columns(const qs_grid *grid, uint32_t cols, uint16_t *columns, uint32_t *counts);

/* Elements of 1 or 2 bytes from the order of the matrix to the coded one, and back. columns: GROUPS. */
void qs_coded_gather8(qs_coded_order order, const uint16_t *columns, uint32_t cols, uint32_t n,
                      const uint8_t *src, uint8_t *dst);
void qs_coded_gather16(qs_coded_order order, const uint16_t *columns, uint32_t cols, uint32_t n,
                       const uint8_t *src, uint8_t *dst);
void qs_coded_scatter16(qs_coded_order order, const uint16_t *columns, uint32_t cols, uint32_t n,
                        const uint8_t *src, uint8_t *dst);

/* Elements of a chunk of n that share a scale and are coded one after the other, most of the time. */
uint64_t qs_coded_run(const qs_grid *grid, uint64_t cols, uint32_t n, qs_coded_order order);

/* All runs of n elements from `first` on: qs_runs_begin, then qs_runs_next until it returns 0. */
typedef struct qs_runs {
	const qs_grid *grid;
	const uint16_t *columns;
	qs_coded_order order;
	uint64_t cols, row, column; /* of the next element; COLUMNS: the other way round */
	uint64_t group;             /* column / grid->group */
	uint32_t at, n;
	qs_run run;
} qs_runs;

void qs_runs_begin(qs_runs *runs, const qs_grid *grid, uint64_t cols, uint64_t first, uint32_t n,
                   qs_coded_order order, const uint16_t *columns);
int qs_runs_next(qs_runs *runs);

/* The next runs, as many as have no more elements together than max_elems: their number. */
uint32_t qs_runs_next_some(qs_runs *runs, qs_run *out, uint32_t max_runs, uint32_t max_elems);

/* The values that codes stand for, for predictions: slope is the distance of neighbours, start the value of
 * code 0. */
typedef struct qs_line {
	float slope, start;
} qs_line;

qs_line qs_grid_line(const qs_grid *grid, uint64_t number);

#endif

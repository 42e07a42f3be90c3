/* Finds cells of single elements without a table. Where few elements share a scale, finding the two borders
 * of each element's cell costs less than making a table of all cells (FORMAT.md, "Rules"). The tables of
 * qs_cell_cache_get are the oracle. */
#ifndef QS_CELL_FIELDS_H
#define QS_CELL_FIELDS_H

#include "cells.h"

/* The cells of elements, field by field as kernels take them: `first` and `f` as in a qs_cell. `g` is the
 * cell's G or another multiplier that gives ranks at most one too low; 0 marks an element with index 0. */
typedef struct qs_cell_fields {
	uint16_t *first, *f, *g;
} qs_cell_fields;

enum {
	QS_STRIP_MAX = 1024,     /* elements whose cells are found at a time */
	QS_STRIP_RUNS_MAX = 32,  /* runs that these elements can be of */
	QS_STRIP_RUN_MAX = 256,  /* elements of a run that is short enough for these kernels */
	QS_STRIP_OVERSHOOT = 64, /* elements beyond a run that kernels may read and write */
};

_Static_assert(QS_STRIP_RUNS_MAX <= 32, "kernels return a bit for each run in a word");

/* The numbers that the elements of a run share: an array for each number, with an entry for each run. The
 * rule decides which of them are used. Borders are counted in quarters of a code. */
typedef struct qs_strip {
	uint32_t n_runs;
	uint32_t begin[QS_STRIP_RUNS_MAX + 1]; /* of each run, and the end of the last one */
	/* The caller sets these from qs_grid_step. */
	float scale[QS_STRIP_RUNS_MAX], offset[QS_STRIP_RUNS_MAX];
	int32_t zero[QS_STRIP_RUNS_MAX], shift[QS_STRIP_RUNS_MAX];
	/* The kernels compute the others. */
	float step[QS_STRIP_RUNS_MAX];   /* distance of borders, without an offset a little too large */
	float factor[QS_STRIP_RUNS_MAX]; /* the rule's factor, for borders in quarters */
	float close[QS_STRIP_RUNS_MAX];  /* with an offset: borders nearer to 0 than this are not exact */
	int32_t sign[QS_STRIP_RUNS_MAX]; /* 0x8000 when the values' signs are flipped */
	int32_t end[QS_STRIP_RUNS_MAX];  /* the least magnitude above all values */
	/* These numbers are the same for all runs of a chunk. */
	float divisor;      /* scale / divisor is the step of codes */
	float distance_max; /* the largest distance of codes at which kernels are sure of all borders */
	float close_offset, close_step;
	float centre;            /* is added before a number is cut off */
	float bias;              /* with an offset: a factor that makes borders a little too large */
	int16_t flip, last;      /* codes XOR flip are 0 to last */
	int16_t longer;          /* by how much the cells of the first and the last code are longer */
	int16_t even;            /* 1 when ties go to even codes, 0 when away from zero */
	int16_t counts;          /* set by encoders: kernels write the number of values to g, never G */
	int16_t is_symmetric_i8; /* −127 is the last code too when the zero point is 0 */
} qs_strip;

/* Writes the fields of a strip's elements. Returns a bit for each run of which a border is uncertain, because
 * it is close to 0 or because the scale is far from the usual ones; such runs need a table. */
typedef uint32_t qs_cell_fields_kernel(qs_strip *strip, const uint8_t *codes, const qs_cell_fields *out);

/* Kinds of rules: each has kernels of its own. */
typedef enum qs_fields_kind {
	QS_FIELDS_AWAY,   /* Q8_0, whose scale is d */
	QS_FIELDS_ABSMAX, /* Q8_0, whose scale is the absmax */
	QS_FIELDS_MULTIPLY,
	QS_FIELDS_DIVIDE, /* and Q6_K */
	QS_FIELDS_HALF,
	QS_FIELDS_CUT,    /* Q4_0, Q5_0 */
	QS_FIELDS_OFFSET, /* Q4_1, Q5_1 */
	QS_FIELDS_K,      /* Q4_K, Q5_K */
	QS_FIELDS_KINDS
} qs_fields_kind;

/* The kernels of one instruction set, by kind of rule and by dtype. */
typedef struct qs_fields_set {
	qs_cell_fields_kernel *kernels[QS_FIELDS_KINDS][2]; /* BF16, FP16 */
} qs_fields_set;

extern const qs_fields_set qs_fields_sse41, qs_fields_avx2, qs_fields_avx512;

/* Finds the cells of a chunk's short runs. */
typedef struct qs_strip_cells {
	uint32_t rule;
	qs_fields_kind kind;
	qs_cell_fields_kernel *kernel; /* NULL: tables are faster, or there is no kernel */
	qs_strip strip;
} qs_strip_cells;

/* dtype: of the values; run: the usual number of elements of a run. */
void qs_strip_cells_init(qs_strip_cells *cells, uint32_t dtype, const qs_grid *grid, uint64_t run);

/* Writes the fields of the elements of n_runs runs with these scales: at most QS_STRIP_RUNS_MAX runs with at
 * most QS_STRIP_MAX elements together. Returns a bit for each run that needs a table, whose fields are not
 * valid. codes and out must have room for QS_STRIP_OVERSHOOT elements more. */
uint32_t qs_strip_find(qs_strip_cells *cells, const qs_run *runs, const qs_step *steps, uint32_t n_runs,
                       const uint8_t *codes, const qs_cell_fields *out);

#endif

/* Looks up the cells of eight codes at once in a table, in 128-bit SIMD. */
#ifndef QS_CELL_TABLES_SSE41_H
#define QS_CELL_TABLES_SSE41_H

#include "cells.h"
#include "expand.h"

typedef struct qs_eight_cells {
	v128_t first, f, g, count, zero; /* zero: all bits are set where the index is 0 */
} qs_eight_cells;

/* Loads two cells, of four 16-bit fields each. */
static inline v128_t qs_load_two_cells(const qs_cell *a, const qs_cell *b)
{
	return wasm_i16x8_shuffle(wasm_v128_load64_zero(a), wasm_v128_load64_zero(b), 0, 8, 1, 9, 2, 10, 3, 11);
}

static inline qs_eight_cells qs_load_cells(qs_cells from, const uint8_t *indexes)
{
	/* Transposes eight cells of four fields into four vectors of one field each. */
	const qs_cell *cells = from.table->cells;
	v128_t t0 = qs_load_two_cells(cells + indexes[0], cells + indexes[1]),
	       t1 = qs_load_two_cells(cells + indexes[2], cells + indexes[3]),
	       t2 = qs_load_two_cells(cells + indexes[4], cells + indexes[5]),
	       t3 = qs_load_two_cells(cells + indexes[6], cells + indexes[7]);
	v128_t a = wasm_i32x4_shuffle(t0, t1, 0, 4, 1, 5), b = wasm_i32x4_shuffle(t2, t3, 0, 4, 1, 5);
	v128_t c = wasm_i32x4_shuffle(t0, t1, 2, 6, 3, 7), d = wasm_i32x4_shuffle(t2, t3, 2, 6, 3, 7);
	return (qs_eight_cells){
	    .first = wasm_i16x8_add(wasm_i64x2_shuffle(a, b, 0, 2), wasm_i16x8_splat((int16_t)from.move)),
	    .f = wasm_i64x2_shuffle(c, d, 0, 2),
	    .g = wasm_i64x2_shuffle(a, b, 1, 3),
	    .count = wasm_i64x2_shuffle(c, d, 1, 3),
	    .zero = wasm_i16x8_eq(wasm_i16x8_load8x8(indexes), wasm_i16x8_splat(0))};
}

#endif

/* Cells of eight codes at once from a table, in 128-bit SIMD. */
#ifndef QS_CELL_TABLES_SSE41_H
#define QS_CELL_TABLES_SSE41_H

#include "cells.h"
#include "expand.h"

typedef struct qs_eight_cells {
	v128_t first, f, g, count, zero; /* zero: all bits where the index is 0 */
} qs_eight_cells;

static inline v128_t qs_load_two_cells(const qs_cell *a, const qs_cell *b)
{
#if defined(__wasm_simd128__)
	return wasm_v128_load64_lane(b, wasm_v128_load64_zero(a), 1);
#else
	return wasm_i64x2_make((int64_t)*a, (int64_t)*b);
#endif
}

static inline qs_eight_cells qs_load_cells(qs_cells from, const uint8_t *indexes)
{
	/* Eight cells of four fields to vectors of one field each. */
	const qs_cell *cells = from.table->cells;
	v128_t t0 = qs_load_two_cells(cells + indexes[0], cells + indexes[1]),
	       t1 = qs_load_two_cells(cells + indexes[2], cells + indexes[3]),
	       t2 = qs_load_two_cells(cells + indexes[4], cells + indexes[5]),
	       t3 = qs_load_two_cells(cells + indexes[6], cells + indexes[7]);
	v128_t u0 = wasm_i16x8_shuffle(t0, t1, 0, 8, 1, 9, 2, 10, 3, 11);
	v128_t u1 = wasm_i16x8_shuffle(t0, t1, 4, 12, 5, 13, 6, 14, 7, 15);
	v128_t u2 = wasm_i16x8_shuffle(t2, t3, 0, 8, 1, 9, 2, 10, 3, 11);
	v128_t u3 = wasm_i16x8_shuffle(t2, t3, 4, 12, 5, 13, 6, 14, 7, 15);
	v128_t a = wasm_i16x8_shuffle(u0, u1, 0, 8, 1, 9, 2, 10, 3, 11);
	v128_t b = wasm_i16x8_shuffle(u2, u3, 0, 8, 1, 9, 2, 10, 3, 11);
	v128_t c = wasm_i16x8_shuffle(u0, u1, 4, 12, 5, 13, 6, 14, 7, 15);
	v128_t d = wasm_i16x8_shuffle(u2, u3, 4, 12, 5, 13, 6, 14, 7, 15);
	return (qs_eight_cells){
	    .first = wasm_i16x8_add(wasm_i64x2_shuffle(a, b, 0, 2), wasm_i16x8_splat((int16_t)from.move)),
	    .f = wasm_i64x2_shuffle(c, d, 0, 2),
	    .g = wasm_i64x2_shuffle(a, b, 1, 3),
	    .count = wasm_i64x2_shuffle(c, d, 1, 3),
	    .zero = wasm_i16x8_eq(wasm_i16x8_load8x8(indexes), wasm_i16x8_splat(0))};
}

#endif

/* A plain table of cells (signed codes around 0) in AVX-512 registers: looked up for 32 codes at once. */
#ifndef QS_CELL_TABLES_AVX512_H
#define QS_CELL_TABLES_AVX512_H

#include <immintrin.h>

#include "cells.h"

/* The fields of the cells of codes 0 to 127, each in four vectors, and of code −128, which has no positive
 * twin. */
typedef struct qs_cell_tables {
	__m512i first[4], g[4], f[4], count[4];
	qs_cell least;
} qs_cell_tables;

/* Inlined, what is not used of it costs nothing. */
static inline __attribute__((always_inline)) void qs_cell_tables_load(qs_cell_tables *t, qs_cells from)
{
	const qs_cell *cells = from.table->cells;
	const __m512i pick_even = _mm512_set_epi16(62, 60, 58, 56, 54, 52, 50, 48, 46, 44, 42, 40, 38, 36, 34, 32,
	                                           30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
	const __m512i pick_odd = _mm512_add_epi16(pick_even, _mm512_set1_epi16(1));
	for (int v = 0; v < 4; v++) {
		const qs_cell *c = cells + 32 * v;
		__m512i low[2], high[2];
		for (int h = 0; h < 2; h++) {
			__m512i x = _mm512_loadu_si512(c + 16 * h), y = _mm512_loadu_si512(c + 16 * h + 8);
			/* Words 0, 2 (first, F) and 1, 3 (G, count) of 16 cells. */
			low[h] = _mm512_permutex2var_epi16(x, pick_even, y);
			high[h] = _mm512_permutex2var_epi16(x, pick_odd, y);
		}
		t->first[v] = _mm512_permutex2var_epi16(low[0], pick_even, low[1]);
		t->f[v] = _mm512_permutex2var_epi16(low[0], pick_odd, low[1]);
		t->g[v] = _mm512_permutex2var_epi16(high[0], pick_even, high[1]);
		t->count[v] = _mm512_permutex2var_epi16(high[0], pick_odd, high[1]);
	}
	for (int v = 0; v < 4; v++)
		t->first[v] = _mm512_add_epi16(t->first[v], _mm512_set1_epi16((short)from.move));
	t->least = qs_cells_at(from, 128);
}

/* One 16-bit field of the cells of 32 codes, by magnitude (0 to 128); least: the field of code −128. */
static inline __attribute__((always_inline)) __m512i qs_cell_tables_get(const __m512i field[4],
                                                                        __m512i magnitude, uint32_t least)
{
	__m512i low = _mm512_permutex2var_epi16(field[0], magnitude, field[1]);
	__m512i high = _mm512_permutex2var_epi16(field[2], magnitude, field[3]);
	__m512i any =
	    _mm512_mask_blend_epi16(_mm512_test_epi16_mask(magnitude, _mm512_set1_epi16(64)), low, high);
	return _mm512_mask_mov_epi16(any, _mm512_test_epi16_mask(magnitude, _mm512_set1_epi16(128)),
	                             _mm512_set1_epi16((short)least));
}

/* The patterns of the cells' first values, signs included. code: 32 codes, sign-extended. */
static inline __attribute__((always_inline)) __m512i qs_cell_tables_first(const qs_cell_tables *t,
                                                                          __m512i code, __m512i magnitude)
{
	__m512i sign = _mm512_and_si512(code, _mm512_set1_epi16((short)0x8000));
	return _mm512_or_si512(qs_cell_tables_get(t->first, magnitude, QS_CELL_FIRST(t->least)), sign);
}

#endif

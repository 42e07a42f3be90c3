/* A plain table of cells (signed codes around 0) in AVX-512 registers, for 32 look-ups at once. */
#ifndef QS_CELL_TABLES_AVX512_H
#define QS_CELL_TABLES_AVX512_H

#include <immintrin.h>

#include "cells.h"

/* The fields of the cells of codes 0 to 127, each in four vectors, and the cell of code −128, for which there
 * is no positive code. */
typedef struct qs_cell_tables {
	__m512i first[4], g[4], f[4], count[4];
	qs_cell least;
} qs_cell_tables;

/* This is always inlined, so that fields that are not used cost nothing. */
static inline __attribute__((always_inline)) void qs_cell_tables_load(qs_cell_tables *t, qs_cells cells)
{
	const qs_cell_table *from = cells.table;
	for (int v = 0; v < 4; v++) {
		t->first[v] =
		    _mm512_add_epi16(_mm512_loadu_si512(from->first + 32 * v), _mm512_set1_epi16((short)cells.move));
		t->f[v] = _mm512_loadu_si512(from->f + 32 * v);
		t->g[v] = _mm512_loadu_si512(from->g + 32 * v);
		t->count[v] = _mm512_loadu_si512(from->count + 32 * v);
	}
	t->least = qs_cells_at(cells, 128);
}

/* Looks up one 16-bit field of the cells of 32 codes, by their magnitudes (0 to 128). least: the field of
 * code −128. */
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

/* Returns the patterns of the cells' first values, with signs. code: 32 codes, sign-extended. */
static inline __attribute__((always_inline)) __m512i qs_cell_tables_first(const qs_cell_tables *t,
                                                                          __m512i code, __m512i magnitude)
{
	__m512i sign = _mm512_and_si512(code, _mm512_set1_epi16((short)0x8000));
	return _mm512_or_si512(qs_cell_tables_get(t->first, magnitude, QS_CELL_FIRST(t->least)), sign);
}

#endif

/* A plain table of cells (signed codes around 0) as bytes in AVX-512 registers: looked up for 64 codes at
 * once, a byte of a field by one instruction. */
#ifndef QS_CELL_BYTES_AVX512_H
#define QS_CELL_BYTES_AVX512_H

#include <immintrin.h>

#include "cells.h"

/* Of the cells of codes 0 to 127, and of code −128, which has no positive twin. */
typedef struct qs_cell_bytes {
	__m512i first[2][2], f[2][2], g[2][2]; /* low and high bytes, in two vectors each */
	__m512i move;                          /* is still to be added to `first` */
	qs_cell least;
} qs_cell_bytes;

static inline __attribute__((always_inline)) void qs_cell_bytes_load(qs_cell_bytes *t, qs_cells from)
{
	/* Numbers of words and bytes of two vectors. Words 0, 2 (first, F) and 1, 3 (G, count) of 16 cells … */
	const __m512i even_words =
	                  _mm512_set_epi16(62, 60, 58, 56, 54, 52, 50, 48, 46, 44, 42, 40, 38, 36, 34, 32, 30, 28,
	                                   26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0),
	              odd_words = _mm512_add_epi16(even_words, _mm512_set1_epi16(1));
	/* … and bytes 0, and 1, of 32 of such pairs. */
	const __m512i count_by_4 =
	                  _mm512_set_epi8(124, 120, 116, 112, 108, 104, 100, 96, 92, 88, 84, 80, 76, 72, 68, 64,
	                                  60, 56, 52, 48, 44, 40, 36, 32, 28, 24, 20, 16, 12, 8, 4, 0, 124, 120,
	                                  116, 112, 108, 104, 100, 96, 92, 88, 84, 80, 76, 72, 68, 64, 60, 56, 52,
	                                  48, 44, 40, 36, 32, 28, 24, 20, 16, 12, 8, 4, 0),
	              bytes_0_1 =
	                  _mm512_mask_add_epi8(count_by_4, 0xffffffff00000000, count_by_4, _mm512_set1_epi8(1)),
	              bytes_2_3 = _mm512_add_epi8(bytes_0_1, _mm512_set1_epi8(2));
	for (int v = 0; v < 2; v++) {
		__m512i first[2], f[2], g[2];
		for (int h = 0; h < 2; h++) {
			const qs_cell *c = from.table->cells + 64 * v + 32 * h;
			__m512i a = _mm512_loadu_si512(c), b = _mm512_loadu_si512(c + 8), d = _mm512_loadu_si512(c + 16),
			        e = _mm512_loadu_si512(c + 24);
			__m512i low[2] = {_mm512_permutex2var_epi16(a, even_words, b),
			                  _mm512_permutex2var_epi16(d, even_words, e)},
			        high[2] = {_mm512_permutex2var_epi16(a, odd_words, b),
			                   _mm512_permutex2var_epi16(d, odd_words, e)};
			first[h] = _mm512_permutex2var_epi8(low[0], bytes_0_1, low[1]);
			f[h] = _mm512_permutex2var_epi8(low[0], bytes_2_3, low[1]);
			g[h] = _mm512_permutex2var_epi8(high[0], bytes_0_1, high[1]);
		}
		t->first[0][v] = _mm512_inserti64x4(first[0], _mm512_castsi512_si256(first[1]), 1);
		t->first[1][v] = _mm512_shuffle_i64x2(first[0], first[1], 0xee);
		t->f[0][v] = _mm512_inserti64x4(f[0], _mm512_castsi512_si256(f[1]), 1);
		t->f[1][v] = _mm512_shuffle_i64x2(f[0], f[1], 0xee);
		t->g[0][v] = _mm512_inserti64x4(g[0], _mm512_castsi512_si256(g[1]), 1);
		t->g[1][v] = _mm512_shuffle_i64x2(g[0], g[1], 0xee);
	}
	t->move = _mm512_set1_epi16((short)from.move);
	t->least = qs_cells_at(from, 128);
}

/* Of 64 cells; v: those of the first 32 codes, or of the others. */
typedef struct qs_cells_64 {
	__m512i first[2], f[2], g[2];
} qs_cells_64;

static inline __attribute__((always_inline)) __m512i qs_cell_bytes_get(const __m512i bytes[2],
                                                                       __m512i magnitude)
{
	return _mm512_permutex2var_epi8(bytes[0], magnitude, bytes[1]);
}

/* The fields of the cells of 64 codes, as they stand in memory; `first` with the sign. */
static inline __attribute__((always_inline)) void qs_cell_bytes_find(const qs_cell_bytes *t, __m512i codes,
                                                                     qs_cells_64 *out)
{
	/* Unpacking takes eight bytes of each sixteen: put in this order, they come out in theirs. */
	const __m512i order = _mm512_set_epi64(7, 3, 6, 2, 5, 1, 4, 0);
	__m512i code = _mm512_permutexvar_epi64(order, codes), magnitude = _mm512_abs_epi8(code);
	__m512i first[2], f[2], g[2];
	for (int b = 0; b < 2; b++) {
		first[b] = qs_cell_bytes_get(t->first[b], magnitude);
		f[b] = qs_cell_bytes_get(t->f[b], magnitude);
		g[b] = qs_cell_bytes_get(t->g[b], magnitude);
	}
	first[1] = _mm512_ternarylogic_epi64(first[1], code, _mm512_set1_epi8(-128), 0x78); /* a ^ (b & c) */
	out->first[0] = _mm512_add_epi16(_mm512_unpacklo_epi8(first[0], first[1]), t->move);
	out->first[1] = _mm512_add_epi16(_mm512_unpackhi_epi8(first[0], first[1]), t->move);
	out->f[0] = _mm512_unpacklo_epi8(f[0], f[1]);
	out->f[1] = _mm512_unpackhi_epi8(f[0], f[1]);
	out->g[0] = _mm512_unpacklo_epi8(g[0], g[1]);
	out->g[1] = _mm512_unpackhi_epi8(g[0], g[1]);
	/* Rules that have no −128 are the common ones. */
	uint64_t least = _mm512_cmpeq_epi8_mask(codes, _mm512_set1_epi8(-128));
	for (int v = 0; least; v++, least >>= 32) {
		out->first[v] =
		    _mm512_mask_set1_epi16(out->first[v], (__mmask32)least, (short)QS_CELL_FIRST(t->least));
		out->f[v] = _mm512_mask_set1_epi16(out->f[v], (__mmask32)least, (short)QS_CELL_F(t->least));
		out->g[v] = _mm512_mask_set1_epi16(out->g[v], (__mmask32)least, (short)QS_CELL_G(t->least));
	}
}

#endif

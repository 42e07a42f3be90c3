/* A plain table of cells (signed codes around 0) as bytes in AVX-512 registers. One instruction looks up one
 * byte of a field for 64 codes. */
#ifndef QS_CELL_BYTES_AVX512_H
#define QS_CELL_BYTES_AVX512_H

#include <immintrin.h>

#include "cells.h"

/* The low and the high bytes of one field of the cells of codes 0 to 127. */
typedef struct qs_field_bytes {
	__m512i low[2], high[2];
} qs_field_bytes;

typedef struct qs_cell_bytes {
	qs_field_bytes first, f, g; /* of small tables, g has the numbers of values, whose high bytes are 0 */
	qs_cell least;              /* the cell of code −128, for which there is no positive code */
} qs_cell_bytes;

/* Splits 128 words, in four vectors, into bytes. */
static inline __attribute__((always_inline)) qs_field_bytes qs_field_bytes_of(const __m512i words[4])
{
	const __m512i even = _mm512_set_epi8(126, 124, 122, 120, 118, 116, 114, 112, 110, 108, 106, 104, 102, 100,
	                                     98, 96, 94, 92, 90, 88, 86, 84, 82, 80, 78, 76, 74, 72, 70, 68, 66,
	                                     64, 62, 60, 58, 56, 54, 52, 50, 48, 46, 44, 42, 40, 38, 36, 34, 32,
	                                     30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
	const __m512i odd = _mm512_add_epi8(even, _mm512_set1_epi8(1));
	qs_field_bytes bytes;
	for (int v = 0; v < 2; v++) {
		bytes.low[v] = _mm512_permutex2var_epi8(words[2 * v], even, words[2 * v + 1]);
		bytes.high[v] = _mm512_permutex2var_epi8(words[2 * v], odd, words[2 * v + 1]);
	}
	return bytes;
}

/* Loads a table. small: the table is small (cells.h). */
static inline __attribute__((always_inline)) void qs_cell_bytes_load(qs_cell_bytes *t, qs_cells from,
                                                                     const int small)
{
	const qs_cell_table *table = from.table;
	__m512i first[4], g[4];
	for (int v = 0; v < 4; v++) {
		first[v] =
		    _mm512_add_epi16(_mm512_loadu_si512(table->first + 32 * v), _mm512_set1_epi16((short)from.move));
		g[v] = _mm512_loadu_si512(table->g + 32 * v);
	}
	t->first = qs_field_bytes_of(first);
	t->g = qs_field_bytes_of(g);
	for (int v = 0; v < 2; v++) {
		t->f.low[v] = _mm512_loadu_si512(table->f_low + 64 * v);
		t->f.high[v] = _mm512_loadu_si512(table->f_high + 64 * v);
		if (small) {
			t->g.low[v] = _mm512_loadu_si512(table->small + 64 * v);
			t->g.high[v] = _mm512_setzero_si512();
		}
	}
	t->least = qs_cells_at(from, 128);
}

/* The fields of 64 cells: [0] of the first 32 codes, [1] of the others. */
typedef struct qs_cells_64 {
	__m512i first[2], f[2], g[2];
} qs_cells_64;

/* Looks up a field of the cells of 64 magnitudes. has_high: the field has high bytes other than 0. high_xor:
 * bits to flip in the high bytes, for signs. */
static inline __attribute__((always_inline)) void qs_field_bytes_get(const qs_field_bytes *bytes,
                                                                     __m512i magnitude, const int has_high,
                                                                     __m512i high_xor, __m512i out[2])
{
	__m512i low = _mm512_permutex2var_epi8(bytes->low[0], magnitude, bytes->low[1]), high = bytes->high[0];
	if (has_high)
		high = _mm512_permutex2var_epi8(bytes->high[0], magnitude, bytes->high[1]);
	high = _mm512_xor_si512(high, high_xor);
	out[0] = _mm512_unpacklo_epi8(low, high);
	out[1] = _mm512_unpackhi_epi8(low, high);
}

/* Looks up the fields of the cells of 64 codes, in the order of the codes. `first` gets the sign. */
static inline __attribute__((always_inline)) void qs_cell_bytes_find(const qs_cell_bytes *t, const int small,
                                                                     __m512i codes, qs_cells_64 *out)
{
	/* Unpacking takes eight bytes of each sixteen. This order makes up for that. */
	const __m512i order = _mm512_set_epi64(7, 3, 6, 2, 5, 1, 4, 0), none = _mm512_setzero_si512();
	__m512i code = _mm512_permutexvar_epi64(order, codes), magnitude = _mm512_abs_epi8(code);
	qs_field_bytes_get(&t->first, magnitude, 1, _mm512_and_si512(code, _mm512_set1_epi8(-128)), out->first);
	qs_field_bytes_get(&t->f, magnitude, 1, none, out->f);
	qs_field_bytes_get(&t->g, magnitude, !small, none, out->g);
	/* Most rules have no code −128. */
	uint64_t least = _mm512_cmpeq_epi8_mask(codes, _mm512_set1_epi8(-128));
	for (int v = 0; least; v++, least >>= 32) {
		out->first[v] =
		    _mm512_mask_set1_epi16(out->first[v], (__mmask32)least, (short)QS_CELL_FIRST(t->least));
		out->f[v] = _mm512_mask_set1_epi16(out->f[v], (__mmask32)least, (short)QS_CELL_F(t->least));
		out->g[v] = _mm512_mask_set1_epi16(out->g[v], (__mmask32)least, (short)QS_CELL_G(t->least));
	}
}

#endif

/* The rank decoder in AVX-512: all 32 lanes in one vector; the oracle is qs_ranks_scalar. */
#include "ranks.h"
#include "simd.h"

#if QS_HAVE_AVX512
#include <immintrin.h>

/* One 16-bit field of the cells of 32 codes. The table of a field is 128 words (codes by magnitude), in four
 * registers. */
static inline __m512i look_up(const __m512i table[4], __m512i index)
{
	__m512i low = _mm512_permutex2var_epi16(table[0], index, table[1]);
	__m512i high = _mm512_permutex2var_epi16(table[2], index, table[3]);
	return _mm512_mask_blend_epi16(_mm512_test_epi16_mask(index, _mm512_set1_epi16(64)), low, high);
}

int qs_ranks_avx512(qs_ranks *ranks, const qs_cell *cells, const uint8_t *codes, size_t n, uint8_t *dst)
{
	/* The three fields of the cells of codes 0 to 127, each in four vectors. */
	__m512i first_table[4], g_table[4], f_table[4];
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
		first_table[v] = _mm512_permutex2var_epi16(low[0], pick_even, low[1]);
		f_table[v] = _mm512_permutex2var_epi16(low[0], pick_odd, low[1]);
		g_table[v] = _mm512_permutex2var_epi16(high[0], pick_even, high[1]);
	}
	/* −128 has no positive twin. */
	const qs_cell least = cells[128];
	const __m512i least_first = _mm512_set1_epi16((short)QS_CELL_FIRST(least)),
	              least_f = _mm512_set1_epi16((short)QS_CELL_F(least)),
	              least_g = _mm512_set1_epi16((short)QS_CELL_G(least));
	__m512i low = _mm512_loadu_si512(ranks->low), high = _mm512_loadu_si512(ranks->high);
	const uint8_t *src = ranks->src, *zeros = ranks->zeros;
	size_t i = 0;
	for (; i < n && ranks->src_end - src >= 64; i += 32) {
		__m512i code = _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(codes + i)));
		__m512i index = _mm512_abs_epi16(code);
		__mmask32 is_least = _mm512_test_epi16_mask(index, _mm512_set1_epi16(128));
		__m512i f = look_up(f_table, index), g = look_up(g_table, index), first = look_up(first_table, index);
		__m512i sign = _mm512_and_si512(code, _mm512_set1_epi16((short)0x8000));
		first = _mm512_or_si512(first, _mm512_maskz_mov_epi16(_mm512_test_epi16_mask(index, index), sign));
		f = _mm512_mask_mov_epi16(f, is_least, least_f);
		g = _mm512_mask_mov_epi16(g, is_least, least_g);
		first = _mm512_mask_mov_epi16(first, is_least, least_first);
		__m512i rank = _mm512_mulhi_epu16(low, g), rest = _mm512_sub_epi16(low, _mm512_mullo_epi16(rank, f));
		__mmask32 more = _mm512_cmpge_epu16_mask(rest, f);
		rank = _mm512_mask_add_epi16(rank, more, rank, _mm512_set1_epi16(1));
		rest = _mm512_mask_sub_epi16(rest, more, rest, f);
		__m512i new_low = _mm512_add_epi16(_mm512_mullo_epi16(f, high), rest),
		        new_high = _mm512_mulhi_epu16(f, high);
		new_high = _mm512_mask_add_epi16(new_high, _mm512_cmplt_epu16_mask(new_low, rest), new_high,
		                                 _mm512_set1_epi16(1)); /* carry */
		__mmask32 take = _mm512_testn_epi16_mask(new_high, new_high);
		high = _mm512_mask_mov_epi16(new_high, take, new_low);
		low = _mm512_mask_expand_epi16(new_low, take, _mm512_loadu_si512(src));
		src += 2 * (unsigned)__builtin_popcount(take);
		/* Values of zero codes, spread over their lanes. */
		__mmask32 zero = _mm512_testn_epi16_mask(code, code);
		__m512i value =
		    _mm512_mask_expand_epi16(_mm512_add_epi16(first, rank), zero, _mm512_loadu_si512(zeros));
		zeros += 2 * (unsigned)__builtin_popcount(zero);
		_mm512_storeu_si512(dst + 2 * i, value);
	}
	_mm512_storeu_si512(ranks->low, low);
	_mm512_storeu_si512(ranks->high, high);
	ranks->src = src;
	ranks->zeros = zeros;
	return qs_ranks_scalar(ranks, cells, codes + i, n - i, dst + 2 * i);
}

#else
typedef int qs_translation_unit_is_empty;
#endif

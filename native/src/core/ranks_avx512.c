/* The rank decoder in AVX-512: all 32 lanes in one vector; the oracle is qs_ranks_scalar. */
#include "ranks.h"
#include "simd.h"

#if QS_HAVE_AVX512
#include "cell_tables_avx512.h"

int qs_ranks_avx512(qs_ranks *ranks, const qs_cell *cells, const uint8_t *codes, size_t n, uint8_t *dst)
{
	qs_cell_tables tables;
	qs_cell_tables_load(&tables, cells);
	__m512i low = _mm512_loadu_si512(ranks->low), high = _mm512_loadu_si512(ranks->high);
	const uint8_t *src = ranks->src, *zeros = ranks->zeros;
	size_t i = 0;
	for (; i < n && ranks->src_end - src >= 64; i += 32) {
		__m512i code = _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(codes + i)));
		__m512i magnitude = _mm512_abs_epi16(code);
		__m512i f = qs_cell_tables_get(tables.f, magnitude, QS_CELL_F(tables.least));
		__m512i g = qs_cell_tables_get(tables.g, magnitude, QS_CELL_G(tables.least));
		__m512i first = qs_cell_tables_first(&tables, code, magnitude);
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

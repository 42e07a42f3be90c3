/* Writes ranks with AVX-512, 32 elements at a time; the oracles are in rank_lanes.c. */
#include "rank_lanes.h"

#include "core/simd.h"

#if QS_HAVE_AVX512
#include "core/cell_tables_avx512.h"

/* Codes sixteen ranks. The states are below F · 2^16, as their units are written; ranks holds rank · F. */
static inline __m512i put_ranks_avx512(__m512i state, __m512i f, __m512i ranks)
{
	/* State and quotient are each rounded by at most 2^-24 of their value, so the quotient, which is below
	 * 2^16, is off by less than 2^-7. Reduced by 2^-6 and cut to an integer it is right or one too low. */
	__m512 about = _mm512_div_ps(_mm512_cvtepu32_ps(state), _mm512_cvtepu32_ps(f));
	__m512i quotient = _mm512_cvttps_epi32(_mm512_sub_ps(about, _mm512_set1_ps(0x1p-6f)));
	__m512i rest = _mm512_sub_epi32(state, _mm512_mullo_epi32(quotient, f));
	__mmask16 more = _mm512_cmpge_epu32_mask(rest, f);
	/* Where it was too low, the quotient gets one more and the rest F less. */
	quotient = _mm512_mask_add_epi32(quotient, more, quotient, _mm512_set1_epi32(1));
	rest = _mm512_mask_sub_epi32(rest, more, rest, f);
	return _mm512_add_epi32(_mm512_slli_epi32(quotient, 16), _mm512_add_epi32(ranks, rest));
}

/* Codes 32 lanes. Writes their units in front of `at` and returns the first. */
static inline uint8_t *put32(__m512i state[2], __m512i f, __m512i rank, uint8_t *at)
{
	__m512i ranks = _mm512_mullo_epi16(rank, f);
	__m512i f_low = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(f)),
	        f_high = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(f, 1));
	__mmask16 due_low = _mm512_cmpge_epu32_mask(_mm512_srli_epi32(state[0], 16), f_low),
	          due_high = _mm512_cmpge_epu32_mask(_mm512_srli_epi32(state[1], 16), f_high);
	__mmask32 due = (__mmask32)due_high << 16 | due_low;
	__m512i units = _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi32_epi16(state[0])),
	                                   _mm512_cvtepi32_epi16(state[1]), 1);
	unsigned count = (unsigned)__builtin_popcount(due);
	at -= 2 * count;
	_mm512_mask_storeu_epi16(at, (__mmask32)(((uint64_t)1 << count) - 1),
	                         _mm512_maskz_compress_epi16(due, units));
	state[0] = put_ranks_avx512(_mm512_mask_srli_epi32(state[0], due_low, state[0], 16), f_low,
	                            _mm512_cvtepu16_epi32(_mm512_castsi512_si256(ranks)));
	state[1] = put_ranks_avx512(_mm512_mask_srli_epi32(state[1], due_high, state[1], 16), f_high,
	                            _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(ranks, 1)));
	return at;
}

void qs_put_ranks_avx512(qs_rank_lanes *lanes, const uint16_t *f, const uint16_t *rank, uint32_t n)
{
	uint32_t whole = n & ~(uint32_t)(QS_LANES_MAX - 1);
	qs_put_ranks_scalar(lanes, f + whole, rank + whole, n - whole);
	__m512i states[4];
	uint8_t *at = lanes->at;
	for (int v = 0; v < 4; v++)
		states[v] = _mm512_loadu_si512(lanes->state + 16 * v);
	while (whole) {
		whole -= 32;
		at = put32(states + 2, _mm512_loadu_si512(f + whole), _mm512_loadu_si512(rank + whole), at);
		whole -= 32;
		at = put32(states, _mm512_loadu_si512(f + whole), _mm512_loadu_si512(rank + whole), at);
	}
	for (int v = 0; v < 4; v++)
		_mm512_storeu_si512(lanes->state + 16 * v, states[v]);
	lanes->at = at;
}

void qs_find_ranks_avx512(qs_cells cells, const uint8_t *indexes, const uint8_t *src, uint32_t n, uint32_t at,
                          qs_found_ranks *found)
{
	qs_cell_tables tables;
	qs_cell_tables_load(&tables, cells);
	uint32_t end = at + (n & ~31u);
	for (uint32_t i = at; i < end; i += 32) {
		__m512i code = _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(indexes + i)));
		__m512i magnitude = _mm512_abs_epi16(code);
		__m512i rank = _mm512_sub_epi16(_mm512_loadu_si512(src + 2 * (size_t)i),
		                                qs_cell_tables_first(&tables, code, magnitude));
		__m512i count = qs_cell_tables_get(tables.count, magnitude, QS_CELL_COUNT(tables.least));
		__mmask32 other = _mm512_test_epi16_mask(code, code), inside = _mm512_cmplt_epu16_mask(rank, count),
		          outside = other & ~inside;
		_mm512_storeu_si512(found->rank + i, _mm512_maskz_mov_epi16(inside & other, rank));
		_mm512_storeu_si512(found->f + i, qs_cell_tables_get(tables.f, magnitude, QS_CELL_F(tables.least)));
		_mm256_storeu_si256((__m256i *)(found->outside + i), _mm256_maskz_set1_epi8(outside, 1));
		found->escapes += 32 - (uint32_t)__builtin_popcount(other);
		found->outsiders += (uint32_t)__builtin_popcount(outside);
	}
	qs_find_ranks_scalar(cells, indexes, src, n & 31, end, found);
}

void qs_find_ranks_fields_avx512(const qs_cell_fields *cells, const uint8_t *src, uint32_t n, uint32_t at,
                                 uint8_t *indexes, qs_found_ranks *found)
{
	for (uint32_t i = 0; i < n; i += 32) {
		__mmask32 there = n - i < 32 ? ((__mmask32)1 << (n - i)) - 1 : ~(__mmask32)0;
		size_t to = (size_t)at + i;
		__m512i first = _mm512_maskz_loadu_epi16(there, cells->first + i),
		        count = _mm512_maskz_loadu_epi16(there, cells->g + i),
		        rank = _mm512_sub_epi16(_mm512_maskz_loadu_epi16(there, src + 2 * to), first);
		__mmask32 other = _mm512_test_epi16_mask(count, count), inside = _mm512_cmplt_epu16_mask(rank, count),
		          outside = other & ~inside;
		_mm512_mask_storeu_epi16(found->rank + to, there, _mm512_maskz_mov_epi16(inside, rank));
		_mm512_mask_storeu_epi16(found->f + to, there, _mm512_maskz_loadu_epi16(there, cells->f + i));
		_mm256_mask_storeu_epi8(indexes + to, there, _mm256_maskz_set1_epi8(other, 1));
		_mm256_mask_storeu_epi8(found->outside + to, there, _mm256_maskz_set1_epi8(outside, 1));
		found->escapes += (uint32_t)__builtin_popcount(there & ~other);
		found->outsiders += (uint32_t)__builtin_popcount(outside);
	}
}

_Static_assert(QS_TAKE_ROOM * sizeof(uint16_t) >= sizeof(__m512i), "whole vectors are written");

void qs_take_escapes_avx512(const uint8_t *indexes, const uint8_t *values, uint32_t n, uint16_t *dst)
{
	uint32_t whole = n & ~31u;
	for (uint32_t i = 0; i < whole; i += 32) {
		__m256i index = _mm256_loadu_si256((const __m256i *)(indexes + i));
		__mmask32 escapes = _mm256_testn_epi8_mask(index, index);
		/* Compressing in a register and storing that is much faster on Zen 4 than compressing into memory. */
		_mm512_storeu_si512(dst,
		                    _mm512_maskz_compress_epi16(escapes, _mm512_loadu_si512(values + 2 * (size_t)i)));
		dst += __builtin_popcount(escapes);
	}
	qs_take_escapes_scalar(indexes + whole, values + 2 * (size_t)whole, n - whole, dst);
}

#else
typedef int qs_translation_unit_is_empty;
#endif

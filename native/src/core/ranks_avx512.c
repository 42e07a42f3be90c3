/* The rank decoder in AVX-512, 64 lanes in two vectors: one computes while the other waits for its units and
 * states. The oracle is qs_ranks_scalar. */
#include "ranks.h"
#include "simd.h"

#if QS_HAVE_AVX512
#include "cell_bytes_avx512.h"

/* States of the lanes; [0] has the lanes of the next 32 elements. */
typedef struct state {
	__m512i low[2], high[2];
	const uint8_t *src, *escapes;
} state;

static inline state begin_avx512(const qs_ranks *ranks)
{
	unsigned a = ranks->next, b = a ^ QS_LANES_STEP;
	return (state){{_mm512_loadu_si512(ranks->low + a), _mm512_loadu_si512(ranks->low + b)},
	               {_mm512_loadu_si512(ranks->high + a), _mm512_loadu_si512(ranks->high + b)},
	               ranks->src,
	               ranks->escapes};
}

/* Swaps the two halves, after 32 elements were decoded. */
static inline void swap_halves(state *s)
{
	state t = *s;
	*s = (state){{t.low[1], t.low[0]}, {t.high[1], t.high[0]}, t.src, t.escapes};
}

/* Writes the states back after n elements; returns the kernel's result. */
static inline int end_avx512(qs_ranks *ranks, const state *s, size_t n)
{
	ranks->next ^= n & QS_LANES_STEP;
	unsigned a = ranks->next, b = a ^ QS_LANES_STEP;
	_mm512_storeu_si512(ranks->low + a, s->low[0]);
	_mm512_storeu_si512(ranks->low + b, s->low[1]);
	_mm512_storeu_si512(ranks->high + a, s->high[0]);
	_mm512_storeu_si512(ranks->high + b, s->high[1]);
	ranks->src = s->src;
	ranks->escapes = s->escapes;
	return s->src <= ranks->src_end;
}

_Static_assert(QS_ESCAPES_SLACK >= sizeof(__m512i), "escaped values are loaded by the vector");

/* Decodes 32 elements. v: which half of the lanes; zero: the elements that are escapes. */
static inline __attribute__((always_inline)) void step_ranks_avx512(state *s, int v, __m512i first, __m512i f,
                                                                    __m512i g, __mmask32 zero, uint8_t *dst)
{
	__m512i low = s->low[v], high = s->high[v], rank = _mm512_mulhi_epu16(low, g),
	        rest = _mm512_sub_epi16(low, _mm512_mullo_epi16(rank, f));
	rank = _mm512_mask_add_epi16(rank, _mm512_cmpge_epu16_mask(rest, f), rank, _mm512_set1_epi16(1));
	/* Where F does not fit, the difference wraps and is above `rest`. The next vector waits for these values,
	 * so they go through few masks: each takes as long as a multiplication. */
	rest = _mm512_min_epu16(rest, _mm512_sub_epi16(rest, f));
	__m512i new_low = _mm512_add_epi16(_mm512_mullo_epi16(f, high), rest),
	        new_high = _mm512_mulhi_epu16(f, high);
	__mmask32 carry = _mm512_cmplt_epu16_mask(new_low, rest),
	          take = _kandn_mask32(carry, _mm512_testn_epi16_mask(new_high, new_high));
	new_high = _mm512_mask_add_epi16(new_high, carry, new_high, _mm512_set1_epi16(1));
	s->high[v] = _mm512_mask_mov_epi16(new_high, take, new_low);
	s->low[v] = _mm512_mask_expand_epi16(new_low, take, _mm512_loadu_si512(s->src));
	s->src += 2 * (unsigned)__builtin_popcount(take);
	__m512i value =
	    _mm512_mask_expand_epi16(_mm512_add_epi16(first, rank), zero, _mm512_loadu_si512(s->escapes));
	s->escapes += 2 * (unsigned)__builtin_popcount(zero);
	_mm512_storeu_si512(dst, value);
}

/* Decodes one run. small: its table is small (cells.h). */
static inline __attribute__((always_inline)) int decode_cells(qs_ranks *ranks, state *s, qs_cells cells,
                                                              const int small, const uint8_t *codes, size_t n,
                                                              uint8_t *dst)
{
	qs_cell_bytes tables;
	qs_cells_64 found;
	qs_cell_bytes_load(&tables, cells, small);
	size_t i = 0;
	for (; i + 64 <= n; i += 64) {
		if (!qs_ranks_room(ranks, &s->src))
			return 0;
		__m512i code = _mm512_loadu_si512(codes + i);
		uint64_t zero = _mm512_testn_epi8_mask(code, code);
		qs_cell_bytes_find(&tables, small, code, &found);
		step_ranks_avx512(s, 0, found.first[0], found.f[0], found.g[0], (__mmask32)zero, dst + 2 * i);
		step_ranks_avx512(s, 1, found.first[1], found.f[1], found.g[1], (__mmask32)(zero >> 32),
		                  dst + 2 * i + 64);
	}
	if (i == n)
		return 1;
	if (!qs_ranks_room(ranks, &s->src))
		return 0;
	__m512i code = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)(codes + i)));
	qs_cell_bytes_find(&tables, small, code, &found);
	step_ranks_avx512(s, 0, found.first[0], found.f[0], found.g[0],
	                  (__mmask32)_mm512_testn_epi8_mask(code, code), dst + 2 * i);
	swap_halves(s);
	return 1;
}

int qs_ranks_avx512(qs_ranks *ranks, const qs_cells *cells, const uint32_t *counts, uint32_t n_runs,
                    const uint8_t *codes, uint8_t *dst)
{
	state s = begin_avx512(ranks);
	size_t n = 0;
	for (uint32_t r = 0; r < n_runs; n += counts[r++])
		if (!(cells[r].is_small ? decode_cells(ranks, &s, cells[r], 1, codes + n, counts[r], dst + 2 * n)
		                        : decode_cells(ranks, &s, cells[r], 0, codes + n, counts[r], dst + 2 * n)))
			return 0;
	return end_avx512(ranks, &s, n);
}

static inline __attribute__((always_inline)) void
step_fields_avx512(state *s, int v, const qs_cell_fields *cells, size_t i, uint8_t *dst)
{
	__m512i first = _mm512_loadu_si512(cells->first + i), f = _mm512_loadu_si512(cells->f + i),
	        g = _mm512_loadu_si512(cells->g + i);
	step_ranks_avx512(s, v, first, f, g, _mm512_testn_epi16_mask(g, g), dst + 2 * i);
}

int qs_ranks_fields_avx512(qs_ranks *ranks, const qs_cell_fields *cells, size_t n, uint8_t *dst)
{
	state s = begin_avx512(ranks);
	size_t i = 0;
	for (; i + 64 <= n; i += 64) {
		if (!qs_ranks_room(ranks, &s.src))
			return 0;
		step_fields_avx512(&s, 0, cells, i, dst);
		step_fields_avx512(&s, 1, cells, i + 32, dst);
	}
	if (i < n) {
		if (!qs_ranks_room(ranks, &s.src))
			return 0;
		step_fields_avx512(&s, 0, cells, i, dst);
		swap_halves(&s);
	}
	return end_avx512(ranks, &s, n);
}

#else
typedef int qs_translation_unit_is_empty;
#endif

/* The rank decoder in AVX-512: all 32 lanes in one vector; the oracle is qs_ranks_scalar. */
#include "ranks.h"
#include "simd.h"

#if QS_HAVE_AVX512
#include "cell_tables_avx512.h"

typedef struct state {
	__m512i low, high;
	const uint8_t *src, *zeros;
} state;

/* Whether units may run out: a vector takes at most 64 bytes of them, and loads as many. */
static inline int has_units(const qs_ranks *ranks, const state *s)
{
	return ranks->src_end - s->src >= 64;
}

static inline state begin(const qs_ranks *ranks)
{
	return (state){_mm512_loadu_si512(ranks->low), _mm512_loadu_si512(ranks->high), ranks->src, ranks->zeros};
}

static inline void end(qs_ranks *ranks, const state *s)
{
	_mm512_storeu_si512(ranks->low, s->low);
	_mm512_storeu_si512(ranks->high, s->high);
	ranks->src = s->src;
	ranks->zeros = s->zeros;
}

/* zero: the lanes that take a value from zeros. */
static inline __attribute__((always_inline)) void step(state *s, __m512i first, __m512i f, __m512i g,
                                                       __mmask32 zero, uint8_t *dst)
{
	__m512i rank = _mm512_mulhi_epu16(s->low, g),
	        rest = _mm512_sub_epi16(s->low, _mm512_mullo_epi16(rank, f));
	rank = _mm512_mask_add_epi16(rank, _mm512_cmpge_epu16_mask(rest, f), rank, _mm512_set1_epi16(1));
	/* Where F does not fit, the difference is above `rest`. What the next vector waits for goes through as
	 * few masks as possible, each of which takes as long as a multiplication. */
	rest = _mm512_min_epu16(rest, _mm512_sub_epi16(rest, f));
	__m512i new_low = _mm512_add_epi16(_mm512_mullo_epi16(f, s->high), rest),
	        new_high = _mm512_mulhi_epu16(f, s->high);
	__mmask32 carry = _mm512_cmplt_epu16_mask(new_low, rest),
	          take = _kandn_mask32(carry, _mm512_testn_epi16_mask(new_high, new_high));
	new_high = _mm512_mask_add_epi16(new_high, carry, new_high, _mm512_set1_epi16(1));
	s->high = _mm512_mask_mov_epi16(new_high, take, new_low);
	s->low = _mm512_mask_expand_epi16(new_low, take, _mm512_loadu_si512(s->src));
	s->src += 2 * (unsigned)__builtin_popcount(take);
	__m512i value =
	    _mm512_mask_expand_epi16(_mm512_add_epi16(first, rank), zero, _mm512_loadu_si512(s->zeros));
	s->zeros += 2 * (unsigned)__builtin_popcount(zero);
	_mm512_storeu_si512(dst, value);
}

int qs_ranks_avx512(qs_ranks *ranks, qs_cells cells, const uint8_t *codes, size_t n, uint8_t *dst)
{
	qs_cell_tables tables;
	qs_cell_tables_load(&tables, cells);
	state s = begin(ranks);
	size_t i = 0;
	for (; i < n && has_units(ranks, &s); i += 32) {
		__m512i code = _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(codes + i)));
		__m512i magnitude = _mm512_abs_epi16(code);
		__m512i f = qs_cell_tables_get(tables.f, magnitude, QS_CELL_F(tables.least));
		__m512i g = qs_cell_tables_get(tables.g, magnitude, QS_CELL_G(tables.least));
		__m512i first = qs_cell_tables_first(&tables, code, magnitude);
		step(&s, first, f, g, _mm512_testn_epi16_mask(code, code), dst + 2 * i);
	}
	end(ranks, &s);
	return qs_ranks_scalar(ranks, cells, codes + i, n - i, dst + 2 * i);
}

int qs_ranks_fields_avx512(qs_ranks *ranks, const qs_cell_fields *cells, size_t n, uint8_t *dst)
{
	state s = begin(ranks);
	size_t i = 0;
	for (; i < n && has_units(ranks, &s); i += 32) {
		__m512i f = _mm512_loadu_si512(cells->f + i), g = _mm512_loadu_si512(cells->g + i);
		step(&s, _mm512_loadu_si512(cells->first + i), f, g, _mm512_testn_epi16_mask(g, g), dst + 2 * i);
	}
	end(ranks, &s);
	return qs_ranks_fields_rest(ranks, cells, i, n, dst);
}

#else
typedef int qs_translation_unit_is_empty;
#endif

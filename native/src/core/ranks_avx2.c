/* The rank decoder in AVX2, 16 of the 64 lanes in a vector; the oracle is qs_ranks_scalar. It shares the
 * table of expand.h with the 128-bit kernels. */
#include "expand.h"
#include "ranks.h"

#if QS_HAVE_AVX2 && QS_HAVE_SIMD128
#include <immintrin.h>

_Static_assert(QS_ESCAPES_SLACK >= sizeof(__m256i), "escaped values are loaded by the vector");

/* The states of 64 lanes stay in memory: there are too few registers for them, and each is needed only once
 * in 64 elements. */
typedef struct state {
	uint16_t *low, *high; /* of the next lanes */
	const uint8_t *src, *escapes;
} state;

static inline state begin_avx2(qs_ranks *ranks)
{
	return (state){ranks->low + ranks->next, ranks->high + ranks->next, ranks->src, ranks->escapes};
}

static inline void next_lanes(qs_ranks *ranks, state *s)
{
	ranks->next ^= QS_LANES_STEP;
	s->low = ranks->low + ranks->next;
	s->high = ranks->high + ranks->next;
}

/* Writes the state back; returns the kernel's result. */
static inline int end_avx2(qs_ranks *ranks, const state *s)
{
	ranks->src = s->src;
	ranks->escapes = s->escapes;
	return s->src <= ranks->src_end;
}

/* Puts the next units into the lanes of a mask, and 0 into the others. */
static inline __m256i expand(const uint8_t **src, __m256i lanes)
{
	unsigned mask = (unsigned)_mm_movemask_epi8(
	    _mm_packs_epi16(_mm256_castsi256_si128(lanes), _mm256_extracti128_si256(lanes, 1)));
	unsigned low = mask & 255, high = mask >> 8;
	const uint8_t *middle = *src + 2 * (unsigned)__builtin_popcount(low);
	__m256i units = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)*src)),
	                                        _mm_loadu_si128((const __m128i *)middle), 1);
	__m256i order =
	    _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_load_si128((const __m128i *)qs_expand[low])),
	                            _mm_load_si128((const __m128i *)qs_expand[high]), 1);
	*src += 2 * (unsigned)__builtin_popcount(mask);
	return _mm256_shuffle_epi8(units, order);
}

/* Decodes the ranks of 16 elements, whose F and G are in f and g. v: which half of the 32 lanes. */
static inline __attribute__((always_inline)) __m256i step_ranks_avx2(state *s, int v, __m256i f, __m256i g)
{
	const __m256i ones = _mm256_set1_epi16(-1);
	__m256i *states[] = {(__m256i *)(s->low + 16 * v), (__m256i *)(s->high + 16 * v)},
	        low = _mm256_loadu_si256(states[0]), high = _mm256_loadu_si256(states[1]);
	__m256i rank = _mm256_mulhi_epu16(low, g), rest = _mm256_sub_epi16(low, _mm256_mullo_epi16(rank, f));
	/* The quotient gets one more where F still fits. Where it does not, the difference wraps and is above
	 * `rest`. */
	__m256i less = _mm256_sub_epi16(rest, f);
	rest = _mm256_min_epu16(rest, less);
	rank = _mm256_sub_epi16(rank, _mm256_cmpeq_epi16(rest, less));
	low = _mm256_add_epi16(_mm256_mullo_epi16(f, high), rest);
	/* This is −1 where the sum has no carry: the new high half is then one less. */
	__m256i below =
	    _mm256_add_epi16(_mm256_mulhi_epu16(f, high), _mm256_cmpeq_epi16(_mm256_max_epu16(low, rest), low));
	__m256i take = _mm256_cmpeq_epi16(below, ones);
	_mm256_storeu_si256(states[1],
	                    _mm256_or_si256(_mm256_sub_epi16(below, ones), _mm256_and_si256(low, take)));
	_mm256_storeu_si256(states[0], _mm256_or_si256(_mm256_andnot_si256(take, low), expand(&s->src, take)));
	return rank;
}

static inline __m256i load_cells(const qs_cell *a, const qs_cell *b, const qs_cell *c, const qs_cell *d)
{
	return _mm256_set_epi64x((long long)*d, (long long)*c, (long long)*b, (long long)*a);
}

/* Decodes 16 elements: their cells, of four fields each, are transposed into vectors of one field each. */
static inline __attribute__((always_inline)) void step_cells_avx2(state *s, int v, qs_cells from,
                                                                  const uint8_t *codes, uint8_t *dst)
{
	const qs_cell *cells = from.table->cells;
	__m256i t[4], u[4];
	for (int i = 0; i < 4; i++) {
		const uint8_t *c = codes + 2 * i;
		t[i] = load_cells(cells + c[0], cells + c[1], cells + c[8], cells + c[9]);
	}
	for (int i = 0; i < 4; i += 2) {
		u[i] = _mm256_unpacklo_epi16(t[i], t[i + 1]);
		u[i + 1] = _mm256_unpackhi_epi16(t[i], t[i + 1]);
	}
	__m256i a = _mm256_unpacklo_epi16(u[0], u[1]), b = _mm256_unpacklo_epi16(u[2], u[3]);
	__m256i f = _mm256_unpacklo_epi64(_mm256_unpackhi_epi16(u[0], u[1]), _mm256_unpackhi_epi16(u[2], u[3]));
	__m256i first = _mm256_add_epi16(_mm256_unpacklo_epi64(a, b), _mm256_set1_epi16((short)from.move));
	_mm256_storeu_si256((__m256i *)dst,
	                    _mm256_add_epi16(first, step_ranks_avx2(s, v, f, _mm256_unpackhi_epi64(a, b))));
}

int qs_ranks_avx2(qs_ranks *ranks, const qs_cells *cells, const uint32_t *counts, uint32_t n_runs,
                  const uint8_t *indexes, uint8_t *dst)
{
	state s = begin_avx2(ranks);
	size_t i = 0, end_of_run = 0;
	for (uint32_t r = 0; r < n_runs; r++)
		for (end_of_run += counts[r]; i < end_of_run; i += 32, next_lanes(ranks, &s)) {
			if (!qs_ranks_room(ranks, &s.src))
				return 0;
			step_cells_avx2(&s, 0, cells[r], indexes + i, dst + 2 * i);
			step_cells_avx2(&s, 1, cells[r], indexes + i + 16, dst + 2 * i + 32);
		}
	s.escapes = qs_ranks_place_escapes(s.escapes, indexes, i, dst);
	return end_avx2(ranks, &s);
}

static inline void step_fields_avx2(state *s, int v, const qs_cell_fields *cells, size_t i, uint8_t *dst)
{
	__m256i first = _mm256_loadu_si256((const __m256i *)(cells->first + i)),
	        f = _mm256_loadu_si256((const __m256i *)(cells->f + i)),
	        g = _mm256_loadu_si256((const __m256i *)(cells->g + i));
	__m256i value = _mm256_add_epi16(first, step_ranks_avx2(s, v, f, g)),
	        zero = _mm256_cmpeq_epi16(g, _mm256_setzero_si256());
	_mm256_storeu_si256((__m256i *)(dst + 2 * i),
	                    _mm256_or_si256(_mm256_andnot_si256(zero, value), expand(&s->escapes, zero)));
}

int qs_ranks_fields_avx2(qs_ranks *ranks, const qs_cell_fields *cells, size_t n, uint8_t *dst)
{
	state s = begin_avx2(ranks);
	for (size_t i = 0; i < n; i += 32, next_lanes(ranks, &s)) {
		if (!qs_ranks_room(ranks, &s.src))
			return 0;
		step_fields_avx2(&s, 0, cells, i, dst);
		step_fields_avx2(&s, 1, cells, i + 16, dst);
	}
	return end_avx2(ranks, &s);
}

#else
typedef int qs_translation_unit_is_empty;
#endif

/* Writes ranks with AVX2, eight divisions at a time; the oracle is qs_put_ranks_scalar. */
#include "rank_lanes.h"

#include "core/simd.h"

#if QS_HAVE_AVX2
#include <immintrin.h>

static inline __m256 to_singles(__m256i v)
{
	/* AVX2 converts only signed numbers, so each half is converted. Only their sum is rounded. */
	__m256 high = _mm256_cvtepi32_ps(_mm256_srli_epi32(v, 16)),
	       low = _mm256_cvtepi32_ps(_mm256_and_si256(v, _mm256_set1_epi32(0xffff)));
	return _mm256_add_ps(_mm256_mul_ps(high, _mm256_set1_ps(0x1p16f)), low);
}

/* Codes eight ranks. The states are below F · 2^16, as their units are written. rank_lanes_avx512.c says why
 * the quotient is right or one too low. */
static inline __m256i put_ranks_avx2(__m256i state, __m256i f, __m256i rank)
{
	__m256 about = _mm256_div_ps(to_singles(state), _mm256_cvtepi32_ps(f));
	__m256i quotient = _mm256_cvttps_epi32(_mm256_sub_ps(about, _mm256_set1_ps(0x1p-6f)));
	__m256i rest = _mm256_sub_epi32(state, _mm256_mullo_epi32(quotient, f));
	/* The rest is below 2 · F, so a signed comparison is right. */
	__m256i less = _mm256_cmpgt_epi32(f, rest), more = _mm256_andnot_si256(less, _mm256_set1_epi32(-1));
	quotient = _mm256_sub_epi32(quotient, more);
	rest = _mm256_sub_epi32(rest, _mm256_and_si256(more, f));
	return _mm256_add_epi32(_mm256_slli_epi32(quotient, 16),
	                        _mm256_add_epi32(_mm256_mullo_epi32(rank, f), rest));
}

static inline __m256i load8(const uint16_t *p)
{
	return _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p));
}

void qs_put_ranks_avx2(qs_rank_lanes *lanes, const uint16_t *f, const uint16_t *rank, uint32_t n)
{
	uint32_t n_lanes = lanes->lanes, whole = n & ~(n_lanes - 1);
	qs_put_ranks_scalar(lanes, f + whole, rank + whole, n - whole);
	uint32_t *states = lanes->state;
	uint8_t *at = lanes->at;
	while (whole) {
		whole -= n_lanes;
		/* Units are written in the order of lanes, without a branch: whether one is due is random. */
		for (uint32_t lane = n_lanes; lane-- > 0;) {
			uint32_t state = states[lane], due = state >> 16 >= f[whole + lane];
			qs_store16(at - 2, (uint16_t)state);
			at -= 2 * due;
			states[lane] = state >> 16 * due;
		}
		for (uint32_t lane = 0; lane < n_lanes; lane += 8) {
			__m256i *eight = (__m256i *)(states + lane);
			_mm256_storeu_si256(eight, put_ranks_avx2(_mm256_loadu_si256(eight), load8(f + whole + lane),
			                                          load8(rank + whole + lane)));
		}
	}
	lanes->at = at;
}

#else
typedef int qs_translation_unit_is_empty;
#endif

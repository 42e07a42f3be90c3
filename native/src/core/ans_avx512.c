/* The ANS decoder in AVX-512, 16 lanes in a vector; the oracle is qs_ans_scalar. */
#include "ans.h"
#include "simd.h"

#if QS_HAVE_AVX512
#include <immintrin.h>

static inline __m512i step_ans_avx512(__m512i state, __m512i e, __m128i log, const uint8_t **src)
{
	const __m512i twelve = _mm512_set1_epi32(0xfff);
	__m512i x = _mm512_mullo_epi32(_mm512_and_si512(e, twelve), _mm512_srl_epi32(state, log));
	x = _mm512_add_epi32(x, _mm512_and_si512(_mm512_srli_epi32(e, 12), twelve));
	__mmask16 due = _mm512_cmplt_epu32_mask(x, _mm512_set1_epi32(1 << 16));
	__m512i units = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)*src));
	*src += 2 * (unsigned)__builtin_popcount(due);
	return _mm512_mask_or_epi32(x, due, _mm512_slli_epi32(x, 16), _mm512_maskz_expand_epi32(due, units));
}

int qs_ans_avx512(qs_ans *ans, uint8_t *dst, size_t n)
{
	const __m512i mask = _mm512_set1_epi32((int)(1u << ans->log) - 1);
	const __m128i log = _mm_cvtsi32_si128((int)ans->log);
	const uint8_t *src = ans->src;
	__m512i a = _mm512_loadu_si512(ans->state), b = _mm512_loadu_si512(ans->state + 16);
	size_t i = 0;
	for (; i < n && ans->src_end - src >= 64; i += 32) {
		__m512i ea = _mm512_i32gather_epi32(_mm512_and_si512(a, mask), ans->entries, 4),
		        eb = _mm512_i32gather_epi32(_mm512_and_si512(b, mask), ans->entries, 4);
		a = step_ans_avx512(a, ea, log, &src);
		b = step_ans_avx512(b, eb, log, &src);
		_mm_storeu_si128((__m128i *)(dst + i), _mm512_cvtepi32_epi8(_mm512_srli_epi32(ea, 24)));
		_mm_storeu_si128((__m128i *)(dst + i + 16), _mm512_cvtepi32_epi8(_mm512_srli_epi32(eb, 24)));
	}
	_mm512_storeu_si512(ans->state, a);
	_mm512_storeu_si512(ans->state + 16, b);
	ans->src = src;
	return qs_ans_scalar(ans, dst + i, n - i);
}

#else
typedef int qs_translation_unit_is_empty;
#endif

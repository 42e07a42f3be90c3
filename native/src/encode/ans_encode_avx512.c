/* Writes ANS units with AVX-512, 32 symbols at a time; the oracle is qs_ans_put_scalar. */
#include "ans_encode.h"

#include "core/simd.h"

#if QS_HAVE_AVX512
#include <immintrin.h>

_Static_assert(QS_ANS_LANES_MAX == 32, "two vectors of states");

enum { LOG = QS_ANS_LOG_MAX };

/* One half, 16 bits, of the table `of`, for all 256 bytes. */
typedef struct half_table {
	__m512i v[8];
} half_table;

static inline half_table load_table(const uint32_t of[256], unsigned shift)
{
	uint16_t halves[256];
	half_table t;
	for (unsigned s = 0; s < 256; s++)
		halves[s] = (uint16_t)(of[s] >> shift);
	for (unsigned k = 0; k < 8; k++)
		t.v[k] = _mm512_loadu_si512(halves + 32 * k);
	return t;
}

static inline __m512i look_up(const half_table *t, __m512i index)
{
	__mmask32 by64 = _mm512_test_epi16_mask(index, _mm512_set1_epi16(64)),
	          by128 = _mm512_test_epi16_mask(index, _mm512_set1_epi16(128));
	__m512i low = _mm512_mask_mov_epi16(_mm512_permutex2var_epi16(t->v[0], index, t->v[1]), by64,
	                                    _mm512_permutex2var_epi16(t->v[2], index, t->v[3])),
	        high = _mm512_mask_mov_epi16(_mm512_permutex2var_epi16(t->v[4], index, t->v[5]), by64,
	                                     _mm512_permutex2var_epi16(t->v[6], index, t->v[7]));
	return _mm512_mask_mov_epi16(low, by128, high);
}

/* Codes sixteen symbols. The states are below f · 2^20, as their units are written. */
static inline __m512i put_ans_avx512(__m512i state, __m512i f, __m512i first)
{
	/* State and quotient are each rounded by at most 2^-24 of their value, so the quotient, which is below
	 * 2^20, is off by less than 1/8; taking a quarter from it rounds by 1/16 more. Cut to an integer it is
	 * right or one too low. */
	__m512 about = _mm512_div_ps(_mm512_cvtepu32_ps(state), _mm512_cvtepu32_ps(f));
	__m512i quotient = _mm512_cvttps_epi32(_mm512_sub_ps(about, _mm512_set1_ps(0.25f)));
	__m512i rest = _mm512_sub_epi32(state, _mm512_mullo_epi32(quotient, f));
	__mmask16 more = _mm512_cmpge_epu32_mask(rest, f);
	quotient = _mm512_mask_add_epi32(quotient, more, quotient, _mm512_set1_epi32(1));
	rest = _mm512_mask_sub_epi32(rest, more, rest, f);
	return _mm512_add_epi32(_mm512_slli_epi32(quotient, LOG), _mm512_add_epi32(first, rest));
}

uint8_t *qs_ans_put_avx512(uint32_t *states, const uint8_t *src, size_t n, const uint32_t of[256],
                           unsigned log, unsigned lanes, uint8_t *at)
{
	size_t whole = n - n % QS_ANS_LANES_MAX;
	if (log != LOG || lanes != QS_ANS_LANES_MAX)
		whole = 0;
	at = qs_ans_put_scalar(states, src + whole, n - whole, of, log, lanes, at);
	const half_table frequencies = load_table(of, 0), firsts = load_table(of, 16);
	__m512i low = _mm512_loadu_si512(states), high = _mm512_loadu_si512(states + 16);
	while (whole) {
		whole -= QS_ANS_LANES_MAX;
		__m512i index = _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)(src + whole)));
		__m512i f = look_up(&frequencies, index), first = look_up(&firsts, index);
		__m512i f_low = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(f)),
		        f_high = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(f, 1));
		__mmask16 due_low = _mm512_cmpge_epu32_mask(_mm512_srli_epi32(low, 32 - LOG), f_low),
		          due_high = _mm512_cmpge_epu32_mask(_mm512_srli_epi32(high, 32 - LOG), f_high);
		__mmask32 due = (__mmask32)due_high << 16 | due_low;
		__m512i units = _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi32_epi16(low)),
		                                   _mm512_cvtepi32_epi16(high), 1);
		unsigned count = (unsigned)__builtin_popcount(due);
		at -= 2 * count;
		_mm512_mask_storeu_epi16(at, (__mmask32)(((uint64_t)1 << count) - 1),
		                         _mm512_maskz_compress_epi16(due, units));
		low = put_ans_avx512(_mm512_mask_srli_epi32(low, due_low, low, 16), f_low,
		                     _mm512_cvtepu16_epi32(_mm512_castsi512_si256(first)));
		high = put_ans_avx512(_mm512_mask_srli_epi32(high, due_high, high, 16), f_high,
		                      _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(first, 1)));
	}
	_mm512_storeu_si512(states, low);
	_mm512_storeu_si512(states + 16, high);
	return at;
}

#else
typedef int qs_translation_unit_is_empty;
#endif

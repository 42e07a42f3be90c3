/* Writing streams in AVX-512: codes of 64 bytes are looked up at once and joined four by four. */
#include "stream_put.h"

#include "../core/bytes.h"
#include "../core/simd.h"

#if QS_HAVE_AVX512
#include <immintrin.h>

typedef struct byte_table {
	__m512i v[4];
} byte_table;

/* One byte of each of the 256 codes. */
static inline byte_table load_table(const uint32_t codes[256], unsigned shift)
{
	uint8_t bytes[256];
	byte_table t;
	for (unsigned s = 0; s < 256; s++)
		bytes[s] = (uint8_t)(codes[s] >> shift);
	for (unsigned k = 0; k < 4; k++)
		t.v[k] = _mm512_loadu_si512(bytes + 64 * k);
	return t;
}

static inline __m512i look_up(const byte_table *t, __m512i index, __mmask64 high)
{
	return _mm512_mask_mov_epi8(_mm512_permutex2var_epi8(t->v[0], index, t->v[1]), high,
	                            _mm512_permutex2var_epi8(t->v[2], index, t->v[3]));
}

/* Codes of 16 bits and their lengths, joined to words of four codes, at most 44 bits, and theirs. */
static inline void join(__m512i code, __m512i length, uint64_t words[8], uint64_t lengths[8])
{
	__m512i low16 = _mm512_set1_epi32(0xffff), low32 = _mm512_set1_epi64(0xffffffff);
	code = _mm512_or_si512(_mm512_and_si512(code, low16), _mm512_sllv_epi32(_mm512_srli_epi32(code, 16),
	                                                                        _mm512_and_si512(length, low16)));
	length = _mm512_madd_epi16(length, _mm512_set1_epi16(1));
	code = _mm512_or_si512(_mm512_and_si512(code, low32), _mm512_sllv_epi64(_mm512_srli_epi64(code, 32),
	                                                                        _mm512_and_si512(length, low32)));
	length = _mm512_add_epi64(_mm512_and_si512(length, low32), _mm512_srli_epi64(length, 32));
	_mm512_storeu_si512(words, code);
	_mm512_storeu_si512(lengths, length);
}

uint8_t *qs_stream_put_avx512(const uint8_t *src, size_t n, const uint32_t codes[256], uint8_t *dst)
{
	const byte_table length = load_table(codes, 0), low = load_table(codes, 8), high = load_table(codes, 16);
	uint64_t bits = 0, used = 0; /* bits that are left over, fewer than 8 */
	uint64_t words[16], lengths[16];
	for (; n >= 64; n -= 64, src += 64) {
		__m512i index = _mm512_loadu_si512(src), l, c, d;
		__mmask64 upper = _mm512_movepi8_mask(index);
		l = look_up(&length, index, upper);
		c = look_up(&low, index, upper);
		d = look_up(&high, index, upper);
		/* Unpacking takes 8 bytes of each 16, two words of four codes: the first two of each four words, then
		 * the others. */
		join(_mm512_unpacklo_epi8(c, d), _mm512_unpacklo_epi8(l, _mm512_setzero_si512()), words, lengths);
		join(_mm512_unpackhi_epi8(c, d), _mm512_unpackhi_epi8(l, _mm512_setzero_si512()), words + 8,
		     lengths + 8);
		for (unsigned k = 0; k < 16; k++) {
			unsigned at = (k & 1) | (k >> 1 & 6) | (k & 2) << 2;
			uint64_t end = used + lengths[at];
			/* Only this OR and shift wait for the last word's. */
			bits |= words[at] << used;
			qs_store64(dst, bits);
			dst += end >> 3;
			bits >>= end & 56;
			used = end & 7;
		}
	}
	return qs_stream_put_rest(src, n, codes, dst, bits, (unsigned)used);
}

#else
typedef int qs_translation_unit_is_empty;
#endif

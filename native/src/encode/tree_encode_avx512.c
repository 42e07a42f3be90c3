/* Writes a tree's nodes with AVX-512, 64 symbols at a time; the oracles are in tree_encode.c. */
#include "core/simd.h"
#include "tree_encode.h"

#if QS_HAVE_AVX512
#include <immintrin.h>

void qs_tree_number_avx512(const uint8_t *src, size_t n, const uint8_t leaf[256], uint8_t *dst)
{
	__m512i part[4];
	for (int k = 0; k < 4; k++)
		part[k] = _mm512_loadu_si512(leaf + 64 * k);
	for (size_t i = 0; i < n; i += 64) {
		__mmask64 some = n - i < 64 ? ((__mmask64)1 << (n - i)) - 1 : ~(__mmask64)0;
		__m512i s = _mm512_maskz_loadu_epi8(some, src + i);
		__m512i low = _mm512_permutex2var_epi8(part[0], s, part[1]),
		        high = _mm512_permutex2var_epi8(part[2], s, part[3]);
		_mm512_storeu_si512(dst + i, _mm512_mask_blend_epi8(_mm512_movepi8_mask(s), low, high));
	}
}

size_t qs_tree_mark_avx512(const uint8_t *src, size_t groups, uint8_t from, uint8_t *bits)
{
	const __m512i least = _mm512_set1_epi8((char)from);
	size_t ones = 0;
	for (; groups; groups--, src += 64, bits += 8) {
		__mmask64 mask = _mm512_cmpge_epu8_mask(_mm512_loadu_si512(src), least);
		qs_store64(bits, mask);
		ones += (unsigned)__builtin_popcountll(mask);
	}
	return ones;
}

void qs_tree_split_avx512(const uint8_t *src, const uint8_t *bits, size_t groups, uint8_t *to[2])
{
	uint8_t *zeros = to[0], *ones = to[1];
	for (; groups; groups--, src += 64, bits += 8) {
		__mmask64 mask = qs_load64(bits);
		__m512i symbols = _mm512_loadu_si512(src);
		if (zeros) {
			_mm512_storeu_si512(zeros, _mm512_maskz_compress_epi8(~mask, symbols));
			zeros += 64 - __builtin_popcountll(mask);
		}
		if (ones) {
			_mm512_storeu_si512(ones, _mm512_maskz_compress_epi8(mask, symbols));
			ones += __builtin_popcountll(mask);
		}
	}
	to[0] = zeros;
	to[1] = ones;
}

#else
typedef int qs_translation_unit_is_empty;
#endif

/* Merges a tree's nodes in AVX-512, 64 symbols at a time; the oracle is qs_tree_scalar. */
#include "simd.h"
#include "tree.h"

#if QS_HAVE_AVX512
#include <immintrin.h>

_Static_assert(QS_TREE_GROUP == sizeof(__m512i) && QS_TREE_SLACK >= sizeof(__m512i), "a group is a vector");

void qs_tree_avx512(const uint8_t *bits, size_t groups, qs_tree_branch branch[2], uint8_t *dst)
{
	const uint8_t *zeros = branch[0].from, *ones = branch[1].from, *end = bits + 8 * groups;
	const __m512i zero = _mm512_set1_epi8((char)branch[0].symbol),
	              one = _mm512_set1_epi8((char)branch[1].symbol);
	if (!zeros && !ones)
		for (; bits < end; bits += 8, dst += 64)
			_mm512_storeu_si512(dst, _mm512_mask_blend_epi8(qs_load64(bits), zero, one));
	else if (!zeros)
		for (; bits < end; bits += 8, dst += 64) {
			__mmask64 mask = qs_load64(bits);
			_mm512_storeu_si512(dst, _mm512_mask_expand_epi8(zero, mask, _mm512_loadu_si512(ones)));
			ones += __builtin_popcountll(mask);
		}
	else if (!ones)
		for (; bits < end; bits += 8, dst += 64) {
			__mmask64 mask = ~qs_load64(bits);
			_mm512_storeu_si512(dst, _mm512_mask_expand_epi8(one, mask, _mm512_loadu_si512(zeros)));
			zeros += __builtin_popcountll(mask);
		}
	else
		for (; bits < end; bits += 8, dst += 64) {
			__mmask64 mask = qs_load64(bits);
			__m512i both = _mm512_maskz_expand_epi8(mask, _mm512_loadu_si512(ones));
			_mm512_storeu_si512(dst, _mm512_mask_expand_epi8(both, ~mask, _mm512_loadu_si512(zeros)));
			int n_ones = __builtin_popcountll(mask);
			ones += n_ones;
			zeros += 64 - n_ones;
		}
	branch[0].from = zeros;
	branch[1].from = ones;
}

#else
typedef int qs_translation_unit_is_empty;
#endif

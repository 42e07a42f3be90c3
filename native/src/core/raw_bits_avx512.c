/* Merges raw bits by GFNI. Planes and zigzag are linear over GF(2), so each plane takes one 8 × 8 bit matrix.
 * The oracle is qs_raw_bits_groups. */
#include "raw_bits.h"
#include "simd.h"

#if QS_HAVE_AVX512
#include <immintrin.h>

/* Makes the matrix that moves bits 0 to width − 1 of a byte to bits `at` and up of u. With zigzag, u is
 * decoded too: bit i of the result is bit i + 1 of u XOR bit 0. Row i of the matrix is byte 7 − i. */
static inline __attribute__((always_inline)) uint64_t place_bits(unsigned at, unsigned width, int zigzag)
{
	const uint64_t identity = 0x0102040810204080, every_row = 0x0101010101010101;
	uint64_t rows = !zigzag ? identity >> 8 * at : at ? identity >> 8 * (at - 1) : identity << 8 | every_row;
	return rows & every_row * ((1u << width) - 1);
}

/* Makes that matrix for the bits from `shift` on. */
#define FROM(rows, shift) (long long)((rows) << (shift))

static inline __attribute__((always_inline, target("gfni"))) void
merge_groups(uint8_t *v, const uint8_t *raw, size_t groups, const unsigned bits, int zigzag)
{
	const unsigned at2 = bits & 4, at1 = bits & 6;
	uint64_t four = place_bits(0, 4, zigzag), two = place_bits(at2, 2, zigzag),
	         one = place_bits(at1, 1, zigzag);
	__m512i four_rows[2], two_rows[2], one_rows[2];
	for (unsigned h = 0; h < 2; h++) {
		unsigned first = 4 * h;
		four_rows[h] = _mm512_set1_epi64(FROM(four, first));
		two_rows[h] = _mm512_inserti64x4(_mm512_set1_epi64(FROM(two, first)),
		                                 _mm256_set1_epi64x(FROM(two, first + 2)), 1);
		one_rows[h] = _mm512_set_epi64(FROM(one, first + 3), FROM(one, first + 3), FROM(one, first + 2),
		                               FROM(one, first + 2), FROM(one, first + 1), FROM(one, first + 1),
		                               FROM(one, first), FROM(one, first));
	}
	for (; groups; groups--, v += QS_RAW_GROUP) {
		__m512i plane4 = _mm512_setzero_si512(), plane2 = plane4, plane1 = plane4;
		if (bits & 4) {
			plane4 = _mm512_loadu_si512(raw);
			raw += 64;
		}
		if (bits & 2) {
			plane2 = _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)raw));
			raw += 32;
		}
		if (bits & 1) {
			plane1 = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)raw));
			raw += 16;
		}
		for (unsigned h = 0; h < 2; h++) {
			__m512i u = _mm512_loadu_si512(v + 64 * h);
			if (bits & 4)
				u = _mm512_xor_si512(u, _mm512_gf2p8affine_epi64_epi8(plane4, four_rows[h], 0));
			if (bits & 2)
				u = _mm512_xor_si512(u, _mm512_gf2p8affine_epi64_epi8(plane2, two_rows[h], 0));
			if (bits & 1)
				u = _mm512_xor_si512(u, _mm512_gf2p8affine_epi64_epi8(plane1, one_rows[h], 0));
			_mm512_storeu_si512(v + 64 * h, u);
		}
	}
}

__attribute__((target("gfni"))) void qs_raw_bits_groups_avx512(uint8_t *dst, const uint8_t *raw,
                                                               size_t groups, unsigned bits, int zigzag)
{
	switch (bits) {
	case 1:
		merge_groups(dst, raw, groups, 1, zigzag);
		break;
	case 2:
		merge_groups(dst, raw, groups, 2, zigzag);
		break;
	case 3:
		merge_groups(dst, raw, groups, 3, zigzag);
		break;
	case 4:
		merge_groups(dst, raw, groups, 4, zigzag);
		break;
	case 5:
		merge_groups(dst, raw, groups, 5, zigzag);
		break;
	case 6:
		merge_groups(dst, raw, groups, 6, zigzag);
		break;
	case 7:
		merge_groups(dst, raw, groups, 7, zigzag);
	}
}
#endif

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

enum { PIECE = 512, WORD_BITS = 56 /* with fewer than 8 bits left over: below 64 */ };

/* Codes one after the other in words, and these words' lengths. */
typedef struct word_list {
	uint64_t words[PIECE / 4];
	uint8_t lengths[PIECE / 4 + 8];
	size_t n;
} word_list;

static inline void add_words(word_list *list, __m512i words, __m512i lengths)
{
	_mm512_storeu_si512(list->words + list->n, words);
	_mm_storel_epi64((__m128i *)(list->lengths + list->n), _mm512_cvtepi64_epi8(lengths));
	list->n += 8;
}

/* Codes of 16 bits and their lengths, joined to words of four codes, at most 44 bits, and their lengths. */
static inline __m512i join(__m512i code, __m512i length, __m512i *word_lengths)
{
	__m512i low16 = _mm512_set1_epi32(0xffff), low32 = _mm512_set1_epi64(0xffffffff);
	code = _mm512_or_si512(_mm512_and_si512(code, low16),
	                       _mm512_sllv_epi32(_mm512_srli_epi32(code, 16), _mm512_and_si512(length, low16)));
	length = _mm512_madd_epi16(length, _mm512_set1_epi16(1));
	__m512i first = _mm512_and_si512(length, low32);
	*word_lengths = _mm512_add_epi64(first, _mm512_srli_epi64(length, 32));
	return _mm512_or_si512(_mm512_and_si512(code, low32),
	                       _mm512_sllv_epi64(_mm512_srli_epi64(code, 32), first));
}

uint8_t *qs_stream_put_avx512(const uint8_t *src, size_t n, const uint32_t codes[256], uint8_t *dst)
{
	const byte_table length = load_table(codes, 0), low = load_table(codes, 8), high = load_table(codes, 16);
	const __m512i none = _mm512_setzero_si512(), most = _mm512_set1_epi64(WORD_BITS),
	              first_half = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11),
	              second_half = _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15);
	uint64_t bits = 0, used = 0; /* what is left over, fewer than 8 bits */
	while (n >= 64) {
		word_list list;
		list.n = 0;
		for (size_t i = 0; i < PIECE / 64 && n >= 64; i++, n -= 64, src += 64) {
			__m512i index = _mm512_loadu_si512(src), l, c, d, a_lengths, b_lengths;
			__mmask64 upper = _mm512_movepi8_mask(index);
			l = look_up(&length, index, upper);
			c = look_up(&low, index, upper);
			d = look_up(&high, index, upper);
			/* Of each 16 bytes the first 8, and the others. */
			__m512i a = join(_mm512_unpacklo_epi8(c, d), _mm512_unpacklo_epi8(l, none), &a_lengths);
			__m512i b = join(_mm512_unpackhi_epi8(c, d), _mm512_unpackhi_epi8(l, none), &b_lengths);
			/* Of each 8 bytes the first 4, and the others. */
			__m512i even = _mm512_unpacklo_epi64(a, b), odd = _mm512_unpackhi_epi64(a, b),
			        even_lengths = _mm512_unpacklo_epi64(a_lengths, b_lengths),
			        odd_lengths = _mm512_unpackhi_epi64(a_lengths, b_lengths),
			        both_lengths = _mm512_add_epi64(even_lengths, odd_lengths);
			if (!_mm512_cmpgt_epu64_mask(both_lengths, most))
				add_words(&list, _mm512_or_si512(even, _mm512_sllv_epi64(odd, even_lengths)), both_lengths);
			else {
				add_words(&list, _mm512_permutex2var_epi64(even, first_half, odd),
				          _mm512_permutex2var_epi64(even_lengths, first_half, odd_lengths));
				add_words(&list, _mm512_permutex2var_epi64(even, second_half, odd),
				          _mm512_permutex2var_epi64(even_lengths, second_half, odd_lengths));
			}
		}
		for (size_t k = 0; k < list.n; k++) {
			uint64_t end = used + list.lengths[k];
			/* Only this OR and the shift wait for the last word's. */
			bits |= list.words[k] << used;
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

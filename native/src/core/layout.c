#include "layout.h"

#include <string.h>

#include "bytes.h"
#include "rules.h"
#include "simd.h"

int qs_blocks_are_modelled(uint32_t dtype)
{
	return qs_rule_of_block(dtype) != QS_RULE_NONE;
}

uint32_t qs_blocks_scales_size(uint32_t dtype, uint32_t absmax)
{
	uint32_t record = qs_rule_record_size(qs_rule_of_block(dtype));
	return absmax != QS_BYTES ? qs_dtype_size(absmax) : record ? record : qs_dtype_size(QS_F16);
}

/* Rounds a single, which is no NaN, to FP16, half to even. */
static uint16_t half_of(float value)
{
	uint32_t bits = qs_f32_bits(value), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
	if (magnitude >= 0x47800000)
		return (uint16_t)(sign | 0x7c00);
	if (magnitude < 0x38800000) { /* subnormal: multiples of 2^-24 */
		float m = (qs_f32_from_bits(magnitude) + 0.5f) - 0.5f;
		return (uint16_t)(sign | (uint32_t)(int32_t)(m * 0x1p24f));
	}
	magnitude += 0xfff + (magnitude >> 13 & 1);
	return (uint16_t)(sign | (magnitude - 0x38000000) >> 13);
}

/* Writes `half` bytes: code i is the low nibble of byte i, and code half + i its high nibble. */
static void join_nibbles(const uint8_t *codes, unsigned half, uint8_t *dst)
{
	for (unsigned i = 0; i < half; i++)
		dst[i] = (uint8_t)((codes[i] & 15) | codes[i + half] << 4);
}

static void split_nibbles(const uint8_t *src, unsigned half, uint8_t *codes)
{
	for (unsigned i = 0; i < half; i++) {
		codes[i] = src[i] & 15;
		codes[i + half] = src[i] >> 4;
	}
}

/* Writes the fifth bits of 32 codes as one word. */
static void join_fifth(const uint8_t *codes, uint8_t *dst)
{
	uint32_t bits = 0;
	for (unsigned i = 0; i < 32; i++)
		bits |= (uint32_t)(codes[i] >> 4 & 1) << i;
	qs_store32(dst, bits);
}

static void split_fifth(const uint8_t *src, uint8_t *codes)
{
	uint32_t bits = qs_load32(src);
	for (unsigned i = 0; i < 32; i++)
		codes[i] |= (uint8_t)((bits >> i & 1) << 4);
}

/* The structs of the K-quants' blocks are block_q4_K, block_q5_K and block_q6_K in ggml-common.h; the order
 * of codes in them is that of dequantize_row_* in ggml-quants.c. */
static void join_q4_k(const uint8_t *codes, uint8_t *dst)
{
	for (unsigned j = 0; j < 4; j++)
		join_nibbles(codes + 64 * j, 32, dst + 32 * j);
}

static void split_q4_k(const uint8_t *src, uint8_t *codes)
{
	for (unsigned j = 0; j < 4; j++)
		split_nibbles(src + 32 * j, 32, codes + 64 * j);
}

static void join_q5_k(const uint8_t *codes, uint8_t *dst)
{
	for (unsigned i = 0; i < 32; i++) {
		uint8_t high = 0;
		for (unsigned j = 0; j < 8; j++)
			high |= (uint8_t)((codes[32 * j + i] >> 4 & 1) << j);
		dst[i] = high;
	}
	join_q4_k(codes, dst + 32);
}

static void split_q5_k(const uint8_t *src, uint8_t *codes)
{
	split_q4_k(src + 32, codes);
	for (unsigned i = 0; i < 32; i++)
		for (unsigned j = 0; j < 8; j++)
			codes[32 * j + i] |= (uint8_t)((src[i] >> j & 1) << 4);
}

static void join_q6_k(const uint8_t *codes, uint8_t *dst)
{
	for (unsigned h = 0; h < 2; h++)
		for (unsigned i = 0; i < 32; i++) {
			const uint8_t *c = codes + 128 * h + i;
			dst[64 * h + i] = (uint8_t)((c[0] & 15) | c[64] << 4);
			dst[64 * h + 32 + i] = (uint8_t)((c[32] & 15) | c[96] << 4);
			dst[128 + 32 * h + i] =
			    (uint8_t)((c[0] >> 4 & 3) | (c[32] >> 4 & 3) << 2 | (c[64] >> 4 & 3) << 4 | c[96] >> 4 << 6);
		}
}

static void split_q6_k(const uint8_t *src, uint8_t *codes)
{
	for (unsigned h = 0; h < 2; h++)
		for (unsigned i = 0; i < 32; i++) {
			uint8_t *c = codes + 128 * h + i, a = src[64 * h + i], b = src[64 * h + 32 + i],
			        high = src[128 + 32 * h + i];
			c[0] = (uint8_t)((a & 15) | (high & 3) << 4);
			c[32] = (uint8_t)((b & 15) | (high >> 2 & 3) << 4);
			c[64] = (uint8_t)(a >> 4 | (high >> 4 & 3) << 4);
			c[96] = (uint8_t)(b >> 4 | high >> 6 << 4);
		}
}

void qs_blocks_join(uint32_t dtype, uint32_t absmax, const uint8_t *codes, const uint8_t *scales,
                    size_t n_blocks, uint8_t *dst)
{
	uint32_t elems = qs_block_elems(dtype), size = qs_block_size(dtype),
	         scales_size = qs_blocks_scales_size(dtype, absmax);
	for (; n_blocks; n_blocks--, codes += elems, scales += scales_size, dst += size) {
		uint8_t *rest = dst + scales_size;
		if (dtype == QS_Q8_0) {
			uint16_t d = 0;
			if (absmax == QS_BYTES)
				d = qs_load16(scales);
			else
				d = half_of(
				    (absmax == QS_F32 ? qs_load_f32(scales) : qs_half_value(qs_load16(scales), absmax)) /
				    127.0f);
			qs_store16(dst, d);
			memcpy(dst + 2, codes, 32);
			continue;
		}
		memcpy(dtype == QS_Q6_K ? dst + 192 : dst, scales, scales_size);
		switch (dtype) {
		case QS_Q4_0:
		case QS_Q4_1:
			join_nibbles(codes, 16, rest);
			break;
		case QS_Q5_0:
		case QS_Q5_1:
			join_fifth(codes, rest);
			join_nibbles(codes, 16, rest + 4);
			break;
		case QS_Q4_K:
			join_q4_k(codes, rest);
			break;
		case QS_Q5_K:
			join_q5_k(codes, rest);
			break;
		default: /* Q6_K */
			join_q6_k(codes, dst);
		}
	}
}

void qs_blocks_split(uint32_t dtype, const uint8_t *blocks, size_t n_blocks, uint8_t *codes, uint8_t *scales)
{
	uint32_t elems = qs_block_elems(dtype), size = qs_block_size(dtype),
	         scales_size = qs_blocks_scales_size(dtype, QS_BYTES);
	for (; n_blocks; n_blocks--, codes += elems, scales += scales_size, blocks += size) {
		const uint8_t *rest = blocks + scales_size;
		memcpy(scales, dtype == QS_Q6_K ? blocks + 192 : blocks, scales_size);
		switch (dtype) {
		case QS_Q8_0:
			memcpy(codes, rest, 32);
			break;
		case QS_Q4_0:
		case QS_Q4_1:
			split_nibbles(rest, 16, codes);
			break;
		case QS_Q5_0:
		case QS_Q5_1:
			split_nibbles(rest + 4, 16, codes);
			split_fifth(rest, codes);
			break;
		case QS_Q4_K:
			split_q4_k(rest, codes);
			break;
		case QS_Q5_K:
			split_q5_k(rest, codes);
			break;
		default: /* Q6_K */
			split_q6_k(blocks, codes);
		}
	}
}

static uint32_t pack_word(uint32_t bits, const uint8_t *codes)
{
	uint32_t word = 0, mask = (1u << bits) - 1;
	for (uint32_t i = 0; i < 32 / bits; i++)
		word |= (codes[i] & mask) << i * bits;
	return word;
}

static void unpack_word(uint32_t bits, uint32_t word, uint8_t *codes)
{
	for (uint32_t i = 0; i < 32 / bits; i++)
		codes[i] = (uint8_t)(word >> i * bits & ((1u << bits) - 1));
}

void qs_words_pack(uint32_t bits, const uint8_t *codes, size_t n_words, uint8_t *dst)
{
	for (size_t i = 0; i < n_words; i++)
		qs_store32(dst + 4 * i, pack_word(bits, codes + i * (32 / bits)));
}

void qs_words_unpack(uint32_t bits, const uint8_t *words, size_t n_words, uint8_t *codes)
{
	for (size_t i = 0; i < n_words; i++)
		unpack_word(bits, qs_load32(words + 4 * i), codes + i * (32 / bits));
}

/* Does the work of qs_transpose_elems. `size` is a constant in each call. */
QS_ALWAYS_INLINE void transpose_elems(uint32_t size, const uint8_t *src, uint64_t rows, uint64_t cols,
                                      uint64_t first, size_t n, uint8_t *dst)
{
	enum {
		BLOCK = 32
	}; /* rows that are read together: their cache lines are used up while they are cached */
	uint64_t end = first + n;
	for (uint64_t low = 0; low < rows; low += BLOCK)
		for (uint64_t line = first / rows; line * rows + low < end; line++) {
			uint64_t from = line * rows + low, to = from + BLOCK;
			to = low + BLOCK > rows ? (line + 1) * rows : to;
			from = from < first ? first : from;
			to = to > end ? end : to;
			for (uint64_t i = from; i < to; i++)
				memcpy(dst + (size_t)(i - first) * size,
				       src + (size_t)((i - line * rows) * cols + line) * size, size);
		}
}

void qs_transpose_elems(uint32_t size, const uint8_t *src, uint64_t rows, uint64_t cols, uint64_t first,
                        size_t n, uint8_t *dst)
{
	if (size == 2)
		transpose_elems(2, src, rows, cols, first, n, dst);
	else
		transpose_elems(4, src, rows, cols, first, n, dst);
}

/* The code in each nibble of a word: order_map of WQLinear_GEMM.from_linear in AutoAWQ,
 * awq/modules/linear/gemm.py. */
static const uint8_t interleaved[8] = {0, 2, 4, 6, 1, 3, 5, 7};

/* Makes a word of eight codes that are `stride` bytes apart. */
static uint32_t interleave(const uint8_t *codes, size_t stride)
{
	uint8_t ordered[8];
	for (unsigned i = 0; i < 8; i++)
		ordered[i] = codes[interleaved[i] * stride];
	return pack_word(4, ordered);
}

void qs_words_interleave(const uint8_t *codes, size_t n_words, uint8_t *dst)
{
	for (size_t i = 0; i < n_words; i++)
		qs_store32(dst + 4 * i, interleave(codes + 8 * i, 1));
}

void qs_words_deinterleave(const uint8_t *words, size_t n_words, uint8_t *codes)
{
	for (; n_words; n_words--, words += 4, codes += 8) {
		uint8_t ordered[8];
		unpack_word(4, qs_load32(words), ordered);
		for (unsigned i = 0; i < 8; i++)
			codes[interleaved[i]] = ordered[i];
	}
}

void qs_words_interleave_columns(const uint8_t *codes, uint64_t rows, uint64_t cols, uint64_t first, size_t n,
                                 uint8_t *dst)
{
	uint64_t column = first / (rows / 8), row = first % (rows / 8) * 8;
	for (size_t i = 0; i < n; i++) {
		qs_store32(dst + 4 * i, interleave(codes + (size_t)(row * cols + column), (size_t)cols));
		row += 8;
		if (row == rows) {
			row = 0;
			column++;
		}
	}
}

void qs_words_pack_transposed(uint32_t bits, const uint8_t *codes, uint64_t rows, uint64_t cols,
                              uint64_t first, size_t n, uint8_t *dst)
{
	uint64_t line = first / rows, row = first % rows;
	for (size_t i = 0; i < n; i++) {
		qs_store32(dst + 4 * i, pack_word(bits, codes + (size_t)(row * cols + line * (32 / bits))));
		if (++row == rows) {
			row = 0;
			line++;
		}
	}
}

void qs_words_unpack_transposed(uint32_t bits, const uint8_t *words, uint64_t rows, uint64_t cols,
                                uint8_t *codes)
{
	for (uint64_t line = 0; line < cols / (32 / bits); line++)
		for (uint64_t row = 0; row < rows; row++)
			unpack_word(bits, qs_load32(words + 4 * (size_t)(line * rows + row)),
			            codes + (size_t)(row * cols + line * (32 / bits)));
}

void qs_join_rows(const uint8_t *left, size_t left_size, const uint8_t *right, size_t right_size,
                  size_t n_rows, uint8_t *dst)
{
	for (; n_rows > 0; n_rows--, left += left_size, right += right_size, dst += left_size + right_size) {
		memcpy(dst, left, left_size);
		memcpy(dst + left_size, right, right_size);
	}
}

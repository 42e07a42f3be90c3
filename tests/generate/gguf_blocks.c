#include "gguf_blocks.h"

#include <string.h>

#include "core/bytes.h"
#include "values.h"

int gguf_is_block(uint32_t dtype)
{
	return dtype == QS_Q4_0 || dtype == QS_Q4_1 || dtype == QS_Q5_0 || dtype == QS_Q5_1 || dtype == QS_Q8_0 ||
	       dtype == QS_Q4_K || dtype == QS_Q5_K || dtype == QS_Q6_K;
}

uint32_t gguf_block_parts(uint32_t dtype)
{
	return dtype == QS_Q6_K ? 16 : dtype == QS_Q4_K || dtype == QS_Q5_K ? 8 : 1;
}

int gguf_code_zero(uint32_t dtype)
{
	return dtype == QS_Q4_0 ? 8 : dtype == QS_Q5_0 ? 16 : dtype == QS_Q6_K ? 32 : 0;
}

static void store16(uint8_t *dst, uint16_t value)
{
	store_bytes(dst, value, 2);
}

/* Reads a block of 32. The low four bits of element i and of element 16 + i share a byte. */
static void load_small(uint32_t dtype, const uint8_t *src, gguf_block *block)
{
	uint32_t high = 0;
	block->d = qs_load16(src);
	src += 2;
	if (dtype == QS_Q8_0) {
		memcpy(block->codes, src, 32);
		return;
	}
	if (dtype == QS_Q4_1 || dtype == QS_Q5_1) {
		block->m = qs_load16(src);
		src += 2;
	}
	if (dtype == QS_Q5_0 || dtype == QS_Q5_1) {
		high = qs_load32(src);
		src += 4;
	}
	for (int i = 0; i < 32; i++)
		block->codes[i] = (uint8_t)((src[i % 16] >> 4 * (i / 16) & 15) | (high >> i & 1) << 4);
}

static void store_small(uint32_t dtype, const gguf_block *block, uint8_t *dst)
{
	store16(dst, block->d);
	dst += 2;
	if (dtype == QS_Q8_0) {
		memcpy(dst, block->codes, 32);
		return;
	}
	if (dtype == QS_Q4_1 || dtype == QS_Q5_1) {
		store16(dst, block->m);
		dst += 2;
	}
	if (dtype == QS_Q5_0 || dtype == QS_Q5_1) {
		uint32_t high = 0;
		for (int i = 0; i < 32; i++)
			high |= (uint32_t)(block->codes[i] >> 4) << i;
		store_bytes(dst, high, 4);
		dst += 4;
	}
	for (int i = 0; i < 16; i++)
		dst[i] = (uint8_t)((block->codes[i] & 15) | (block->codes[16 + i] & 15) << 4);
}

/* Reads eight scales and eight minimums of six bits from twelve bytes. The scales and minimums of parts 0 to
 * 3 are in the low six bits of bytes 0–3 and 4–7. The others, of parts 4 to 7, have their low four bits in
 * bytes 8–11, and their high two bits in the high bits of bytes 0–3 and 4–7. */
static void load_scales(const uint8_t src[12], gguf_block *block)
{
	for (int i = 0; i < 4; i++) {
		block->scales[i] = src[i] & 63;
		block->mins[i] = src[4 + i] & 63;
		block->scales[4 + i] = (int8_t)((src[8 + i] & 15) | src[i] >> 6 << 4);
		block->mins[4 + i] = (uint8_t)(src[8 + i] >> 4 | src[4 + i] >> 6 << 4);
	}
}

static void store_scales(const gguf_block *block, uint8_t dst[12])
{
	for (int i = 0; i < 4; i++) {
		dst[i] = (uint8_t)(block->scales[i] | block->scales[4 + i] >> 4 << 6);
		dst[4 + i] = (uint8_t)(block->mins[i] | block->mins[4 + i] >> 4 << 6);
		dst[8 + i] = (uint8_t)((block->scales[4 + i] & 15) | (block->mins[4 + i] & 15) << 4);
	}
}

/* Reads a block of Q4_K or Q5_K. The first 32 of each 64 elements are in the low halves of 32 bytes, the
 * others in the high halves. The fifth bit of element i is bit i / 32 of byte i mod 32. */
static void load_k(uint32_t dtype, const uint8_t *src, gguf_block *block)
{
	const uint8_t *high = src + 16, *low = src + (dtype == QS_Q5_K ? 48 : 16);
	block->d = qs_load16(src);
	block->m = qs_load16(src + 2);
	load_scales(src + 4, block);
	for (int i = 0; i < 256; i++) {
		block->codes[i] = low[i / 64 * 32 + i % 32] >> (i / 32 % 2 * 4) & 15;
		if (dtype == QS_Q5_K)
			block->codes[i] |= (uint8_t)((high[i % 32] >> i / 32 & 1) << 4);
	}
}

static void store_k(uint32_t dtype, const gguf_block *block, uint8_t *dst)
{
	uint8_t *high = dst + 16, *low = dst + (dtype == QS_Q5_K ? 48 : 16);
	memset(dst, 0, qs_block_size(dtype));
	store16(dst, block->d);
	store16(dst + 2, block->m);
	store_scales(block, dst + 4);
	for (int i = 0; i < 256; i++) {
		low[i / 64 * 32 + i % 32] |= (uint8_t)((block->codes[i] & 15) << (i / 32 % 2 * 4));
		if (dtype == QS_Q5_K)
			high[i % 32] |= (uint8_t)(block->codes[i] >> 4 << i / 32);
	}
}

/* Reads a block of Q6_K. The low four bits of each 128 elements are in 64 bytes, those of the first 64
 * elements in the low halves. Their high two bits are in 32 bytes: byte i has those of elements i, 32 + i, 64
 * + i and 96 + i. */
static void load_q6_k(const uint8_t *src, gguf_block *block)
{
	for (int i = 0; i < 256; i++) {
		int low = src[i / 128 * 64 + i % 64] >> (i / 64 % 2 * 4) & 15;
		int high = src[128 + i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3;
		block->codes[i] = (uint8_t)(low | high << 4);
	}
	memcpy(block->scales, src + 192, 16);
	block->d = qs_load16(src + 208);
}

static void store_q6_k(const gguf_block *block, uint8_t *dst)
{
	memset(dst, 0, 192);
	for (int i = 0; i < 256; i++) {
		dst[i / 128 * 64 + i % 64] |= (uint8_t)((block->codes[i] & 15) << (i / 64 % 2 * 4));
		dst[128 + i / 128 * 32 + i % 32] |= (uint8_t)(block->codes[i] >> 4 << (i / 32 % 4 * 2));
	}
	memcpy(dst + 192, block->scales, 16);
	store16(dst + 208, block->d);
}

void gguf_block_load(uint32_t dtype, const uint8_t *src, gguf_block *block)
{
	memset(block, 0, sizeof *block);
	if (dtype == QS_Q6_K)
		load_q6_k(src, block);
	else if (dtype == QS_Q4_K || dtype == QS_Q5_K)
		load_k(dtype, src, block);
	else
		load_small(dtype, src, block);
}

void gguf_block_store(uint32_t dtype, const gguf_block *block, uint8_t *dst)
{
	if (dtype == QS_Q6_K)
		store_q6_k(block, dst);
	else if (dtype == QS_Q4_K || dtype == QS_Q5_K)
		store_k(dtype, block, dst);
	else
		store_small(dtype, block, dst);
}

static float f16_value(uint16_t half)
{
	uint8_t bytes[2];
	store16(bytes, half);
	return value_load(bytes, QS_F16, 0);
}

float gguf_block_scale(uint32_t dtype, const gguf_block *block, uint32_t i)
{
	float d = f16_value(block->d);
	return gguf_block_parts(dtype) > 1 ? d * (float)block->scales[i] : d;
}

float gguf_block_offset(uint32_t dtype, const gguf_block *block, uint32_t i)
{
	if (dtype == QS_Q4_K || dtype == QS_Q5_K)
		return -(f16_value(block->m) * (float)block->mins[i]);
	return dtype == QS_Q4_1 || dtype == QS_Q5_1 ? f16_value(block->m) : 0;
}

void gguf_dequantize(uint32_t dtype, const uint8_t *src, size_t n_blocks, float *dst)
{
	uint32_t n = qs_block_elems(dtype), part = n / gguf_block_parts(dtype);
	int zero = gguf_code_zero(dtype), has_offset = dtype != QS_Q8_0 && !zero;
	gguf_block block;
	for (size_t b = 0; b < n_blocks; b++, src += qs_block_size(dtype)) {
		gguf_block_load(dtype, src, &block);
		for (uint32_t i = 0; i < n; i++) {
			int code = dtype == QS_Q8_0 ? (int8_t)block.codes[i] : block.codes[i] - zero;
			float value = gguf_block_scale(dtype, &block, i / part) * (float)code;
			*dst++ = has_offset ? value + gguf_block_offset(dtype, &block, i / part) : value;
		}
	}
}

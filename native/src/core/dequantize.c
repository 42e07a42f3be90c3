#include "dequantize.h"

#include "bytes.h"
#include "rules.h"

/* ggml's arithmetic, one operation after the other in single precision, is that of dequantize_row_* in
 * ggml-quants.c. */

static void store(uint8_t *dst, size_t i, float value)
{
	qs_store32(dst + 4 * i, qs_f32_bits(value));
}

/* Returns the bits of the single that has the value of an FP16 pattern. Infinities and NaN keep their bits.
 */
static uint32_t single_of_f16(uint32_t pattern)
{
	uint32_t magnitude = pattern & 0x7fff, sign = (pattern & 0x8000) << 16;
	if (magnitude >= 0x7c00)
		return sign | 0x7f800000 | (magnitude & 0x3ff) << 13;
	return sign | qs_f32_bits(qs_magnitude_value(magnitude, QS_F16));
}

static float f16_at(const uint8_t *src)
{
	return qs_f32_from_bits(single_of_f16(qs_load16(src)));
}

/* ---- Floats ---- */

/* E4M3 has no infinities, and one NaN of each sign. */
static uint32_t single_of_e4m3(uint32_t pattern)
{
	uint32_t magnitude = pattern & 0x7f, sign = (pattern & 0x80) << 24;
	if (magnitude == 0x7f)
		return sign | 0x7fc00000;
	/* The exponent's bias is 7, that of singles 127. */
	return sign | qs_f32_bits(qs_f32_from_bits(magnitude << 20) * 0x1p120f);
}

/* E8M0 is a power of two: 2^(pattern - 127). */
static uint32_t single_of_e8m0(uint32_t pattern)
{
	return pattern == 0 ? 0x00400000 : pattern == 255 ? 0x7fc00000 : pattern << 23;
}

static uint32_t single_of(uint32_t dtype, const uint8_t *src, size_t i)
{
	switch (dtype) {
	case QS_BF16:
		return (uint32_t)qs_load16(src + 2 * i) << 16;
	case QS_F16:
		return single_of_f16(qs_load16(src + 2 * i));
	case QS_F8_E5M2:
		return single_of_f16((uint32_t)src[i] << 8);
	case QS_F8_E4M3:
		return single_of_e4m3(src[i]);
	default: /* F8_E8M0 */
		return single_of_e8m0(src[i]);
	}
}

/* ---- Blocks of 32 ---- */

/* The values of the codes of IQ4_NL and IQ4_XS. */
static const int8_t iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                      1,    13,   25,  38,  53,  69,  89,  113};

/* Code i of 32 that are nibbles: the low ones come first. */
static int nibble(const uint8_t *src, unsigned i)
{
	return i < 16 ? src[i] & 15 : src[i - 16] >> 4;
}

static int fifth_bit(const uint8_t *src, unsigned i)
{
	return (int)(qs_load32(src) >> i & 1) << 4;
}

static void block_of_32(uint32_t dtype, const uint8_t *src, uint8_t *dst)
{
	static const int8_t mxfp4[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
	float d = dtype == QS_MXFP4 ? 0 : f16_at(src);
	for (unsigned i = 0; i < 32; i++) {
		float value;
		switch (dtype) {
		case QS_Q4_0:
			value = (float)(nibble(src + 2, i) - 8) * d;
			break;
		case QS_Q4_1:
			value = (float)nibble(src + 4, i) * d + f16_at(src + 2);
			break;
		case QS_Q5_0:
			value = (float)((nibble(src + 6, i) | fifth_bit(src + 2, i)) - 16) * d;
			break;
		case QS_Q5_1:
			value = (float)(nibble(src + 8, i) | fifth_bit(src + 4, i)) * d + f16_at(src + 2);
			break;
		case QS_IQ4_NL:
			value = d * (float)iq4_values[nibble(src + 2, i)];
			break;
		case QS_MXFP4: /* the table has twice the values; half of 2^(e - 127) is subnormal for e < 2 */
			value = (float)mxfp4[nibble(src + 1, i)] *
			        qs_f32_from_bits(src[0] < 2 ? 0x00200000u << src[0] : (uint32_t)(src[0] - 1) << 23);
			break;
		default: /* Q8_0 */
			value = (float)(int8_t)src[2 + i] * d;
		}
		store(dst, i, value);
	}
}

/* ---- Blocks of 256 ---- */

/* Two bits of each of 256 codes: a byte has those of four codes, 32 apart. */
static int two_bits(const uint8_t *src, unsigned i)
{
	return src[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
}

/* Nibbles of 256 codes: a byte has those of two codes, 32 apart. */
static int half_byte(const uint8_t *src, unsigned i)
{
	return src[i / 64 * 32 + i % 32] >> (i % 64 / 32 * 4) & 15;
}

static void block_q2_k(const uint8_t *src, uint8_t *dst)
{
	float d = f16_at(src + 80), min = f16_at(src + 82);
	for (unsigned i = 0; i < 256; i++) {
		uint8_t scale = src[i / 16];
		store(dst, i, d * (float)(scale & 15) * (float)two_bits(src + 16, i) - min * (float)(scale >> 4));
	}
}

/* The 16 scales of Q3_K have 6 bits: the lower four as nibbles of 8 bytes, the upper two in 4 bytes more. */
static int scale_q3_k(const uint8_t *scales, unsigned i)
{
	int low = i < 8 ? scales[i] & 15 : scales[i - 8] >> 4;
	return (low | (scales[8 + i % 4] >> (i / 4 * 2) & 3) << 4) - 32;
}

static void block_q3_k(const uint8_t *src, uint8_t *dst)
{
	float d = f16_at(src + 108);
	for (unsigned i = 0; i < 256; i++) {
		int third = src[i % 32] >> (i / 32) & 1;
		store(dst, i,
		      d * (float)scale_q3_k(src + 96, i / 16) * (float)(two_bits(src + 32, i) - (third ? 0 : 4)));
	}
}

/* Eight scales and eight mins of 6 bits in 12 bytes (get_scale_min_k4). */
static void scale_and_min(const uint8_t *s, unsigned i, float *scale, float *min)
{
	if (i < 4) {
		*scale = (float)(s[i] & 63);
		*min = (float)(s[i + 4] & 63);
	} else {
		*scale = (float)((s[i + 4] & 15) | s[i - 4] >> 6 << 4);
		*min = (float)(s[i + 4] >> 4 | s[i] >> 6 << 4);
	}
}

static void block_q4_or_q5_k(int is_q5, const uint8_t *src, uint8_t *dst)
{
	float d = f16_at(src), d_min = f16_at(src + 2), scale = 0, min = 0;
	for (unsigned i = 0; i < 256; i++) {
		int code = half_byte(src + (is_q5 ? 48 : 16), i);
		if (is_q5)
			code |= (src[16 + i % 32] >> (i / 32) & 1) << 4;
		if (i % 32 == 0)
			scale_and_min(src + 4, i / 32, &scale, &min);
		store(dst, i, d * scale * (float)code - d_min * min);
	}
}

static void block_q6_k(const uint8_t *src, uint8_t *dst)
{
	float d = f16_at(src + 208);
	for (unsigned i = 0; i < 256; i++) {
		unsigned in_half = i % 128;
		int low = src[i / 128 * 64 + in_half % 64] >> (in_half / 64 * 4) & 15;
		int code = (low | two_bits(src + 128, i) << 4) - 32;
		store(dst, i, d * (float)(int8_t)src[192 + i / 16] * (float)code);
	}
}

static void block_iq4_xs(const uint8_t *src, uint8_t *dst)
{
	float d = f16_at(src);
	uint32_t high = qs_load16(src + 2);
	for (unsigned i = 0; i < 256; i++) {
		unsigned group = i / 32;
		int scale = (src[4 + group / 2] >> (group % 2 * 4) & 15) | (int)(high >> (2 * group) & 3) << 4;
		store(dst, i, d * (float)(scale - 32) * (float)iq4_values[nibble(src + 8 + 16 * group, i % 32)]);
	}
}

int qs_dequantizes(uint32_t dtype)
{
	switch (dtype) {
	case QS_F16:
	case QS_BF16:
	case QS_F8_E4M3:
	case QS_F8_E5M2:
	case QS_F8_E8M0:
	case QS_Q4_0:
	case QS_Q4_1:
	case QS_Q5_0:
	case QS_Q5_1:
	case QS_Q8_0:
	case QS_IQ4_NL:
	case QS_MXFP4:
	case QS_Q2_K:
	case QS_Q3_K:
	case QS_Q4_K:
	case QS_Q5_K:
	case QS_Q6_K:
	case QS_IQ4_XS:
		return 1;
	default:
		return 0;
	}
}

void qs_dequantize(uint32_t dtype, const uint8_t *src, size_t n_blocks, uint8_t *dst)
{
	uint32_t elems = qs_block_elems(dtype), size = qs_block_size(dtype);
	if (elems == 1) {
		for (size_t i = 0; i < n_blocks; i++)
			qs_store32(dst + 4 * i, single_of(dtype, src, i));
		return;
	}
	for (; n_blocks; n_blocks--, src += size, dst += (size_t)4 * elems) {
		switch (dtype) {
		case QS_Q2_K:
			block_q2_k(src, dst);
			break;
		case QS_Q3_K:
			block_q3_k(src, dst);
			break;
		case QS_Q4_K:
		case QS_Q5_K:
			block_q4_or_q5_k(dtype == QS_Q5_K, src, dst);
			break;
		case QS_Q6_K:
			block_q6_k(src, dst);
			break;
		case QS_IQ4_XS:
			block_iq4_xs(src, dst);
			break;
		default:
			block_of_32(dtype, src, dst);
		}
	}
}

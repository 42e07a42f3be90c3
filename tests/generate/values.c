#include "values.h"

#include <math.h>
#include <string.h>

#include "random.h"

void store_bytes(uint8_t *dst, uint64_t bits, uint32_t size)
{
	for (uint32_t i = 0; i < size; i++)
		dst[i] = (uint8_t)(bits >> 8 * i);
}

int value_is_float(uint32_t dtype)
{
	return dtype == QS_F32 || dtype == QS_F16 || dtype == QS_BF16 || dtype == QS_F8_E4M3 ||
	       dtype == QS_F8_E5M2;
}

static float from_bits(uint32_t bits)
{
	float value;
	memcpy(&value, &bits, sizeof value);
	return value;
}

static uint32_t to_bits(float value)
{
	uint32_t bits;
	memcpy(&bits, &value, sizeof bits);
	return bits;
}

static float f16_value(uint32_t bits)
{
	float magnitude = (bits & 0x7c00) == 0x7c00 ? from_bits((bits & 0x3ff) << 13 | 0x7f800000)
	                                            : from_bits((bits & 0x7fff) << 13) * 0x1p112f;
	return bits & 0x8000 ? -magnitude : magnitude;
}

/* Returns the value of an E4M3 number: a sign, 4 bits of exponent (bias 7), 3 of mantissa; 0x7f is NaN, all
 * others are finite. (Micikevicius et al. 2022, "FP8 formats for deep learning", table 1.) E5M2 needs no such
 * function: it is the upper half of an FP16 number. */
static float e4m3_value(uint32_t bits)
{
	float magnitude =
	    (bits & 0x7f) == 0x7f ? from_bits(0x7fc00000) : from_bits((bits & 0x7f) << 20) * 0x1p120f;
	return bits & 0x80 ? -magnitude : magnitude;
}

static uint32_t f32_to_e4m3(float value)
{
	uint32_t bits = to_bits(value), sign = bits >> 24 & 0x80;
	bits &= 0x7fffffff;
	if (bits > 0x43e80000) /* 464, the middle between 448 and what would follow */
		return sign | 0x7f;
	if (bits < 0x3c800000) /* 2^-6: multiples of 2^-9 */
		return sign | (to_bits(from_bits(bits) + 0x1p14f) & 0x7f);
	bits -= 120u << 23;
	return sign | (bits + 0x7ffff + (bits >> 20 & 1)) >> 20;
}

static uint32_t f32_to_e5m2(float value)
{
	uint32_t bits = to_bits(value), sign = bits >> 24 & 0x80;
	bits &= 0x7fffffff;
	if (bits > 0x7f800000)
		return sign | 0x7f;
	if (bits >= 0x47700000) /* 61440, the middle between 57344 and 65536 */
		return sign | 0x7c;
	if (bits < 0x38800000) /* 2^-14: multiples of 2^-16 */
		return sign | (to_bits(from_bits(bits) + 0x1p7f) & 0x7f);
	bits -= 112u << 23;
	return sign | (bits + 0xfffff + (bits >> 21 & 1)) >> 21;
}

float value_load(const uint8_t *src, uint32_t dtype, uint64_t i)
{
	uint32_t bits = 0, size = qs_dtype_size(dtype);
	for (uint32_t k = 0; k < size; k++)
		bits |= (uint32_t)src[i * size + k] << 8 * k;
	switch (dtype) {
	case QS_BF16:
		return from_bits(bits << 16);
	case QS_F16:
		return f16_value(bits);
	case QS_F8_E4M3:
		return e4m3_value(bits);
	case QS_F8_E5M2:
		return f16_value(bits << 8);
	default:
		return from_bits(bits);
	}
}

void value_store(uint8_t *dst, uint32_t dtype, uint64_t i, float value)
{
	switch (dtype) {
	case QS_BF16:
		store_bytes(dst + 2 * i, f32_to_bf16(value), 2);
		break;
	case QS_F16:
		store_bytes(dst + 2 * i, f32_to_f16(value), 2);
		break;
	case QS_F8_E4M3:
		dst[i] = (uint8_t)f32_to_e4m3(value);
		break;
	case QS_F8_E5M2:
		dst[i] = (uint8_t)f32_to_e5m2(value);
		break;
	default:
		store_bytes(dst + 4 * i, to_bits(value), 4);
	}
}

float value_round(uint32_t dtype, float value)
{
	uint8_t bytes[4] = {0};
	value_store(bytes, dtype, 0, value);
	return value_load(bytes, dtype, 0);
}

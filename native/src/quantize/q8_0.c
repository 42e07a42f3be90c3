#include "q8_0.h"

#include "core/rules.h"

/* The loops have no branches and no calls, so that compilers vectorise them. */

#define F32_INFINITY 0x7f800000u
#define F16_INFINITY 0x7c00u

/* The largest magnitude, as a bit pattern: patterns are ordered like the magnitudes. */
static uint32_t largest_single(const float *x)
{
	uint32_t largest = 0;
	for (int i = 0; i < QS_Q8_0_ELEMS; i++) {
		uint32_t magnitude = qs_f32_bits(x[i]) & 0x7fffffff;
		largest = magnitude > largest ? magnitude : largest;
	}
	return largest;
}

/* Rounds a number ≥ 0 that is not NaN to FP16, half to even. */
static uint16_t f16_from_f32(float value)
{
	uint32_t bits = qs_f32_bits(value);
	if (value >= 65520.0f)
		return F16_INFINITY;
	if (value < 0x1p-14f) /* multiples of 2^-24, the spacing of singles from 0.5 to 1 */
		return (uint16_t)qs_f32_bits(value + 0.5f);
	bits -= 112u << 23;
	return (uint16_t)((bits + 0xfff + (bits >> 13 & 1)) >> 13);
}

/* Rounds half away from zero, for magnitudes below 128. The number just below one half is added, since one
 * half itself would lift a number just below the middle. Greater magnitudes and NaN (products with the
 * infinite inverse of a tiny d) become 0. */
static inline int8_t round_to_code(float value)
{
	uint32_t bits = qs_f32_bits(value), magnitude = bits & 0x7fffffff;
	float nearest_half = qs_f32_from_bits(0x3effffffu | (bits & 0x80000000u));
	float usable = qs_f32_from_bits(magnitude < 0x43000000u ? bits : 0); /* below 128 */
	return (int8_t)(int32_t)(usable + nearest_half);
}

int qs_q8_0_quantize(const float *x, size_t n_blocks, uint8_t *dst)
{
	int is_finite = 1;
	for (size_t b = 0; b < n_blocks; b++, x += QS_Q8_0_ELEMS, dst += QS_Q8_0_SIZE) {
		uint32_t largest = largest_single(x);
		float d = largest < F32_INFINITY ? qs_f32_from_bits(largest) / 127.0f : 0;
		float inverse = d != 0 ? 1.0f / d : 0.0f;
		uint16_t stored = largest < F32_INFINITY ? f16_from_f32(d) : F16_INFINITY;
		if (stored == F16_INFINITY) {
			is_finite = 0;
			inverse = 0;
		}
		memcpy(dst, &stored, sizeof stored);
		for (int i = 0; i < QS_Q8_0_ELEMS; i++)
			dst[2 + i] = (uint8_t)round_to_code(x[i] * inverse);
	}
	return is_finite;
}

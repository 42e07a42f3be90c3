/* The arithmetic of quantizers (FORMAT.md, "Rules"): from a 16-bit float's magnitude pattern and a scale to
 * the number that is rounded to a code. Single precision only, one operation after the other, so that every
 * platform gets the same codes. */
#ifndef QS_RULES_H
#define QS_RULES_H

#include "bytes.h"
#include "facts.h"

QS_ALWAYS_INLINE float qs_f32_from_bits(uint32_t bits)
{
	float f;
	memcpy(&f, &bits, sizeof f);
	return f;
}

QS_ALWAYS_INLINE uint32_t qs_f32_bits(float f)
{
	uint32_t bits;
	memcpy(&bits, &f, sizeof bits);
	return bits;
}

/* The value of a magnitude pattern (no sign, finite) of dtype QS_F16 or QS_BF16. */
QS_ALWAYS_INLINE float qs_magnitude_value(uint32_t magnitude, uint32_t dtype)
{
	/* FP16: exponent and mantissa in place, then the bias corrected by a multiplication, exact for subnormals
	 * too. */
	return dtype == QS_F16 ? qs_f32_from_bits(magnitude << 13) * 0x1p112f : qs_f32_from_bits(magnitude << 16);
}

/* The value of a 16-bit float. FP16's infinities become NaN, which makes scales unusable. */
QS_ALWAYS_INLINE float qs_half_value(uint32_t pattern, uint32_t dtype)
{
	if (dtype == QS_F16 && (pattern & 0x7c00) == 0x7c00)
		return qs_f32_from_bits(0x7fc00000);
	uint32_t magnitude = qs_f32_bits(qs_magnitude_value(pattern & 0x7fff, dtype));
	return qs_f32_from_bits(magnitude | (pattern & 0x8000) << 16); /* signs are random: no branch */
}

/* A BF16 value ≥ 0 rounded to FP16. Its eight significant bits are exact there unless the result is
 * subnormal: multiples of 2^-24, the spacing of singles in [0.5, 1), to which this addition rounds half to
 * even. */
QS_ALWAYS_INLINE float qs_cast_f16(float bf16_value)
{
	return bf16_value < 0x1p-14f ? (bf16_value + 0.5f) - 0.5f : bf16_value;
}

/* A single ≥ 0 rounded to BF16, half to even. */
QS_ALWAYS_INLINE float qs_round_bf16(float f)
{
	uint32_t bits = qs_f32_bits(f);
	return qs_f32_from_bits((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000);
}

/* A single ≥ 0 rounded to FP16, half to even; beyond its range as if exponents went on. */
QS_ALWAYS_INLINE float qs_round_f16(float f)
{
	uint32_t bits = qs_f32_bits(f);
	float rounded = qs_f32_from_bits((bits + 0xfff + (bits >> 13 & 1)) & 0xffffe000);
	return f < 0x1p-14f ? (f + 0.5f) - 0.5f : rounded;
}

/* Magnitude patterns below this have a finite value (after the rule's cast). BF16 0x4780 is 65536. */
QS_ALWAYS_INLINE uint32_t qs_rule_end(uint32_t rule, uint32_t dtype)
{
	return dtype == QS_F16 ? 0x7c00 : qs_rule_casts(rule) ? 0x4780 : 0x7f80;
}

/* ---- Symmetric rules ---- */

/* The greatest code less its zero point; indexes above that stand for codes below the zero point. */
QS_ALWAYS_INLINE uint32_t qs_positive_codes(uint32_t codes_dtype, int32_t zero)
{
	int32_t positive = (codes_dtype == QS_I8 ? 127 : 255) - zero;
	return positive < 0 ? 0 : positive > 255 ? 255 : (uint32_t)positive;
}

/* The number that values are multiplied with or divided by. shift: in ulps, from −128 to 127, for a division
 * that was not exact. (A GPU's __fdividef may be off by 2: CUDA C++ Programming Guide, "Intrinsic
 * Functions".) */
QS_ALWAYS_INLINE float qs_rule_factor(uint32_t rule, float scale, int32_t shift)
{
	float factor;
	switch (rule) {
	case QS_RULE_LLM_INT8:
		factor = 127.0f / scale;
		break;
	case QS_RULE_Q8_0: /* d before it is rounded to FP16 */
		factor = 1.0f / (scale / 127.0f);
		break;
	case QS_RULE_MULTIPLY:
	case QS_RULE_Q8_0_D:
		factor = 1.0f / scale;
		break;
	default:
		factor = scale;
	}
	return qs_f32_from_bits(qs_f32_bits(factor) + (uint32_t)shift);
}

/* The approximate distance of the values of neighbouring codes. */
QS_ALWAYS_INLINE float qs_rule_step(uint32_t rule, float scale)
{
	return qs_rule_has_absmax(rule) ? scale / 127.0f : scale;
}

QS_ALWAYS_INLINE int qs_rule_scale_is_valid(uint32_t rule, float scale)
{
	/* The reciprocal of the least steps is infinite. */
	return qs_rule_casts(rule) ? scale > 0 && scale <= 65504.0f
	                           : scale > 0x1p-119f && scale <= 0x1.fffffep127f;
}

/* The number that is rounded to the code's magnitude; does not fall as the value (≥ 0) rises. */
QS_ALWAYS_INLINE float qs_rule_scaled_value(uint32_t rule, uint32_t dtype, float value, float factor)
{
	switch (rule) {
	case QS_RULE_LLM_INT8: /* bitsandbytes, backends/default/ops.py and nn/modules.py */
		return (dtype == QS_F16 ? value : qs_cast_f16(value)) * factor;
	case QS_RULE_DIVIDE: /* round(w / scale) */
		return value / factor;
	case QS_RULE_DIVIDE_HALF: /* compressed-tensors, quantization/lifecycle/forward_helpers.py: the quotient
	                             is a tensor of the weights' type */
		return dtype == QS_F16 ? qs_round_f16(value / factor) : qs_round_bf16(value / factor);
	default: /* torchao, int8_tensor.py and quant_primitives.py; ggml-quants.c, quantize_row_q8_0_ref */
		return value * factor;
	}
}

/* qs_rule_scaled_value of a magnitude pattern. */
QS_ALWAYS_INLINE float qs_rule_scaled(uint32_t rule, uint32_t dtype, uint32_t magnitude, float factor)
{
	return qs_rule_scaled_value(rule, dtype, qs_magnitude_value(magnitude, dtype), factor);
}

/* Is the code's magnitude at least k? Half to even, or away from zero in ggml. */
QS_ALWAYS_INLINE uint32_t qs_rule_rounds_to(uint32_t rule, float scaled, uint32_t k)
{
	float border = (float)(int32_t)k - 0.5f;
	return scaled > border || (scaled == border && (!(k & 1) || qs_rule_rounds_away(rule)));
}

QS_ALWAYS_INLINE uint32_t qs_rule_reaches(uint32_t rule, uint32_t dtype, uint32_t magnitude, float factor,
                                          uint32_t k)
{
	return qs_rule_rounds_to(rule, qs_rule_scaled(rule, dtype, magnitude, factor), k);
}

/* ---- ggml's rules for 4 to 6 bits (ggml-quants.c, quantize_row_*_ref): where a negative scale flips the
 * values' signs; and those that add the zero point (compressed-tensors, quantization/lifecycle/
 * forward_helpers.py: _quantize, and the same as a Triton kernel in single precision) ---- */

/* A single of either sign rounded to dtype, half to even, exponents without an upper end. */
QS_ALWAYS_INLINE float qs_round_half(float f, uint32_t dtype)
{
	float magnitude = dtype == QS_F16 ? qs_round_f16(f < 0 ? -f : f) : qs_round_bf16(f < 0 ? -f : f);
	return f < 0 ? -magnitude : magnitude;
}

/* Q4_1 and Q5_1 store their scale in FP16, but made codes with (most − least) / (levels − 1), of a block's
 * least value, which `offset` mostly is, and its largest, which is near offset + (levels − 1) · scale:
 * `shift` values above the one that is nearest. That scale; the stored one when it is far from it. */
QS_ALWAYS_INLINE float qs_recovered_scale(uint32_t dtype, float scale, float offset, uint32_t levels,
                                          int32_t shift)
{
	float steps = (float)(int32_t)(levels - 1), most = qs_round_half(steps * scale + offset, dtype);
	uint32_t bits = qs_f32_bits(dtype == QS_F16 ? most * 0x1p-112f : most) & 0x7fffffff;
	int32_t place = (int32_t)(dtype == QS_F16 ? bits >> 13 : bits >> 16),
	        end = (int32_t)qs_rule_end(QS_RULE_Q4_1, dtype);
	place = (most < 0 ? -place : place) + shift;
	if (place <= -end || place >= end)
		return scale;
	float value = qs_magnitude_value((uint32_t)(place < 0 ? -place : place), dtype);
	float recovered = ((place < 0 ? -value : value) - offset) / steps;
	return recovered >= 0.5f * scale && recovered <= 2.0f * scale ? recovered : scale;
}

/* From a value to the number that becomes its code: cut off, or for K-quants and sums rounded half to even.
 * Rises with the value. factor: 1 / scale, or the scale of K-quants and sums. offset: of sums, the zero
 * point. */
QS_ALWAYS_INLINE float qs_block_scaled(uint32_t rule, uint32_t dtype, float value, float factor, float offset)
{
	switch (rule) {
	case QS_RULE_ADD_HALF:
	case QS_RULE_ADD_HALF_4:
		return qs_round_half(qs_round_half(value / factor, dtype) + offset, dtype);
	case QS_RULE_ADD:
	case QS_RULE_ADD_4:
		return value / factor + offset; /* half of the levels are added to the rounded number */
	case QS_RULE_Q4_0:
		return value * factor + 8.5f;
	case QS_RULE_Q5_0:
		return value * factor + 16.5f;
	case QS_RULE_Q4_1:
	case QS_RULE_Q5_1:
		return (value - offset) * factor + 0.5f;
	case QS_RULE_Q6_K:
		return value / factor; /* 32 is added to the rounded number */
	default:                   /* Q4_K, Q5_K */
		return (value - offset) / factor;
	}
}

/* The rounded number is the code less half of the levels. */
QS_ALWAYS_INLINE int qs_rule_is_centred(uint32_t rule)
{
	return qs_rule_adds_zero(rule) || (qs_rule_zero(rule) && !qs_rule_rounds_down(rule));
}

/* Where code k begins: the number that is cut or rounded to it. The first and the last code reach three
 * quarters of a code further: values there are clamped. */
QS_ALWAYS_INLINE float qs_block_border(uint32_t rule, uint32_t k, uint32_t levels)
{
	float border = qs_rule_rounds_down(rule) ? (float)(int32_t)k : (float)(int32_t)k - 0.5f;
	border = k == 0 ? border - 0.75f : k == levels ? border + 0.75f : border;
	return qs_rule_is_centred(rule) ? border - (float)(int32_t)(levels / 2) : border;
}

QS_ALWAYS_INLINE uint32_t qs_block_reaches(uint32_t rule, uint32_t dtype, float value, float factor,
                                           float offset, uint32_t k, uint32_t levels)
{
	float scaled = qs_block_scaled(rule, dtype, value, factor, offset),
	      border = qs_block_border(rule, k, levels);
	return scaled > border || (scaled == border && (qs_rule_rounds_down(rule) || !(k & 1)));
}

#endif

/* The arithmetic of quantizers (FORMAT.md, "Rules"): functions that make, from a 16-bit float's magnitude and
 * a scale, the number that is rounded to a code. They use single precision only, one operation after the
 * other, so that every platform gets the same codes. */
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

/* Returns the value of a finite magnitude of dtype QS_F16 or QS_BF16. */
QS_ALWAYS_INLINE float qs_magnitude_value(uint32_t magnitude, uint32_t dtype)
{
	/* FP16: exponent and mantissa are put where a single has them; the multiplication then corrects the bias.
	 * It is exact, for subnormals too. */
	return dtype == QS_F16 ? qs_f32_from_bits(magnitude << 13) * 0x1p112f : qs_f32_from_bits(magnitude << 16);
}

/* Returns the value of a 16-bit float. FP16's infinities become NaN, since no scale can be infinite. */
QS_ALWAYS_INLINE float qs_half_value(uint32_t pattern, uint32_t dtype)
{
	if (dtype == QS_F16 && (pattern & 0x7c00) == 0x7c00)
		return qs_f32_from_bits(0x7fc00000);
	uint32_t magnitude = qs_f32_bits(qs_magnitude_value(pattern & 0x7fff, dtype));
	return qs_f32_from_bits(magnitude | (pattern & 0x8000) << 16); /* signs are random: no branch */
}

/* Returns the BF16 pattern of a single's pattern, rounded half to even. A NaN stays a NaN. */
QS_ALWAYS_INLINE uint32_t qs_bf16_of_single(uint32_t bits)
{
	return (bits & 0x7fffffff) > 0x7f800000 ? bits >> 16 | 0x40 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

/* Returns the FP16 pattern of a single's pattern, rounded half to even. A NaN becomes 0x7e00, with its
 * sign. */
QS_ALWAYS_INLINE uint32_t qs_f16_of_single(uint32_t bits)
{
	uint32_t magnitude = bits & 0x7fffffff, half;
	if (magnitude > 0x7f800000)
		half = 0x7e00;
	else if (magnitude >= 0x477ff000) /* 65520 and more round to infinity */
		half = 0x7c00;
	else if (magnitude < 0x38800000) /* below 2^-14: multiples of 2^-24, the spacing of singles from 0.5 on */
		half = qs_f32_bits(qs_f32_from_bits(magnitude) + 0.5f) - qs_f32_bits(0.5f);
	else
		half = (magnitude + 0xfff + (magnitude >> 13 & 1) - 0x38000000) >> 13;
	return half | (bits >> 16 & 0x8000);
}

/* Rounds a BF16 value ≥ 0 to FP16, half to even. FP16 has all of its eight significant bits unless the result
 * is subnormal, a multiple of 2^-24. That is the spacing of singles in [0.5, 1), to which the addition
 * rounds. */
QS_ALWAYS_INLINE float qs_cast_f16(float bf16_value)
{
	return bf16_value < 0x1p-14f ? (bf16_value + 0.5f) - 0.5f : bf16_value;
}

/* Rounds a single ≥ 0 to BF16, half to even. */
QS_ALWAYS_INLINE float qs_round_bf16(float f)
{
	uint32_t bits = qs_f32_bits(f);
	return qs_f32_from_bits((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000);
}

/* Rounds a single ≥ 0 to FP16, half to even. Numbers beyond FP16's range are rounded as if its exponents went
 * on. */
QS_ALWAYS_INLINE float qs_round_f16(float f)
{
	uint32_t bits = qs_f32_bits(f);
	float rounded = qs_f32_from_bits((bits + 0xfff + (bits >> 13 & 1)) & 0xffffe000);
	return f < 0x1p-14f ? (f + 0.5f) - 0.5f : rounded;
}

/* Returns the least magnitude whose value is not finite, after the rule's cast to FP16 if it casts. 0x4780 is
 * 65536 in BF16. */
QS_ALWAYS_INLINE uint32_t qs_rule_end(uint32_t rule, uint32_t dtype)
{
	return dtype == QS_F16 ? 0x7c00 : qs_rule_casts(rule) ? 0x4780 : 0x7f80;
}

/* ---- Symmetric rules ---- */

/* Returns the greatest code less the zero point. Cell indexes above that belong to codes below the zero
 * point. */
QS_ALWAYS_INLINE uint32_t qs_positive_codes(uint32_t codes_dtype, int32_t zero)
{
	int32_t positive = (codes_dtype == QS_I8 ? 127 : 255) - zero;
	return positive < 0 ? 0 : positive > 255 ? 255 : (uint32_t)positive;
}

QS_RULES_ARE(18);

/* Returns the factor that values are multiplied with or divided by. shift: −128 to 127 ulps that are added to
 * it, for quantizers whose division was not exact. (A GPU's __fdividef may be off by 2 ulps: CUDA C++
 * Programming Guide, "Intrinsic Functions".) */
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

/* Returns the approximate distance of the values of neighbouring codes. */
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

QS_RULES_ARE(18);

/* Returns the number that is rounded to the code's magnitude. It does not fall when the value (≥ 0) rises. */
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

/* Returns qs_rule_scaled_value for a magnitude. */
QS_ALWAYS_INLINE float qs_rule_scaled(uint32_t rule, uint32_t dtype, uint32_t magnitude, float factor)
{
	return qs_rule_scaled_value(rule, dtype, qs_magnitude_value(magnitude, dtype), factor);
}

/* Is the number rounded to k or more? Ties go to the even code, by ggml's rules away from zero. */
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

/* ---- ggml's rules for 4 to 6 bits, and those that add the zero point ----
 *
 * ggml: ggml-quants.c, quantize_row_*_ref; a negative scale flips the values' signs. Adding the zero point:
 * compressed-tensors, quantization/lifecycle/forward_helpers.py, _quantize; its Triton kernel computes in
 * single precision. */

/* Rounds a single of either sign to dtype, half to even, as if exponents had no upper end. */
QS_ALWAYS_INLINE float qs_round_half(float f, uint32_t dtype)
{
	float magnitude = dtype == QS_F16 ? qs_round_f16(f < 0 ? -f : f) : qs_round_bf16(f < 0 ? -f : f);
	return f < 0 ? -magnitude : magnitude;
}

/* Returns the scale that made the codes of a Q4_1 or Q5_1 block. That was the single (most − least) / (levels
 * − 1), of the block's largest and its least value; the block stores it rounded to FP16. The least value is
 * `offset`, mostly. The largest one is taken to be `shift` values above the value that is nearest to offset +
 * (levels − 1) · scale. If the result is far from the stored scale, returns the stored one. */
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

QS_RULES_ARE(18);

/* Returns the number that becomes a value's code: rules that round down cut it off, the others round it half
 * to even. It does not fall when the value rises. factor: 1 / scale for rules that round down, else the
 * scale. offset: the grid's offset, or for rules that add it the zero point. */
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

/* Is the rounded number the code less half of the levels? */
QS_ALWAYS_INLINE int qs_rule_is_centred(uint32_t rule)
{
	return qs_rule_adds_zero(rule) || (qs_rule_zero(rule) && !qs_rule_rounds_down(rule));
}

/* Returns the number at which code k begins: the least that is cut or rounded to k. Values beyond the first
 * and the last code are clamped if they are at most three quarters of a code away. */
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

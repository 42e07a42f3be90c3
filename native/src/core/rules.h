/* The arithmetic of quantizers (FORMAT.md, "Rules"): from a 16-bit float's magnitude pattern and a scale to
 * the number that is rounded to a code. Single precision only, one operation after the other, so that every
 * platform gets the same codes. */
#ifndef QS_RULES_H
#define QS_RULES_H

#include <string.h>

#include "index.h"

#define QS_ALWAYS_INLINE static inline __attribute__((always_inline))

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

/* Magnitude patterns below this have a finite value (after the rule's cast). BF16 0x4780 is 65536. */
QS_ALWAYS_INLINE uint32_t qs_rule_end(uint32_t rule, uint32_t dtype)
{
	return dtype == QS_F16 ? 0x7c00 : rule == QS_RULE_LLM_INT8 ? 0x4780 : 0x7f80;
}

/* What the value is multiplied with or divided by. */
QS_ALWAYS_INLINE float qs_rule_factor(uint32_t rule, float scale)
{
	return rule == QS_RULE_LLM_INT8 ? 127.0f / scale : rule == QS_RULE_MULTIPLY ? 1.0f / scale : scale;
}

/* Distance of neighbouring codes, about. */
QS_ALWAYS_INLINE float qs_rule_step(uint32_t rule, float scale)
{
	return rule == QS_RULE_LLM_INT8 ? scale / 127.0f : scale;
}

QS_ALWAYS_INLINE int qs_rule_scale_is_valid(uint32_t rule, float scale)
{
	return scale > 0 && scale <= (rule == QS_RULE_LLM_INT8 ? 65504.0f : 0x1.fffffep127f);
}

/* The number that is rounded half to even to the code's magnitude; does not fall as the magnitude pattern
 * rises. */
QS_ALWAYS_INLINE float qs_rule_scaled(uint32_t rule, uint32_t dtype, uint32_t magnitude, float factor)
{
	float value = qs_magnitude_value(magnitude, dtype);
	switch (rule) {
	case QS_RULE_LLM_INT8: /* bitsandbytes, backends/default/ops.py and nn/modules.py */
		return (dtype == QS_F16 ? value : qs_cast_f16(value)) * factor;
	case QS_RULE_DIVIDE: /* round(w / scale) */
		return value / factor;
	case QS_RULE_DIVIDE_BF16: /* compressed-tensors, quantization/lifecycle/forward_helpers.py: the quotient
	                             is a BF16 tensor */
		return qs_round_bf16(value / factor);
	default: /* QS_RULE_MULTIPLY: torchao, int8_tensor.py and quant_primitives.py */
		return value * factor;
	}
}

/* Is the code's magnitude at least k? */
QS_ALWAYS_INLINE uint32_t qs_rule_reaches(uint32_t rule, uint32_t dtype, uint32_t magnitude, float factor,
                                          uint32_t k)
{
	float scaled = qs_rule_scaled(rule, dtype, magnitude, factor), border = (float)k - 0.5f;
	return scaled > border || (scaled == border && !(k & 1));
}

#endif

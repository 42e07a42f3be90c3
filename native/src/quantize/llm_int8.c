#include "llm_int8.h"

#include <fnmatch.h>
#include <math.h>
#include <string.h>

#include "core/index.h"

/* The loops below have no branches and no calls, so that compilers vectorise them. Every operation is an
 * integer one or an IEEE single one (add, multiply, divide) under the default rounding, to nearest even; the
 * build has -ffp-contract=off. */

#define F16_INFINITY 0x7c00u
#define F16_SMALLEST_NORMAL 0x0400u
#define BF16_INFINITY 0x7f80u
#define BF16_F16_NORMAL 0x3880u   /* 2^-14, the smallest normal FP16 value */
#define BF16_F16_OVERFLOW 0x4780u /* 2^16; the largest BF16 value below it, 65280, is below FP16's 65504 */
#define BIAS_DIFFERENCE 112u      /* of the exponents of FP16 and of single (and BF16) */

static inline uint16_t load16(const uint8_t *src)
{
	uint16_t value;
	memcpy(&value, src, sizeof value);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	value = (uint16_t)(value << 8 | value >> 8);
#endif
	return value;
}

static inline float as_float(uint32_t bits)
{
	float value;
	memcpy(&value, &bits, sizeof value);
	return value;
}

static inline uint32_t as_bits(float value)
{
	uint32_t bits;
	memcpy(&bits, &value, sizeof bits);
	return bits;
}

/* Selects by bits, because compilers would turn a conditional into a branch, to compute only the value that
 * is needed.
 */
static inline float choose(int first, float a, float b)
{
	uint32_t mask = 0u - (uint32_t)first;
	return as_float((as_bits(a) & mask) | (as_bits(b) & ~mask));
}

/* Value of a finite FP16 magnitude. 0.5 + n·2^-24 has n in its lowest bits, and subnormals are n·2^-24. */
static inline float f16_magnitude(uint32_t half)
{
	float subnormal = as_float(0x3f000000u | half) - 0.5f;
	float normal = as_float((half << 13) + (BIAS_DIFFERENCE << 23));
	return choose(half < F16_SMALLEST_NORMAL, subnormal, normal);
}

/* Value of a BF16 magnitude after the cast to FP16, which changes only what is subnormal there (to multiples
 * of 2^-24: the spacing of singles from 0.5 to 1, so that adding 0.5 rounds) or overflows (not handled here).
 */
static inline float bf16_magnitude(uint32_t brain)
{
	float value = as_float(brain << 16);
	float subnormal = (value + 0.5f) - 0.5f;
	return choose(brain < BF16_F16_NORMAL, subnormal, value);
}

/* Adding 1.5·2^23 leaves the nearest integer, ties to even, in the lowest bits, as two's complement. */
static inline int8_t code_of(float magnitude, uint32_t negative, float scale)
{
	float value = as_float(as_bits(magnitude) | negative << 31);
	return (int8_t)(uint8_t)as_bits(value * scale + 12582912.0f);
}

/* Largest magnitude, as bits. Positive floats order as their bits do. */
static uint32_t largest_half(const uint8_t *src, size_t n)
{
	int16_t largest = 0;
	for (size_t i = 0; i < n; i++) {
		int16_t magnitude = (int16_t)(load16(src + 2 * i) & 0x7fff);
		largest = magnitude > largest ? magnitude : largest;
	}
	return (uint32_t)largest;
}

float qs_llm_int8_absmax(const uint8_t *src, size_t n, uint32_t dtype, int *finite)
{
	/* The cast to FP16 is monotonic: the largest value before it is the largest after it. */
	uint32_t largest = largest_half(src, n);
	if (largest >= (dtype == QS_BF16 ? BF16_F16_OVERFLOW : F16_INFINITY)) {
		*finite = 0;
		return INFINITY;
	}
	return dtype == QS_BF16 ? bf16_magnitude(largest) : f16_magnitude(largest);
}

static void quantize_f16(const uint8_t *restrict src, size_t n, float scale, int8_t *restrict dst)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t half = load16(src + 2 * i);
		dst[i] = code_of(f16_magnitude(half & 0x7fff), half >> 15, scale);
	}
}

static void quantize_bf16(const uint8_t *restrict src, size_t n, float scale, int8_t *restrict dst)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t brain = load16(src + 2 * i);
		dst[i] = code_of(bf16_magnitude(brain & 0x7fff), brain >> 15, scale);
	}
}

void qs_llm_int8_quantize(const uint8_t *src, size_t n, uint32_t dtype, float absmax, int8_t *dst)
{
	if (!(absmax > 0 && absmax < INFINITY)) {
		memset(dst, 0, n);
		return;
	}
	if (dtype == QS_BF16)
		quantize_bf16(src, n, 127.0f / absmax, dst);
	else
		quantize_f16(src, n, 127.0f / absmax, dst);
}

int qs_llm_int8_matches(const char *name, const char *const *patterns)
{
	for (; patterns && *patterns; patterns++)
		if (!fnmatch(*patterns, name, 0))
			return 1;
	return 0;
}

/* True when this part of a dotted name, such as "input_layernorm", is the text. */
static int part_is(const char *part, size_t size, const char *text)
{
	return size == strlen(text) && !memcmp(part, text, size);
}

static int part_has(const char *part, size_t size, const char *text)
{
	size_t text_size = strlen(text);
	for (size_t i = 0; i + text_size <= size; i++)
		if (!memcmp(part + i, text, text_size))
			return 1;
	return 0;
}

/* bitsandbytes replaces torch.nn.Linear modules except the one that makes the logits; names are all that a
 * file has of that. */
static int part_is_left_out(const char *part, size_t size, int is_first, int is_last)
{
	static const char *const parts[] = {
	    "wte",       "wpe",          "lm_head",
	    "head",      "score",        "classifier",
	    "embed_out", "output_layer", "relative_attention_bias",
	    "ln",
	};
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
		if (part_is(part, size, parts[i]))
			return 1;
	if (is_first && (part_is(part, size, "shared") || (is_last && part_is(part, size, "output"))))
		return 1; /* T5's embedding; Llama's head as Meta names it */
	/* Adapters, which are added to quantized weights: lora_A, or lora.down and to_q_lora.down of
	 * diffusers. */
	if (part_is(part, size, "lora") ||
	    (size > 5 && (!memcmp(part, "lora_", 5) || !memcmp(part + size - 5, "_lora", 5))))
		return 1;
	return part_has(part, size, "embed") || part_has(part, size, "norm") ||
	       (size > 3 && !memcmp(part, "ln_", 3)) || (size > 5 && !memcmp(part + size - 5, "_head", 5));
}

int qs_llm_int8_selects(const char *name, uint32_t dtype, uint32_t n_dims, const uint64_t *dims,
                        const char *const *include, const char *const *exclude)
{
	static const char suffix[] = ".weight";
	size_t name_size = strlen(name), suffix_size = sizeof suffix - 1;

	if (n_dims != 2 || !dims[0] || !dims[1] || (dtype != QS_F16 && dtype != QS_BF16) ||
	    qs_llm_int8_matches(name, exclude))
		return 0;
	if (qs_llm_int8_matches(name, include))
		return 1;
	if (name_size <= suffix_size || strcmp(name + name_size - suffix_size, suffix) != 0)
		return 0;
	const char *part = name, *end = name + name_size - suffix_size;
	while (part < end) {
		const char *dot = memchr(part, '.', (size_t)(end - part));
		size_t size = (size_t)((dot ? dot : end) - part);
		if (part_is_left_out(part, size, part == name, !dot))
			return 0;
		part += size + 1;
	}
	return 1;
}

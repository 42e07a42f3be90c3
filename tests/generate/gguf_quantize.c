/* Quantizing to the types with blocks of 32, as quantize_row_q4_0_ref … quantize_row_q5_1_ref of
 * ggml-quants.c do. */
#include <float.h>
#include <math.h>

#include "quantize/q8_0.h"
#include "gguf_blocks.h"
#include "random.h"

/* Q4_0 and Q5_0: the value with the largest magnitude becomes code 0, whatever its sign. */
static void quantize_around_zero(int levels, const float *x, gguf_block *block)
{
	float largest = 0, max = 0;
	for (int i = 0; i < 32; i++) {
		if (largest < fabsf(x[i])) {
			largest = fabsf(x[i]);
			max = x[i];
		}
	}
	int half = levels / 2;
	float d = max / (float)-half, inverse = d != 0 ? 1.0f / d : 0.0f;
	block->d = f32_to_f16(d);
	for (int i = 0; i < 32; i++) {
		float scaled = x[i] * inverse;
		int code = (int8_t)(scaled + ((float)half + 0.5f));
		block->codes[i] = (uint8_t)(code < levels - 1 ? code : levels - 1);
	}
}

/* Q4_1 and Q5_1: the codes go from the smallest value to the largest. */
static void quantize_from_min(int levels, const float *x, gguf_block *block)
{
	float min = FLT_MAX, max = -FLT_MAX;
	for (int i = 0; i < 32; i++) {
		if (x[i] < min)
			min = x[i];
		if (x[i] > max)
			max = x[i];
	}
	float d = (max - min) / (float)(levels - 1), inverse = d != 0 ? 1.0f / d : 0.0f;
	block->d = f32_to_f16(d);
	block->m = f32_to_f16(min);
	for (int i = 0; i < 32; i++) {
		float scaled = (x[i] - min) * inverse;
		int code = (int8_t)(scaled + 0.5f);
		block->codes[i] = (uint8_t)(code < levels - 1 ? code : levels - 1);
	}
}

/* Quantizes as quantize_row_q4_0_impl does, with the mean square of a row. The stored scale is fitted to the
 * codes, and so differs from the scale that made them. */
static void quantize_by_importance(int half, const float *x, const float *importance, gguf_block *block)
{
	float weights[32], squares = 0;
	for (int i = 0; i < 32; i++)
		squares += x[i] * x[i];
	gguf_weigh(32, x, importance, squares / 32, weights);
	block->d = f32_to_f16(gguf_fit_scale(32, half, x, weights, block->codes));
}

void gguf_quantize(uint32_t dtype, const float *src, size_t n_blocks, const float *importance,
                   size_t n_columns, uint8_t *dst)
{
	if (dtype == QS_Q8_0) {
		qs_q8_0_quantize(src, n_blocks, dst);
		return;
	}
	for (size_t b = 0; b < n_blocks; b++, src += qs_block_elems(dtype), dst += qs_block_size(dtype)) {
		gguf_block block = {0};
		const float *own = importance ? importance + b * qs_block_elems(dtype) % n_columns : NULL;
		if (own && (dtype == QS_Q4_0 || dtype == QS_Q5_0))
			quantize_by_importance(dtype == QS_Q4_0 ? 8 : 16, src, own, &block);
		else if (dtype == QS_Q4_0 || dtype == QS_Q5_0)
			quantize_around_zero(dtype == QS_Q4_0 ? 16 : 32, src, &block);
		else if (dtype == QS_Q4_1 || dtype == QS_Q5_1)
			quantize_from_min(dtype == QS_Q4_1 ? 16 : 32, src, &block);
		else
			gguf_quantize_k(dtype, src, own, &block);
		gguf_block_store(dtype, &block, dst);
	}
}

/* Quantizing to Q4_K, Q5_K and Q6_K, as make_qkx2_quants, make_qx_quants, quantize_row_q4_K_ref,
 * quantize_row_q5_K_ref and quantize_row_q6_K_ref of ggml-quants.c do. Operations have the same order as
 * there, because sums depend on it. */
#include <math.h>
#include <string.h>

#include "gguf_blocks.h"
#include "random.h"
#include "values.h"

#define SMALLEST_SCALE 1e-15f /* GROUP_MAX_EPS */

/* Rounds half to even by adding 1.5 · 2^23 and reading the mantissa; numbers out of range give the same
 * results as in ggml. */
static int nearest(float value)
{
	uint32_t bits;
	value += 12582912.0f;
	memcpy(&bits, &value, sizeof bits);
	return (int)(bits & 0x7fffff) - 0x400000;
}

static int limit(int value, int low, int high)
{
	value = value < high ? value : high;
	return value > low ? value : low;
}

static float f16_round(float value)
{
	return value_round(QS_F16, value);
}

typedef struct fit {
	float scale, min; /* element ≈ scale × code − min */
} fit;

/* Returns the sum of weight × difference². */
static float fit_error(const float *x, const float *weights, const uint8_t *codes, float scale, float min)
{
	float sum = 0;
	for (int i = 0; i < 32; i++) {
		float difference = scale * (float)codes[i] + min - x[i];
		difference = difference * difference;
		sum += weights[i] * difference;
	}
	return sum;
}

/* Finds the best of several ranges for codes 0 to top. Each range has the scale and the minimum of least
 * squares. */
static fit fit_range(int top, const float *x, const float *weights, float first, float step, int n_steps,
                     uint8_t *codes)
{
	float min = x[0], max = x[0], sum_w = weights[0], sum_x = sum_w * x[0];
	uint8_t tried[32];
	for (int i = 1; i < 32; i++) {
		if (x[i] < min)
			min = x[i];
		if (x[i] > max)
			max = x[i];
		sum_w += weights[i];
		sum_x += weights[i] * x[i];
	}
	if (min > 0)
		min = 0;
	if (max == min) {
		memset(codes, 0, 32);
		return (fit){0, -min};
	}
	float inverse = (float)top / (max - min), scale = 1 / inverse;
	for (int i = 0; i < 32; i++)
		codes[i] = (uint8_t)limit(nearest(inverse * (x[i] - min)), 0, top);
	float best = fit_error(x, weights, codes, scale, min);
	for (int s = 0; s <= n_steps; s++) {
		float sum_l = 0, sum_l2 = 0, sum_xl = 0;
		inverse = (first + step * (float)s + (float)top) / (max - min);
		for (int i = 0; i < 32; i++) {
			int code = limit(nearest(inverse * (x[i] - min)), 0, top);
			float w = weights[i], l = (float)code;
			tried[i] = (uint8_t)code;
			sum_l += w * l;
			sum_l2 += w * l * l;
			sum_xl += w * l * x[i];
		}
		float determinant = sum_w * sum_l2 - sum_l * sum_l;
		if (!(determinant > 0))
			continue;
		float tried_scale = (sum_w * sum_xl - sum_x * sum_l) / determinant;
		float tried_min = (sum_l2 * sum_x - sum_l * sum_xl) / determinant;
		if (tried_min > 0) {
			tried_min = 0;
			tried_scale = sum_xl / sum_l2;
		}
		float error = fit_error(x, weights, tried, tried_scale, tried_min);
		if (error < best) {
			memcpy(codes, tried, 32);
			best = error;
			scale = tried_scale;
			min = tried_min; /* ggml does this too: the next ranges begin at this minimum */
		}
	}
	return (fit){scale, -min};
}

/* Quantizes to Q4_K or Q5_K. Codes are found again with the scales that are stored, except in parts whose
 * stored scale is zero. */
static void quantize_with_mins(int top, const float *x, const float *importance, gguf_block *block)
{
	fit fits[8];
	float max_scale = 0, max_min = 0, weights[32], squares = 0;
	for (int i = 0; i < 256; i++)
		squares += x[i] * x[i];
	for (int p = 0; p < 8; p++) {
		const float *part = x + 32 * p;
		float sum = 0;
		for (int i = 0; i < 32; i++)
			sum += part[i] * part[i];
		float average = sqrtf(sum / 32);
		for (int i = 0; i < 32; i++)
			weights[i] = average + fabsf(part[i]);
		if (importance) {
			gguf_weigh(32, part, importance + 32 * p, 2 * squares / 256, weights);
			fits[p] = fit_range(top, part, weights, -0.9f, 0.05f, 36, block->codes + 32 * p);
		} else {
			fits[p] = fit_range(top, part, weights, top == 15 ? -1.0f : -0.5f, 0.1f, top == 15 ? 20 : 15,
			                    block->codes + 32 * p);
		}
		if (fits[p].scale > max_scale)
			max_scale = fits[p].scale;
		if (fits[p].min > max_min)
			max_min = fits[p].min;
	}
	float inverse_scale = max_scale > 0 ? 63.0f / max_scale : 0.0f;
	float inverse_min = max_min > 0 ? 63.0f / max_min : 0.0f;
	float d = f16_round(max_scale / 63.0f), dmin = f16_round(max_min / 63.0f);
	block->d = f32_to_f16(d);
	block->m = f32_to_f16(dmin);
	for (int p = 0; p < 8; p++) {
		uint8_t scale = (uint8_t)nearest(inverse_scale * fits[p].scale);
		uint8_t min = (uint8_t)nearest(inverse_min * fits[p].min);
		block->scales[p] = (int8_t)(scale < 63 ? scale : 63);
		block->mins[p] = min < 63 ? min : 63;
		float part_scale = d * (float)block->scales[p], part_min = dmin * (float)block->mins[p];
		if (part_scale == 0)
			continue;
		for (int i = 32 * p; i < 32 * p + 32; i++)
			block->codes[i] = (uint8_t)limit(nearest((x[i] + part_min) / part_scale), 0, top);
	}
}

void gguf_weigh(int n, const float *x, const float *importance, float mean_square, float *weights)
{
	for (int i = 0; i < n; i++)
		weights[i] = importance[i] * sqrtf(mean_square + x[i] * x[i]);
}

float gguf_fit_scale(int n, int half, const float *x, const float *weights, uint8_t *codes)
{
	float max = 0, largest = 0, sum_lx = 0, sum_l2 = 0;
	for (int i = 0; i < n; i++) {
		codes[i] = 0;
		if (fabsf(x[i]) > largest) {
			largest = fabsf(x[i]);
			max = x[i];
		}
	}
	if (largest < SMALLEST_SCALE)
		return 0;
	float scale = 0, best = 0;
	for (int s = -10; s <= 9; s++) {
		/* The range of the values itself is tried first, then ranges that are a bit smaller and larger. */
		float inverse = s == -10 ? -(float)half / max : -((float)half + 0.1f * (float)s) / max;
		if (s == 0)
			continue;
		sum_lx = sum_l2 = 0;
		for (int i = 0; i < n; i++) {
			float l = (float)limit(nearest(inverse * x[i]), -half, half - 1), w = weights[i];
			sum_lx += w * x[i] * l;
			sum_l2 += w * l * l;
		}
		if (s != -10 && !(sum_l2 > 0 && sum_lx * sum_lx > best * sum_l2))
			continue;
		for (int i = 0; i < n; i++)
			codes[i] = (uint8_t)(limit(nearest(inverse * x[i]), -half, half - 1) + half);
		scale = sum_l2 != 0 ? sum_lx / sum_l2 : 0.0f;
		best = scale * sum_lx;
	}
	return scale;
}

/* Quantizes to Q6_K. Elements are weighted by their importance, else by their squares. */
static void quantize_q6_k(const float *x, const float *importance, gguf_block *block)
{
	float scales[16], max = 0, largest = 0;
	for (int p = 0; p < 16; p++) {
		float weights[16];
		for (int i = 0; i < 16; i++)
			weights[i] = importance ? importance[16 * p + i] : x[16 * p + i] * x[16 * p + i];
		scales[p] = gguf_fit_scale(16, 32, x + 16 * p, weights, block->codes + 16 * p);
		if (fabsf(scales[p]) > largest) {
			largest = fabsf(scales[p]);
			max = scales[p];
		}
	}
	if (largest < SMALLEST_SCALE) {
		memset(block, 0, sizeof *block);
		return;
	}
	float inverse = -128.0f / max, d = f16_round(1 / inverse);
	block->d = f32_to_f16(d);
	for (int p = 0; p < 16; p++) {
		int scale = nearest(inverse * scales[p]);
		block->scales[p] = (int8_t)(scale < 127 ? scale : 127);
		float part_scale = d * (float)block->scales[p];
		if (part_scale == 0)
			continue;
		for (int i = 16 * p; i < 16 * p + 16; i++)
			block->codes[i] = (uint8_t)(limit(nearest(x[i] / part_scale), -32, 31) + 32);
	}
}

void gguf_quantize_k(uint32_t dtype, const float *src, const float *importance, gguf_block *block)
{
	if (dtype == QS_Q6_K)
		quantize_q6_k(src, importance, block);
	else
		quantize_with_mins(dtype == QS_Q4_K ? 15 : 31, src, importance, block);
}

#include "onnx_rounding.h"

#include <math.h>

#include "random.h"

onnx_params onnx_find_params(const float *values, size_t n, size_t stride, int is_signed, int reduced)
{
	float min = 0, max = 0; /* the range includes 0, so that 0 has a code */
	for (size_t i = 0; i < n; i++) {
		min = fminf(min, values[i * stride]);
		max = fmaxf(max, values[i * stride]);
	}
	if (is_signed) {
		max = fmaxf(-min, max);
		min = -max;
	}
	int low = is_signed ? (reduced ? -64 : -127) : 0;
	int high = is_signed ? (reduced ? 64 : 127) : reduced ? 127 : 255;
	float range = max - min;
	double scale = (double)range / (high - low);
	if (scale < 0x1p-126)
		return (onnx_params){1, 0};
	return (onnx_params){(float)scale, is_signed ? 0 : (int)rint(low - (double)min / scale)};
}

uint8_t onnx_round(const onnx_params *params, int is_signed, float value)
{
	float code = rintf(value / params->scale) + (float)params->zero;
	float low = is_signed ? -128 : 0, high = is_signed ? 127 : 255;
	return (uint8_t)(int)(code < low ? low : code > high ? high : code);
}

onnx_params onnx_find_block(const float *values, size_t n, size_t stride, int asymmetric)
{
	float min = values[0], max = values[0];
	for (size_t i = 1; i < n; i++) {
		min = fminf(min, values[i * stride]);
		max = fmaxf(max, values[i * stride]);
	}
	if (!asymmetric)
		return (onnx_params){-(fabsf(max) > fabsf(min) ? max : min) / 8, 8};
	min = fminf(min, 0);
	max = fmaxf(max, 0);
	float scale = (max - min) / 15, zero = scale != 0 ? 0 - min / scale : min;
	return (onnx_params){scale, (int)roundf(fminf(fmaxf(zero, 0), 15))};
}

uint8_t onnx_round_block(const onnx_params *params, float value)
{
	float factor = params->scale != 0 ? 1 / params->scale : 0;
	return (uint8_t)fminf(fmaxf(roundf(value * factor + (float)params->zero), 0), 15);
}

uint16_t onnx_to_f16(float value)
{
	static const float least = 1e-7f, most = 1e4f;
	float size = fabsf(value);
	if (size > 0 && size < least)
		value = copysignf(least, value);
	else if (isfinite(value) && size > most)
		value = copysignf(most, value);
	return f32_to_f16(value);
}

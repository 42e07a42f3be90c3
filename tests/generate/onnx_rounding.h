/* The arithmetic of onnxruntime's quantizer and of float16.py. */
#ifndef GENERATE_ONNX_ROUNDING_H
#define GENERATE_ONNX_ROUNDING_H

#include <stddef.h>
#include <stdint.h>

typedef struct onnx_params {
	float scale;
	int zero;
} onnx_params;

/* Finds scale and zero point for n values, stride apart. Signed codes are symmetric. reduced: to seven bits.
 * (onnxruntime python/tools/quantization/quant_utils.py, compute_scale_zp) */
onnx_params onnx_find_params(const float *values, size_t n, size_t stride, int is_signed, int reduced);

/* The code of a value, as a byte. (the same, quantize_nparray) */
uint8_t onnx_round(const onnx_params *params, int is_signed, float value);

/* Scale and zero point of a block of n values, `stride` apart, for MatMulNBits with 4 bits: symmetric ones
 * have the zero point 8 and a scale that gives the largest magnitude the code 0, so that it may be negative.
 * (onnxruntime core/mlas/lib/q4_dq.cpp, range2scale, range2scalezp) */
onnx_params onnx_find_block(const float *values, size_t n, size_t stride, int asymmetric);

/* The code of a value, 0 to 15. (the same, BlockwiseQuantizer: quantizeAndTranspose) */
uint8_t onnx_round_block(const onnx_params *params, float value);

/* Values whose absolute is below 1e-7 or above 1e4 become that, zero and infinities stay.
 * (onnxconverter-common, float16.py, convert_np_to_float16) */
uint16_t onnx_to_f16(float value);

#endif

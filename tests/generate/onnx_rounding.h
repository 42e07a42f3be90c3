/* The arithmetic of onnxruntime's quantizer and of float16.py. */
#ifndef GENERATE_ONNX_ROUNDING_H
#define GENERATE_ONNX_ROUNDING_H

#include <stddef.h>
#include <stdint.h>

typedef struct onnx_params {
	float scale;
	int zero;
} onnx_params;

/* Finds scale and zero point for n values, stride apart. Signed codes are symmetric. reduced: codes have
 * seven bits. (onnxruntime python/tools/quantization/quant_utils.py, compute_scale_zp) */
onnx_params onnx_find_params(const float *values, size_t n, size_t stride, int is_signed, int reduced);

/* Returns the code of a value, as a byte. (quantize_nparray in that file) */
uint8_t onnx_round(const onnx_params *params, int is_signed, float value);

/* Finds scale and zero point of a block of n values, `stride` apart, for MatMulNBits with 4 bits. Symmetric
 * blocks have the zero point 8, and a scale with which the value of the largest magnitude gets the code 0;
 * the scale may be negative. (onnxruntime core/mlas/lib/q4_dq.cpp, range2scale, range2scalezp) */
onnx_params onnx_find_block(const float *values, size_t n, size_t stride, int asymmetric);

/* Returns the code of a value, 0 to 15. (quantizeAndTranspose of BlockwiseQuantizer in that file) */
uint8_t onnx_round_block(const onnx_params *params, float value);

/* Converts a value to FP16. Magnitudes below 1e-7 become 1e-7, and those above 1e4 become 1e4; zero and
 * infinities stay. (onnxconverter-common, float16.py, convert_np_to_float16) */
uint16_t onnx_to_f16(float value);

#endif

/* Blocks of ggml's quantized types: taking them apart, putting them together, and making them from numbers as
 * llama.cpp does. ggml-common.h has their layouts (block_q4_0 … block_q6_K). */
#ifndef GENERATE_GGUF_BLOCKS_H
#define GENERATE_GGUF_BLOCKS_H

#include <stddef.h>
#include <stdint.h>

#include "core/index.h"

enum { GGUF_BLOCK_MAX = 256, GGUF_PARTS_MAX = 16 };

/* The fields of a block. Its elements are in parts of equal size, and each part has a scale (of K types: an
 * integer times the block's d) and an offset. */
typedef struct gguf_block {
	uint8_t codes[GGUF_BLOCK_MAX]; /* in the order of elements: 0 to 15, 31 or 63; int8 of Q8_0 */
	uint16_t d, m;                 /* FP16: d; m of Q4_1 and Q5_1, dmin of Q4_K and Q5_K */
	int8_t scales[GGUF_PARTS_MAX]; /* K types: 0 to 63; of Q6_K −128 to 127 */
	uint8_t mins[GGUF_PARTS_MAX];  /* Q4_K, Q5_K: 0 to 63 */
} gguf_block;

/* Is dtype one of QS_Q4_0, QS_Q4_1, QS_Q5_0, QS_Q5_1, QS_Q8_0, QS_Q4_K, QS_Q5_K and QS_Q6_K? */
int gguf_is_block(uint32_t dtype);
uint32_t gguf_block_parts(uint32_t dtype);
void gguf_block_load(uint32_t dtype, const uint8_t *src, gguf_block *block);
void gguf_block_store(uint32_t dtype, const gguf_block *block, uint8_t *dst);

/* Returns the number that is subtracted from a code before it is multiplied: 8, 16, 32 or 0. */
int gguf_code_zero(uint32_t dtype);

/* Return the scale and the offset of part i: element = scale × (code − zero) + offset. */
float gguf_block_scale(uint32_t dtype, const gguf_block *block, uint32_t i);
float gguf_block_offset(uint32_t dtype, const gguf_block *block, uint32_t i);

/* Makes values of blocks as llama.cpp's dequantize_row_* do (ggml-quants.c). */
void gguf_dequantize(uint32_t dtype, const uint8_t *src, size_t n_blocks, float *dst);

/* Makes blocks as llama.cpp's quantize_row_*_ref do (ggml-quants.c), which llama-quantize calls without an
 * importance matrix: in single precision, one operation after the other. importance: NULL, or for Q4_0, Q5_0
 * and the K types the importance of each of n_columns columns, which are whole blocks. Scales then are those
 * that lose least, much as quantize_row_*_impl chooses them. */
void gguf_quantize(uint32_t dtype, const float *src, size_t n_blocks, const float *importance,
                   size_t n_columns, uint8_t *dst);

/* Finds the scales and codes of a block of a K type (gguf_quantize_k.c). importance: of each element, or
 * NULL. */
void gguf_quantize_k(uint32_t dtype, const float *src, const float *importance, gguf_block *block);

/* Finds the best scale for codes −half to half − 1 of n elements with these weights, and the codes, to which
 * half is added. All codes are 0 if the scale is 0. */
float gguf_fit_scale(int n, int half, const float *x, const float *weights, uint8_t *codes);

/* Finds the weights of n elements, at most 32: importance × sqrt(mean square + square). */
void gguf_weigh(int n, const float *x, const float *importance, float mean_square, float *weights);

#endif

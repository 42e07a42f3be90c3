/* Blocks of ggml's quantized types: taken apart, put together, and made from numbers as llama.cpp makes them.
 * Layouts: ggml-common.h (block_q4_0 … block_q6_K). */
#ifndef GENERATE_GGUF_BLOCKS_H
#define GENERATE_GGUF_BLOCKS_H

#include <stddef.h>
#include <stdint.h>

#include "core/index.h"

enum { GGUF_BLOCK_MAX = 256, GGUF_PARTS_MAX = 16 };

/* A block's fields. Its elements fall into parts of the same number, each with its own scale (K types: an
 * integer times the block's d) and offset. */
typedef struct gguf_block {
	uint8_t codes[GGUF_BLOCK_MAX]; /* in the order of elements, as stored: 0 … 15, 31 or 63, Q8_0's int8 */
	uint16_t d, m;                 /* FP16: d; m of Q4_1 and Q5_1, dmin of Q4_K and Q5_K */
	int8_t scales[GGUF_PARTS_MAX]; /* K types: 0 … 63, Q6_K −128 … 127 */
	uint8_t mins[GGUF_PARTS_MAX];  /* Q4_K, Q5_K: 0 … 63 */
} gguf_block;

/* dtype: QS_Q4_0, QS_Q4_1, QS_Q5_0, QS_Q5_1, QS_Q8_0, QS_Q4_K, QS_Q5_K or QS_Q6_K. */
int gguf_is_block(uint32_t dtype);
uint32_t gguf_block_parts(uint32_t dtype);
void gguf_block_load(uint32_t dtype, const uint8_t *src, gguf_block *block);
void gguf_block_store(uint32_t dtype, const gguf_block *block, uint8_t *dst);

/* The number that is subtracted from a code before it is multiplied: 8, 16, 32 or 0. */
int gguf_code_zero(uint32_t dtype);

/* Scale and offset of part i: element = scale × (code − zero) + offset. */
float gguf_block_scale(uint32_t dtype, const gguf_block *block, uint32_t i);
float gguf_block_offset(uint32_t dtype, const gguf_block *block, uint32_t i);

/* Does as llama.cpp's dequantize_row_* (ggml-quants.c). */
void gguf_dequantize(uint32_t dtype, const uint8_t *src, size_t n_blocks, float *dst);

/* Does as llama.cpp's quantize_row_*_ref (ggml-quants.c), which llama-quantize calls without an importance
 * matrix: single precision, one operation after the other. importance: of each column (n_columns, whole
 * blocks), for Q4_0, Q5_0 and the K types, whose scales are then those that lose least, much as
 * quantize_row_*_impl chooses them; NULL: without. */
void gguf_quantize(uint32_t dtype, const float *src, size_t n_blocks, const float *importance,
                   size_t n_columns, uint8_t *dst);

/* The scales and codes of K types (gguf_quantize_k.c). importance: of the elements, or NULL. */
void gguf_quantize_k(uint32_t dtype, const float *src, const float *importance, gguf_block *block);

/* The best scale for codes −half … half − 1 of n elements, by their weights; codes are stored plus half, or
 * all as 0 when the scale is 0. */
float gguf_fit_scale(int n, int half, const float *x, const float *weights, uint8_t *codes);

/* Weights of n elements: importance × sqrt(mean square + square), at most 32. */
void gguf_weigh(int n, const float *x, const float *importance, float mean_square, float *weights);

#endif

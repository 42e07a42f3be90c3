/* ggml's Q8_0: blocks of 32 values of a row, an FP16 scale d and 32 codes of eight bits each. */
#ifndef QS_Q8_0_H
#define QS_Q8_0_H

#include <stddef.h>
#include <stdint.h>

#define QS_Q8_0_ELEMS 32
#define QS_Q8_0_SIZE 34 /* bytes of a block */

/* Quantizes n_blocks × 32 values into n_blocks × 34 bytes, in the arithmetic of llama.cpp (ggml-quants.c,
 * quantize_row_q8_0_ref): d = largest magnitude / 127; code = value × (1 / d), rounded half away from zero; d
 * is stored as FP16, and codes are made with the d before that. Single precision, one operation after the
 * other: the same bytes everywhere. False when a block's d is not finite in FP16 (a value is not finite, or
 * beyond 8.3 million): llama-quantize refuses such tensors; their codes are 0 here. */
int qs_q8_0_quantize(const float *x, size_t n_blocks, uint8_t *dst);

#endif

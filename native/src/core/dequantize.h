/* Conversion of elements to singles: of the blocks of ggml, and of floats of 8 and 16 bits. */
#ifndef QS_DEQUANTIZE_H
#define QS_DEQUANTIZE_H

#include <stddef.h>
#include <stdint.h>

/* Can elements of this dtype be made singles? True for F16, BF16, floats of 8 bits, and ggml's blocks but
 * IQ1, IQ2, IQ3, TQ, Q8_1 and Q8_K. */
int qs_dequantizes(uint32_t dtype);

/* Makes singles, 4 bytes each, of n_blocks blocks of a dtype that dequantizes (of floats: of so many
 * elements). A float keeps its value; an element of a block has the bits that ggml computes. */
void qs_dequantize(uint32_t dtype, const uint8_t *src, size_t n_blocks, uint8_t *dst);

#endif

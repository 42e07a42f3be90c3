/* The bound that sizes are compared with: entropy of the codes by row class, and the width model of the
 * values in their cells (docs/codec.md). */
#ifndef BENCH_BOUND_H
#define BENCH_BOUND_H

#include <stdint.h>

/* Bits of rows × cols codes. */
double bound_codes(const uint8_t *codes, uint64_t rows, uint64_t cols);

/* Bits of one row of 16-bit values under their codes, by LLM.int8 with this scale. */
double bound_values(const uint8_t *codes, const uint8_t *values, uint64_t cols, uint32_t dtype, float scale);

#endif

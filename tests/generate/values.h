/* Reading and writing numbers of any float type, little-endian. */
#ifndef GENERATE_VALUES_H
#define GENERATE_VALUES_H

#include <stdint.h>

#include "core/index.h"

/* The low `size` bytes of bits. */
void store_bytes(uint8_t *dst, uint64_t bits, uint32_t size);

/* dtype: QS_F32, QS_F16, QS_BF16, QS_F8_E4M3 or QS_F8_E5M2. */
int value_is_float(uint32_t dtype);
float value_load(const uint8_t *src, uint32_t dtype, uint64_t i);

/* Rounds to nearest even, as value_round. */
void value_store(uint8_t *dst, uint32_t dtype, uint64_t i, float value);

/* The nearest number of dtype, the even one of two. Values that are too large become infinite, or NaN in
 * E4M3, which has no infinity (as torch's casts do). */
float value_round(uint32_t dtype, float value);

#endif

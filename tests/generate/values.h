/* Reading and writing little-endian numbers of any float type. */
#ifndef GENERATE_VALUES_H
#define GENERATE_VALUES_H

#include <stdint.h>

#include "core/index.h"

/* Writes the low `size` bytes of `bits`. */
void store_bytes(uint8_t *dst, uint64_t bits, uint32_t size);

/* Is dtype one of QS_F32, QS_F16, QS_BF16, QS_F8_E4M3 and QS_F8_E5M2? */
int value_is_float(uint32_t dtype);
float value_load(const uint8_t *src, uint32_t dtype, uint64_t i);

/* Writes element i, rounded as value_round does. */
void value_store(uint8_t *dst, uint32_t dtype, uint64_t i, float value);

/* Returns the nearest number of dtype, the even one of two that are equally near. Values that are too large
 * become infinite, or as in torch's casts NaN in E4M3, which has no infinity. */
float value_round(uint32_t dtype, float value);

#endif

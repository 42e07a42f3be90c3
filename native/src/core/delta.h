/* Floats as differences to other floats (FORMAT.md, "Delta"), such as an FP32 model beside its 16-bit cast.
 * Differences are those of places, so that they count representable values. */
#ifndef QS_DELTA_H
#define QS_DELTA_H

#include <stddef.h>
#include <stdint.h>

/* Can elements of `dtype` be stored as differences to coarse ones? Both are BF16, F16, F32 or F64. Coarse
 * elements are converted to `dtype` first, whichever of the two has more bits. */
int qs_delta_applies(uint32_t coarse_dtype, uint32_t dtype);

/* qs_delta_subtract replaces each of n values by its zigzagged difference to the coarse value of the same
 * number; qs_delta_add is its inverse. */
void qs_delta_subtract(const uint8_t *coarse, uint32_t coarse_dtype, size_t n, uint32_t dtype,
                       uint8_t *values);
void qs_delta_add(const uint8_t *coarse, uint32_t coarse_dtype, size_t n, uint32_t dtype, uint8_t *values);

#endif

/* Byte planes: bytes of the same significance of elements of 1 to 8 bytes, stored together. Floats are first
 * rotated left by one bit, which puts the exponent into the top byte and the sign below the mantissa. */
#ifndef QS_PLANES_H
#define QS_PLANES_H

#include "bytes.h"

enum { QS_PLANES_MAX = 8 }; /* bytes of the largest element */

/* Is the dtype's element rotated? F16, BF16, F32 and F64 are; C64 is not, and counts as 8 plain bytes. */
int qs_planes_rotated(uint32_t dtype);

/* Makes n elements of `size` (1, 2, 4 or 8) bytes from `size` planes of n bytes each, which follow one
 * another; the first one has the most significant bytes. */
void qs_planes_join(const uint8_t *planes, size_t n, unsigned size, int rotated, uint8_t *dst);

/* Does the work of qs_planes_join for planes that each have an address of their own. */
void qs_planes_weave(const uint8_t *const *planes, size_t n, unsigned size, int rotated, uint8_t *dst);

/* Splits elements into planes: the inverse of qs_planes_join. */
void qs_planes_split(const uint8_t *src, size_t n, unsigned size, int rotated, uint8_t *planes);

#endif

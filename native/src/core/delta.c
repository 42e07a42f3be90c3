#include "delta.h"

#include "bytes.h"
#include "rules.h"

int qs_delta_applies(uint32_t coarse_dtype, uint32_t dtype)
{
	int narrow = coarse_dtype == QS_F16 || coarse_dtype == QS_BF16;
	return dtype == QS_F32 ? narrow || coarse_dtype == QS_F32 : narrow && coarse_dtype == dtype;
}

/* Makes an integer that rises with the value from a float's pattern of sign and magnitude, and the pattern
 * from the integer: the function is its own inverse. */
QS_ALWAYS_INLINE uint32_t order32(uint32_t bits)
{
	return bits ^ ((0u - (bits >> 31)) & 0x7fffffffu);
}

QS_ALWAYS_INLINE uint32_t order16(uint32_t bits)
{
	return bits ^ ((0u - (bits >> 15)) & 0x7fffu);
}

/* Returns the coarse value as a single, in the order of order32. FP16's infinities and NaNs become the
 * numbers that would follow the largest finite one. */
QS_ALWAYS_INLINE uint32_t predict32(const uint8_t *coarse, size_t i, uint32_t coarse_dtype)
{
	if (coarse_dtype == QS_F32)
		return order32(qs_load32(coarse + 4 * i));
	uint32_t bits = qs_load16(coarse + 2 * i);
	return order32(qs_f32_bits(qs_magnitude_value(bits & 0x7fff, coarse_dtype)) | (bits & 0x8000) << 16);
}

QS_ALWAYS_INLINE void add32(const uint8_t *coarse, uint32_t coarse_dtype, size_t n, uint8_t *values)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t z = qs_load32(values + 4 * i), difference = z >> 1 ^ (0u - (z & 1));
		qs_store32(values + 4 * i, order32(predict32(coarse, i, coarse_dtype) + difference));
	}
}

QS_ALWAYS_INLINE void subtract32(const uint8_t *coarse, uint32_t coarse_dtype, size_t n, uint8_t *values)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t difference = order32(qs_load32(values + 4 * i)) - predict32(coarse, i, coarse_dtype);
		qs_store32(values + 4 * i, difference << 1 ^ (0u - (difference >> 31)));
	}
}

void qs_delta_add(const uint8_t *coarse, uint32_t coarse_dtype, size_t n, uint32_t dtype, uint8_t *values)
{
	if (dtype != QS_F32)
		for (size_t i = 0; i < n; i++) {
			uint32_t z = qs_load16(values + 2 * i), difference = z >> 1 ^ (0u - (z & 1));
			qs_store16(values + 2 * i,
			           (uint16_t)order16((order16(qs_load16(coarse + 2 * i)) + difference) & 0xffff));
		}
	else if (coarse_dtype == QS_BF16)
		add32(coarse, QS_BF16, n, values);
	else if (coarse_dtype == QS_F16)
		add32(coarse, QS_F16, n, values);
	else
		add32(coarse, QS_F32, n, values);
}

void qs_delta_subtract(const uint8_t *coarse, uint32_t coarse_dtype, size_t n, uint32_t dtype,
                       uint8_t *values)
{
	if (dtype != QS_F32)
		for (size_t i = 0; i < n; i++) {
			uint32_t difference = order16(qs_load16(values + 2 * i)) - order16(qs_load16(coarse + 2 * i));
			difference &= 0xffff;
			qs_store16(values + 2 * i, (uint16_t)(difference << 1 ^ (0u - (difference >> 15))));
		}
	else if (coarse_dtype == QS_BF16)
		subtract32(coarse, QS_BF16, n, values);
	else if (coarse_dtype == QS_F16)
		subtract32(coarse, QS_F16, n, values);
	else
		subtract32(coarse, QS_F32, n, values);
}

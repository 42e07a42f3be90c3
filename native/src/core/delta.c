#include "delta.h"

#include <string.h>

#include "bytes.h"
#include "rules.h"

int qs_delta_applies(uint32_t coarse_dtype, uint32_t dtype)
{
	return qs_dtype_is_scale(coarse_dtype) && qs_dtype_is_scale(dtype);
}

/* Elements that are converted at a time. */
#define BLOCK 256

/* Returns the single that a double is rounded to. */
QS_ALWAYS_INLINE uint32_t single_of_double(uint64_t bits)
{
	uint32_t sign = (uint32_t)(bits >> 32) & 0x80000000;
	double value;
	if ((bits << 1) > 0xffe0000000000000) /* NaN */
		return sign | 0x7fc00000;
	memcpy(&value, &bits, sizeof value);
	return qs_f32_bits((float)value);
}

QS_ALWAYS_INLINE uint64_t double_of_single(uint32_t bits)
{
	double value = (double)qs_f32_from_bits(bits);
	uint64_t out;
	if ((bits & 0x7fffffff) > 0x7f800000) /* NaN */
		return (uint64_t)(bits & 0x80000000) << 32 | 0x7ff8000000000000;
	memcpy(&out, &value, sizeof out);
	return out;
}

/* Makes singles of coarse elements. FP16's infinities and NaNs become the numbers that would follow the
 * largest finite one. */
static void make_singles(const uint8_t *coarse, uint32_t dtype, size_t n, uint32_t *singles)
{
	switch (dtype) {
	case QS_BF16:
		for (size_t i = 0; i < n; i++)
			singles[i] = (uint32_t)qs_load16(coarse + 2 * i) << 16;
		break;
	case QS_F16:
		for (size_t i = 0; i < n; i++) {
			uint32_t bits = qs_load16(coarse + 2 * i);
			singles[i] = qs_f32_bits(qs_magnitude_value(bits & 0x7fff, QS_F16)) | (bits & 0x8000) << 16;
		}
		break;
	case QS_F32:
		for (size_t i = 0; i < n; i++)
			singles[i] = qs_load32(coarse + 4 * i);
		break;
	default:
		for (size_t i = 0; i < n; i++)
			singles[i] = single_of_double(qs_load64(coarse + 8 * i));
	}
}

/* Makes elements of singles. */
static void convert_singles(const uint32_t *singles, size_t n, uint32_t dtype, uint8_t *out)
{
	switch (dtype) {
	case QS_BF16:
		for (size_t i = 0; i < n; i++)
			qs_store16(out + 2 * i, (uint16_t)qs_bf16_of_single(singles[i]));
		break;
	case QS_F16:
		for (size_t i = 0; i < n; i++)
			qs_store16(out + 2 * i, (uint16_t)qs_f16_of_single(singles[i]));
		break;
	case QS_F32:
		for (size_t i = 0; i < n; i++)
			qs_store32(out + 4 * i, singles[i]);
		break;
	default:
		for (size_t i = 0; i < n; i++)
			qs_store64(out + 8 * i, double_of_single(singles[i]));
	}
}

/* These make an integer that rises with the value from a float's pattern of sign and magnitude, and the
 * pattern from the integer: each is its own inverse. */
QS_ALWAYS_INLINE uint32_t order16(uint32_t bits)
{
	return bits ^ ((0u - (bits >> 15)) & 0x7fffu);
}

QS_ALWAYS_INLINE uint32_t order32(uint32_t bits)
{
	return bits ^ ((0u - (bits >> 31)) & 0x7fffffffu);
}

QS_ALWAYS_INLINE uint64_t order64(uint64_t bits)
{
	return bits ^ ((0u - (bits >> 63)) & 0x7fffffffffffffffu);
}

/* Adds differences to elements of their own type. */
static void add(const uint8_t *coarse, size_t n, uint32_t size, uint8_t *values)
{
	if (size == 2)
		for (size_t i = 0; i < n; i++) {
			uint32_t z = qs_load16(values + 2 * i), difference = z >> 1 ^ (0u - (z & 1));
			qs_store16(values + 2 * i,
			           (uint16_t)order16((order16(qs_load16(coarse + 2 * i)) + difference) & 0xffff));
		}
	else if (size == 4)
		for (size_t i = 0; i < n; i++) {
			uint32_t z = qs_load32(values + 4 * i), difference = z >> 1 ^ (0u - (z & 1));
			qs_store32(values + 4 * i, order32(order32(qs_load32(coarse + 4 * i)) + difference));
		}
	else
		for (size_t i = 0; i < n; i++) {
			uint64_t z = qs_load64(values + 8 * i), difference = z >> 1 ^ (0u - (z & 1));
			qs_store64(values + 8 * i, order64(order64(qs_load64(coarse + 8 * i)) + difference));
		}
}

static void subtract(const uint8_t *coarse, size_t n, uint32_t size, uint8_t *values)
{
	if (size == 2)
		for (size_t i = 0; i < n; i++) {
			uint32_t difference = order16(qs_load16(values + 2 * i)) - order16(qs_load16(coarse + 2 * i));
			difference &= 0xffff;
			qs_store16(values + 2 * i, (uint16_t)(difference << 1 ^ (0u - (difference >> 15))));
		}
	else if (size == 4)
		for (size_t i = 0; i < n; i++) {
			uint32_t difference = order32(qs_load32(values + 4 * i)) - order32(qs_load32(coarse + 4 * i));
			qs_store32(values + 4 * i, difference << 1 ^ (0u - (difference >> 31)));
		}
	else
		for (size_t i = 0; i < n; i++) {
			uint64_t difference = order64(qs_load64(values + 8 * i)) - order64(qs_load64(coarse + 8 * i));
			qs_store64(values + 8 * i, difference << 1 ^ (0u - (difference >> 63)));
		}
}

typedef void apply(const uint8_t *coarse, size_t n, uint32_t size, uint8_t *values);

/* Applies `add` or `subtract` to values and the coarse elements, converted to the values' type. */
QS_ALWAYS_INLINE void apply_converted(apply *function, const uint8_t *coarse, uint32_t coarse_dtype, size_t n,
                                      uint32_t dtype, uint8_t *values)
{
	uint32_t size = qs_dtype_size(dtype), coarse_size = qs_dtype_size(coarse_dtype);
	if (coarse_dtype == dtype) {
		function(coarse, n, size, values);
		return;
	}
	uint32_t singles[BLOCK];
	uint8_t converted[8 * BLOCK];
	for (size_t i = 0; i < n; i += BLOCK) {
		size_t some = n - i < BLOCK ? n - i : BLOCK;
		make_singles(coarse + i * coarse_size, coarse_dtype, some, singles);
		convert_singles(singles, some, dtype, converted);
		function(converted, some, size, values + i * size);
	}
}

void qs_delta_add(const uint8_t *coarse, uint32_t coarse_dtype, size_t n, uint32_t dtype, uint8_t *values)
{
	apply_converted(add, coarse, coarse_dtype, n, dtype, values);
}

void qs_delta_subtract(const uint8_t *coarse, uint32_t coarse_dtype, size_t n, uint32_t dtype,
                       uint8_t *values)
{
	apply_converted(subtract, coarse, coarse_dtype, n, dtype, values);
}

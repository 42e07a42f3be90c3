#include "factors.h"

#include "bytes.h"
#include "rules.h"

/* Returns the least magnitude of `dtype` whose product with the factor is rounded, half to even, to
 * magnitude `product` of `factors_dtype` or more; product ≥ 1. The product of two 16-bit values is exact
 * in single precision, and so is the border, halfway between two values: a quotient that is not equal to a
 * value is on the right side of it. For odd products the border is just beyond halfway, since ties are
 * rounded to even. */
QS_ALWAYS_INLINE uint32_t least_factor(uint32_t product, float factor, uint32_t dtype, uint32_t factors_dtype)
{
	uint32_t products_end = qs_rule_end(QS_RULE_DIVIDE, factors_dtype);
	product = product < products_end ? product : products_end;
	float middle = factors_dtype == QS_F16 ? qs_f32_from_bits((product << 13) - 0x1000) * 0x1p112f
	                                       : qs_f32_from_bits((product << 16) - 0x8000);
	float border = qs_f32_from_bits(qs_f32_bits(middle) + (product & 1));
	float value = border / factor;
	uint32_t end = qs_rule_end(QS_RULE_DIVIDE, dtype);
	uint32_t least = dtype == QS_F16 ? (qs_f32_bits(value * 0x1p-112f) + 0x1fff) >> 13
	                                 : (qs_f32_bits(value) + 0xffff) >> 16;
	least = least < end ? least : end;
	/* Scaling rounds values that are subnormal in FP16, so that the next value may be the least one. */
	return least + (dtype == QS_F16 && least < end && qs_magnitude_value(least, dtype) < value);
}

QS_ALWAYS_INLINE float factor_value(uint32_t factors_dtype, const uint8_t *p)
{
	float factor = qs_half_value(qs_load16(p), factors_dtype);
	return factor > 0 && factor <= 0x1.fffffep127f ? factor : 1.0f;
}

float qs_factor_value(uint32_t factors_dtype, const uint8_t *p)
{
	return factor_value(factors_dtype, p);
}

const uint8_t *qs_factors_at(const qs_chunk_desc *desc, uint32_t at)
{
	return desc->factors + 2 * (size_t)((desc->first_elem + at) % desc->cols);
}

enum { AT_ONCE = 64 };

/* The passes have no branches, so that compilers turn them into SIMD. */
QS_ALWAYS_INLINE void factor_cells(const uint8_t *factors, uint32_t dtype, uint32_t factors_dtype,
                                   qs_cells cells, const uint8_t *indexes, uint32_t n, qs_cell *dst)
{
	uint32_t low[AT_ONCE], high[AT_ONCE], sign[AT_ONCE];
	float factor[AT_ONCE];
	for (uint32_t done = 0, some; done < n;
	     done += some, factors += 2 * AT_ONCE, indexes += AT_ONCE, dst += AT_ONCE) {
		some = n - done < AT_ONCE ? n - done : AT_ONCE;
		memset(low, 0, sizeof low);
		memset(high, 0, sizeof high);
		for (uint32_t i = 0; i < AT_ONCE; i++)
			factor[i] = 1;
		for (uint32_t i = 0; i < some; i++) {
			qs_cell cell = qs_cells_at(cells, indexes[i]);
			uint32_t first = QS_CELL_FIRST(cell) & 0x7fffu;
			factor[i] = factor_value(factors_dtype, factors + 2 * (size_t)i);
			sign[i] = QS_CELL_FIRST(cell) & 0x8000u;
			low[i] = first + !first;
			high[i] = first + QS_CELL_COUNT(cell);
		}
		for (uint32_t i = 0; i < AT_ONCE; i++) {
			low[i] = least_factor(low[i], factor[i], dtype, factors_dtype);
			high[i] = least_factor(high[i], factor[i], dtype, factors_dtype);
		}
		for (uint32_t i = 0; i < some; i++)
			dst[i] = indexes[i] ? qs_make_cell(low[i], high[i] - low[i]) | sign[i] : cells.table->cells[0];
	}
}

void qs_factor_cells(const qs_chunk_desc *desc, uint32_t at, qs_cells cells, const uint8_t *indexes,
                     uint32_t n, qs_cell *dst)
{
	const uint8_t *factors = qs_factors_at(desc, at);
	/* The types are constants in each call, so that compilers make SIMD loops for each pair of types. */
	if (desc->dtype == QS_F16 && desc->factors_dtype == QS_F16)
		factor_cells(factors, QS_F16, QS_F16, cells, indexes, n, dst);
	else if (desc->dtype == QS_F16)
		factor_cells(factors, QS_F16, QS_BF16, cells, indexes, n, dst);
	else if (desc->factors_dtype == QS_F16)
		factor_cells(factors, QS_BF16, QS_F16, cells, indexes, n, dst);
	else
		factor_cells(factors, QS_BF16, QS_BF16, cells, indexes, n, dst);
}

uint16_t qs_factor_product(uint32_t dtype, uint32_t factors_dtype, uint16_t value, float factor)
{
	uint32_t sign = value & 0x8000u, magnitude = value & 0x7fffu, rounded;
	if (magnitude >= qs_rule_end(QS_RULE_DIVIDE, dtype))
		return value;
	float product = qs_magnitude_value(magnitude, dtype) * factor;
	if (factors_dtype == QS_BF16) {
		uint32_t bits = qs_f32_bits(product);
		rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
	} else {
		rounded = product >= 65520.0f ? 0x7c00 : qs_f32_bits(qs_round_f16(product) * 0x1p-112f) >> 13;
	}
	return (uint16_t)(sign | rounded);
}

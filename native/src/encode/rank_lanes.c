#include "rank_lanes.h"

#include <string.h>

#include "core/simd.h"

void qs_put_ranks_scalar(qs_rank_lanes *lanes, const uint16_t *f, const uint16_t *rank, uint32_t n)
{
	uint8_t *at = lanes->at;
	while (n-- > 0) {
		/* There is no branch, because whether a unit is due is random. */
		uint32_t *lane = &lanes->state[n & (lanes->lanes - 1)], state = *lane, due = state >> 16 >= f[n];
		qs_store16(at - 2, (uint16_t)state);
		at -= 2 * due;
		state >>= 16 * due;
		uint32_t quotient = state / f[n];
		*lane = (quotient << 16) + (uint32_t)rank[n] * f[n] + (state - quotient * f[n]);
	}
	lanes->at = at;
}

void qs_find_ranks_scalar(qs_cells cells, const uint8_t *indexes, const uint8_t *src, uint32_t n, uint32_t at,
                          qs_found_ranks *found)
{
	for (uint32_t i = at; i < at + n; i++) {
		uint8_t index = indexes[i];
		qs_cell cell = qs_cells_at(cells, index);
		uint32_t rank = (uint16_t)(qs_load16(src + 2 * (size_t)i) - QS_CELL_FIRST(cell)),
		         inside = rank < QS_CELL_COUNT(cell);
		found->escapes += index == 0;
		found->outside[i] = !inside && index != 0;
		found->outsiders += found->outside[i];
		found->rank[i] = inside && index ? (uint16_t)rank : 0;
		found->f[i] = (uint16_t)QS_CELL_F(cell);
	}
}

void qs_find_ranks_fields_scalar(const qs_cell_fields *cells, const uint8_t *src, uint32_t n, uint32_t at,
                                 uint8_t *indexes, qs_found_ranks *found)
{
	const uint16_t *first = cells->first, *count = cells->g;
	uint16_t *ranks = found->rank + at;
	uint8_t *outside = found->outside + at;
	uint32_t escapes = 0, outsiders = 0;
	memcpy(found->f + at, cells->f, n * sizeof *cells->f);
	src += 2 * (size_t)at;
	indexes += at;
	for (uint32_t i = 0; i < n; i++) {
		/* Elements with index 0 are escapes, and never count as outside their cell. */
		uint16_t rank = (uint16_t)(qs_load16(src + 2 * i) - first[i]), inside = rank < count[i],
		         zero = count[i] == 0, out = !inside & !zero;
		ranks[i] = (uint16_t)(rank & (0u - inside));
		indexes[i] = !zero;
		outside[i] = (uint8_t)out;
		escapes += zero;
		outsiders += out;
	}
	found->escapes += escapes;
	found->outsiders += outsiders;
}

void qs_take_escapes_scalar(const uint8_t *indexes, const uint8_t *values, uint32_t n, uint16_t *dst)
{
	/* There is no branch, because escapes are few and at random places. */
	for (uint32_t i = 0; i < n; i++) {
		*dst = qs_load16(values + 2 * (size_t)i);
		dst += !indexes[i];
	}
}

qs_put_ranks_kernel *qs_put_ranks_best(unsigned lanes)
{
	QS_RETURN_AVX512(lanes == QS_LANES_MAX, qs_put_ranks_avx512);
	QS_RETURN_AVX2(1, qs_put_ranks_avx2);
	return qs_put_ranks_scalar;
}

qs_find_ranks_kernel *qs_find_ranks_best(int plain)
{
	QS_RETURN_AVX512(plain, qs_find_ranks_avx512);
	return qs_find_ranks_scalar;
}

qs_find_ranks_fields_kernel *qs_find_ranks_fields_best(void)
{
	QS_RETURN_AVX512(1, qs_find_ranks_fields_avx512);
	return qs_find_ranks_fields_scalar;
}

qs_take_escapes_kernel *qs_take_escapes_best(void)
{
	QS_RETURN_AVX512(1, qs_take_escapes_avx512);
	return qs_take_escapes_scalar;
}

#include "ranks.h"

#include "simd.h"

void qs_ranks_begin(qs_ranks *ranks, const uint8_t *src, size_t size)
{
	QS_ASSERT(size % 2 == 0);
	ranks->src = src;
	ranks->src_end = src + size;
	ranks->src_last = size < QS_UNITS_ROOM ? NULL : ranks->src_end - QS_UNITS_ROOM;
	if (size < QS_UNITS_ROOM)
		qs_ranks_last_units(ranks);
}

int qs_ranks_last_units(qs_ranks *ranks)
{
	size_t left = (size_t)(ranks->src_end - ranks->src);
	if (ranks->src_last == ranks->src_end)
		return 0;
	memset(ranks->units, 0, sizeof ranks->units);
	memcpy(ranks->units, ranks->src, left);
	ranks->src = ranks->units;
	ranks->src_last = ranks->src_end = ranks->units + left;
	return 1;
}

/* Decodes the rank of the next element and advances its lane. Returns 0 when the units run out. */
static inline int decode_rank(qs_ranks *ranks, const uint8_t **src, uint32_t f, uint32_t g, uint32_t *rank)
{
	unsigned lane = ranks->next;
	uint32_t slot = ranks->low[lane], t = slot * g >> 16, rest = (uint16_t)(slot - t * f);
	/* 1 / F is rounded down in G, by so little that the rank is right or one too low. */
	uint32_t more = rest >= f;
	rest -= more ? f : 0;
	uint32_t state = f * ranks->high[lane] + rest;
	/* Whether a unit is due is random, so a branch would often be mispredicted. Only the end of the units
	 * needs one. */
	uint32_t due = state < 1u << 16, unit = 0;
	if (*src != ranks->src_end)
		unit = qs_load16(*src);
	else if (due)
		return 0;
	state = state << 16 * due | (unit & (0u - due));
	*src += 2 * due;
	ranks->low[lane] = (uint16_t)state;
	ranks->high[lane] = (uint16_t)(state >> 16);
	ranks->next = (lane + 1) & (ranks->lanes - 1);
	*rank = t + more;
	return 1;
}

int qs_ranks_scalar(qs_ranks *ranks, const qs_cells *cells, const uint32_t *counts, uint32_t n_runs,
                    const uint8_t *indexes, uint8_t *dst)
{
	const uint8_t *src = ranks->src, *escapes = ranks->escapes;
	size_t i = 0, end = 0;
	for (uint32_t r = 0; r < n_runs; r++)
		for (end += counts[r]; i < end; i++) {
			qs_cell cell = qs_cells_at(cells[r], indexes[i]);
			uint32_t rank;
			if (!decode_rank(ranks, &src, QS_CELL_F(cell), QS_CELL_G(cell), &rank))
				return 0;
			uint32_t value = QS_CELL_FIRST(cell) + rank;
			if (!indexes[i]) {
				value = qs_load16(escapes);
				escapes += 2;
			}
			qs_store16(dst + 2 * i, (uint16_t)value);
		}
	ranks->src = src;
	ranks->escapes = escapes;
	return 1;
}

int qs_ranks_fields_scalar(qs_ranks *ranks, const qs_cell_fields *cells, size_t n, uint8_t *dst)
{
	const uint8_t *src = ranks->src, *escapes = ranks->escapes;
	for (size_t i = 0; i < n; i++) {
		uint32_t rank;
		if (!decode_rank(ranks, &src, cells->f[i], cells->g[i], &rank))
			return 0;
		uint32_t value = cells->first[i] + rank;
		if (!cells->g[i]) {
			value = qs_load16(escapes);
			escapes += 2;
		}
		qs_store16(dst + 2 * i, (uint16_t)value);
	}
	ranks->src = src;
	ranks->escapes = escapes;
	return 1;
}

qs_ranks_kernel *qs_ranks_best(unsigned lanes, int plain)
{
	QS_RETURN_AVX512(plain && lanes == QS_LANES_MAX, qs_ranks_avx512);
#if QS_HAVE_SIMD128 /* which its table needs */
	QS_RETURN_AVX2(lanes == QS_LANES_MAX, qs_ranks_avx2);
#endif
	QS_RETURN_SIMD128(1, qs_ranks_simd128);
	return qs_ranks_scalar;
}

qs_ranks_fields_kernel *qs_ranks_fields_best(unsigned lanes)
{
	QS_RETURN_AVX512(lanes == QS_LANES_MAX, qs_ranks_fields_avx512);
#if QS_HAVE_SIMD128
	QS_RETURN_AVX2(lanes == QS_LANES_MAX, qs_ranks_fields_avx2);
#endif
	QS_RETURN_SIMD128(1, qs_ranks_fields_simd128);
	return qs_ranks_fields_scalar;
}

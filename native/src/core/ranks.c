#include "ranks.h"

#include "simd.h"

int qs_ranks_scalar(qs_ranks *ranks, const qs_cell *cells, const uint8_t *indexes, size_t n, uint8_t *dst)
{
	const uint8_t *src = ranks->src, *zeros = ranks->zeros;
	for (size_t i = 0; i < n; i++) {
		unsigned lane = (unsigned)i & (ranks->lanes - 1);
		qs_cell cell = cells[indexes[i]];
		uint32_t slot = ranks->low[lane], f = QS_CELL_F(cell);
		uint32_t rank = slot * QS_CELL_G(cell) >> 16, rest = (uint16_t)(slot - rank * f);
		/* G is at most 65536 / F too small by less than 1: the rank is right or one too low. */
		uint32_t more = rest >= f;
		rank += more;
		rest -= more ? f : 0;
		uint32_t state = f * ranks->high[lane] + rest;
		/* Whether a unit is due is as good as random: no branch on it but at the end. */
		uint32_t due = state < 1u << 16, unit = 0;
		if (src != ranks->src_end)
			unit = qs_load16(src);
		else if (due)
			return 0;
		state = state << 16 * due | (unit & (0u - due));
		src += 2 * due;
		ranks->low[lane] = (uint16_t)state;
		ranks->high[lane] = (uint16_t)(state >> 16);
		uint32_t value = QS_CELL_FIRST(cell) + rank;
		if (!indexes[i]) {
			value = qs_load16(zeros);
			zeros += 2;
		}
		qs_store16(dst + 2 * i, (uint16_t)value);
	}
	ranks->src = src;
	ranks->zeros = zeros;
	return 1;
}

qs_ranks_kernel *qs_ranks_best(unsigned lanes, int plain)
{
#if QS_HAVE_AVX512
	if (plain && lanes == QS_LANES_MAX && qs_cpu_has_avx512())
		return qs_ranks_avx512;
#endif
#if QS_HAVE_SIMD128
	if (qs_cpu_has_simd128())
		return qs_ranks_simd128;
#endif
	(void)lanes;
	(void)plain;
	return qs_ranks_scalar;
}

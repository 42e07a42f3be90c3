#include "bound.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../native/src/core/cells.h"
#include "../../native/src/core/index.h"

double bound_codes(const uint8_t *codes, uint64_t rows, uint64_t cols)
{
	static uint32_t counts[64][256];
	double bits = 0;
	memset(counts, 0, sizeof counts);
	for (uint64_t r = 0; r < rows; r++) {
		double sum = 0;
		for (uint64_t c = 0; c < cols; c++)
			sum += abs((int8_t)codes[r * cols + c]);
		long k = lround(4 * log2(sum / (double)cols + 0.01));
		k = k < 0 ? 0 : k > 63 ? 63 : k;
		for (uint64_t c = 0; c < cols; c++)
			counts[k][codes[r * cols + c]]++;
	}
	for (int k = 0; k < 64; k++) {
		double n = 0;
		for (int s = 0; s < 256; s++)
			n += counts[k][s];
		for (int s = 0; s < 256; s++)
			if (counts[k][s])
				bits -= counts[k][s] * log2(counts[k][s] / n);
	}
	return bits;
}

/* Spacing of the values around a magnitude pattern, relative to the smallest. */
static double width(uint32_t magnitude, unsigned mantissa_bits)
{
	uint32_t exponent = magnitude >> mantissa_bits;
	return ldexp(1, (int)(exponent ? exponent - 1 : 0));
}

static double interval_width(uint32_t first, uint32_t end, unsigned mantissa_bits)
{
	double sum = 0;
	while (first < end) {
		uint32_t next = ((first >> mantissa_bits) + 1) << mantissa_bits;
		next = next < end ? next : end;
		sum += (next - first) * width(first, mantissa_bits);
		first = next;
	}
	return sum;
}

double bound_values(const uint8_t *codes, const uint8_t *values, uint64_t cols, uint32_t dtype, float scale)
{
	unsigned mantissa_bits = dtype == QS_F16 ? 10 : 7;
	static _Thread_local qs_cell_cache cache;
	double log_width[128], bits = 0;
	qs_cell_cache_init(&cache, dtype, QS_RULE_LLM_INT8, QS_I8);
	const qs_cell *cells = qs_cell_cache_get(&cache, &(qs_step){scale, 0, 0}, 128)->cells;
	for (uint32_t k = 1; k < 128; k++) {
		uint32_t first = QS_CELL_FIRST(cells[k]);
		log_width[k] = log2(interval_width(first, first + QS_CELL_COUNT(cells[k]), mantissa_bits));
	}
	log_width[0] = 1 + log2(interval_width(0, QS_CELL_FIRST(cells[1]), mantissa_bits)); /* and a sign */
	for (uint64_t c = 0; c < cols; c++) {
		uint16_t v;
		memcpy(&v, values + 2 * c, 2);
		unsigned k = (unsigned)abs((int8_t)codes[c]);
		bits += log_width[k & 127] - log2(width(v & 0x7fff, mantissa_bits));
	}
	return bits;
}

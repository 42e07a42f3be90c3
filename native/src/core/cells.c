#include "cells.h"

#include <string.h>

#include "bytes.h"
#include "index.h"
#include "simd.h"

/* LLM.int8 (bitsandbytes, backends/default/ops.py and nn/modules.py): the weight is cast to FP16, multiplied by
 * 127 / absmax in single precision and rounded half to even. */

/* Magnitude patterns below this stay finite after the cast to FP16: BF16 0x4780 is 65536. */
static inline uint32_t finite_end(uint32_t dtype)
{
	return dtype == QS_F16 ? 0x7c00 : 0x4780;
}

static inline float f32_from_bits(uint32_t bits)
{
	float f;
	memcpy(&f, &bits, sizeof f);
	return f;
}

static inline uint32_t f32_bits(float f)
{
	uint32_t bits;
	memcpy(&bits, &f, sizeof bits);
	return bits;
}

/* The value of a magnitude pattern after the cast to FP16. */
static inline float cast_value(uint32_t magnitude, uint32_t dtype)
{
	if (dtype == QS_F16) {
		/* Exponent and mantissa in place, then the bias corrected by a multiplication, exact for subnormals too. */
		return f32_from_bits(magnitude << 13) * 0x1p112f;
	}
	float f = f32_from_bits(magnitude << 16);
	/* Eight significant bits are exact in FP16 unless it is subnormal there: multiples of 2^-24, the spacing of
	 * singles in [0.5, 1), to which this addition rounds half to even. */
	return f < 0x1p-14f ? (f + 0.5f) - 0.5f : f;
}

/* Is round-half-even(value × inverse) at least code? */
static inline uint32_t reaches(uint32_t magnitude, uint32_t dtype, float inverse, uint32_t code)
{
	float v = cast_value(magnitude, dtype) * inverse, border = (float)code - 0.5f;
	return v > border || (v == border && !(code & 1));
}

/* Pattern of the largest value that is at most x, for finite x ≥ 0 below the end. */
static inline uint32_t pattern_floor(float x, uint32_t dtype)
{
	if (dtype != QS_F16)
		return f32_bits(x) >> 16;
	return f32_bits(x * 0x1p-112f) >> 13;
}

static uint32_t search_reaching(uint32_t dtype, float inverse, uint32_t code, uint32_t end)
{
	uint32_t low = 0;
	while (low < end) {
		uint32_t middle = (low + end) / 2;
		if (reaches(middle, dtype, inverse, code))
			end = middle;
		else
			low = middle + 1;
	}
	return low;
}

/* first[k], k = 1 … 127: least magnitude whose code is at least k; first[128]: least one above the row's absmax. */
static inline __attribute__((always_inline)) void find_borders(uint32_t first[129], uint32_t dtype, float scale)
{
	uint32_t end = finite_end(dtype), low = 0, high = end;
	float inverse = 127.0f / scale, step = scale / 127.0f;
	while (low < high) {
		uint32_t middle = (low + high) / 2;
		if (cast_value(middle, dtype) > scale)
			high = middle;
		else
			low = middle + 1;
	}
	first[128] = low;
	uint32_t wrong = 0;
	for (uint32_t k = 1; k < 128; k++) {
		/* Real borders are (k − ½) · scale / 127 up to a few units of 2^-24, far less than the spacing of 16-bit values: the
		 * pattern below that, or the next one. Both sides of the border are checked, nothing is taken on trust. */
		uint32_t guess = pattern_floor(((float)k - 0.5f) * step, dtype);
		guess = guess < 1 ? 1 : guess >= end ? end - 1 : guess;
		uint32_t at = reaches(guess, dtype, inverse, k);
		uint32_t other = reaches(at ? guess - 1 : guess + 1, dtype, inverse, k);
		first[k] = guess + !at;
		wrong |= at == other;
	}
	if (wrong)
		for (uint32_t k = 1; k < 128; k++)
			first[k] = search_reaching(dtype, inverse, k, end);
	for (uint32_t k = 1; k < 128; k++)
		first[k] = first[k] < first[128] ? first[k] : first[128];
}

/* Singles divide these integers exactly enough: a quotient below 2^16 that is no integer is further from one than half its spacing. */
static inline qs_cell make_cell(uint32_t first, uint32_t count)
{
	uint32_t n = count ? count : 1;
	uint32_t f = (uint32_t)(int32_t)(65536.0f / (float)(int32_t)n);
	f = f > 65535 ? 65535 : f;
	uint32_t g = (uint32_t)(int32_t)(65536.0f / (float)(int32_t)f);
	return (qs_cell)(first | g << 16) | (qs_cell)(f | n << 16) << 32;
}

static inline __attribute__((always_inline)) void build_cells(qs_cell *cells, uint32_t dtype, float scale)
{
	uint32_t first[129];
	find_borders(first, dtype, scale);
	for (uint32_t k = 1; k < 128; k++)
		cells[k] = make_cell(first[k], first[k + 1] - first[k]);
	for (uint32_t k = 1; k < 128; k++)
		cells[256 - k] = cells[k] | 0x8000;
}

/* The dtype is a constant in each, so that the loops become SIMD. */
static inline __attribute__((always_inline)) void build_cells_of(qs_cell *cells, uint32_t dtype, float scale)
{
	if (dtype == QS_F16)
		build_cells(cells, QS_F16, scale);
	else
		build_cells(cells, QS_BF16, scale);
}

#if QS_HAVE_AVX512
static __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq"))) void
build_cells_avx512(qs_cell *cells, uint32_t dtype, float scale)
{
	build_cells_of(cells, dtype, scale);
}
#endif

void qs_cells_build(qs_cell cells[QS_CELL_TABLE], uint32_t dtype, uint32_t rule, float scale)
{
	(void)rule; /* one so far; chunk.c refuses others */
	cells[0] = cells[128] = make_cell(0, 1);
	if (!(scale > 0 && scale <= 65504.0f)) {
		for (uint32_t k = 1; k < 128; k++) {
			cells[k] = cells[0];
			cells[256 - k] = cells[0] | 0x8000; /* kernels take the sign from the code */
		}
		return;
	}
#if QS_HAVE_AVX512
	if (qs_cpu_has_avx512()) {
		build_cells_avx512(cells, dtype, scale);
		return;
	}
#endif
	build_cells_of(cells, dtype, scale);
}

void qs_cell_cache_init(qs_cell_cache *cache, uint32_t dtype, uint32_t rule)
{
	cache->dtype = dtype;
	cache->rule = rule;
	memset(cache->used, 0, sizeof cache->used);
}

const qs_cell *qs_cell_cache_get(qs_cell_cache *cache, float scale)
{
	/* Scales that are 16-bit values differ in bits 13 to 23 of the single first of all. */
	uint32_t bits = f32_bits(scale), slot = (bits >> 16 ^ bits >> 8 ^ bits) % QS_CELL_CACHE_SLOTS;
	if (!cache->used[slot] || cache->key[slot] != bits) {
		qs_cells_build(cache->cells[slot], cache->dtype, cache->rule, scale);
		cache->used[slot] = 1;
		cache->key[slot] = bits;
	}
	return cache->cells[slot];
}

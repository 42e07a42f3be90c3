#include "cells.h"

#include <string.h>

#include "bytes.h"
#include "rules.h"
#include "simd.h"

/* Pattern of the largest value that is at most x, for finite x ≥ 0. */
QS_ALWAYS_INLINE uint32_t pattern_floor(float x, uint32_t dtype)
{
	return dtype == QS_F16 ? qs_f32_bits(x * 0x1p-112f) >> 13 : qs_f32_bits(x) >> 16;
}

/* Least magnitude whose code is at least k, or end. */
static uint32_t search_reaching(uint32_t rule, uint32_t dtype, float factor, uint32_t k, uint32_t end)
{
	uint32_t low = 0;
	while (low < end) {
		uint32_t middle = (low + end) / 2;
		if (qs_rule_reaches(rule, dtype, middle, factor, k))
			end = middle;
		else
			low = middle + 1;
	}
	return low;
}

/* Least magnitude above a row's absmax, after the cast to FP16. */
static uint32_t search_above(uint32_t dtype, float absmax, uint32_t end)
{
	uint32_t low = 0;
	while (low < end) {
		uint32_t middle = (low + end) / 2;
		float value = qs_magnitude_value(middle, dtype);
		if ((dtype == QS_F16 ? value : qs_cast_f16(value)) > absmax)
			end = middle;
		else
			low = middle + 1;
	}
	return low;
}

/* first[k], k = 1 … 127: least magnitude whose code is at least k; first[128]: the first that has no code any
 * more. */
QS_ALWAYS_INLINE void find_borders(uint32_t first[129], uint32_t rule, uint32_t dtype, float scale)
{
	uint32_t end = qs_rule_end(rule, dtype), wrong = 0;
	float factor = qs_rule_factor(rule, scale), step = qs_rule_step(rule, scale);
	for (uint32_t k = 1; k < 128; k++) {
		/* Real borders are (k − ½) · step up to a few units of 2^-24, far less than the spacing of 16-bit
		 * values: the pattern below that, or the next one. Both sides of the border are checked, nothing is
		 * taken on trust. */
		uint32_t guess = pattern_floor(((float)k - 0.5f) * step, dtype);
		guess = guess < 1 ? 1 : guess >= end ? end - 1 : guess;
		uint32_t at = qs_rule_reaches(rule, dtype, guess, factor, k);
		uint32_t other = qs_rule_reaches(rule, dtype, at ? guess - 1 : guess + 1, factor, k);
		first[k] = guess + !at;
		wrong |= at == other;
	}
	if (wrong)
		for (uint32_t k = 1; k < 128; k++)
			first[k] = search_reaching(rule, dtype, factor, k, end);
	first[128] = rule == QS_RULE_LLM_INT8 ? search_above(dtype, scale, end)
	                                      : search_reaching(rule, dtype, factor, 128, end);
	for (uint32_t k = 1; k < 128; k++)
		first[k] = first[k] < first[128] ? first[k] : first[128];
}

/* Singles divide these integers exactly enough: a quotient below 2^16 that is no integer is further from one
 * than half its spacing. */
static inline qs_cell make_cell(uint32_t first, uint32_t count)
{
	uint32_t n = count ? count : 1;
	uint32_t f = (uint32_t)(int32_t)(65536.0f / (float)(int32_t)n);
	f = f > 65535 ? 65535 : f;
	uint32_t g = (uint32_t)(int32_t)(65536.0f / (float)(int32_t)f);
	return (qs_cell)(first | g << 16) | (qs_cell)(f | n << 16) << 32;
}

QS_ALWAYS_INLINE void build_cells(qs_cell *cells, uint32_t rule, uint32_t dtype, float scale)
{
	uint32_t first[129];
	find_borders(first, rule, dtype, scale);
	for (uint32_t k = 1; k < 128; k++)
		cells[k] = make_cell(first[k], first[k + 1] - first[k]);
	for (uint32_t k = 1; k < 128; k++)
		cells[256 - k] = cells[k] | 0x8000;
}

/* Rule and dtype are constants in each, so that the loops become SIMD. */
QS_ALWAYS_INLINE void build_cells_of(qs_cell *cells, uint32_t rule, uint32_t dtype, float scale)
{
	switch (rule * 2 + (dtype == QS_F16)) {
	case QS_RULE_LLM_INT8 * 2:
		build_cells(cells, QS_RULE_LLM_INT8, QS_BF16, scale);
		break;
	case QS_RULE_LLM_INT8 * 2 + 1:
		build_cells(cells, QS_RULE_LLM_INT8, QS_F16, scale);
		break;
	case QS_RULE_MULTIPLY * 2:
		build_cells(cells, QS_RULE_MULTIPLY, QS_BF16, scale);
		break;
	case QS_RULE_MULTIPLY * 2 + 1:
		build_cells(cells, QS_RULE_MULTIPLY, QS_F16, scale);
		break;
	case QS_RULE_DIVIDE * 2:
		build_cells(cells, QS_RULE_DIVIDE, QS_BF16, scale);
		break;
	case QS_RULE_DIVIDE * 2 + 1:
		build_cells(cells, QS_RULE_DIVIDE, QS_F16, scale);
		break;
	case QS_RULE_DIVIDE_BF16 * 2:
		build_cells(cells, QS_RULE_DIVIDE_BF16, QS_BF16, scale);
		break;
	default:
		build_cells(cells, QS_RULE_DIVIDE_BF16, QS_F16, scale);
		break;
	}
}

#if QS_HAVE_AVX512
static __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq"))) void
build_cells_avx512(qs_cell *cells, uint32_t rule, uint32_t dtype, float scale)
{
	build_cells_of(cells, rule, dtype, scale);
}
#endif

void qs_cells_build(qs_cell cells[QS_CELL_TABLE], uint32_t dtype, uint32_t rule, float scale)
{
	cells[0] = cells[128] = make_cell(0, 1);
	if (!qs_rule_scale_is_valid(rule, scale)) {
		for (uint32_t k = 1; k < 128; k++) {
			cells[k] = cells[0];
			cells[256 - k] = cells[0] | 0x8000; /* kernels take the sign from the code */
		}
		return;
	}
#if QS_HAVE_AVX512
	if (qs_cpu_has_avx512()) {
		build_cells_avx512(cells, rule, dtype, scale);
		return;
	}
#endif
	build_cells_of(cells, rule, dtype, scale);
}

int qs_cell_code(uint32_t dtype, uint32_t rule, float scale, uint16_t value)
{
	uint32_t magnitude = value & 0x7fff;
	if (!qs_rule_scale_is_valid(rule, scale) || magnitude >= qs_rule_end(rule, dtype))
		return QS_NO_CODE;
	float scaled = qs_rule_scaled(rule, dtype, magnitude, qs_rule_factor(rule, scale));
	if (!(scaled < 1024))
		return QS_NO_CODE;
	int code = (int)((scaled + 0x1p23f) - 0x1p23f); /* half to even */
	return value & 0x8000 ? -code : code;
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
	uint32_t bits = qs_f32_bits(scale), slot = (bits >> 16 ^ bits >> 8 ^ bits) % QS_CELL_CACHE_SLOTS;
	if (!cache->used[slot] || cache->key[slot] != bits) {
		qs_cells_build(cache->cells[slot], cache->dtype, cache->rule, scale);
		cache->used[slot] = 1;
		cache->key[slot] = bits;
	}
	return cache->cells[slot];
}

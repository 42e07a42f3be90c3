/* The kernel of cell_fetch.h in AVX-512, 32 elements at a time. */
#include "cell_fetch.h"
#include "simd.h"

#if QS_HAVE_AVX512
#include "cell_tables_avx512.h"

/* F of cells with 0 to 31 values; an empty cell is taken for a cell of one value. */
static const uint16_t floors[32] = {65535, 65535, 32768, 21845, 16384, 13107, 10922, 9362, 8192, 7281, 6553,
                                    5957,  5461,  5041,  4681,  4369,  4096,  3855,  3640, 3449, 3276, 3120,
                                    2978,  2849,  2730,  2621,  2520,  2427,  2340,  2259, 2184, 2114};

/* Loads up to 32 codes: those that the mask `there` has. */
static inline __m256i load_codes_there(const uint8_t *codes, __mmask32 there)
{
	return there == ~(__mmask32)0 ? _mm256_loadu_si256((const __m256i *)codes)
	                              : _mm256_maskz_loadu_epi8(there, codes);
}

static inline __mmask32 first_of(size_t n)
{
	return n < 32 ? ((__mmask32)1 << n) - 1 : ~(__mmask32)0;
}

static inline void store_cells(const qs_cell_fields *out, size_t at, __mmask32 there, __m512i first,
                               __m512i f, __m512i g)
{
	if (there == ~(__mmask32)0) {
		_mm512_storeu_si512(out->first + at, first);
		_mm512_storeu_si512(out->f + at, f);
		_mm512_storeu_si512(out->g + at, g);
		return;
	}
	_mm512_mask_storeu_epi16(out->first + at, there, first);
	_mm512_mask_storeu_epi16(out->f + at, there, f);
	_mm512_mask_storeu_epi16(out->g + at, there, g);
}

/* Fetches cells from a small table (cells.h). g becomes the number of values, which can replace G; F is
 * looked up by that number where it is below 32. fs: F by number of values. */
static inline __attribute__((always_inline)) void fetch_small(const qs_cells *cells, __m512i fs, size_t at,
                                                              size_t end, const uint8_t *codes,
                                                              const qs_cell_fields *out)
{
	const qs_cell_table *t = cells->table;
	const __m512i sign = _mm512_set1_epi16((short)0x8000), move = _mm512_set1_epi16((short)cells->move);
	__m512i first[4], f = _mm512_loadu_si512(t->f),
	                  n[2] = {_mm512_loadu_si512(t->small), _mm512_loadu_si512(t->small + 64)};
	for (int v = 0; v < 4; v++)
		first[v] = _mm512_loadu_si512(t->first + 32 * v);
	for (; at < end; at += 32) {
		__mmask32 there = first_of(end - at);
		__m256i bytes = load_codes_there(codes + at, there), magnitudes = _mm256_abs_epi8(bytes);
		__m512i code = _mm512_cvtepi8_epi16(bytes), magnitude = _mm512_cvtepu8_epi16(magnitudes);
		__m512i g = _mm512_cvtepu8_epi16(
		    _mm512_castsi512_si256(_mm512_permutex2var_epi8(n[0], _mm512_castsi256_si512(magnitudes), n[1])));
		__m512i value = _mm512_mask_blend_epi16(_mm512_test_epi16_mask(magnitude, _mm512_set1_epi16(64)),
		                                        _mm512_permutex2var_epi16(first[0], magnitude, first[1]),
		                                        _mm512_permutex2var_epi16(first[2], magnitude, first[3]));
		__mmask32 far = _mm512_cmpgt_epu16_mask(magnitude, _mm512_set1_epi16(31));
		store_cells(out, at, there,
		            _mm512_or_si512(_mm512_add_epi16(value, move), _mm512_and_si512(code, sign)),
		            _mm512_mask_permutexvar_epi16(_mm512_permutexvar_epi16(magnitude, f), far, g, fs), g);
		/* There is no positive code for −128. */
		__mmask32 least = _mm256_movepi8_mask(magnitudes);
		if (least && t->zero != QS_ALL_ZERO)
			store_cells(out, at, least, _mm512_set1_epi16((short)QS_CELL_FIRST(qs_cells_at(*cells, 128))),
			            _mm512_set1_epi16((short)QS_CELL_F(t->cells[128])),
			            _mm512_set1_epi16((short)QS_CELL_COUNT(t->cells[128])));
	}
}

/* Fetches cells from any table. */
static void fetch_large(const qs_cells *cells, size_t at, size_t end, const uint8_t *codes, int counted,
                        const qs_cell_fields *out)
{
	qs_cell_tables tables;
	qs_cell_tables_load(&tables, *cells);
	for (; at < end; at += 32) {
		__mmask32 there = first_of(end - at);
		__m512i code = _mm512_cvtepi8_epi16(load_codes_there(codes + at, there)),
		        magnitude = _mm512_abs_epi16(code);
		store_cells(out, at, there, qs_cell_tables_first(&tables, code, magnitude),
		            qs_cell_tables_get(tables.f, magnitude, QS_CELL_F(tables.least)),
		            counted ? qs_cell_tables_get(tables.count, magnitude, QS_CELL_COUNT(tables.least))
		                    : qs_cell_tables_get(tables.g, magnitude, QS_CELL_G(tables.least)));
	}
}

void qs_fetch_avx512(const qs_cells *cells, const uint32_t *counts, uint32_t n_runs, const uint8_t *codes,
                     int counted, const qs_cell_fields *out)
{
	__m512i fs = _mm512_loadu_si512(floors);
	for (size_t r = 0, at = 0, end; r < n_runs; r++, at = end) {
		end = at + counts[r];
		if (cells[r].is_small)
			fetch_small(&cells[r], fs, at, end, codes, out);
		else
			fetch_large(&cells[r], at, end, codes, counted, out);
	}
}

void qs_fetch_few_avx512(const qs_cells *cells, const uint32_t *counts, uint32_t n_runs, const uint8_t *codes,
                         int counted, const qs_cell_fields *out)
{
	for (size_t r = 0, at = 0, end; r < n_runs; r++, at = end) {
		const qs_cell_table *t = cells[r].table;
		__m512i first =
		            _mm512_add_epi16(_mm512_loadu_si512(t->first), _mm512_set1_epi16((short)cells[r].move)),
		        f = _mm512_loadu_si512(t->f), g = _mm512_loadu_si512(counted ? t->count : t->g);
		end = at + counts[r];
		for (size_t i = at; i < end; i += 32) {
			__mmask32 there = first_of(end - i);
			__m512i code = _mm512_cvtepu8_epi16(load_codes_there(codes + i, there));
			store_cells(out, i, there, _mm512_permutexvar_epi16(code, first),
			            _mm512_permutexvar_epi16(code, f), _mm512_permutexvar_epi16(code, g));
		}
	}
}

#else
typedef int qs_translation_unit_is_empty;
#endif

#include "cell_fetch.h"

#include "simd.h"

void qs_fetch_scalar(const qs_cells *cells, const uint32_t *counts, uint32_t n_runs, const uint8_t *indexes,
                     int counted, const qs_cell_fields *out)
{
	for (size_t r = 0, i = 0, end = 0; r < n_runs; r++)
		for (end += counts[r]; i < end; i++) {
			qs_cell cell = qs_cells_at(cells[r], indexes[i]);
			out->first[i] = QS_CELL_FIRST(cell);
			out->f[i] = (uint16_t)QS_CELL_F(cell);
			out->g[i] = !indexes[i] ? 0 : (uint16_t)(counted ? QS_CELL_COUNT(cell) : QS_CELL_G(cell));
		}
}

qs_fetch_kernel *qs_fetch_best(const qs_grid *grid, int *by_code)
{
	*by_code = 0;
#if QS_HAVE_AVX512
	int plain = qs_grid_is_plain(grid);
	*by_code = qs_cpu_has_avx512() && (plain || qs_rule_levels(grid->rule) <= 32);
	if (*by_code)
		return plain ? qs_fetch_avx512 : qs_fetch_few_avx512;
#endif
	(void)grid;
	QS_RETURN_SIMD128(1, qs_fetch_simd128);
	return qs_fetch_scalar;
}

void qs_fetch_runs(qs_fetch_kernel *fetch, qs_cell_cache *cache, const qs_run *runs, const qs_step *steps,
                   uint32_t n_runs, const uint8_t *codes, int counted, const qs_cell_fields *out)
{
	qs_cells cells[QS_STRIP_RUNS_MAX];
	uint32_t counts[QS_STRIP_RUNS_MAX];
	/* Handles as many runs at once as have their tables in the cache: making a missing one may replace a
	 * table that another run needs. */
	for (uint32_t r = 0, n; r < n_runs; r += n) {
		uint32_t at = runs[r].begin - runs[0].begin;
		for (n = 0; r + n < n_runs && qs_cell_cache_has(cache, &steps[r + n], 128, &cells[n]); n++)
			counts[n] = runs[r + n].count;
		if (!n) {
			cells[n] = qs_cell_cache_find(cache, &steps[r], 128);
			counts[n++] = runs[r].count;
		}
		fetch(cells, counts, n, codes + runs[r].begin, counted,
		      &(qs_cell_fields){out->first + at, out->f + at, out->g + at});
	}
}

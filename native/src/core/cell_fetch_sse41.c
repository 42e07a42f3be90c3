/* The kernel of cell_fetch.h in 128-bit SIMD, written with WebAssembly's intrinsics, which SIMDe provides on
 * x86-64 and ARM. */
#include "cell_fetch.h"
#include "expand.h"

#if QS_HAVE_SIMD128
#include "cell_tables_sse41.h"

void qs_fetch_simd128(const qs_cells *cells, const uint32_t *counts, uint32_t n_runs, const uint8_t *indexes,
                      int counted, const qs_cell_fields *out)
{
	for (size_t r = 0, i = 0, end = 0; r < n_runs; r++, i = end) {
		end += counts[r];
		for (; i + 8 <= end; i += 8) {
			qs_eight_cells c = qs_load_cells(cells[r], indexes + i);
			wasm_v128_store(out->first + i, c.first);
			wasm_v128_store(out->f + i, c.f);
			wasm_v128_store(out->g + i, wasm_v128_andnot(counted ? c.count : c.g, c.zero));
		}
		uint32_t left = (uint32_t)(end - i);
		qs_cell_fields rest = {out->first + i, out->f + i, out->g + i};
		if (left)
			qs_fetch_scalar(&cells[r], &left, 1, indexes + i, counted, &rest);
	}
}

#else
typedef int qs_translation_unit_is_empty;
#endif

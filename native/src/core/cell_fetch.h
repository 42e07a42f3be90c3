/* The cells of single elements, field by field, taken from tables (FORMAT.md, "Rules"): for runs too short to
 * be decoded by a table of their own. cell_fields.h finds such cells without tables. */
#ifndef QS_CELL_FETCH_H
#define QS_CELL_FETCH_H

#include "cell_fields.h"

enum { QS_FETCH_BELOW = 128 }; /* elements of runs that are short */

/* Writes the fields of the cells of n_runs runs, one after the other, of counts[r] elements each; g is 0 for
 * index 0, for others the number of the cell's values if `counted`. */
typedef void qs_fetch_kernel(const qs_cells *cells, const uint32_t *counts, uint32_t n_runs,
                             const uint8_t *indexes, int counted, const qs_cell_fields *out);

qs_fetch_kernel qs_fetch_scalar;  /* the oracle */
qs_fetch_kernel qs_fetch_simd128; /* WebAssembly SIMD, SSE4.1, NEON */
/* Tables of signed codes around 0, and of at most 32 levels. They take codes, not indexes, and QS_ALL_ZERO as
 * any table. */
qs_fetch_kernel qs_fetch_avx512, qs_fetch_few_avx512;

/* The fastest for a grid on this machine; *by_code: it takes codes, and QS_ALL_ZERO as any table. */
qs_fetch_kernel *qs_fetch_best(const qs_grid *grid, int *by_code);

/* The same for runs of a chunk by a kernel that takes codes; out: of the first run's first element. */
void qs_fetch_runs(qs_fetch_kernel *fetch, qs_cell_cache *cache, const qs_run *runs, const qs_step *steps,
                   uint32_t n_runs, const uint8_t *codes, int counted, const qs_cell_fields *out);

#endif

/* Takes the cells of single elements from tables, field by field. This is for runs that are too short to be
 * decoded by their table directly. cell_fields.h finds the cells of such runs without tables. */
#ifndef QS_CELL_FETCH_H
#define QS_CELL_FETCH_H

#include "cell_fields.h"

enum { QS_FETCH_BELOW = 128 }; /* runs of fewer elements are short */

/* Writes the fields of the cells of n_runs runs, of counts[r] elements each, one after the other. g is 0 for
 * index 0. If `counted`, g is the number of the cell's values for other indexes. */
typedef void qs_fetch_kernel(const qs_cells *cells, const uint32_t *counts, uint32_t n_runs,
                             const uint8_t *indexes, int counted, const qs_cell_fields *out);

qs_fetch_kernel qs_fetch_scalar;  /* the oracle */
qs_fetch_kernel qs_fetch_simd128; /* WebAssembly SIMD, SSE4.1, NEON */
/* Kernels for tables of signed codes around 0, and for tables of at most 32 levels. They take codes, not
 * indexes, and need no special case for QS_ALL_ZERO. */
qs_fetch_kernel qs_fetch_avx512, qs_fetch_few_avx512;

/* Returns the fastest kernel for a grid on this machine. *by_code: does it take codes instead of indexes? */
qs_fetch_kernel *qs_fetch_best(const qs_grid *grid, int *by_code);

/* Fetches the cells of several runs of a chunk with a kernel that takes codes. out: the fields of the first
 * run's first element. */
void qs_fetch_runs(qs_fetch_kernel *fetch, qs_cell_cache *cache, const qs_run *runs, const qs_step *steps,
                   uint32_t n_runs, const uint8_t *codes, int counted, const qs_cell_fields *out);

#endif

/* Grids of codes, as chunks need them: their scales, zero points and orders, read from the inputs. */
#ifndef QS_PACK_GRID_H
#define QS_PACK_GRID_H

#include "core/chunk.h"
#include "tensor.h"

/* One thread's memory for the part of a grid that a chunk needs; zeroed at first. */
typedef struct pack_grid_memory {
	uint8_t *scales, *zero_points, *order, *factors;
	size_t scales_capacity, zero_points_capacity, order_capacity, factors_capacity;
} pack_grid_memory;

void pack_grid_free(pack_grid_memory *memory);

/* The grid of codes of this dtype, as far as elements [first, first + n) of a matrix with `cols` columns need
 * it. *loaded points into memory. */
qstore_status pack_load_grid(const pack_grid *grid, uint32_t codes_dtype, uint64_t cols, uint64_t first,
                             uint64_t n, pack_grid_memory *memory, uint8_t *scratch, qs_grid *loaded,
                             qstore_error *error);

/* The factors of a refined tensor's columns, where it has some, into desc. */
qstore_status pack_load_factors(const pack_tensor *fine, pack_grid_memory *memory, uint8_t *scratch,
                                qs_chunk_desc *desc, qstore_error *error);

#endif

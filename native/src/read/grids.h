/* Grids and column factors: what the scales, zero points, orders and factors of an archive's plain objects
 * say to the elements of a part that is decoded. */
#ifndef QS_GRIDS_H
#define QS_GRIDS_H

#include "part.h"

/* Memory for elements of one plain object. The chunk that was decoded last is kept, since neighbouring parts
 * of a matrix need the same one. Zeroed memory has nothing in it, but `held` must be QS_NONE. */
typedef struct qs_side {
	uint32_t held, held_number; /* the object, or QS_NONE, and its part that `chunk` has */
	uint8_t *chunk;             /* QS_CHUNK_SIZE_MAX bytes, or NULL */
	uint8_t *joined;            /* elements of more than one chunk */
	size_t joined_cap;          /* bytes */
} qs_side;

typedef struct qs_grid_memory {
	qs_side scales, zeros, order;
} qs_grid_memory;

void qs_side_init(qs_side *side);
void qs_side_free(qs_side *side);
void qs_grid_memory_init(qs_grid_memory *memory);
void qs_grid_memory_free(qs_grid_memory *memory);

/* The grid of a part of codes, as far as its elements need it. The grid points into memory, until that is
 * used again. */
qstore_status qs_grid_load(const qs_part *codes, qs_grid_memory *memory, qs_chunk_memory *chunk_memory,
                           qs_grid *grid, qstore_error *error);

/* Sets desc's factors to those of a refinement's columns. They are in side, until that is used again. */
qstore_status qs_factors_load(const qs_part *refined, qs_side *side, qs_chunk_memory *chunk_memory,
                              qs_chunk_desc *desc, qstore_error *error);

#endif

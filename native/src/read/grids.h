/* Loads what decoding a part needs beside its chunks: its grid, that is scales, zero points and order, and
 * its column factors. All of these are elements of plain objects. */
#ifndef QS_GRIDS_H
#define QS_GRIDS_H

#include "part.h"

/* Memory for elements of one plain object. The chunk that was decoded last is kept, since neighbouring parts
 * of a matrix often need the same one. Call qs_side_init before the first use. */
typedef struct qs_side {
	uint32_t held, held_number; /* `chunk` is part held_number of object `held`, or QS_NONE */
	uint8_t *chunk;             /* QS_CHUNK_SIZE_MAX bytes, or NULL */
	uint8_t *joined;            /* elements that are of more than one chunk */
	size_t joined_cap;          /* bytes of `joined` */
} qs_side;

typedef struct qs_grid_memory {
	qs_side scales, zero_points, order;
} qs_grid_memory;

void qs_side_init(qs_side *side);
void qs_side_free(qs_side *side);
void qs_grid_memory_init(qs_grid_memory *memory);
void qs_grid_memory_free(qs_grid_memory *memory);

/* Loads the grid of a part of codes, as far as the part's elements need it. The grid points into `memory`,
 * and is valid until that is used again. */
qstore_status qs_grid_load(const qs_part *codes, qs_grid_memory *memory, qs_chunk_memory *chunk_memory,
                           qs_grid *grid, qstore_error *error);

/* Sets desc's factors to the column factors of a refinement. They are in `side`, and valid until that is used
 * again. */
qstore_status qs_factors_load(const qs_part *refined, qs_side *side, qs_chunk_memory *chunk_memory,
                              qs_chunk_desc *desc, qstore_error *error);

#endif

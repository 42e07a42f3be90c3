/* The two inner loops of writing ranks: finding each value's rank in its cell, and coding ranks into the
 * lanes (core/ranks.h decodes them). The scalar ones are the oracles of the others. */
#ifndef QS_RANK_LANES_H
#define QS_RANK_LANES_H

#include "core/cell_fields.h"
#include "core/ranks.h"

/* The encoder's state: it starts where decoding ends. */
typedef struct qs_rank_lanes {
	uint32_t state[QS_LANES_MAX];
	uint8_t *at; /* units are written towards the front */
	unsigned lanes;
} qs_rank_lanes;

/* Codes n ranks, the last first: element i by lane i modulo lanes. f, rank: of each. Units are written in
 * front of lanes->at, where there must be 2 bytes a rank, and 2 more. */
typedef void qs_put_ranks_kernel(qs_rank_lanes *lanes, const uint16_t *f, const uint16_t *rank, uint32_t n);

/* Of n elements under one scale: ranks (0 of index 0, and of values outside their cells), F, and whether a
 * value is outside its cell. src: values, 2 bytes each. Adds the numbers of elements with index 0 and of
 * values outside to *escapes and *outsiders. */
typedef struct qs_found_ranks {
	uint16_t *rank, *f;
	uint8_t *outside;
	uint32_t escapes, outsiders;
} qs_found_ranks;
typedef void qs_find_ranks_kernel(qs_cells cells, const uint8_t *indexes, const uint8_t *src, uint32_t n,
                                  uint32_t at, qs_found_ranks *found);

qs_put_ranks_kernel qs_put_ranks_scalar; /* any number of lanes */
qs_put_ranks_kernel qs_put_ranks_avx2;
qs_put_ranks_kernel qs_put_ranks_avx512; /* 64 lanes */
qs_find_ranks_kernel qs_find_ranks_scalar;
qs_find_ranks_kernel qs_find_ranks_avx512; /* tables of signed codes around 0 only */

/* The same with the cell of each element, g being the number of its values, 0 of index 0: they also write
 * indexes, 0 or 1. Elements are numbered from `at` but for the cells, which begin with the first one's. */
typedef void qs_find_ranks_fields_kernel(const qs_cell_fields *cells, const uint8_t *src, uint32_t n,
                                         uint32_t at, uint8_t *indexes, qs_found_ranks *found);
qs_find_ranks_fields_kernel qs_find_ranks_fields_scalar;
qs_find_ranks_fields_kernel qs_find_ranks_fields_avx512;

/* The values of n elements with index 0, in order; dst has room for QS_TAKE_ROOM more than there are. */
enum { QS_TAKE_ROOM = 32 };
typedef void qs_take_zeros_kernel(const uint8_t *indexes, const uint8_t *values, uint32_t n, uint16_t *dst);
qs_take_zeros_kernel qs_take_zeros_scalar;
qs_take_zeros_kernel qs_take_zeros_avx512;

/* The fastest that run on this machine. plain: as for qs_ranks_best. */
qs_put_ranks_kernel *qs_put_ranks_best(unsigned lanes);
qs_find_ranks_kernel *qs_find_ranks_best(int plain);
qs_find_ranks_fields_kernel *qs_find_ranks_fields_best(void);
qs_take_zeros_kernel *qs_take_zeros_best(void);

#endif

/* The two inner loops of writing ranks: finding each value's rank in its cell, and coding ranks into lanes,
 * which core/ranks.h decodes. The scalar kernels are the oracles of the others. */
#ifndef QS_RANK_LANES_H
#define QS_RANK_LANES_H

#include "core/cell_fields.h"
#include "core/ranks.h"

/* The state of the encoder's lanes. The encoder begins with the value at which the decoder must end. */
typedef struct qs_rank_lanes {
	uint32_t state[QS_LANES_MAX];
	uint8_t *at; /* the unit that was written last; the next one goes in front of it */
	unsigned lanes;
} qs_rank_lanes;

/* Codes n ranks, the last first, element i by lane i modulo lanes. Units are written in front of lanes->at,
 * where 2 n + 2 bytes must be writable. f and rank have an entry for each element. */
typedef void qs_put_ranks_kernel(qs_rank_lanes *lanes, const uint16_t *f, const uint16_t *rank, uint32_t n);

/* For n elements under one scale, from element `at` of the arrays on, finds the rank and F, and whether the
 * value is outside its cell. Escapes and values outside have rank 0. src: values, 2 bytes each. Adds to the
 * counts of escapes and of values outside (outsiders). */
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

/* Does the work of qs_find_ranks_kernel for elements that each have a cell. The g of a cell is the number of
 * its values, and 0 for escapes. Also writes indexes: 0 for escapes, else 1. All arrays but `cells` begin at
 * element `at`. */
typedef void qs_find_ranks_fields_kernel(const qs_cell_fields *cells, const uint8_t *src, uint32_t n,
                                         uint32_t at, uint8_t *indexes, qs_found_ranks *found);
qs_find_ranks_fields_kernel qs_find_ranks_fields_scalar;
qs_find_ranks_fields_kernel qs_find_ranks_fields_avx512;

/* Copies the values of the escapes among n elements, in order. dst needs room for QS_TAKE_ROOM more. */
enum { QS_TAKE_ROOM = 32 };
typedef void qs_take_escapes_kernel(const uint8_t *indexes, const uint8_t *values, uint32_t n, uint16_t *dst);
qs_take_escapes_kernel qs_take_escapes_scalar;
qs_take_escapes_kernel qs_take_escapes_avx512;

/* Return the fastest kernels that this machine runs. plain: see qs_ranks_best. */
qs_put_ranks_kernel *qs_put_ranks_best(unsigned lanes);
qs_find_ranks_kernel *qs_find_ranks_best(int plain);
qs_find_ranks_fields_kernel *qs_find_ranks_fields_best(void);
qs_take_escapes_kernel *qs_take_escapes_best(void);

#endif

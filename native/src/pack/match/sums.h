/* How near codes are to the values that they may have been made of. */
#ifndef QS_PACK_SUMS_H
#define QS_PACK_SUMS_H

#include "core/chunk.h"

/* Over elements with codes: Σ(coarse − fine)², Σ fine² and Σ coarse², where coarse is the value that a code
 * and its scale stand for. */
typedef struct pack_sums {
	double errors, squares, coarse_squares;
	uint64_t n;
} pack_sums;

/* Adds the elements of a chunk to *sums. desc: of kind REFINE, with its codes and their grid; fine: its
 * floats. */
void pack_add_sums(const qs_chunk_desc *desc, const uint8_t *fine, pack_sums *sums);

/* Whether codes with these sums can belong to their values at all. */
int pack_sums_are_alike(const pack_sums *sums);

/* The square of the correlation of codes and values; 0 when the correlation is negative. */
double pack_sums_correlation(const pack_sums *sums);

#endif

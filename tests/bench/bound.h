/* The bound that sizes are compared with: entropies of codes and bytes, and the width model of values in
 * their cells (docs/formats.md). */
#ifndef BENCH_BOUND_H
#define BENCH_BOUND_H

#include <stdint.h>

#include "core/chunk.h"

/* Bits of n bytes under their own histogram. */
double bound_bytes(const uint8_t *bytes, uint64_t n);

/* Bits of rows × cols codes, as signed bytes around 0, under histograms of their own for rows of different
 * spread. */
double bound_codes(const uint8_t *codes, uint64_t rows, uint64_t cols);

/* Codes less the zero points of their scales, modulo 256: n of a chunk's elements, of which desc tells the
 * coarse codes and their grid. */
void bound_indexes(const qs_chunk_desc *desc, uint8_t *indexes);

/* 16-bit values given their codes. Zeroed, then bound_add_values for each chunk, then bound_of_values. */
typedef struct bound_values {
	uint64_t
	    missed[257]; /* differences of the codes that the rule gives to those that are there; 256: neither */
	double bits;     /* of the places in their cells */
} bound_values;

void bound_add_values(bound_values *values, const qs_chunk_desc *desc, const uint8_t *fine);
double bound_of_values(const bound_values *values);

#endif

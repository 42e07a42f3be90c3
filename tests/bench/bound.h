/* The bound that sizes are compared with (docs/formats.md): the entropy of codes and bytes, and for values in
 * their cells a model by which a value is as likely as its distance to its neighbours is wide. */
#ifndef BENCH_BOUND_H
#define BENCH_BOUND_H

#include <stdint.h>

#include "core/chunk.h"

/* Returns the bits of n bytes by their entropy. */
double bound_bytes(const uint8_t *bytes, uint64_t n);

/* Returns the bits of rows × cols codes, signed bytes around 0, by their entropy. Rows are put into classes
 * by the spread of their codes, and each class has a histogram of its own. */
double bound_codes(const uint8_t *codes, uint64_t rows, uint64_t cols);

/* Writes the cell indexes of a chunk's elements: desc->coarse less the zero points of their scales, modulo
 * 256. */
void bound_indexes(const qs_chunk_desc *desc, uint8_t *indexes);

/* The bound of 16-bit values whose codes are known. Zero the struct, call bound_add_values for each chunk,
 * then bound_of_values, which returns bits. */
typedef struct bound_values {
	/* Values by the difference of the code that the rule gives and the given code; [256] counts values that
	 * have neither of the two cells. */
	uint64_t missed[257];
	double bits; /* that say which value of its cell each value is */
	/* Values in the cell of the zero point: their bits by the same model, and the histograms of their byte
	 * planes. The model makes the values of dead channels, say of 1e-30 in a cell of 1e-10, very unlikely;
	 * the bound is the smaller of both. */
	double zero_bits;
	uint64_t planes[2][256];
} bound_values;

void bound_add_values(bound_values *values, const qs_chunk_desc *desc, const uint8_t *fine);
double bound_of_values(const bound_values *values);

#endif

/* Huffman codes of limited length. */
#ifndef QS_HUFFMAN_H
#define QS_HUFFMAN_H

#include <stdint.h>

/* Lengths (1 to limit, 0 for counts of 0) of a complete prefix code for n ≤ 256 symbols, at least two of them
 * with counts, at most 2^limit; counts sum up to less than 2^24. Returns the number of bits that the counted
 * symbols take. */
uint64_t qs_huffman_lengths(const uint32_t *counts, unsigned n, unsigned limit, uint8_t *lengths);

/* The same, the best that there are: several times as slow. */
uint64_t qs_huffman_best_lengths(const uint32_t *counts, unsigned n, unsigned limit, uint8_t *lengths);

#endif

/* Lengths of Huffman codes, under a limit. */
#ifndef QS_HUFFMAN_H
#define QS_HUFFMAN_H

#include <stdint.h>

/* Finds the lengths (1 to limit, 0 for counts of 0) of a complete prefix code for n ≤ 256 symbols. At least
 * two and at most 2^limit counts are above 0; their sum is below 2^24. Returns the bits that all counted
 * symbols take. */
uint64_t qs_huffman_lengths(const uint32_t *counts, unsigned n, unsigned limit, uint8_t *lengths);

/* Finds the best lengths under the limit. It takes several times as long as qs_huffman_lengths. */
uint64_t qs_huffman_best_lengths(const uint32_t *counts, unsigned n, unsigned limit, uint8_t *lengths);

#endif

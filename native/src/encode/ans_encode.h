/* Writing the ANS-coded part of a symbol block (core/ans.h). */
#ifndef QS_ANS_ENCODE_H
#define QS_ANS_ENCODE_H

#include "core/ans.h"

/* Frequencies, at least 1 for counts above 0, that sum up to 1 << log. At least two of the n ≤ 256 counts are
 * above 0, at most 1 << log; they sum up to less than 2^24. */
void qs_ans_frequencies(const uint32_t *counts, unsigned n, unsigned log, uint16_t *frequencies);

/* Writes the states and the units of n symbols: they end at `end`, and the bytes from the one returned on are
 * theirs. At least 2 n + 4 · QS_ANS_LANES_MAX bytes in front of `end` may be written. of: for each byte of
 * src its frequency, and above it, from bit 16 on, the first of its slots. */
uint8_t *qs_ans_put(const uint8_t *src, size_t n, const uint32_t of[256], unsigned log, uint8_t *end);

/* states: QS_ANS_LANES_MAX of them. Codes n symbols of `lanes` lanes, the last first, into units in front of
 * `at`, where there must be 2 bytes a symbol, and 2 more; returns where they begin. src[0] is the first
 * lane's. The scalar one is the oracle of the other. */
typedef uint8_t *qs_ans_put_kernel(uint32_t *states, const uint8_t *src, size_t n, const uint32_t of[256],
                                   unsigned log, unsigned lanes, uint8_t *at);
qs_ans_put_kernel qs_ans_put_scalar;
qs_ans_put_kernel qs_ans_put_avx512;

#endif

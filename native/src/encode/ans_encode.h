/* Writing the ANS-coded part of a symbol block (core/ans.h). */
#ifndef QS_ANS_ENCODE_H
#define QS_ANS_ENCODE_H

#include "core/ans.h"

/* Finds frequencies that sum up to 1 << log and are at least 1 for counts above 0. At least two and at most
 * 1 << log of the n ≤ 256 counts are above 0; their sum is below 2^24. */
void qs_ans_frequencies(const uint32_t *counts, unsigned n, unsigned log, uint16_t *frequencies);

/* Writes the states and the units of n symbols so that they end at `end`; returns their first byte. 2 n +
 * 4 · QS_ANS_LANES_MAX bytes in front of `end` must be writable. of[byte] has the frequency of a byte of src
 * in its lower 16 bits, and its first slot above them. */
uint8_t *qs_ans_put(const uint8_t *src, size_t n, const uint32_t of[256], unsigned log, uint8_t *end);

/* Codes n symbols, the last first, into units in front of `at`, where 2 n + 2 bytes must be writable; returns
 * the first unit. states: QS_ANS_LANES_MAX. src[0] belongs to the first lane. The scalar kernel is the oracle
 * of the other. */
typedef uint8_t *qs_ans_put_kernel(uint32_t *states, const uint8_t *src, size_t n, const uint32_t of[256],
                                   unsigned log, unsigned lanes, uint8_t *at);
qs_ans_put_kernel qs_ans_put_scalar;
qs_ans_put_kernel qs_ans_put_avx512;

#endif

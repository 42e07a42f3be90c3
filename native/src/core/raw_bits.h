/* The low bits of symbols, which are stored raw beside the coded top bits, laid out for SIMD (FORMAT.md, "Raw
 * bits"). */
#ifndef QS_RAW_BITS_H
#define QS_RAW_BITS_H

#include "bytes.h"

enum { QS_RAW_GROUP = 128 }; /* symbols whose raw bits are laid out together */

/* Bytes of the raw bits of n symbols with `bits` raw bits each. */
static inline size_t qs_raw_bits_size(size_t n, unsigned bits)
{
	return n / QS_RAW_GROUP * (QS_RAW_GROUP / 8) * bits + (n % QS_RAW_GROUP * bits + 7) / 8;
}

/* The byte of a top symbol above `bits` raw bits that are 0. Zigzag is linear over GF(2), so raw bits change
 * this byte by an XOR. */
static inline uint8_t qs_raw_bits_above(unsigned top, unsigned bits, int zigzag)
{
	unsigned u = top << bits;
	return (uint8_t)(zigzag ? u >> 1 ^ (0u - (u & 1)) : u);
}

/* Puts `bits` (0 to 7) raw bits below each of n top symbols, which dst has as qs_raw_bits_above makes them.
 * raw: qs_raw_bits_size(n, bits) bytes. */
void qs_raw_bits_merge(uint8_t *dst, size_t n, const uint8_t *raw, unsigned bits, int zigzag);

/* Merges whole groups only, with 1 to 7 bits. */
typedef void qs_raw_bits_kernel(uint8_t *dst, const uint8_t *raw, size_t groups, unsigned bits, int zigzag);

qs_raw_bits_kernel qs_raw_bits_groups;        /* vectors of 16 bytes, or words of 8 */
qs_raw_bits_kernel qs_raw_bits_groups_avx512; /* with GFNI */

#endif

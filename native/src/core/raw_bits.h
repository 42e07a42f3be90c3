/* The low bits of symbols, which are stored raw beside the coded top bits, laid out for SIMD (FORMAT.md, "Raw
 * bits"). "Group" alone means a raw group here. */
#ifndef QS_RAW_BITS_H
#define QS_RAW_BITS_H

#include "bytes.h"

enum { QS_RAW_GROUP = 128 }; /* symbols of a raw group, whose raw bits are laid out together */

/* Returns the bytes that the raw bits of n symbols take, with `bits` raw bits each. */
static inline size_t qs_raw_bits_size(size_t n, unsigned bits)
{
	return n / QS_RAW_GROUP * (QS_RAW_GROUP / 8) * bits + (n % QS_RAW_GROUP * bits + 7) / 8;
}

/* Returns the byte of a top symbol above `bits` raw bits that are 0. Zigzag is linear over GF(2), so the byte
 * with other raw bits is the XOR of this one and a byte that the raw bits alone determine. */
static inline uint8_t qs_raw_bits_above(unsigned top, unsigned bits, int zigzag)
{
	unsigned u = top << bits;
	return (uint8_t)(zigzag ? u >> 1 ^ (0u - (u & 1)) : u);
}

/* Puts `bits` (0 to 7) raw bits below each of n top symbols. dst has the symbols as qs_raw_bits_above makes
 * them. raw: qs_raw_bits_size(n, bits) bytes. */
void qs_raw_bits_merge(uint8_t *dst, size_t n, const uint8_t *raw, unsigned bits, int zigzag);

/* Does the work of qs_raw_bits_merge for whole raw groups, with 1 to 7 bits. */
typedef void qs_raw_bits_kernel(uint8_t *dst, const uint8_t *raw, size_t groups, unsigned bits, int zigzag);

qs_raw_bits_kernel qs_raw_bits_groups;        /* vectors of 16 bytes, or words of 8 */
qs_raw_bits_kernel qs_raw_bits_groups_avx512; /* with GFNI */

#endif

/* Decoding of range-ANS coded symbols, for symbol blocks for which a Huffman code, whose lengths are whole
 * bits, is too long (FORMAT.md, "Symbol blocks"). There are 8 or 32 interleaved lanes, laid out for SIMD.
 * (The ANS family: Duda, arXiv 1311.2540; interleaving: Giesen, arXiv 1402.3392.) */
#ifndef QS_ANS_H
#define QS_ANS_H

#include "bytes.h"

enum {
	QS_ANS_LOG_MIN = 5,
	QS_ANS_LOG_MAX = 12, /* frequencies sum up to at most 2^12 */
	QS_ANS_LANES_MIN = 8,
	QS_ANS_LANES_MAX = 32,
	QS_ANS_WIDE_FROM = 1 << 16, /* blocks of this many symbols or more have 32 lanes */
	QS_ANS_START = 1 << 16      /* the state that the encoder starts from and the decoder must end at */
};

/* The entry of a slot, from its lowest bit: 12 bits, the symbol's frequency; 12 bits, the slot's distance
 * from the symbol's first one; 8 bits, the symbol. */
typedef uint32_t qs_ans_entry;

#define QS_ANS_FREQUENCY(e) ((e)&0xfff)
#define QS_ANS_DISTANCE(e) ((e) >> 12 & 0xfff)
#define QS_ANS_SYMBOL(e) ((e) >> 24)

/* The decoder's state. Lanes' states are at least 2^16 between symbols. */
typedef struct qs_ans {
	uint32_t state[QS_ANS_LANES_MAX];
	const uint8_t *src, *src_end; /* 16-bit units, an even number of bytes */
	const qs_ans_entry *entries;  /* 1 << log */
	unsigned log, lanes;
} qs_ans;

/* Decodes n symbols into dst: symbol i by lane i modulo lanes. n is a multiple of the number of lanes, except
 * for qs_ans_scalar. Returns 0 when the units run out. Any state is safe: bad data gives wrong symbols, never
 * a bad access. */
typedef int qs_ans_kernel(qs_ans *ans, uint8_t *dst, size_t n);

qs_ans_kernel qs_ans_scalar;  /* the oracle: any number of symbols */
qs_ans_kernel qs_ans_simd128; /* WebAssembly SIMD, SSE4.1, NEON */
qs_ans_kernel qs_ans_avx512;  /* 32 lanes only */

/* Makes the 1 << log entries of n symbols. Their frequencies sum up to 1 << log; at least two are not 0. */
void qs_ans_entries(qs_ans_entry *entries, const uint16_t *frequencies, const uint8_t *symbols, unsigned n);

/* Reads the lanes' states and decodes n symbols from the units up to src_end. Returns 0 unless units and
 * symbols end together. */
int qs_ans_decode(const qs_ans_entry *entries, unsigned log, const uint8_t *src, size_t src_size,
                  uint8_t *dst, size_t n);

/* Returns the number of lanes of a block of n symbols. */
static inline unsigned qs_ans_lanes(size_t n)
{
	return n < QS_ANS_WIDE_FROM ? QS_ANS_LANES_MIN : QS_ANS_LANES_MAX;
}

#endif

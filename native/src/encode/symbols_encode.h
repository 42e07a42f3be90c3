/* Writing symbol blocks (core/symbols.h). */
#ifndef QS_SYMBOLS_ENCODE_H
#define QS_SYMBOLS_ENCODE_H

#include "core/symbols.h"

/* A destination that is written front to back; `bad` is set when it is full. */
typedef struct qs_writer {
	uint8_t *at, *end;
	int bad;
} qs_writer;

void qs_write8(qs_writer *w, uint8_t value);
void qs_write_bytes(qs_writer *w, const void *src, size_t n);
void qs_write_varint(qs_writer *w, uint32_t value);

/* A way to code a block, and what it costs. */
typedef struct qs_block_plan {
	unsigned type, raw_bits, zigzag;
	unsigned table_log; /* of ANS; of Huffman the longest code, 0 for one symbol */
	union {
		uint8_t lengths[256];      /* of a Huffman block, by top symbol */
		uint16_t frequencies[256]; /* of an ANS block */
	};
	uint64_t size; /* bytes */
} qs_block_plan;

/* What matters more in choosing a block's coding: how fast it is decoded, as for INT8 codes and BF16, how
 * small it is, or both. */
typedef enum qs_prefer { QS_PREFER_SPEED, QS_PREFER_BOTH, QS_PREFER_SIZE } qs_prefer;

/* A byte's top bits, after the zigzag (two's complement to sign in the lowest bit) if there is one. */
static inline unsigned qs_top_symbol(unsigned value, unsigned zigzag, unsigned raw_bits)
{
	return (zigzag ? (value << 1 & 255) ^ (value & 128 ? 255 : 0) : value) >> raw_bits;
}

/* Adds to the counts of byte values, which are kept in parts, so that runs of one value do not wait for each
 * other's stores. */
enum { QS_COUNT_PARTS = 4 };
void qs_count(const uint8_t *src, size_t n, uint32_t parts[QS_COUNT_PARTS][256]);
void qs_count_sum(uint32_t parts[QS_COUNT_PARTS][256], uint32_t counts[256]);

/* Counts of the 256 byte values. */
void qs_histogram(const uint8_t *src, size_t n, uint32_t counts[256]);

/* Bits that n symbols of these counts would take under an ideal order-0 coder. */
double qs_entropy_bits(const uint32_t counts[256]);

/* The best of raw, constant, Huffman, ANS and sparse for a block with this histogram; the sizes of the last
 * two are estimates. */
void qs_symbols_plan(const uint32_t counts[256], size_t n, qs_prefer prefer, qs_block_plan *plan);

/* The same without sparse. */
void qs_symbols_plan_dense(const uint32_t counts[256], size_t n, qs_prefer prefer, qs_block_plan *plan);

/* Writes the block as planned; scratch: n bytes. */
void qs_symbols_write(qs_writer *w, const uint8_t *src, size_t n, const qs_block_plan *plan,
                      uint8_t *scratch);

/* Plans and writes; scratch: n bytes. */
void qs_symbols_encode(qs_writer *w, const uint8_t *src, size_t n, qs_prefer prefer, uint8_t *scratch);

#endif

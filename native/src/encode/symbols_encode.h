/* Writing symbol blocks, the inverse of core/symbols.h. */
#ifndef QS_SYMBOLS_ENCODE_H
#define QS_SYMBOLS_ENCODE_H

#include "core/symbols.h"

/* Memory that is written front to back. `bad` is set when it is full. */
typedef struct qs_writer {
	uint8_t *at, *end;
	int bad;
} qs_writer;

void qs_write8(qs_writer *w, uint8_t value);
void qs_write_bytes(qs_writer *w, const void *src, size_t n);
void qs_write_varint(qs_writer *w, uint32_t value);

/* A way to code a block, and its size. */
typedef struct qs_block_plan {
	unsigned type, raw_bits, zigzag;
	unsigned
	    table_log; /* ANS: log2 of the slots; Huffman: bits of the longest code, 0 if there is one symbol */
	union {
		uint8_t lengths[256];      /* Huffman: code length, by top symbol */
		uint16_t frequencies[256]; /* ANS: by top symbol */
	};
	uint64_t size; /* bytes */
} qs_block_plan;

/* How a block's coding is chosen: by decoding speed (INT8 codes, BF16), by size, or by both. */
typedef enum qs_prefer { QS_PREFER_SPEED, QS_PREFER_BOTH, QS_PREFER_SIZE } qs_prefer;

/* Returns a byte's top symbol: the bits above its raw bits. zigzag first moves the sign to the lowest bit. */
static inline unsigned qs_top_symbol(unsigned value, unsigned zigzag, unsigned raw_bits)
{
	return (zigzag ? (value << 1 & 255) ^ (value & 128 ? 255 : 0) : value) >> raw_bits;
}

/* Adds to counts of byte values. They are kept in QS_COUNT_PARTS tables, so that counting equal bytes that
 * follow one another does not wait for the store before. */
enum { QS_COUNT_PARTS = 4 };
void qs_count(const uint8_t *src, size_t n, uint32_t parts[QS_COUNT_PARTS][256]);
void qs_count_sum(uint32_t parts[QS_COUNT_PARTS][256], uint32_t counts[256]);

/* Counts how often each byte value occurs. */
void qs_histogram(const uint8_t *src, size_t n, uint32_t counts[256]);

/* Returns the bits that symbols with these counts take under an ideal order-0 coder. */
double qs_entropy_bits(const uint32_t counts[256]);

/* Chooses between raw, constant, Huffman, ANS and sparse for a block with this histogram. The sizes of ANS
 * and sparse are estimates. */
void qs_symbols_plan(const uint32_t counts[256], size_t n, qs_prefer prefer, qs_block_plan *plan);

/* Chooses like qs_symbols_plan, but never sparse. */
void qs_symbols_plan_dense(const uint32_t counts[256], size_t n, qs_prefer prefer, qs_block_plan *plan);

/* Writes the block by the plan. scratch: n bytes. */
void qs_symbols_write(qs_writer *w, const uint8_t *src, size_t n, const qs_block_plan *plan,
                      uint8_t *scratch);

/* Plans and writes a block. scratch: n bytes. */
void qs_symbols_encode(qs_writer *w, const uint8_t *src, size_t n, qs_prefer prefer, uint8_t *scratch);

#endif

/* Writing symbol blocks (core/symbols.h). */
#ifndef QS_SYMBOLS_ENCODE_H
#define QS_SYMBOLS_ENCODE_H

#include "../core/symbols.h"

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
	unsigned type, raw_bits, zigzag, table_log;
	uint8_t lengths[256];
	uint64_t size; /* bytes */
} qs_block_plan;

/* Counts of the 256 byte values. */
void qs_histogram(const uint8_t *src, size_t n, uint32_t counts[256]);

/* Bits that n symbols of these counts would take under an ideal order-0 coder. */
double qs_entropy_bits(const uint32_t counts[256]);

/* The best of raw, constant, Huffman and sparse for a block with this histogram; the size of a sparse one is
 * an estimate. */
void qs_symbols_plan(const uint32_t counts[256], size_t n, qs_block_plan *plan);

/* Writes the block as planned; scratch: n bytes. */
void qs_symbols_write(qs_writer *w, const uint8_t *src, size_t n, const qs_block_plan *plan,
                      uint8_t *scratch);

/* Plans and writes; scratch: n bytes. */
void qs_symbols_encode(qs_writer *w, const uint8_t *src, size_t n, uint8_t *scratch);

#endif

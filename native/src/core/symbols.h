/* Decoding of symbol blocks: n bytes of which the top bits are coded by Huffman, node by node of the code's
 * tree, or by ANS, and the low bits are raw (FORMAT.md, "Symbol blocks"). INT8 codes, and the byte planes of
 * floats, are stored in such blocks. */
#ifndef QS_SYMBOLS_H
#define QS_SYMBOLS_H

#include "bytes.h"
#include "facts.h"
#include "raw_bits.h"
#include "status.h"

enum {
	QS_SPARSE_MAX = 1 << 16, /* gaps of a sparse block */
	QS_SPARSE_SKIP = 255     /* a gap of 255 common symbols that no other symbol ends */
};

/* Returns the bytes of scratch memory that qs_symbols_decode needs. */
size_t qs_symbols_workspace_size(void);

/* Decodes one block of n symbols from r into dst, which it fills exactly.
 * work: qs_symbols_workspace_size() bytes, 8-byte aligned; zstd_work as for qs_zstd_decode. */
qstore_status qs_symbols_decode(qs_reader *r, uint8_t *dst, size_t n, void *work, void *zstd_work,
                                size_t zstd_work_size);

/* If the next block is raw, skips it and returns the address of its n symbols; else returns NULL. */
const uint8_t *qs_symbols_raw(qs_reader *r, size_t n, void *work);

/* Announces that `size` bytes will be written to dst in order, symbol_size for each symbol, after the next
 * blocks are decoded. Their cache lines are fetched meanwhile. Call it before the first block; size may be 0.
 */
void qs_symbols_ahead(void *work, const uint8_t *dst, size_t size, unsigned symbol_size);

enum { QS_BLOCK_TYPES_MAX = 64 }; /* no chunk has more blocks */

/* Sets *types to the types of the blocks that were decoded since qs_symbols_ahead, in order, and returns
 * their number, at most QS_BLOCK_TYPES_MAX. */
uint32_t qs_symbols_types(const void *work, const uint8_t **types);

#endif

/* Huffman-coded streams: canonical codes of at most QS_TABLE_LOG_MAX bits, four streams decoded in step,
 * several symbols a look-up (FORMAT.md, "Symbol blocks"). */
#ifndef QS_STREAMS_H
#define QS_STREAMS_H

#include "bytes.h"

enum {
	QS_TABLE_LOG_MIN = 5,
	QS_TABLE_LOG_MAX = 11, /* longest code, and bits of one look-up */
	QS_STREAMS = 4
};

/* What decoding needs, some 32 KiB. */
typedef struct qs_stream_tables {
	uint64_t entry[1u << QS_TABLE_LOG_MAX];
	/* While entries are made: tails[1 << b | i] is the entry of i when only b bits of it are known, without
	 * symbols where the first code is longer. */
	uint64_t tails[1u << QS_TABLE_LOG_MAX];
	uint8_t lengths[256]; /* of the symbols in use */
} qs_stream_tables;

typedef struct qs_stream {
	const uint8_t *src, *src_end; /* of the bits */
	unsigned bit;                 /* 0 to 7: bits of *src already used */
	uint8_t *dst, *dst_end;
} qs_stream;

/* Addresses that are needed after the streams: their cache lines are fetched while these are decoded, a line
 * or two a round, since memory is idle then. */
typedef struct qs_ahead {
	uintptr_t read, write, write_end;
	int twice; /* two lines to write a round */
} qs_ahead;

/* lengths: of the n codes of symbols first, first + 1, …; 0 for "not used", else at most table_log. Returns 0
 * unless they fill the code space exactly. */
int qs_stream_tables_build(qs_stream_tables *t, const uint8_t *lengths, unsigned first, unsigned n,
                           unsigned table_log);

/* Decodes n streams (1 or QS_STREAMS), each from its first bit to its last and exactly to its dst_end;
 * streams' dst follow each other in memory. Bytes up to src_limit may be read. Returns 0 when a stream does
 * not end where its symbols do. */
int qs_streams_decode(qs_stream *streams, int n, const qs_stream_tables *t, unsigned table_log,
                      const uint8_t *src_limit, qs_ahead *ahead);

#endif

#include "symbols.h"

#include "ans.h"
#include "raw_bits.h"
#include "tree.h"
#include "zstd.h"

typedef struct symbols_work {
	uintptr_t write, write_end; /* memory that is written after blocks (qs_symbols_ahead) */
	unsigned write_size;        /* bytes of it for each symbol */
	union {
		qs_tree_work huffman;
		qs_ans_entry ans[1u << QS_ANS_LOG_MAX];
	} tables;
	uint8_t gaps[QS_SPARSE_MAX], others[QS_SPARSE_MAX]; /* of a sparse block */
	uint32_t n_types;                                   /* blocks since qs_symbols_ahead */
	uint8_t types[QS_BLOCK_TYPES_MAX];                  /* of these blocks */
} symbols_work;

size_t qs_symbols_workspace_size(void)
{
	return sizeof(symbols_work);
}

void qs_symbols_ahead(void *work, const uint8_t *dst, size_t size, unsigned symbol_size)
{
	symbols_work *w = work;
	w->write = (uintptr_t)dst;
	w->write_end = w->write + size;
	w->write_size = symbol_size;
	w->n_types = 0;
}

static void note_type(symbols_work *w, unsigned type)
{
	if (w->n_types < QS_BLOCK_TYPES_MAX)
		w->types[w->n_types++] = (uint8_t)type;
}

uint32_t qs_symbols_types(const void *work, const uint8_t **types)
{
	const symbols_work *w = work;
	*types = w->types;
	return w->n_types;
}

/* Returns the addresses that are needed after a segment of n symbols: its n_raw bytes of raw bits, and the
 * next bytes of the destination. */
static qs_ahead ahead_of(symbols_work *w, size_t n, const uint8_t *raw, size_t n_raw)
{
	qs_ahead a = {.read = (uintptr_t)raw, .read_end = (uintptr_t)raw + n_raw, .write = w->write};
	size_t left = w->write_end - w->write;
	w->write += n * w->write_size < left ? n * w->write_size : left;
	a.write_end = w->write;
	return a;
}

/* The head of Huffman and ANS blocks: the range of top symbols, the number of raw bits, and for ANS the log
 * of the table's size. */
typedef struct block_head {
	unsigned raw_bits, table_log, first, n_tops;
	int zigzag;
} block_head;

static int read_head(qs_reader *r, block_head *h)
{
	unsigned params = qs_read8(r), first = qs_read8(r), last = qs_read8(r);
	*h = (block_head){.raw_bits = params & 7,
	                  .table_log = params >> 4,
	                  .first = first,
	                  .n_tops = last - first + 1,
	                  .zigzag = params >> 3 & 1};
	return !r->bad && first <= last && last < 256u >> h->raw_bits;
}

/* Finds the byte of each top symbol, before raw bits are merged into it. */
static void find_symbols(const block_head *h, uint8_t symbols[256])
{
	for (unsigned t = 0; t < h->n_tops; t++)
		symbols[t] = qs_raw_bits_above(h->first + t, h->raw_bits, h->zigzag);
}

/* Reads four bits for each of n top symbols. A byte has those of two symbols, the earlier one in the low
 * half; an unused half must be zero. */
static int read_nibbles(qs_reader *r, unsigned n, uint8_t *nibbles)
{
	const uint8_t *packed = qs_read_bytes(r, (n + 1) / 2);
	if (!packed)
		return 0;
	for (unsigned i = 0; i < n; i++)
		nibbles[i] = packed[i / 2] >> (4 * (i & 1)) & 15;
	return !(n & 1 && packed[n / 2] >> 4);
}

static qstore_status decode_huffman(qs_reader *r, uint8_t *dst, size_t n, symbols_work *work)
{
	block_head h;
	if (!read_head(r, &h))
		return QSTORE_CORRUPT;
	qs_tree_work *w = &work->tables.huffman;
	uint8_t symbols[256];
	find_symbols(&h, symbols);
	if (h.n_tops > 1) {
		uint8_t lengths[256];
		if (!read_nibbles(r, h.n_tops, lengths) || !qs_tree_build(&w->tree, lengths, symbols, h.n_tops))
			return QSTORE_CORRUPT;
	}
	const uint8_t *raw = qs_read_bytes(r, qs_raw_bits_size(n, h.raw_bits));
	if (r->bad || h.table_log)
		return QSTORE_CORRUPT;
	if (h.n_tops == 1)
		memset(dst, symbols[0], n);
	/* All segments but the last have whole raw groups. */
	for (size_t segment, n_raw; n; n -= segment, dst += segment, raw += n_raw) {
		segment = n < QS_TREE_SEGMENT ? n : QS_TREE_SEGMENT;
		n_raw = qs_raw_bits_size(segment, h.raw_bits);
		if (h.n_tops > 1) {
			const uint8_t *end =
			    qs_tree_decode(w, r->at, r->end, dst, segment, ahead_of(work, segment, raw, n_raw));
			if (!end)
				return QSTORE_CORRUPT;
			r->at = end;
		}
		qs_raw_bits_merge(dst, segment, raw, h.raw_bits, h.zigzag);
	}
	return QSTORE_OK;
}

/* Reads frequencies: first the lengths of their binary numbers, then the bits below each number's first 1. */
static int read_frequencies(qs_reader *r, const block_head *h, uint16_t *frequencies)
{
	uint8_t lengths[256];
	uint32_t n_bits = 0, sum = 0;
	if (!read_nibbles(r, h->n_tops, lengths))
		return 0;
	for (unsigned i = 0; i < h->n_tops; i++) {
		if (lengths[i] > h->table_log)
			return 0;
		n_bits += lengths[i] ? lengths[i] - 1u : 0;
	}
	const uint8_t *bits = qs_read_bytes(r, (n_bits + 7) / 8);
	if (!bits)
		return 0;
	uint32_t at = 0;
	for (unsigned i = 0; i < h->n_tops; i++) {
		uint32_t f = lengths[i] > 0;
		for (unsigned b = 1; b < lengths[i]; b++, at++)
			f = f << 1 | (bits[at >> 3] >> (at & 7) & 1);
		frequencies[i] = (uint16_t)f;
		sum += f;
	}
	for (; at & 7; at++)
		if (bits[at >> 3] >> (at & 7) & 1)
			return 0;
	return sum == 1u << h->table_log;
}

static qstore_status decode_ans(qs_reader *r, uint8_t *dst, size_t n, symbols_work *work)
{
	block_head h;
	uint16_t frequencies[256];
	uint8_t symbols[256];
	if (!read_head(r, &h) || h.table_log < QS_ANS_LOG_MIN || h.table_log > QS_ANS_LOG_MAX ||
	    !read_frequencies(r, &h, frequencies))
		return QSTORE_CORRUPT;
	size_t size = qs_read_varint(r);
	const uint8_t *raw = qs_read_bytes(r, qs_raw_bits_size(n, h.raw_bits)), *units = qs_read_bytes(r, size);
	if (r->bad)
		return QSTORE_CORRUPT;
	find_symbols(&h, symbols);
	qs_ans_entries(work->tables.ans, frequencies, symbols, h.n_tops);
	if (!qs_ans_decode(work->tables.ans, h.table_log, units, size, dst, n))
		return QSTORE_CORRUPT;
	qs_raw_bits_merge(dst, n, raw, h.raw_bits, h.zigzag);
	return QSTORE_OK;
}

/* Fills dst with the common symbol, then writes the others at the places that gaps lead to. */
static qstore_status place_others(uint8_t *dst, size_t n, const uint8_t *gaps, size_t n_gaps,
                                  const uint8_t *others)
{
	size_t at = 0;
	for (size_t i = 0; i < n_gaps; i++) {
		at += gaps[i];
		if (gaps[i] == QS_SPARSE_SKIP)
			continue;
		if (at >= n)
			return QSTORE_CORRUPT;
		dst[at++] = *others++;
	}
	return QSTORE_OK;
}

static qstore_status decode_block(qs_reader *r, unsigned type, uint8_t *dst, size_t n, symbols_work *work,
                                  void *zstd_work, size_t zstd_work_size)
{
	switch (type) {
	case QS_SYMBOLS_RAW: {
		const uint8_t *p = qs_read_bytes(r, n);
		if (r->bad)
			return QSTORE_CORRUPT;
		memcpy(dst, p, n);
		return QSTORE_OK;
	}
	case QS_SYMBOLS_CONSTANT: {
		uint8_t value = qs_read8(r);
		if (r->bad)
			return QSTORE_CORRUPT;
		memset(dst, value, n);
		return QSTORE_OK;
	}
	case QS_SYMBOLS_HUFFMAN:
		return decode_huffman(r, dst, n, work);
	case QS_SYMBOLS_ANS:
		return decode_ans(r, dst, n, work);
	case QS_SYMBOLS_ZSTD: {
		size_t size = qs_read_varint(r);
		const uint8_t *p = qs_read_bytes(r, size);
		if (r->bad)
			return QSTORE_CORRUPT;
		return qs_zstd_decode(p, size, dst, n, zstd_work, zstd_work_size);
	}
	default:
		return type < QS_SYMBOLS_COUNT ? QSTORE_CORRUPT : QSTORE_NEWER;
	}
}

static qstore_status decode_sparse(qs_reader *r, uint8_t *dst, size_t n, symbols_work *w, void *zstd_work,
                                   size_t zstd_work_size)
{
	uint8_t common = qs_read8(r);
	size_t n_gaps = qs_read_varint(r), n_others = 0;
	if (r->bad || n_gaps > QS_SPARSE_MAX)
		return QSTORE_CORRUPT;
	/* The blocks inside a sparse block must not be sparse. */
	qstore_status status = decode_block(r, qs_read8(r), w->gaps, n_gaps, w, zstd_work, zstd_work_size);
	if (status)
		return status;
	for (size_t i = 0; i < n_gaps; i++)
		n_others += w->gaps[i] != QS_SPARSE_SKIP;
	status = decode_block(r, qs_read8(r), w->others, n_others, w, zstd_work, zstd_work_size);
	if (status)
		return status;
	memset(dst, common, n);
	return place_others(dst, n, w->gaps, n_gaps, w->others);
}

const uint8_t *qs_symbols_raw(qs_reader *r, size_t n, void *work)
{
	if (qs_reader_left(r) <= n || *r->at != QS_SYMBOLS_RAW)
		return NULL;
	note_type(work, QS_SYMBOLS_RAW);
	r->at++;
	return qs_read_bytes(r, n);
}

qstore_status qs_symbols_decode(qs_reader *r, uint8_t *dst, size_t n, void *work, void *zstd_work,
                                size_t zstd_work_size)
{
	unsigned type = qs_read8(r);
	note_type(work, type);
	if (type == QS_SYMBOLS_SPARSE)
		return decode_sparse(r, dst, n, work, zstd_work, zstd_work_size);
	return decode_block(r, type, dst, n, work, zstd_work, zstd_work_size);
}

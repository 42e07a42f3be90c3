#include "symbols.h"

#include "raw_bits.h"
#include "streams.h"
#include "zstd.h"

typedef struct symbols_work {
	qs_stream_tables tables;
	uint8_t gaps[QS_SPARSE_MAX], others[QS_SPARSE_MAX]; /* of a sparse block */
} symbols_work;

size_t qs_symbols_workspace_size(void)
{
	return sizeof(symbols_work);
}

static qstore_status decode_huffman(qs_reader *r, uint8_t *dst, size_t n, void *work)
{
	unsigned params = qs_read8(r), raw_bits = params & 7, zigzag = params >> 3 & 1, table_log = params >> 4;
	unsigned first = qs_read8(r), last = qs_read8(r);
	if (r->bad || last < first || last >= 256u >> raw_bits)
		return QSTORE_CORRUPT;
	unsigned n_lengths = last - first + 1;
	qs_stream_tables *t = &((symbols_work *)work)->tables;
	if (n_lengths > 1) {
		if (table_log < QS_TABLE_LOG_MIN || table_log > QS_TABLE_LOG_MAX)
			return QSTORE_CORRUPT;
		const uint8_t *packed = qs_read_bytes(r, (n_lengths + 1) / 2);
		if (!packed)
			return QSTORE_CORRUPT;
		uint8_t lengths[256];
		for (unsigned i = 0; i < n_lengths; i++)
			lengths[i] = packed[i / 2] >> (4 * (i & 1)) & 15;
		if (n_lengths & 1 && packed[n_lengths / 2] >> 4)
			return QSTORE_CORRUPT;
		if (!qs_stream_tables_build(t, lengths, first, n_lengths, table_log))
			return QSTORE_CORRUPT;
	} else if (table_log)
		return QSTORE_CORRUPT;

	size_t sizes[QS_STREAMS] = {0};
	int n_streams = n_lengths == 1 ? 0 : n < QS_SINGLE_STREAM_BELOW ? 1 : QS_STREAMS;
	for (int k = 0; k < n_streams; k++)
		sizes[k] = qs_read_varint(r);
	const uint8_t *raw = qs_read_bytes(r, qs_raw_bits_size(n, raw_bits));
	if (r->bad)
		return QSTORE_CORRUPT;
	if (n_streams == 0)
		memset(dst, (int)first, n);
	qs_stream s[QS_STREAMS];
	size_t per_stream = qs_stream_symbols(n);
	for (int k = 0; k < n_streams; k++) {
		const uint8_t *bits = qs_read_bytes(r, sizes[k]);
		if (!bits)
			return QSTORE_CORRUPT;
		size_t begin = (size_t)k * per_stream, end = begin + per_stream < n ? begin + per_stream : n;
		s[k] = (qs_stream){bits, bits + sizes[k], 0, dst + begin, dst + end};
	}
	if (!qs_streams_decode(s, n_streams, t, table_log, r->at))
		return QSTORE_CORRUPT;
	qs_raw_bits_merge(dst, n, raw, raw_bits, (int)zigzag);
	return QSTORE_OK;
}

/* One symbol everywhere, but where gaps lead to another one. */
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

static qstore_status decode_block(qs_reader *r, unsigned type, uint8_t *dst, size_t n, void *work,
                                  void *zstd_work, size_t zstd_work_size)
{
	switch (type) {
	case QS_BLOCK_RAW: {
		const uint8_t *p = qs_read_bytes(r, n);
		if (r->bad)
			return QSTORE_CORRUPT;
		memcpy(dst, p, n);
		return QSTORE_OK;
	}
	case QS_BLOCK_CONST: {
		uint8_t value = qs_read8(r);
		if (r->bad)
			return QSTORE_CORRUPT;
		memset(dst, value, n);
		return QSTORE_OK;
	}
	case QS_BLOCK_HUFFMAN:
		return decode_huffman(r, dst, n, work);
	case QS_BLOCK_ZSTD: {
		size_t size = qs_read_varint(r);
		const uint8_t *p = qs_read_bytes(r, size);
		if (r->bad)
			return QSTORE_CORRUPT;
		return qs_zstd_decode(dst, n, p, size, zstd_work, zstd_work_size);
	}
	default:
		return QSTORE_CORRUPT;
	}
}

static qstore_status decode_sparse(qs_reader *r, uint8_t *dst, size_t n, symbols_work *w, void *zstd_work,
                                   size_t zstd_work_size)
{
	uint8_t common = qs_read8(r);
	size_t n_gaps = qs_read_varint(r), n_others = 0;
	if (r->bad || n_gaps > QS_SPARSE_MAX)
		return QSTORE_CORRUPT;
	/* Blocks in a block are not sparse again. */
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

qstore_status qs_symbols_decode(qs_reader *r, uint8_t *dst, size_t n, void *work, void *zstd_work,
                                size_t zstd_work_size)
{
	unsigned type = qs_read8(r);
	if (type == QS_BLOCK_SPARSE)
		return decode_sparse(r, dst, n, work, zstd_work, zstd_work_size);
	return decode_block(r, type, dst, n, work, zstd_work, zstd_work_size);
}

#include "chunk.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "cells.h"
#include "delta.h"
#include "mode.h"
#include "planes.h"
#include "ranks.h"
#include "rules.h"
#include "symbols.h"
#include "zstd.h"

/* Scratch memory, in this order. */
typedef struct workspace {
	uint8_t *tables; /* qs_symbols_workspace_size() */
	qs_cell_cache *cells;
	uint8_t *scratch; /* QS_CHUNK_SIZE_MAX + 64: planes, one class of rows, or values of zero codes */
	uint8_t *codes;   /* QS_CHUNK_SIZE_MAX / 2: codes that a residual has changed */
	uint8_t *zstd;
	size_t zstd_size;
} workspace;

static size_t align64(size_t n)
{
	return (n + 63) & ~(size_t)63;
}

size_t qs_chunk_workspace_size(void)
{
	return 64 + align64(qs_symbols_workspace_size()) + align64(sizeof(qs_cell_cache)) + QS_CHUNK_SIZE_MAX +
	       QS_ZEROS_SLACK + QS_CHUNK_SIZE_MAX / 2 + align64(qs_zstd_workspace_size());
}

static int open_workspace(workspace *w, void *work, size_t work_size)
{
	if (!work || work_size < qs_chunk_workspace_size())
		return 0;
	uint8_t *p = work;
	p += (64 - ((uintptr_t)p & 63)) & 63;
	w->tables = p;
	p += align64(qs_symbols_workspace_size());
	w->cells = (qs_cell_cache *)p;
	p += align64(sizeof(qs_cell_cache));
	w->scratch = p;
	p += QS_CHUNK_SIZE_MAX + QS_ZEROS_SLACK;
	w->codes = p;
	p += QS_CHUNK_SIZE_MAX / 2;
	w->zstd = p;
	w->zstd_size = align64(qs_zstd_workspace_size());
	return 1;
}

uint64_t qs_checksum(const void *src, size_t src_size)
{
	return XXH3_64bits(src, src_size);
}

qstore_status qs_chunk_desc_check(const qs_chunk_desc *desc)
{
	uint32_t size = qs_dtype_size(desc->dtype);
	if (!size || !desc->cols || desc->kind >= QS_KIND_COUNT || desc->n_elems > QS_CHUNK_SIZE_MAX / size)
		return QSTORE_USAGE;
	if (desc->first_elem > UINT64_MAX - desc->n_elems || desc->cols > UINT64_MAX / 2 - QS_CHUNK_SIZE_MAX)
		return QSTORE_USAGE;
	if (desc->kind == QS_KIND_CODES && desc->dtype != QS_I8)
		return QSTORE_USAGE;
	if (desc->kind == QS_KIND_DELTA)
		return qs_delta_applies(desc->coarse_dtype, desc->dtype) && (desc->coarse || !desc->n_elems)
		           ? QSTORE_OK
		           : QSTORE_USAGE;
	if (desc->kind != QS_KIND_REFINE)
		return QSTORE_OK;
	if ((desc->dtype != QS_F16 && desc->dtype != QS_BF16) || desc->rule == QS_RULE_NONE ||
	    desc->rule >= QS_RULE_COUNT)
		return QSTORE_USAGE;
	if (desc->scales_dtype != QS_F32 && desc->scales_dtype != QS_F16 && desc->scales_dtype != QS_BF16)
		return QSTORE_USAGE;
	size_t n_scales = desc->scales_size / qs_dtype_size(desc->scales_dtype);
	if (desc->n_elems &&
	    (!desc->coarse || !desc->scales || (n_scales != 1 && n_scales < qs_chunk_rows(desc))))
		return QSTORE_USAGE;
	return QSTORE_OK;
}

float qs_chunk_scale(const qs_chunk_desc *desc, uint32_t row)
{
	size_t size =
	    desc->scales_dtype == QS_F32 ? 4 : 2; /* no calls nor divisions: this is done for each row */
	const uint8_t *scale = desc->scales + (desc->scales_size < 2 * size ? 0 : row * size);
	if (size == 4)
		return qs_load_f32(scale);
	uint16_t bits = qs_load16(scale);
	if (desc->scales_dtype == QS_F16 && (bits & 0x7c00) == 0x7c00)
		return qs_f32_from_bits(0x7fc00000); /* infinite or NaN: as unusable as the other */
	float magnitude = qs_magnitude_value(bits & 0x7fff, desc->scales_dtype);
	return bits & 0x8000 ? -magnitude : magnitude;
}

/* Symbol blocks of n bytes each, one after the other. */
static qstore_status decode_blocks(qs_reader *r, unsigned n_blocks, size_t n, uint8_t *dst, workspace *w)
{
	for (; n_blocks; n_blocks--, dst += n) {
		qstore_status status = qs_symbols_decode(r, dst, n, w->tables, w->zstd, w->zstd_size);
		if (status)
			return status;
	}
	return QSTORE_OK;
}

static qstore_status decode_planes(qs_reader *r, uint32_t dtype, size_t n, uint8_t *dst, workspace *w)
{
	unsigned size = qs_dtype_size(dtype);
	if (size == 1)
		return decode_blocks(r, 1, n, dst, w);
	qstore_status status = decode_blocks(r, size, n, w->scratch, w);
	if (!status)
		qs_planes_join(w->scratch, n, size, qs_planes_rotated(dtype), dst);
	return status;
}

static qstore_status decode_codes(qs_reader *r, const qs_chunk_desc *desc, uint8_t *dst, workspace *w)
{
	uint32_t n_classes = qs_read8(r), n_rows = qs_chunk_rows(desc);
	if (r->bad || n_classes < 1 || n_classes > QS_CLASSES_MAX)
		return QSTORE_CORRUPT;
	if (n_classes == 1)
		return decode_blocks(r, 1, desc->n_elems, dst, w);
	/* Rows' classes in front, one class's rows after them: both fit, there are at most as many rows as
	 * elements. */
	uint8_t *classes = w->scratch, *rows = w->scratch + QS_CLASSES_ELEMS_MAX;
	if (desc->n_elems > QS_CLASSES_ELEMS_MAX)
		return QSTORE_CORRUPT;
	qstore_status status = decode_blocks(r, 1, n_rows, classes, w);
	if (status)
		return status;
	for (uint32_t row = 0; row < n_rows; row++)
		if (classes[row] >= n_classes)
			return QSTORE_CORRUPT;
	for (uint32_t c = 0; c < n_classes; c++) {
		size_t n = 0;
		for (qs_row_part part = qs_first_row(desc); part.count; part = qs_next_row(desc, part))
			if (classes[part.row] == c)
				n += part.count;
		status = decode_blocks(r, 1, n, rows, w);
		if (status)
			return status;
		const uint8_t *from = rows;
		for (qs_row_part part = qs_first_row(desc); part.count; part = qs_next_row(desc, part)) {
			if (classes[part.row] != c)
				continue;
			memcpy(dst + part.begin, from, part.count);
			from += part.count;
		}
	}
	return QSTORE_OK;
}

static size_t count_zeros(const uint8_t *codes, size_t n)
{
	size_t zeros = 0, i = 0;
	for (; i + 128 <= n; i += 128) { /* a count that fits a byte, for SIMD */
		uint8_t some = 0;
		for (size_t k = 0; k < 128; k++)
			some = (uint8_t)(some + (codes[i + k] == 0));
		zeros += some;
	}
	for (; i < n; i++)
		zeros += codes[i] == 0;
	return zeros;
}

static qstore_status decode_exceptions(qs_reader *r, size_t n, uint8_t *dst)
{
	uint64_t at = 0; /* wider than a distance, in WebAssembly too */
	uint32_t count = qs_read_varint(r);
	if (r->bad || count > n)
		return QSTORE_CORRUPT;
	for (uint32_t i = 0; i < count; i++) {
		at += (uint64_t)qs_read_varint(r) + (i > 0); /* distances less one, after the first */
		const uint8_t *value = qs_read_bytes(r, 2);
		if (!value || r->bad || at >= n)
			return QSTORE_CORRUPT;
		memcpy(dst + 2 * at, value, 2);
	}
	return QSTORE_OK;
}

static qstore_status decode_lanes(qs_reader *r, const qs_chunk_desc *desc, unsigned lanes, uint8_t *dst,
                                  workspace *w)
{
	qs_ranks ranks = {.lanes = lanes, .zeros = w->scratch};
	for (unsigned lane = 0; lane < lanes; lane++) {
		const uint8_t *state = qs_read_bytes(r, 4);
		if (!state)
			return QSTORE_CORRUPT;
		ranks.low[lane] = qs_load16(state);
		ranks.high[lane] = qs_load16(state + 2);
	}
	ranks.src = r->at;
	ranks.src_end = r->end;
	if (qs_reader_left(r) & 1)
		return QSTORE_CORRUPT;
	qs_ranks_kernel *kernel = qs_ranks_best(lanes);
	qs_cell_cache_init(w->cells, desc->dtype, desc->rule);
	for (qs_row_part part = qs_first_row(desc); part.count; part = qs_next_row(desc, part)) {
		const qs_cell *cells = qs_cell_cache_get(w->cells, qs_chunk_scale(desc, part.row));
		const uint8_t *codes = desc->coarse + part.begin;
		uint8_t *out = dst + 2 * (size_t)part.begin;
		size_t whole = part.count & ~(size_t)(lanes - 1), rest = part.count - whole;
		if (!kernel(&ranks, cells, codes, whole, out))
			return QSTORE_CORRUPT;
		if (rest) {
			uint8_t tail_codes[QS_LANES_MAX], tail[2 * QS_LANES_MAX];
			memset(tail_codes, QS_PADDING_CODE, sizeof tail_codes);
			memcpy(tail_codes, codes + whole, rest);
			if (!kernel(&ranks, cells, tail_codes, lanes, tail))
				return QSTORE_CORRUPT;
			memcpy(out + 2 * whole, tail, 2 * rest);
		}
	}
	r->at = ranks.src;
	/* The encoder began where decoding must end. */
	for (unsigned lane = 0; lane < lanes; lane++)
		if (ranks.low[lane] != (QS_LANE_START & 0xffff) || ranks.high[lane] != QS_LANE_START >> 16)
			return QSTORE_CORRUPT;
	return QSTORE_OK;
}

static qstore_status decode_ranks(qs_reader *r, const qs_chunk_desc *desc, uint8_t *dst, workspace *w)
{
	uint32_t flags = qs_read8(r), n = desc->n_elems;
	if (r->bad || flags & ~(uint32_t)QS_RANKS_FLAGS)
		return QSTORE_CORRUPT;
	qs_reader exceptions = *r;
	qstore_status status;
	if (flags & QS_RANKS_EXCEPTIONS) {
		uint32_t size = qs_read_varint(r);
		const uint8_t *p = qs_read_bytes(r, size);
		if (!p)
			return QSTORE_CORRUPT;
		exceptions = (qs_reader){p, p + size, 0};
	}
	qs_chunk_desc changed = *desc;
	if (flags & QS_RANKS_RESIDUAL) {
		status = decode_blocks(r, 1, n, w->codes, w);
		if (status)
			return status;
		for (size_t i = 0; i < n; i++)
			w->codes[i] = (uint8_t)(w->codes[i] + desc->coarse[i]);
		changed.coarse = w->codes;
		desc = &changed;
	}
	size_t zeros = count_zeros(desc->coarse, n);
	if (zeros) {
		/* Their planes may stand in dst, which is not needed yet. */
		status = decode_blocks(r, 2, zeros, dst, w);
		if (status)
			return status;
		qs_planes_join(dst, zeros, 2, 1, w->scratch);
	}
	status = decode_lanes(r, desc, flags & QS_RANKS_WIDE ? QS_LANES_MAX : QS_LANES_MIN, dst, w);
	if (status)
		return status;
	if (flags & QS_RANKS_EXCEPTIONS) {
		status = decode_exceptions(&exceptions, n, dst);
		if (status || exceptions.at != exceptions.end)
			return QSTORE_CORRUPT;
	}
	return QSTORE_OK;
}

/* Differences of ordered patterns, as planes. */
static qstore_status decode_delta(qs_reader *r, const qs_chunk_desc *desc, uint8_t *dst, workspace *w)
{
	unsigned size = qs_dtype_size(desc->dtype);
	qstore_status status = decode_blocks(r, size, desc->n_elems, w->scratch, w);
	if (status)
		return status;
	qs_planes_join(w->scratch, desc->n_elems, size, 0, dst);
	qs_delta_add(desc->coarse, desc->coarse_dtype, desc->n_elems, desc->dtype, dst);
	return QSTORE_OK;
}

qstore_status qs_chunk_decode(const qs_chunk_desc *desc, const uint8_t *src, size_t src_size, uint8_t *dst,
                              size_t dst_size, void *work, size_t work_size)
{
	workspace w;
	qstore_status status = qs_chunk_desc_check(desc);
	if (status || dst_size != (size_t)desc->n_elems * qs_dtype_size(desc->dtype))
		return QSTORE_USAGE;
	if (!open_workspace(&w, work, work_size))
		return QSTORE_MEMORY;
	qs_reader r = {src, src + src_size, 0};
	switch (qs_read8(&r)) {
	case QS_MODE_RAW: {
		const uint8_t *p = qs_read_bytes(&r, dst_size);
		if (r.bad)
			return QSTORE_CORRUPT;
		memcpy(dst, p, dst_size);
		break;
	}
	case QS_MODE_ZSTD:
		status = qs_zstd_decode(dst, dst_size, r.at, qs_reader_left(&r), w.zstd, w.zstd_size);
		r.at = r.end;
		break;
	case QS_MODE_PLANES:
		status = decode_planes(&r, desc->dtype, desc->n_elems, dst, &w);
		break;
	case QS_MODE_CODES:
		status = desc->dtype == QS_I8 ? decode_codes(&r, desc, dst, &w) : QSTORE_CORRUPT;
		break;
	case QS_MODE_RANKS:
		status = desc->kind == QS_KIND_REFINE ? decode_ranks(&r, desc, dst, &w) : QSTORE_CORRUPT;
		break;
	case QS_MODE_DELTA:
		status = desc->kind == QS_KIND_DELTA ? decode_delta(&r, desc, dst, &w) : QSTORE_CORRUPT;
		break;
	default:
		return QSTORE_CORRUPT;
	}
	if (!status && (r.bad || r.at != r.end))
		status = QSTORE_CORRUPT;
	return status;
}

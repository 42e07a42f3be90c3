#include "chunk.h"

#include "delta.h"
#include "lanes.h"
#include "mode.h"
#include "peaks.h"
#include "planes.h"
#include "symbols.h"
#include "ranks.h"
#include "workspace.h"
#include "zstd.h"

_Static_assert(2 * QS_CLASSES_ELEMS_MAX <= QS_CHUNK_SIZE_MAX, "scratch memory holds classes and rows");
_Static_assert(QS_CENTRES_MAX <= QS_CHUNK_SIZE_MAX, "the values' memory holds centres");

size_t qs_chunk_workspace_size(void)
{
	return qs_workspace_bytes();
}

void qs_chunk_workspace_init(void *work)
{
	qs_workspace w;
	if (qs_workspace_open(&w, work, qs_workspace_bytes()))
		qs_cell_cache_init(w.cells, QS_F16, QS_RULE_NONE, QS_I8);
}

static int has_usable_grid(const qs_chunk_desc *desc, const qs_grid *grid)
{
	if (grid->rule == QS_RULE_NONE || grid->rule >= QS_RULE_COUNT || !grid->scales || !grid->group ||
	    !qs_dtype_is_codes(grid->codes_dtype))
		return 0;
	if (qs_rule_record_size(grid->rule) ? grid->scales_dtype != QS_BYTES
	                                    : !qs_dtype_is_scale(grid->scales_dtype))
		return 0;
	return qs_grid_covers(grid, desc->cols, desc->first_elem, desc->n_elems);
}

qstore_status qs_chunk_desc_check(const qs_chunk_desc *desc)
{
	uint32_t size = qs_dtype_size(desc->dtype);
	if (!size || !desc->cols || desc->kind >= QS_KIND_COUNT || desc->n_elems > QS_CHUNK_SIZE_MAX / size)
		return QSTORE_USAGE;
	if (desc->first_elem > UINT64_MAX - desc->n_elems || desc->cols > UINT64_MAX / 2 - QS_CHUNK_SIZE_MAX)
		return QSTORE_USAGE;
	int refine = desc->kind == QS_KIND_REFINE, codes = desc->kind == QS_KIND_CODES;
	if (!qs_kind_has_chunks(desc->kind) || (codes && !qs_dtype_is_codes(desc->dtype)))
		return QSTORE_USAGE;
	if (desc->kind == QS_KIND_DELTA)
		return qs_delta_applies(desc->coarse_dtype, desc->dtype) && (desc->coarse || !desc->n_elems)
		           ? QSTORE_OK
		           : QSTORE_USAGE;
	if (refine && desc->dtype != QS_F16 && desc->dtype != QS_BF16)
		return QSTORE_USAGE;
	if (desc->factors &&
	    (!refine || (desc->factors_dtype != QS_F16 && desc->factors_dtype != QS_BF16) ||
	     desc->coarse_grid.rule >= QS_RULE_COUNT || !qs_rule_takes_factors(desc->coarse_grid.rule)))
		return QSTORE_USAGE;
	if (!desc->n_elems || (!refine && (!codes || !desc->coarse)))
		return QSTORE_OK;
	if (!desc->coarse || desc->coarse_dtype != desc->coarse_grid.codes_dtype ||
	    !has_usable_grid(desc, &desc->coarse_grid))
		return QSTORE_USAGE;
	return refine || (desc->dtype == desc->grid.codes_dtype && has_usable_grid(desc, &desc->grid))
	           ? QSTORE_OK
	           : QSTORE_USAGE;
}

static qstore_status decode_planes(qs_reader *r, uint32_t dtype, size_t n, uint8_t *dst,
                                   const qs_workspace *w)
{
	unsigned size = qs_dtype_size(dtype);
	if (size == 1)
		return qs_decode_blocks(r, 1, n, dst, w);
	const uint8_t *planes[QS_PLANES_MAX];
	for (unsigned b = 0; b < size; b++) {
		/* A plane that is stored raw is read where it is. */
		planes[b] = qs_symbols_raw(r, n, w->tables);
		if (planes[b])
			continue;
		uint8_t *decoded = w->scratch + b * n;
		qstore_status status = qs_decode_blocks(r, 1, n, decoded, w);
		if (status)
			return status;
		planes[b] = decoded;
	}
	qs_planes_weave(planes, n, size, qs_planes_rotated(dtype), dst);
	return QSTORE_OK;
}

/* Copies a row of n bytes; dst has `room` bytes from the row's start to the end of all rows. Copying by steps
 * is faster than memcpy for short rows, and in WebAssembly, where memcpy is a call out of the module. The
 * last step may copy bytes beyond the row: it reads scratch memory's slack, and the next rows overwrite the
 * bytes that it writes. */
static void copy_row(uint8_t *dst, const uint8_t *src, size_t n, size_t room)
{
	enum { STEP = 32 };
	_Static_assert((int)STEP <= (int)QS_ESCAPES_SLACK,
	               "the last step reads no more than scratch memory's slack");
	QS_ASSERT(n <= room);
	if (room - n < STEP) {
		memcpy(dst, src, n);
		return;
	}
	for (size_t i = 0; i < n; i += STEP)
#pragma GCC unroll 4
		for (unsigned j = 0; j < STEP; j += (unsigned)sizeof(qs_lanes))
			qs_store_lanes(dst + i + j, qs_load_lanes(src + i + j));
}

/* Copies of this function for each mode would make the WebAssembly module 7 % larger. */
static __attribute__((noinline)) qstore_status decode_codes(qs_reader *r, const qs_chunk_desc *desc,
                                                            uint8_t *dst, const qs_workspace *w)
{
	uint32_t n_classes = qs_read8(r), n_rows = qs_chunk_rows(desc);
	if (r->bad || n_classes < 1 || n_classes > QS_CLASSES_MAX)
		return QSTORE_CORRUPT;
	if (n_classes == 1)
		return qs_decode_blocks(r, 1, desc->n_elems, dst, w);
	/* Scratch memory has the rows' classes first, then the rows, class by class. Both fit, because there are
	 * at most as many rows as elements. */
	uint8_t *classes = w->scratch, *rows = w->scratch + QS_CLASSES_ELEMS_MAX;
	if (desc->n_elems > QS_CLASSES_ELEMS_MAX)
		return QSTORE_CORRUPT;
	qstore_status status = qs_decode_blocks(r, 1, n_rows, classes, w);
	if (status)
		return status;
	for (uint32_t row = 0; row < n_rows; row++)
		if (classes[row] >= n_classes)
			return QSTORE_CORRUPT;
	size_t sizes[QS_CLASSES_MAX] = {0};
	for (qs_row_slice slice = qs_first_row(desc); slice.count; slice = qs_next_row(desc, slice))
		sizes[classes[slice.row]] += slice.count;
	const uint8_t *from[QS_CLASSES_MAX];
	for (uint32_t c = 0; c < n_classes; c++) {
		status = qs_decode_blocks(r, 1, sizes[c], rows, w);
		if (status)
			return status;
		from[c] = rows;
		rows += sizes[c];
	}
	for (qs_row_slice slice = qs_first_row(desc); slice.count; slice = qs_next_row(desc, slice)) {
		const uint8_t **next = &from[classes[slice.row]];
		copy_row(dst + slice.begin, *next, slice.count, desc->n_elems - slice.begin);
		*next += slice.count;
	}
	return QSTORE_OK;
}

/* Decodes codes of long rows, which are coded in classes of shorter ones. */
static qstore_status decode_folded(qs_reader *r, const qs_chunk_desc *desc, uint8_t *dst,
                                   const qs_workspace *w)
{
	uint32_t log = qs_read8(r);
	if (r->bad || log < QS_FOLD_LOG_MIN || log > QS_FOLD_LOG_MAX)
		return QSTORE_CORRUPT;
	qs_chunk_desc folded = qs_folded(desc, log);
	return decode_codes(r, &folded, dst, w);
}

static void add_centres(const qs_chunk_desc *desc, const uint8_t *centres, int by_row, uint8_t *dst)
{
	for (qs_row_slice slice = qs_first_row(desc); slice.count; slice = qs_next_row(desc, slice)) {
		uint8_t *codes = dst + slice.begin;
		const uint8_t *columns = centres + (slice.row ? 0 : desc->first_elem % desc->cols);
		if (by_row)
			for (uint32_t i = 0; i < slice.count; i++)
				codes[i] = (uint8_t)(codes[i] + centres[slice.row]);
		else
			for (uint32_t i = 0; i < slice.count; i++)
				codes[i] = (uint8_t)(codes[i] + columns[i]);
	}
}

/* Decodes codes that are stored as distances to a centre of their column or row. */
static qstore_status decode_centred(qs_reader *r, const qs_chunk_desc *desc, uint8_t *dst,
                                    const qs_workspace *w)
{
	uint32_t flags = qs_read8(r);
	int by_row = flags & QS_CENTRED_ROWS;
	uint64_t n = by_row ? qs_chunk_rows(desc) : desc->cols;
	uint8_t *centres = w->values; /* which no other step of decoding codes uses */
	if (r->bad || flags & ~(uint32_t)QS_CENTRED_FLAGS || n > QS_CENTRES_MAX)
		return QSTORE_CORRUPT;
	qstore_status status = qs_decode_blocks(r, 1, (size_t)n, centres, w);
	if (!status)
		status = decode_codes(r, desc, dst, w);
	if (!status)
		add_centres(desc, centres, by_row, dst);
	return status;
}

/* Decodes codes whose peaks (peaks.h) are coded apart from the other codes. */
static qstore_status decode_peaks(qs_reader *r, const qs_chunk_desc *desc, uint8_t *dst,
                                  const qs_workspace *w)
{
	qs_peaks peaks;
	qstore_status status = qs_peaks_read(r, desc, &peaks, w);
	if (status)
		return status;
	qs_chunk_desc others = qs_peaks_rest(&peaks, desc);
	status = decode_codes(r, &others, dst + (desc->n_elems - others.n_elems), w);
	if (!status)
		qs_peaks_place(&peaks, desc->n_elems >> peaks.group_log, dst, w->scratch);
	return status;
}

static qstore_status decode_recoded(qs_reader *r, const qs_chunk_desc *desc, uint8_t *dst,
                                    const qs_workspace *w)
{
	if (!desc->coarse)
		return desc->n_elems ? QSTORE_CORRUPT : QSTORE_OK;
	qstore_status status = decode_codes(r, desc, dst, w);
	if (status)
		return status;
	qs_predict_codes(desc, w->scratch);
	for (uint32_t i = 0; i < desc->n_elems; i++)
		dst[i] = (uint8_t)(dst[i] + w->scratch[i]);
	return QSTORE_OK;
}

/* Decodes records of desc->cols bytes, of which each byte position has a symbol block of its own. */
static qstore_status decode_records(qs_reader *r, const qs_chunk_desc *desc, uint8_t *dst,
                                    const qs_workspace *w)
{
	uint32_t size = (uint32_t)desc->cols, n = desc->n_elems / size;
	if (desc->cols > QS_RECORD_SIZE_MAX || desc->first_elem % size || desc->n_elems % size)
		return QSTORE_CORRUPT;
	qstore_status status = qs_decode_blocks(r, size, n, w->scratch, w);
	for (uint32_t c = 0; c < size && !status; c++)
		for (uint32_t i = 0; i < n; i++)
			dst[i * size + c] = w->scratch[c * n + i];
	return status;
}

/* Decodes floats that are stored as planes of differences to coarser values (delta.h). */
static qstore_status decode_delta(qs_reader *r, const qs_chunk_desc *desc, uint8_t *dst,
                                  const qs_workspace *w)
{
	unsigned size = qs_dtype_size(desc->dtype);
	qstore_status status = qs_decode_blocks(r, size, desc->n_elems, w->scratch, w);
	if (status)
		return status;
	qs_planes_join(w->scratch, desc->n_elems, size, 0, dst);
	qs_delta_add(desc->coarse, desc->coarse_dtype, desc->n_elems, desc->dtype, dst);
	return QSTORE_OK;
}

/* Decodes floats that are stored column by column, as differences to the value above. */
static qstore_status decode_columns(qs_reader *r, const qs_chunk_desc *desc, uint8_t *dst,
                                    const qs_workspace *w)
{
	unsigned size = qs_dtype_size(desc->dtype);
	if (desc->first_elem % desc->cols || desc->n_elems % desc->cols)
		return QSTORE_CORRUPT;
	size_t n = desc->n_elems, cols = n ? (size_t)desc->cols : 0;
	qstore_status status = qs_decode_blocks(r, size, n, w->scratch, w);
	if (status)
		return status;
	const uint8_t *at = w->scratch;
	for (unsigned b = size; b-- > 0;)
		for (size_t c = 0; c < cols; c++)
			for (size_t i = c; i < n; i += cols)
				dst[size * i + b] = *at++;
	memset(w->values, 0, size * cols);
	const uint8_t *above = w->values;
	for (size_t i = 0; i < n; i += cols) {
		qs_delta_add(above, desc->dtype, cols, desc->dtype, dst + size * i);
		above = dst + size * i;
	}
	return QSTORE_OK;
}

qstore_status qs_chunk_decode(const qs_chunk_desc *desc, const uint8_t *src, size_t src_size, uint8_t *dst,
                              size_t dst_size, void *work, size_t work_size)
{
	qs_workspace w;
	qstore_status status = qs_chunk_desc_check(desc);
	if (status || dst_size != (size_t)desc->n_elems * qs_dtype_size(desc->dtype))
		return QSTORE_USAGE;
	if (!qs_workspace_open(&w, work, work_size))
		return QSTORE_MEMORY;
	qs_reader r = {src, src + src_size, 0};
	qs_symbols_ahead(w.tables, dst, dst_size, qs_dtype_size(desc->dtype));
	uint32_t mode = qs_read8(&r);
	if (mode >= QS_MODE_COUNT)
		return QSTORE_NEWER;
	if (!qs_mode_applies(mode, desc->kind, desc->dtype))
		return QSTORE_CORRUPT;
	switch (mode) {
	case QS_MODE_RAW: {
		const uint8_t *p = qs_read_bytes(&r, dst_size);
		if (r.bad)
			return QSTORE_CORRUPT;
		memcpy(dst, p, dst_size);
		break;
	}
	case QS_MODE_ZSTD:
		status = qs_zstd_decode(r.at, qs_reader_left(&r), dst, dst_size, w.zstd, w.zstd_size);
		r.at = r.end;
		break;
	case QS_MODE_PLANES:
		status = decode_planes(&r, desc->dtype, desc->n_elems, dst, &w);
		break;
	case QS_MODE_CODES:
		status = decode_codes(&r, desc, dst, &w);
		break;
	case QS_MODE_FOLDED:
		status = decode_folded(&r, desc, dst, &w);
		break;
	case QS_MODE_CENTRED:
		status = decode_centred(&r, desc, dst, &w);
		break;
	case QS_MODE_PEAKS:
		status = decode_peaks(&r, desc, dst, &w);
		break;
	case QS_MODE_RANKS:
		status = qs_decode_ranks(&r, desc, dst, &w);
		break;
	case QS_MODE_DELTA:
		status = decode_delta(&r, desc, dst, &w);
		break;
	case QS_MODE_COLUMNS:
		status = decode_columns(&r, desc, dst, &w);
		break;
	case QS_MODE_RECODED:
		status = decode_recoded(&r, desc, dst, &w);
		break;
	case QS_MODE_RECORDS:
		status = decode_records(&r, desc, dst, &w);
		break;
	default:
		return QSTORE_CORRUPT;
	}
	if (!status && (r.bad || r.at != r.end))
		status = QSTORE_CORRUPT;
	return status;
}

_Static_assert((int)QS_RECORD_SIZE_MAX <= (int)QS_BLOCK_TYPES_MAX,
               "a chunk of records has more blocks than are noted");

uint32_t qs_chunk_block_types(void *work, size_t work_size, const uint8_t **types)
{
	qs_workspace w;
	*types = NULL;
	return qs_workspace_open(&w, work, work_size) ? qs_symbols_types(w.tables, types) : 0;
}

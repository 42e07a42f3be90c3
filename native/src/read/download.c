#include "download.h"

#include <stdlib.h>

#include "core/grid.h"
#include "core/layout.h"

/* Two ranges with at most so many bytes between them are fetched as one (js/plan/ranges.js, coalesce). */
#define GAP_MAX 32768u

/* The chunks that a variant needs. */
typedef struct needs {
	const qs_index *index;
	uint8_t *chunks; /* 1: needed; one for each chunk of the index */
	uint8_t *wholes; /* 1: all chunks are noted; one for each object */
} needs;

static void need_elems(needs *n, uint32_t number, uint64_t first, uint64_t count)
{
	qs_object plain;
	if (number == QS_NONE || count == 0)
		return;
	qs_index_object(n->index, number, &plain);
	for (uint64_t i = first / plain.chunk_elems; i <= (first + count - 1) / plain.chunk_elems; i++)
		n->chunks[plain.first_chunk + i] = 1;
}

/* Notes what codes [first, first + count) need of their grid. */
static void need_grid(needs *n, const qs_object *codes, uint64_t first, uint64_t count)
{
	static const uint8_t some_order;
	uint64_t at, scales;
	qs_object object;
	qs_index_object(n->index, codes->scales, &object);
	qs_grid grid = {.rule = codes->rule,
	                .codes_dtype = codes->dtype,
	                .group = codes->group,
	                .row_stride = codes->row_stride,
	                .group_stride = codes->group_stride,
	                .scales_dtype = object.dtype,
	                .order = codes->order == QS_NONE ? NULL : &some_order};
	qs_grid_needs(&grid, codes->cols, first, count, &at, &scales);
	need_elems(n, codes->scales, at, scales);
	need_elems(n, codes->zero_points, grid.scales_first, grid.zero_points_size);
	need_elems(n, codes->order, 0, codes->cols);
}

/* Notes the chunk of a part, and all that decoding it takes. An object builds on one of a smaller number, so
 * the recursion ends; chains are a few objects long. */
static void need_part(needs *n, uint32_t number, uint64_t part)
{
	qs_object object, coarse;
	qs_index_object(n->index, number, &object);
	if (object.kind == QS_KIND_BASE)
		return;
	if (object.n_chunks > 0) {
		if (n->chunks[object.first_chunk + part])
			return;
		n->chunks[object.first_chunk + part] = 1;
	}
	if (object.coarse == QS_NONE)
		return;
	qs_index_object(n->index, object.coarse, &coarse);
	if (qs_object_is_by_columns(&object)) {
		uint64_t n_parts = n->wholes[object.coarse] ? 0 : qs_object_n_parts(&coarse);
		n->wholes[object.coarse] = 1;
		for (uint64_t i = 0; i < n_parts; i++)
			need_part(n, object.coarse, i);
		return;
	}
	need_part(n, object.coarse, part);
	if (object.kind == QS_KIND_LAYOUT && object.rule == QS_LAYOUT_JOINED)
		need_part(n, object.beside, part);
	if (object.kind == QS_KIND_DELTA || (object.kind == QS_KIND_LAYOUT && object.rule != QS_LAYOUT_BLOCKS))
		return;
	uint64_t first = part * object.chunk_elems, left = object.n_elems - first;
	uint64_t count = left < object.chunk_elems ? left : object.chunk_elems;
	need_grid(n, &coarse, first, count);
	if (object.kind == QS_KIND_CODES)
		need_grid(n, &object, first, count);
	if (object.kind == QS_KIND_REFINE)
		need_elems(n, object.scales, 0, object.cols);
}

static void need_file(needs *n, const qs_file *file)
{
	for (uint32_t i = 0; i < file->n_extents; i++) {
		qs_extent extent;
		qs_object object;
		qs_index_extent(n->index, file->first_extent + i, &extent);
		qs_index_object(n->index, extent.object, &object);
		uint64_t part_bytes = qs_part_bytes(&object);
		for (uint64_t part = extent.offset / part_bytes;
		     part <= (extent.offset + extent.size - 1) / part_bytes; part++)
			need_part(n, extent.object, part);
	}
}

/* Bytes that are fetched so far, and where the last range ends. */
typedef struct fetched {
	uint64_t size, end;
} fetched;

static void fetch(fetched *f, uint64_t offset, uint64_t size)
{
	uint64_t end = offset + size;
	if (end <= f->end)
		return;
	f->size += offset <= f->end + GAP_MAX ? end - f->end : size;
	f->end = end;
}

static int compare_offsets(const void *a, const void *b)
{
	const qs_file *x = a, *y = b;
	return (x->offset > y->offset) - (x->offset < y->offset);
}

qstore_status qs_download_size(const qs_index *index, uint64_t payload_offset, uint32_t variant,
                               uint64_t *size, qstore_error *error)
{
	needs n = {.index = index,
	           .chunks = calloc((size_t)index->n_chunks + 1, 1),
	           .wholes = calloc((size_t)index->n_objects + 1, 1)};
	qs_file *members = malloc(((size_t)index->n_files + 1) * sizeof(*members));
	size_t n_members = 0;
	fetched f = {.size = payload_offset, .end = payload_offset};
	if (n.chunks && n.wholes && members) {
		for (uint32_t i = 0; i < index->n_files; i++) {
			qs_file file;
			qs_index_file(index, i, &file);
			if (!(file.variants >> variant & 1))
				continue;
			need_file(&n, &file);
			if (qs_file_is_member(&file) && file.coded_size > 0)
				members[n_members++] = file;
		}
		if (n_members > 0)
			qsort(members, n_members, sizeof(*members), compare_offsets);
		for (size_t i = 0; i < n_members; i++)
			fetch(&f, payload_offset + members[i].offset, members[i].coded_size);
		for (uint32_t i = 0; i < index->n_objects; i++) {
			qs_object object;
			qs_index_object(index, i, &object);
			uint64_t at = payload_offset + object.offset;
			for (uint32_t k = 0; k < object.n_chunks; k++) {
				uint32_t coded = qs_index_chunk_size(index, object.first_chunk + k);
				if (n.chunks[object.first_chunk + k])
					fetch(&f, at, coded);
				at += coded;
			}
		}
	}
	int ok = n.chunks && n.wholes && members;
	free(n.chunks);
	free(n.wholes);
	free(members);
	*size = f.size;
	return ok ? QSTORE_OK : qs_no_memory(error);
}

/* Limits on what an archive makes a reader hold and do (FORMAT.md, 4.1). Archives that the packer makes are
 * far from them; those that are made to harm are refused before any work is done. */
#include <string.h>

#include "bytes.h"
#include "index_check.h"

static uint64_t min64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* The bytes of the names of n records, of which the first field is the name; at most `most` + 1. */
static uint64_t names_size(const qs_index *index, size_t array, uint32_t n, size_t record_size, uint64_t most)
{
	uint64_t sum = 0;
	for (uint32_t i = 0; i < n && sum <= most; i++) {
		uint32_t offset = qs_load32(qs_index_record(index, array, i, record_size));
		if (offset < index->strings_size) /* else it is refused later */
			sum += strlen((const char *)index->body + index->strings + offset) + 1;
	}
	return min64(sum, most + 1);
}

int qs_names_are_allowed(const qs_index *index)
{
	uint64_t most = (uint64_t)index->strings_size + QS_NAMES_FREE;
	uint64_t files = names_size(index, index->files, index->n_files, QS_FILE_SIZE, most);
	return files + names_size(index, index->tensors, index->n_tensors, QS_TENSOR_SIZE, most) <= most;
}

/* ---- Grids and factors ---- */

/* Elements of a plain object that one part of another object needs. */
typedef struct side {
	uint32_t object;
	uint64_t n_elems;
} side;

/* May the part's reader hold these elements? Adds their bytes to *size. */
static int side_is_allowed(const qs_index *index, side s, uint64_t *size)
{
	qs_object object;
	qs_index_object(index, s.object, &object);
	uint64_t n_bytes = min64(s.n_elems, object.n_elems) * qs_dtype_size(object.dtype);
	uint64_t n_chunks = min64(min64(s.n_elems, object.n_elems) / object.chunk_elems + 2, object.n_chunks);
	*size += n_bytes;
	return (n_bytes <= QS_SIDE_FREE || (n_bytes - QS_SIDE_FREE) / QS_FRAME_RATIO <= object.coded_size) &&
	       n_chunks <= QS_SIDE_CHUNKS + n_bytes / QS_SIDE_CHUNK_SIZE;
}

/* Are the sides of all parts of an object few bytes, next to those of the object? size: bytes that one part
 * needs at most. */
static int sides_are_allowed(const qs_object *object, uint64_t size)
{
	uint64_t n_parts = qs_object_n_parts(object);
	uint64_t most = QS_WORK_FREE + QS_WORK_RATIO * min64(qs_object_bytes(object), QS_SIZE_LIMIT / 1024);
	return size == 0 || n_parts <= most / size;
}

/* The most scales from the first to the last one that a part of codes needs. The index's checks have shown
 * that the numbers of all scales are below 2^59. */
static uint64_t grid_window(const qs_object *object)
{
	uint64_t cols = object->cols, elems = object->chunk_elems, rows;
	uint64_t n_groups = object->order != QS_NONE ? object->n_groups : (cols - 1) / object->group + 1;
	if (elems >= cols) {
		rows = elems / cols;
	} else {
		/* A part that begins within a row may end in the next one. */
		rows = cols % elems == 0 ? 1 : 2;
		if (rows == 1 && object->order == QS_NONE)
			n_groups = min64(n_groups, elems / object->group + 2);
	}
	rows = min64(rows, (object->n_elems - 1) / cols + 1);
	return (rows - 1) * object->row_stride + (n_groups - 1) * object->group_stride + 1;
}

static int grid_is_allowed(const qs_index *index, const qs_object *object)
{
	uint64_t size = 0, scales = grid_window(object), record = qs_rule_record_size(object->rule);
	if (object->zero_points != QS_NONE && !side_is_allowed(index, (side){object->zero_points, scales}, &size))
		return 0;
	if (object->order != QS_NONE && !side_is_allowed(index, (side){object->order, object->cols}, &size))
		return 0;
	if (record != 0)
		scales = (scales / qs_rule_record_scales(object->rule) + 2) * record;
	return side_is_allowed(index, (side){object->scales, scales}, &size) && sides_are_allowed(object, size);
}

static int factors_are_allowed(const qs_index *index, const qs_object *object)
{
	uint64_t size = 0;
	return side_is_allowed(index, (side){object->scales, object->cols}, &size) &&
	       sides_are_allowed(object, size);
}

/* ---- Matrices that are held as a whole ---- */

/* May a reader hold all of the matrix that the layout is made of? */
static int whole_is_allowed(const qs_index *index, const qs_object *layout)
{
	uint64_t coded_size = 0;
	qs_object object = *layout;
	while (object.coarse != QS_NONE) {
		qs_index_object(index, object.coarse, &object);
		/* Each is below 2^62, and chains are short. The base's bytes are no work of the archive's: whoever
		 * has the base has given them. */
		coded_size += object.kind == QS_KIND_BASE ? qs_object_bytes(&object) : object.coded_size;
	}
	qs_index_object(index, layout->coarse, &object);
	return qs_frame_is_allowed(qs_object_bytes(&object), coded_size);
}

static int object_is_allowed(const qs_index *index, const qs_object *object)
{
	if (qs_object_is_by_columns(object))
		return whole_is_allowed(index, object);
	if (object->kind == QS_KIND_REFINE && object->scales != QS_NONE)
		return factors_are_allowed(index, object);
	return object->kind != QS_KIND_CODES || object->rule == QS_RULE_NONE || grid_is_allowed(index, object);
}

/* ---- Extents ---- */

/* Counts how often files use parts, and bytes of matrices that are decoded as a whole for their extents. */
static int extents_are_allowed(const qs_index *index)
{
	uint64_t uses_max =
	    QS_USES_FREE + (uint64_t)QS_USES_RATIO * index->n_parts + 2 * (uint64_t)index->n_extents;
	uint64_t n_uses = 0, size = 0, whole_size = 0;
	uint32_t whole = QS_NONE; /* the matrix that a reader has */
	for (uint32_t i = 0; i < index->n_extents; i++) {
		qs_extent extent;
		qs_object object, matrix;
		qs_index_extent(index, i, &extent);
		qs_index_object(index, extent.object, &object);
		uint64_t part_size = qs_part_bytes(&object);
		n_uses += (extent.offset + extent.size - 1) / part_size - extent.offset / part_size + 1;
		size += min64(extent.size, QS_SIZE_LIMIT / 1024 - min64(size, QS_SIZE_LIMIT / 1024));
		if (qs_object_is_by_columns(&object) && object.coarse != whole) {
			whole = object.coarse;
			qs_index_object(index, whole, &matrix);
			whole_size += qs_object_bytes(&matrix);
		}
		if (n_uses > uses_max)
			return 0;
	}
	/* Matrices are below 2^33 bytes, and extents fewer than 2^26, so the sum does not wrap. */
	return n_uses <= QS_SMALL_USES_FREE + 2 * (uint64_t)index->n_extents + size / QS_USE_SIZE &&
	       whole_size <= QS_WORK_FREE + QS_WORK_RATIO * size;
}

int qs_objects_are_allowed(const qs_index *index)
{
	for (uint32_t i = 0; i < index->n_objects; i++) {
		qs_object object;
		qs_index_object(index, i, &object);
		if (object.n_elems > 0 && !object_is_allowed(index, &object))
			return 0;
	}
	return extents_are_allowed(index);
}

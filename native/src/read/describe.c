/* Names for messages: the tensor or the file that bytes belong to. */
#include "describe.h"

#include <stdlib.h>

uint32_t qs_archive_tensor_at(const qstore_archive *archive, uint32_t file, uint64_t offset)
{
	/* Tensors are sorted by file and offset. The last one that does not begin behind the byte is looked for.
	 */
	uint32_t low = 0, high = archive->index.n_tensors;
	qs_tensor tensor;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		qs_index_tensor(&archive->index, middle, &tensor);
		if (tensor.file < file || (tensor.file == file && tensor.offset <= offset))
			low = middle + 1;
		else
			high = middle;
	}
	/* Tensors without elements begin where others do. */
	for (uint32_t i = low; i-- > 0;) {
		qs_index_tensor(&archive->index, i, &tensor);
		if (tensor.file != file || (tensor.size > 0 && offset - tensor.offset >= tensor.size))
			break;
		if (tensor.size > 0)
			return i;
	}
	return QS_NONE;
}

/* ---- Owners of objects ---- */

/* Where an object is in the files of the archive. */
typedef struct place {
	const char *tensor; /* NULL: it is outside the tensors of `file` */
	const char *file;
	int is_part; /* is it a part of the tensor? Else it is all of it */
} place;

/* Finds a tensor, else a file, that is made of one of the objects that are marked. */
static int find_place(const qstore_archive *archive, const uint8_t *marked, place *found)
{
	const qs_index *index = &archive->index;
	for (uint32_t i = 0; i < index->n_tensors; i++) {
		qs_tensor tensor;
		qs_index_tensor(index, i, &tensor);
		if (tensor.object != QS_NONE && marked[tensor.object]) {
			*found = (place){.tensor = tensor.name};
			return 1;
		}
	}
	for (uint32_t i = 0; i < index->n_files; i++) {
		qs_file file;
		qs_index_file(index, i, &file);
		for (uint32_t j = file.first_extent; j < file.first_extent + file.n_extents; j++) {
			qs_extent extent;
			qs_object object;
			qs_tensor tensor;
			qs_index_extent(index, j, &extent);
			if (!marked[extent.object])
				continue;
			qs_index_object(index, extent.object, &object);
			uint32_t number = object.dtype == QS_BYTES
			                      ? QS_NONE
			                      : qs_archive_tensor_at(archive, i, archive->extent_offsets[j]);
			*found = (place){.file = file.name, .is_part = 1};
			if (number != QS_NONE) {
				qs_index_tensor(index, number, &tensor);
				found->tensor = tensor.name;
			}
			return 1;
		}
	}
	return 0;
}

static int is_marked(const uint8_t *marked, uint32_t object)
{
	return object != QS_NONE && marked[object];
}

/* Marks the objects that build on marked ones. Returns 0 if there are none. */
static int mark_users(const qs_index *index, uint8_t *marked)
{
	int found = 0;
	for (uint32_t i = 0; i < index->n_objects; i++) {
		qs_object object;
		qs_index_object(index, i, &object);
		/* The objects of zero points, or those beside, share a field. */
		if (!marked[i] && (is_marked(marked, object.coarse) || is_marked(marked, object.scales) ||
		                   is_marked(marked, object.zero_points) || is_marked(marked, object.order)))
			marked[i] = (uint8_t)(found = 1);
	}
	return found;
}

qstore_status qs_part_fail(const qs_part *part, qstore_status status, const char *what, qstore_error *error)
{
	const qstore_archive *archive = part->archive;
	const char *path = archive->path;
	unsigned long long n_parts = qs_object_n_parts(&part->object);
	uint32_t number = part->number + 1;
	uint8_t *marked = calloc(archive->index.n_objects, 1);
	place found = {0};
	int is_found = 0, is_built_on = 0;
	if (marked) {
		marked[part->object_number] = 1;
		is_found = find_place(archive, marked, &found);
		while (!is_found && mark_users(&archive->index, marked))
			is_found = is_built_on = find_place(archive, marked, &found);
	}
	free(marked);
	if (!is_found)
		return qs_fail(error, status, "%s: object %u: chunk %u of %llu %s", path, part->object_number, number,
		               n_parts, what);
	const char *of = is_built_on ? " of what it builds on" : found.is_part ? " of a part" : "";
	if (!found.tensor)
		return qs_fail(error, status, "%s: file %.400s: chunk %u of %llu%s %s", path, found.file, number,
		               n_parts, is_built_on ? of : " of the bytes outside its tensors", what);
	return qs_fail(error, status, "%s: tensor %.400s: chunk %u of %llu%s %s", path, found.tensor, number,
	               n_parts, of, what);
}

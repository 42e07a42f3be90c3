#include "part.h"

#include <assert.h>
#include <stdlib.h>

#include "core/checksum.h"
#include "describe.h"
#include "os/search.h"

qs_part qs_part_of(const qstore_archive *archive, uint32_t object_number, uint32_t number)
{
	qs_part part = {.archive = archive, .object_number = object_number, .number = number};
	assert(object_number < archive->index.n_objects);
	qs_index_object(&archive->index, object_number, &part.object);
	return part;
}

uint64_t qs_part_first(const qs_part *part)
{
	return (uint64_t)part->number * part->object.chunk_elems;
}

uint32_t qs_part_elems(const qs_part *part)
{
	uint64_t left = part->object.n_elems - qs_part_first(part);
	return left < part->object.chunk_elems ? (uint32_t)left : part->object.chunk_elems;
}

uint32_t qs_part_size(const qs_part *part)
{
	return qs_part_elems(part) / qs_block_elems(part->object.dtype) * qs_block_size(part->object.dtype);
}

static uint64_t number_at(const void *number)
{
	return *(const uint64_t *)number;
}

qs_part_walk qs_part_walk_start(const qstore_archive *archive, const qs_file *file, uint64_t offset,
                                uint64_t size)
{
	assert(file->kind == QS_FILE_ASSEMBLED && offset <= file->size && size <= file->size - offset);
	const uint64_t *offsets = archive->extent_offsets + file->first_extent;
	uint32_t extent = file->first_extent +
	                  (uint32_t)qs_last_begun(offsets, file->n_extents, sizeof(*offsets), offset, number_at);
	return (qs_part_walk){
	    .archive = archive, .file = *file, .extent = extent, .offset = offset, .left = size};
}

int qs_part_walk_next(qs_part_walk *walk, qs_part_range *range)
{
	qs_extent extent;
	qs_object object;
	uint64_t skip;
	if (walk->left == 0)
		return 0;
	for (;; walk->extent++) {
		assert(walk->extent < walk->file.first_extent + walk->file.n_extents);
		qs_index_extent(&walk->archive->index, walk->extent, &extent);
		skip = walk->offset - walk->archive->extent_offsets[walk->extent];
		if (skip < extent.size)
			break;
	}
	qs_index_object(&walk->archive->index, extent.object, &object);
	uint64_t at = extent.offset + skip, part_size = qs_part_bytes(&object), n = extent.size - skip;
	n = n < part_size - at % part_size ? n : part_size - at % part_size;
	n = n < walk->left ? n : walk->left;
	*range = (qs_part_range){.object = extent.object,
	                         .part = (uint32_t)(at / part_size),
	                         .skip = (uint32_t)(at % part_size),
	                         .size = (uint32_t)n};
	walk->offset += n;
	walk->left -= n;
	return 1;
}

int qs_chunk_memory_create(qs_chunk_memory *memory)
{
	memory->work_size = (qs_chunk_workspace_size() + 63) / 64 * 64;
	memory->coded = malloc(QS_CHUNK_CODED_MAX);
	memory->work = aligned_alloc(64, memory->work_size);
	if (!memory->coded || !memory->work)
		return 0;
	qs_chunk_workspace_init(memory->work);
	return 1;
}

void qs_chunk_memory_free(qs_chunk_memory *memory)
{
	qs_pin_memory_free(&memory->pin);
	free(memory->coded);
	free(memory->work);
}

qstore_status qs_part_read(const qs_part *part, qs_chunk_memory *memory, int check, size_t *coded_size,
                           qstore_error *error)
{
	const qstore_archive *archive = part->archive;
	assert(part->number < part->object.n_chunks);
	uint32_t chunk = part->object.first_chunk + part->number;
	uint64_t offset = archive->chunk_offsets[chunk];
	*coded_size = qs_index_chunk_size(&archive->index, chunk);
	if (offset + *coded_size > archive->source.size)
		return qs_part_fail(part, QSTORE_TRUNCATED, "is beyond the end of this file", error);
	qstore_status status = archive->pin
	                           ? qs_pin_read(archive, chunk, &memory->pin, memory->coded, error)
	                           : qs_source_read(&archive->source, offset, *coded_size, memory->coded, error);
	if (status)
		return status;
	if (check &&
	    (uint32_t)qs_checksum(memory->coded, *coded_size) != qs_index_chunk_checksum(&archive->index, chunk))
		return qs_part_fail(part, QSTORE_CORRUPT, "is damaged: its checksum differs", error);
	return QSTORE_OK;
}

qs_chunk_desc qs_part_describe(const qs_part *part)
{
	return (qs_chunk_desc){
	    .kind = part->object.kind,
	    .dtype = part->object.dtype,
	    .n_elems = qs_part_elems(part),
	    .cols = part->object.cols,
	    .first_elem = qs_part_first(part),
	};
}

qstore_status qs_part_decode(const qs_part *part, const qs_chunk_desc *desc, qs_chunk_memory *memory,
                             uint8_t *dst, qstore_error *error)
{
	size_t coded_size;
	qstore_status status = qs_part_read(part, memory, memory->check_coded, &coded_size, error);
	if (status)
		return status;
	status = qs_chunk_decode(desc, memory->coded, coded_size, dst, qs_part_size(part), memory->work,
	                         memory->work_size);
	if (status == QSTORE_NEWER)
		return qs_part_fail(part, status,
		                    "needs a newer qstore: it is coded in a way that this one does not know", error);
	return status ? qs_part_fail(part, status, "is damaged: it does not decode", error) : QSTORE_OK;
}

#include "grids.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* The memory of a chunk is aligned for the widest vectors. aligned_alloc wants sizes that are multiples of
 * it. */
#define ALIGNMENT 64
_Static_assert(QS_CHUNK_SIZE_MAX % ALIGNMENT == 0, "a chunk's memory is not a multiple of its alignment");

void qs_side_init(qs_side *side)
{
	*side = (qs_side){.held = QS_NONE};
}

void qs_side_free(qs_side *side)
{
	free(side->chunk);
	free(side->joined);
}

void qs_grid_memory_init(qs_grid_memory *memory)
{
	qs_side_init(&memory->scales);
	qs_side_init(&memory->zero_points);
	qs_side_init(&memory->order);
}

void qs_grid_memory_free(qs_grid_memory *memory)
{
	qs_side_free(&memory->scales);
	qs_side_free(&memory->zero_points);
	qs_side_free(&memory->order);
}

/* Decodes the part into side->chunk, unless it is there already. */
static qstore_status hold(const qs_part *part, qs_side *side, qs_chunk_memory *chunk_memory,
                          qstore_error *error)
{
	if (side->held == part->object_number && side->held_number == part->number)
		return QSTORE_OK;
	if (!side->chunk && !(side->chunk = aligned_alloc(ALIGNMENT, QS_CHUNK_SIZE_MAX)))
		return qs_no_memory(error);
	qs_chunk_desc desc = qs_part_describe(part);
	side->held = QS_NONE;
	qstore_status status = qs_part_decode(part, &desc, chunk_memory, side->chunk, error);
	if (status)
		return status;
	side->held = part->object_number;
	side->held_number = part->number;
	return QSTORE_OK;
}

/* Loads elements [first, first + n) of a plain object. *data is valid until side is used again. */
static qstore_status load_elems(const qstore_archive *archive, uint32_t number, uint64_t first, uint64_t n,
                                qs_side *side, qs_chunk_memory *chunk_memory, const uint8_t **data,
                                qstore_error *error)
{
	qs_object object;
	qs_index_object(&archive->index, number, &object);
	size_t filled = 0, elem_size = qs_dtype_size(object.dtype), total = (size_t)n * elem_size;
	assert(object.kind == QS_KIND_PLAIN && first <= object.n_elems && n <= object.n_elems - first);
	while (filled < total) {
		qs_part part = qs_part_of(archive, number, (uint32_t)(first / object.chunk_elems));
		qstore_status status = hold(&part, side, chunk_memory, error);
		if (status)
			return status;
		size_t at = (size_t)(first % object.chunk_elems) * elem_size, size = qs_part_size(&part) - at;
		if (filled == 0 && size >= total) {
			*data = side->chunk + at;
			return QSTORE_OK;
		}
		if (side->joined_cap < total) {
			free(side->joined);
			side->joined = malloc(total);
			side->joined_cap = side->joined ? total : 0;
			if (!side->joined)
				return qs_no_memory(error);
		}
		size = size < total - filled ? size : total - filled;
		memcpy(side->joined + filled, side->chunk + at, size);
		filled += size;
		first += size / elem_size;
	}
	*data = side->joined;
	return QSTORE_OK;
}

qstore_status qs_grid_load(const qs_part *codes, qs_grid_memory *memory, qs_chunk_memory *chunk_memory,
                           qs_grid *grid, qstore_error *error)
{
	const qstore_archive *archive = codes->archive;
	const qs_object *object = &codes->object;
	uint64_t at, count;
	qs_object scales;
	qs_index_object(&archive->index, object->scales, &scales);
	*grid = (qs_grid){.rule = object->rule,
	                  .codes_dtype = object->dtype,
	                  .group = object->group,
	                  .row_stride = object->row_stride,
	                  .group_stride = object->group_stride,
	                  .scales_dtype = scales.dtype,
	                  .zero_offset = object->zero_offset};
	qstore_status status = QSTORE_OK;
	if (object->order != QS_NONE)
		status = load_elems(archive, object->order, 0, object->cols, &memory->order, chunk_memory,
		                    &grid->order, error);
	qs_grid_needs(grid, object->cols, qs_part_first(codes), qs_part_elems(codes), &at, &count);
	if (!status)
		status = load_elems(archive, object->scales, at, count, &memory->scales, chunk_memory, &grid->scales,
		                    error);
	if (!status && object->zero_points != QS_NONE)
		status = load_elems(archive, object->zero_points, grid->scales_first, grid->zero_points_size,
		                    &memory->zero_points, chunk_memory, &grid->zero_points, error);
	return status;
}

qstore_status qs_factors_load(const qs_part *refined, qs_side *side, qs_chunk_memory *chunk_memory,
                              qs_chunk_desc *desc, qstore_error *error)
{
	const qs_object *object = &refined->object;
	qs_object factors;
	qs_index_object(&refined->archive->index, object->scales, &factors);
	desc->factors_dtype = factors.dtype;
	return load_elems(refined->archive, object->scales, 0, object->cols, side, chunk_memory, &desc->factors,
	                  error);
}

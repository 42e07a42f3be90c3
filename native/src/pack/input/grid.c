#include "grid.h"

#include <stdlib.h>

void pack_grid_free(pack_grid_memory *memory)
{
	free(memory->scales);
	free(memory->zero_points);
	free(memory->order);
	free(memory->factors);
	*memory = (pack_grid_memory){0};
}

/* Elements [first, first + n) of a tensor into *memory, which has room for *capacity bytes and grows. */
static qstore_status read_elems(const pack_tensor *t, uint64_t first, uint64_t n, uint8_t **memory,
                                size_t *capacity, uint8_t *scratch, qstore_error *error)
{
	size_t elem_size = qs_dtype_size(t->dtype), size = (size_t)n * elem_size;
	if (size > *capacity) {
		free(*memory);
		*memory = malloc(size);
		*capacity = *memory ? size : 0;
		if (!*memory)
			return qs_no_memory(error);
	}
	return pack_tensor_read(t, *memory, size, first * elem_size, scratch, error);
}

qstore_status pack_load_grid(const pack_grid *grid, uint32_t codes_dtype, uint64_t cols, uint64_t first,
                             uint64_t n, pack_grid_memory *memory, uint8_t *scratch, qs_grid *loaded,
                             qstore_error *error)
{
	uint64_t at, count;
	qstore_status status = QSTORE_OK;
	*loaded = (qs_grid){.rule = grid->rule,
	                    .codes_dtype = codes_dtype,
	                    .group = grid->group,
	                    .row_stride = grid->row_stride,
	                    .group_stride = grid->group_stride,
	                    .scales_dtype = grid->scales->dtype,
	                    .zero_offset = grid->zero_offset};
	if (grid->order) {
		status = read_elems(grid->order, 0, cols, &memory->order, &memory->order_capacity, scratch, error);
		loaded->order = memory->order;
	}
	qs_grid_needs(loaded, cols, first, n, &at, &count);
	if (!status)
		status =
		    read_elems(grid->scales, at, count, &memory->scales, &memory->scales_capacity, scratch, error);
	loaded->scales = memory->scales;
	if (!status && grid->zero_points) {
		status = read_elems(grid->zero_points, loaded->scales_first, loaded->zero_points_size,
		                    &memory->zero_points, &memory->zero_points_capacity, scratch, error);
		loaded->zero_points = memory->zero_points;
	}
	if (!status && !qs_grid_covers(loaded, cols, first, n))
		return qs_fail(error, QSTORE_INPUT,
		               "tensor %s: some of the groups of its matrix have no scale; the model is damaged",
		               grid->order ? grid->order->name : grid->scales->name);
	return status;
}

qstore_status pack_load_factors(const pack_tensor *fine, pack_grid_memory *memory, uint8_t *scratch,
                                qs_chunk_desc *desc, qstore_error *error)
{
	if (!fine->coding.factors)
		return QSTORE_OK;
	qstore_status status = read_elems(fine->coding.factors, 0, desc->cols, &memory->factors,
	                                  &memory->factors_capacity, scratch, error);
	desc->factors = memory->factors;
	desc->factors_dtype = fine->coding.factors->dtype;
	return status;
}

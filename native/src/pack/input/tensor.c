#include "tensor.h"

#include <assert.h>

#include "core/index.h"

pack_tensor *pack_builds_on(const pack_tensor *t)
{
	switch (t->coding.role) {
	case PACK_CODES:
		return t->coding.coarser_codes;
	case PACK_REFINE:
		return t->coding.refined_codes;
	case PACK_DELTA:
		return t->coding.reference;
	case PACK_LAYOUT:
		return t->coding.content;
	default:
		return NULL;
	}
}

pack_tensor *pack_coded(pack_tensor *tensor)
{
	while (tensor->coding.role == PACK_DUPLICATE) {
		assert(tensor->coding.original);
		tensor = tensor->coding.original;
	}
	return tensor;
}

void pack_set_duplicate(pack_tensor *tensor, pack_tensor *original)
{
	assert(tensor != original && tensor->size == original->size);
	tensor->coding.role = PACK_DUPLICATE;
	tensor->coding.original = original;
	original->coding.is_referenced = 1;
}

void pack_set_refine(pack_tensor *fine, pack_tensor *codes)
{
	assert(codes->coding.role == PACK_CODES && pack_n_elems(fine) == pack_n_elems(codes));
	fine->coding.role = PACK_REFINE;
	fine->coding.refined_codes = codes;
	codes->coding.is_referenced = 1;
}

void pack_set_delta(pack_tensor *fine, pack_tensor *reference)
{
	assert(pack_n_elems(fine) == pack_n_elems(reference));
	fine->coding.role = PACK_DELTA;
	fine->coding.reference = reference;
	reference->coding.is_referenced = 1;
}

void pack_set_layout(pack_tensor *tensor, pack_tensor *content, uint32_t bits)
{
	tensor->coding.role = PACK_LAYOUT;
	tensor->coding.content = content;
	tensor->coding.layout_bits = bits;
}

void pack_set_joined(pack_tensor *tensor, pack_tensor *left, pack_tensor *right)
{
	assert(pack_rows(left) == pack_rows(right) && pack_cols(tensor) == pack_cols(left) + pack_cols(right));
	pack_set_layout(tensor, left, 0);
	tensor->coding.beside = right;
}

void pack_set_parts(pack_tensor *tensor)
{
	assert(tensor->n_parts > 0);
	tensor->coding.role = PACK_PARTS;
	tensor->matrix = NULL;
}

/* A tensor that codes' grids have is an object of its own, however small it is, because theirs names it. */
static void set_in_grid(pack_tensor *t)
{
	if (t && (t->coding.role == PACK_LITERAL || t->coding.role == PACK_DUPLICATE))
		t->coding.role = PACK_PLAIN;
	if (t && t->whole)
		pack_set_parts(t->whole);
}

void pack_set_codes(pack_tensor *codes, const pack_grid *grid)
{
	assert(grid->rule != QS_RULE_NONE && grid->scales);
	codes->coding.grid = *grid;
	codes->coding.role = PACK_CODES;
	codes->matrix = codes;
	grid->scales->coding.role = PACK_PLAIN;
	set_in_grid(grid->scales);
	set_in_grid(grid->zero_points);
	set_in_grid(grid->order);
}

uint64_t pack_n_elems(const pack_tensor *tensor)
{
	return tensor->size / qs_block_size(tensor->dtype) * qs_block_elems(tensor->dtype);
}

uint64_t pack_cols(const pack_tensor *tensor)
{
	uint64_t cols = tensor->n_dims > 1 ? 1 : 0;
	if (tensor->cols > 0)
		return tensor->cols;
	for (uint32_t i = 1; i < tensor->n_dims; i++)
		cols *= tensor->dims[i];
	return cols > 0 ? cols : 1;
}

uint64_t pack_rows(const pack_tensor *tensor)
{
	uint64_t cols = pack_cols(tensor), elems = pack_n_elems(tensor);
	return elems / cols + (elems % cols != 0);
}

void pack_geometry(const pack_tensor *tensor, uint64_t *cols, uint32_t *chunk_elems)
{
	uint32_t most = 1u << 18, block = qs_block_elems(tensor->dtype);
	if (block == 1 && most > QS_CHUNK_SIZE_MAX / qs_dtype_size(tensor->dtype))
		most = QS_CHUNK_SIZE_MAX / qs_dtype_size(tensor->dtype);
	*cols = pack_cols(tensor);
	if (tensor->chunk_rows > 0)
		*chunk_elems = tensor->chunk_rows * (uint32_t)*cols;
	else
		*chunk_elems = *cols <= most ? most - most % (uint32_t)*cols : most;
}

uint32_t pack_row_group(uint64_t cols)
{
	return cols < UINT32_MAX ? (uint32_t)cols : UINT32_MAX;
}

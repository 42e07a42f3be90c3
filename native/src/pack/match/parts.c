#include "parts.h"

#include <assert.h>

#include "core/index.h"
#include "matrix.h"

/* Are these codes with one scale for each index of the first dimension, or one for all of them? */
static int have_scale_by_row(const pack_tensor *t)
{
	const pack_grid *grid = &t->coding.grid;
	return t->coding.role == PACK_CODES && !t->coding.coarser_codes && grid->group_stride == 0 &&
	       grid->row_stride <= 1 && !grid->order && t->cols == 0;
}

/* Is this a layout of blocks whose rows are whole blocks, so that some rows are one too? */
static int has_rows_of_blocks(const pack_tensor *t)
{
	return qs_block_elems(t->dtype) > 1 && t->coding.role == PACK_LAYOUT && t->matrix &&
	       t->coding.content == t->matrix && t->matrix->view == PACK_BLOCK_CODES &&
	       !t->matrix->coding.is_referenced;
}

int pack_can_be_split(const pack_tensor *t)
{
	int is_plain = qs_block_elems(t->dtype) == 1 && (t->coding.role == PACK_PLAIN || have_scale_by_row(t));
	return t->view == PACK_AS_IS && (is_plain || has_rows_of_blocks(t)) && !t->whole &&
	       !t->coding.is_needed && !t->coding.is_referenced && pack_n_elems(t) > 0 &&
	       pack_n_elems(t) % pack_cols(t) == 0;
}

/* Rows [first, first + rows) of a tensor that is seen as a matrix of so many columns. NULL: no memory. */
static pack_tensor *make_rows(pack_derived *derived, pack_tensor *t, uint64_t first, uint64_t rows,
                              uint64_t cols)
{
	pack_tensor *part = pack_derive(derived, t, PACK_AS_IS, t->dtype, rows, cols);
	if (!part)
		return NULL;
	part->viewed = NULL;
	part->source = t->source;
	part->size = rows * cols / qs_block_elems(t->dtype) * qs_block_size(t->dtype);
	part->source_offset =
	    t->source_offset + first * cols / qs_block_elems(t->dtype) * qs_block_size(t->dtype);
	part->whole = t;
	part->first_row = first;
	part->whole_rows = pack_n_elems(t) / cols;
	part->whole_cols = cols;
	return part;
}

/* Gives a part of codes whose grid is known, by rows, that grid. Scales of slices are slices. */
static void inherit_grid(pack_derived *derived, const pack_tensor *t, pack_tensor *part)
{
	pack_grid grid = t->coding.grid;
	if (t->coding.role != PACK_CODES)
		return;
	grid.group = pack_row_group(pack_cols(part));
	if (t->has_slices) {
		grid.scales = pack_scales_of_part(derived, grid.scales, part);
		if (grid.zero_points)
			grid.zero_points = pack_scales_of_part(derived, grid.zero_points, part);
		grid.row_stride = 0;
	}
	if (!grid.scales)
		return;
	part->has_grid = 1;
	part->coding.grid = grid;
}

static pack_tensor *make_columns(pack_derived *derived, const pack_tensor *t, uint64_t first, uint64_t cols)
{
	pack_tensor *part = pack_derive(derived, t, PACK_COLUMNS, t->dtype, pack_rows(t), cols);
	if (part)
		part->first_col = first;
	return part;
}

static pack_tensor **new_parts(pack_derived *derived, size_t n)
{
	return qs_arena_array(derived->arena, n, sizeof(pack_tensor *));
}

qstore_status pack_make_part(pack_derived *derived, pack_tensor *t, uint64_t rows, uint64_t cols,
                             pack_tensor **part, qstore_error *error)
{
	uint64_t all_rows = pack_rows(t), all_cols = pack_cols(t);
	pack_tensor *first = t;
	qstore_status status = QSTORE_OK;
	*part = t;
	if (rows < all_rows) {
		t->parts = new_parts(derived, 2);
		if (!t->parts || !(t->parts[0] = make_rows(derived, t, 0, rows, all_cols)) ||
		    !(t->parts[1] = make_rows(derived, t, rows, all_rows - rows, all_cols)))
			return qs_no_memory(error);
		t->n_parts = 2;
		*part = first = t->parts[0];
		inherit_grid(derived, t, first);
		for (size_t i = 0; i < 2 && qs_block_elems(t->dtype) > 1 && !status; i++)
			status = pack_take_blocks(derived, t->parts[i], error);
	}
	if (status || cols == all_cols)
		return status;
	/* The chunks of both matrices must have the same rows. */
	first->chunk_rows = (uint32_t)((QS_CHUNK_SIZE_MAX / 4) / all_cols);
	pack_tensor *left = make_columns(derived, first, 0, cols),
	            *right = make_columns(derived, first, cols, all_cols - cols);
	if (!left || !right)
		return qs_no_memory(error);
	left->whole = t;
	left->whole_rows = all_rows;
	left->whole_cols = all_cols;
	first->coding.content = left;
	first->coding.beside = right;
	inherit_grid(derived, t, left);
	*part = left;
	return QSTORE_OK;
}

void pack_use_part(pack_tensor *t, pack_tensor *part)
{
	if (part == t)
		return;
	pack_tensor *first = t->n_parts > 0 ? t->parts[0] : t;
	if (part != first) {
		assert(first->coding.content == part);
		pack_set_joined(first, part, first->coding.beside);
	}
	if (first != t)
		pack_set_parts(t);
	else
		t->matrix = part->matrix;
}

qstore_status pack_make_slices(pack_derived *derived, pack_tensor *t, size_t n, const uint64_t *rows,
                               size_t n_rows, uint64_t cols, qstore_error *error)
{
	uint64_t at = 0;
	t->parts = new_parts(derived, n * n_rows);
	for (size_t i = 0; i < n * n_rows; at += rows[i++ % n_rows])
		if (!t->parts || !(t->parts[i] = make_rows(derived, t, at, rows[i % n_rows], cols)))
			return qs_no_memory(error);
	assert(at * cols == pack_n_elems(t));
	t->n_parts = n * n_rows;
	t->has_slices = 1;
	for (size_t i = 0; i < t->n_parts; i++)
		inherit_grid(derived, t, t->parts[i]);
	return QSTORE_OK;
}

void pack_use_slices(pack_tensor *t)
{
	for (size_t i = 0; i < t->n_parts; i++)
		if (t->parts[i]->has_grid && t->parts[i]->coding.role == PACK_PLAIN)
			pack_set_codes(t->parts[i], &t->parts[i]->coding.grid);
	pack_set_parts(t);
}

qstore_status pack_split_like(pack_derived *derived, pack_tensor *t, const pack_tensor *other,
                              qstore_error *error)
{
	t->parts = new_parts(derived, other->n_parts);
	for (size_t i = 0; i < other->n_parts; i++) {
		const pack_tensor *model = other->parts[i];
		if (!t->parts ||
		    !(t->parts[i] = make_rows(derived, t, model->first_row, pack_rows(model), pack_cols(model))))
			return qs_no_memory(error);
		t->parts[i]->chunk_rows = model->chunk_rows;
	}
	t->n_parts = other->n_parts;
	t->has_slices = other->has_slices;
	return QSTORE_OK;
}

/* Makes n * n_rows slices of the scales, unless they are there already. 0: there is no memory, or the scales
 * have another number of slices. */
static int slice_scales(pack_derived *derived, pack_tensor *scales, size_t n, const uint64_t *rows,
                        size_t n_rows, uint64_t cols)
{
	if (scales->has_slices)
		return scales->n_parts == n * n_rows;
	if (scales->view != PACK_AS_IS || scales->coding.is_needed || scales->coding.role == PACK_PARTS)
		return 0;
	if (pack_make_slices(derived, scales, n, rows, n_rows, cols, NULL))
		derived->is_out_of_memory = 1;
	return scales->has_slices;
}

pack_tensor *pack_scales_of_part(pack_derived *derived, pack_tensor *scales, const pack_tensor *part)
{
	const pack_tensor *whole = part->whole;
	if (!whole || !whole->has_slices)
		return scales->coding.role == PACK_PARTS ? NULL : scales;
	uint64_t n = pack_n_elems(scales), slices = whole->dims[0], slice_rows = part->whole_rows / slices;
	size_t number = 0;
	if (n == 1)
		return scales;
	if (n == 0)
		return NULL;
	while (number < whole->n_parts && whole->parts[number]->first_row != part->first_row)
		number++;
	/* Each row has a number of scales: they are divided as the matrix is. */
	if (n % part->whole_rows == 0 && (scales->n_dims < 2 || scales->dims[1] == slice_rows)) {
		size_t n_rows = whole->n_parts / (size_t)slices;
		uint64_t rows[PACK_SLICES_MAX];
		if (n_rows > PACK_SLICES_MAX)
			return NULL;
		for (size_t i = 0; i < n_rows; i++)
			rows[i] = pack_rows(whole->parts[i]);
		return slice_scales(derived, scales, (size_t)slices, rows, n_rows, n / part->whole_rows)
		           ? scales->parts[number]
		           : NULL;
	}
	/* Each slice of the first dimension has a number of scales. */
	uint64_t rows = scales->n_dims > 1 ? scales->dims[1] : 1;
	if (n % slices != 0 || rows == 0 || n / slices % rows != 0)
		return NULL;
	return slice_scales(derived, scales, (size_t)slices, &rows, 1, n / slices / rows)
	           ? scales->parts[part->first_row / slice_rows]
	           : NULL;
}

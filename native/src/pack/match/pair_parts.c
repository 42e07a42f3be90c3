/* Pairs of parts: the rows and columns that both tensors have, or slices of three dimensions. */
#include <assert.h>

#include "core/index.h"
#include "pair.h"
#include "parts.h"

/* Columns of a matrix whose parts have at least one row. */
#define COLS_MAX (QS_CHUNK_SIZE_MAX / 4)

static uint64_t min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Both parts get chunks of the same rows, as one that is joined to other columns needs them. False when that
 * is not possible. */
static int share_chunk_rows(pack_tensor *own_part, pack_tensor *part)
{
	pack_tensor *matrix = pack_matrix_of(part), *shape = matrix ? matrix : part;
	uint32_t rows = own_part->chunk_rows > 0 ? own_part->chunk_rows : shape->chunk_rows;
	if (shape->chunk_rows != rows && shape->coding.is_referenced)
		return 0;
	own_part->chunk_rows = shape->chunk_rows = rows;
	return 1;
}

/* Pairs the first rows and columns. */
static qstore_status pair_common(pack_pairing *q, pack_tensor *given, pack_tensor *coarse,
                                 uint32_t coarse_variant, pack_match *match, qstore_error *error)
{
	uint64_t rows = min(pack_rows(given), pack_rows(coarse)), cols = min(pack_cols(given), pack_cols(coarse));
	pack_tensor *own_part, *part;
	pack_match found = PACK_UNCOMPARED;
	int is_whole = rows == pack_rows(given) && cols == pack_cols(given),
	    is_whole_coarse = rows == pack_rows(coarse) && cols == pack_cols(coarse),
	    other_cols = pack_cols(given) != pack_cols(coarse);
	if (given->n_dims < 2 || coarse->n_dims < 2 || rows * cols < PACK_COMMON_MIN ||
	    (other_cols && (qs_block_elems(coarse->dtype) > 1 || pack_cols(given) > COLS_MAX ||
	                    pack_cols(coarse) > COLS_MAX)) ||
	    (!is_whole && !pack_can_be_split(given)) || (!is_whole_coarse && !pack_can_be_split(coarse)))
		return QSTORE_OK;
	qstore_status status = pack_make_part(q->derived, given, rows, cols, &own_part, error);
	if (!status)
		status = pack_make_part(q->derived, coarse, rows, cols, &part, error);
	if (status)
		return status;
	pack_tensor *matrix = pack_matrix_of(coarse);
	uint32_t before = matrix ? matrix->chunk_rows : 0;
	if (share_chunk_rows(own_part, part))
		status = pack_pair_tensors(q, own_part, part, coarse_variant, &found, error);
	if (!status && pack_is_paired(own_part)) {
		pack_use_part(given, own_part);
		pack_use_part(coarse, part);
		*match = found;
	} else {
		/* Columns of a matrix that is not joined from them would be stored beside it. */
		if (!is_whole)
			given->coding.content = given->coding.beside = NULL;
		if (!is_whole_coarse)
			coarse->coding.content = coarse->coding.beside = NULL;
		given->chunk_rows = coarse->chunk_rows = 0;
		if (matrix)
			matrix->chunk_rows = before;
	}
	return status;
}

/* Pairs slice by slice. The first pair decides whether the others are tried. */
static qstore_status pair_slices(pack_pairing *q, pack_tensor *given, pack_tensor *coarse,
                                 uint32_t coarse_variant, pack_match *match, qstore_error *error)
{
	size_t n = (size_t)given->dims[0];
	qstore_status status = pack_make_slices(q->derived, given, n, &given->dims[1], 1, given->dims[2], error);
	if (!status)
		status = pack_make_slices(q->derived, coarse, n, &coarse->dims[1], 1, coarse->dims[2], error);
	for (size_t i = 0; i < n && !status; i++) {
		pack_match found;
		status = pack_pair_tensors(q, given->parts[i], coarse->parts[i], coarse_variant, &found, error);
		if (i > 0 || status)
			continue;
		if (!pack_is_paired(given->parts[0])) {
			given->has_slices = coarse->has_slices = 0;
			return QSTORE_OK;
		}
		pack_use_slices(given);
		pack_use_slices(coarse);
		*match = found;
	}
	return status;
}

/* Pairs with a tensor that is its parts by now: the finer one is split likewise. */
static qstore_status pair_with_parts(pack_pairing *q, pack_tensor *given, pack_tensor *coarse,
                                     uint32_t coarse_variant, pack_match *match, qstore_error *error)
{
	qstore_status status = pack_split_like(q->derived, given, coarse, error);
	int n_paired = 0;
	for (size_t i = 0; i < given->n_parts && !status; i++) {
		status = pack_pair_tensors(q, given->parts[i], coarse->parts[i], coarse_variant, match, error);
		n_paired += pack_is_paired(given->parts[i]);
	}
	if (!status && n_paired > 0) {
		pack_set_parts(given);
		*match = PACK_MATCHED;
	}
	return status;
}

qstore_status pack_pair_parts(pack_pairing *q, pack_tensor *given, pack_tensor *coarse,
                              uint32_t coarse_variant, pack_match *match, qstore_error *error)
{
	if (!qs_dtype_is_float(given->dtype) || given->whole || coarse->whole)
		return QSTORE_OK;
	if (coarse->coding.role == PACK_PARTS && pack_n_elems(given) == pack_n_elems(coarse) &&
	    pack_can_be_split(given))
		return pair_with_parts(q, given, coarse, coarse_variant, match, error);
	if (pack_rows(given) != pack_rows(coarse) || pack_cols(given) != pack_cols(coarse))
		return pair_common(q, given, coarse, coarse_variant, match, error);
	if (given->n_dims == 3 && coarse->n_dims == 3 && given->dims[1] == coarse->dims[2] &&
	    given->dims[2] == coarse->dims[1] && given->dims[0] > 0 && pack_can_be_split(given) &&
	    pack_can_be_split(coarse))
		return pair_slices(q, given, coarse, coarse_variant, match, error);
	return QSTORE_OK;
}

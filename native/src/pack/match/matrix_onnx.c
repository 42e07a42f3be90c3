/* Matrices of ONNX files: which tensors are codes, scales and zero points is said by the graph. */
#include <stdlib.h>
#include <string.h>

#include "matrix.h"

/* *found: the tensor, or NULL when there is none of this name. name: may be NULL. */
static qstore_status find_prefixed(pack_derived *derived, const pack_map *map, const char *prefix,
                                   const char *name, pack_tensor **found, qstore_error *error)
{
	*found = NULL;
	if (!name)
		return QSTORE_OK;
	const char *full = pack_with_prefix(derived, prefix, name);
	if (!full)
		return qs_no_memory(error);
	*found = pack_map_find(map, full);
	return QSTORE_OK;
}

/* Zero points of 4 bits, two to a byte; those of each row begin in a byte of their own. */
static qstore_status split_nibble_zero_points(pack_derived *derived, pack_tensor *packed, uint64_t rows,
                                              uint64_t cols, pack_tensor **zero_points, qstore_error *error)
{
	uint64_t n = rows * cols, line = (cols + 1) / 2;
	if (cols % 2 == 0 && n % 8 == 0) {
		*zero_points = pack_derive_zero_points(derived, packed, PACK_WORD_CODES, 4, 1, n);
		return *zero_points ? QSTORE_OK : qs_no_memory(error);
	}
	uint8_t *bytes = malloc((size_t)packed->size), *apart = malloc((size_t)n);
	qstore_status status = !bytes || !apart ? qs_no_memory(error)
	                                        : pack_read(packed->source, bytes, (size_t)packed->size,
	                                                    packed->source_offset, error);
	for (uint64_t i = 0; i < n && !status; i++)
		apart[i] = bytes[i / cols * line + i % cols / 2] >> i % cols % 2 * 4 & 15;
	if (!status)
		status = pack_derive_copy(derived, packed, QS_U8, apart, n, zero_points, error);
	free(bytes);
	free(apart);
	return status;
}

/* MatMulNBits of 4 bits (onnxruntime, docs/ContribOperators.md): B [N, blocks, block / 2] of a matrix that is
 * [K, N] for MatMul. Symmetric codes are made like those of Q4_0, whatever the block's size
 * (core/mlas/lib/q4_dq.cpp). */
static qstore_status split_n_bits(pack_derived *derived, pack_tensor *t, pack_tensor *scale,
                                  pack_tensor *zero_points, const qs_onnx_quant *quant, qstore_error *error)
{
	uint64_t block = quant->block_size, rows = t->n_dims > 1 ? t->dims[0] : 0, n = pack_n_elems(scale);
	if (t->coding.role != PACK_PLAIN || t->dtype != QS_U8 || rows == 0 || block < 8 || block % 8 != 0 ||
	    block > UINT32_MAX || n % rows != 0 || t->size / (block / 2) != n || t->size % (block / 2) != 0 ||
	    2 * t->size >= QS_TRANSPOSED_MAX || (scale->dtype != QS_F32 && scale->dtype != QS_F16))
		return QSTORE_OK;
	pack_grid grid = {.rule = QS_RULE_Q4_0,
	                  .scales = scale,
	                  .group = (uint32_t)block,
	                  .row_stride = n / rows,
	                  .group_stride = 1};
	if (zero_points) {
		if (zero_points->dtype != QS_U8 || zero_points->size != rows * ((n / rows + 1) / 2))
			return QSTORE_OK;
		grid.rule = QS_RULE_MULTIPLY;
		qstore_status status =
		    split_nibble_zero_points(derived, zero_points, rows, n / rows, &grid.zero_points, error);
		if (status)
			return status;
	}
	pack_tensor *codes = pack_derive(derived, t, PACK_WORD_CODES, QS_U8, rows, n / rows * block);
	if (!codes)
		return qs_no_memory(error);
	codes->is_transposed = 1;
	codes->has_grid = 1;
	pack_set_matrix(t, codes, &grid, 4);
	return QSTORE_OK;
}

/* Codes as an ONNX graph uses them (onnxruntime, quantization/base_quantizer.py). */
static qstore_status take_quant(pack_derived *derived, const pack_map *map, const char *prefix,
                                const qs_onnx_quant *quant, qstore_error *error)
{
	pack_tensor *t, *scale = NULL, *zero_points = NULL;
	qstore_status status = find_prefixed(derived, map, prefix, quant->weight, &t, error);
	if (!status)
		status = find_prefixed(derived, map, prefix, quant->scale, &scale, error);
	if (!status)
		status = find_prefixed(derived, map, prefix, quant->zero_point, &zero_points, error);
	if (status || !t)
		return status;
	if (quant->original) {
		t->key = pack_with_prefix(derived, prefix, quant->original);
		if (!t->key)
			return qs_no_memory(error);
	}
	if (strcmp(quant->op, "MatMulNBits") == 0 && quant->bits == 4 && scale)
		return split_n_bits(derived, t, scale, zero_points, quant, error);
	if (t->coding.role != PACK_PLAIN || (t->dtype != QS_I8 && t->dtype != QS_U8) || quant->bits != 8 ||
	    !scale || t->n_dims < 2 || !qs_dtype_is_float(scale->dtype))
		return QSTORE_OK;
	uint64_t rows = pack_rows(t), cols = pack_cols(t), n = pack_n_elems(scale);
	if (n == 0) /* a matrix without elements */
		return QSTORE_OK;
	pack_grid grid = {.rule = QS_RULE_DIVIDE, .scales = scale, .group = pack_row_group(cols)};
	if (quant->block_size != 0) {
		if (quant->axis != 1 || t->n_dims != 2 || cols % quant->block_size != 0 ||
		    n != rows * (cols / quant->block_size))
			return QSTORE_OK;
		grid.group = (uint32_t)quant->block_size;
		grid.row_stride = cols / quant->block_size;
		grid.group_stride = 1;
	} else if (n == rows && (quant->axis == 0 || (quant->axis < 0 && n == 1))) {
		grid.row_stride = n > 1;
	} else if (quant->axis > 0 && quant->axis < (int64_t)t->n_dims && n == t->dims[quant->axis]) {
		/* Columns are counted from that axis on. */
		cols = 1;
		for (uint32_t i = (uint32_t)quant->axis; i < t->n_dims; i++)
			cols *= t->dims[i];
		t->cols = cols;
		grid.group = pack_row_group(cols / n);
		grid.group_stride = 1;
	} else if (n != 1) {
		return QSTORE_OK;
	}
	if (zero_points && (zero_points->dtype == QS_I8 || zero_points->dtype == QS_U8) &&
	    pack_n_elems(zero_points) == n) {
		grid.zero_points = zero_points;
	} else if (quant->zero_points && quant->n_zero_points == 1) {
		grid.zero_offset = quant->zero_points[0];
	} else if (quant->zero_points && quant->n_zero_points == n) {
		uint8_t *bytes = malloc(n);
		for (uint64_t i = 0; bytes && i < n; i++)
			bytes[i] = (uint8_t)quant->zero_points[i];
		status = bytes ? pack_derive_copy(derived, t, t->dtype, bytes, n, &grid.zero_points, error)
		               : qs_no_memory(error);
		free(bytes);
		if (status)
			return status;
	}
	if (grid.zero_offset < -255 || grid.zero_offset > 255)
		return QSTORE_OK;
	pack_set_codes(t, &grid);
	t->has_grid = 1;
	return QSTORE_OK;
}

qstore_status pack_take_onnx(const pack_input *input, pack_derived *derived, const pack_map *map,
                             uint32_t variant, qstore_error *error)
{
	qstore_status status = QSTORE_OK;
	for (size_t i = 0; i < input->n_files; i++) {
		const qs_model_file *given = input->files[i].input;
		if (!given || (input->files[i].variants >> variant & 1) == 0)
			continue;
		for (size_t j = 0; j < given->n_quants && !status; j++)
			status = take_quant(derived, map, given->weights.prefix, &given->quants[j], error);
	}
	return status;
}

#include "matrix.h"

#include <stdlib.h>

#include "core/grid.h"
#include "core/layout.h"

qstore_status pack_take_blocks(pack_derived *derived, pack_tensor *t, qstore_error *error)
{
	uint64_t cols = pack_cols(t), elems = pack_n_elems(t), blocks = elems / qs_block_elems(t->dtype);
	uint32_t rule = qs_rule_of_block(t->dtype);
	/* Grids have only whole blocks in a row. */
	if (rule == QS_RULE_NONE || cols % qs_block_elems(t->dtype) != 0 || t->coding.role != PACK_PLAIN)
		return QSTORE_OK;
	uint32_t record = qs_rule_record_size(rule), group = qs_rule_group(rule);
	pack_tensor *scales = record == 0 ? pack_derive(derived, t, PACK_BLOCK_SCALES, QS_F16, blocks, 1)
	                                  : pack_derive(derived, t, PACK_BLOCK_SCALES, QS_BYTES, blocks, record);
	pack_tensor *codes =
	    pack_derive(derived, t, PACK_BLOCK_CODES, t->dtype == QS_Q8_0 ? QS_I8 : QS_U8, elems / cols, cols);
	if (!scales || !codes)
		return qs_no_memory(error);
	pack_set_matrix(
	    t, codes,
	    &(pack_grid){
	        .rule = rule, .scales = scales, .group = group, .row_stride = cols / group, .group_stride = 1},
	    0);
	return QSTORE_OK;
}

static qstore_status name_tensors(const pack_input *input, pack_derived *derived, qstore_error *error)
{
	for (size_t i = 0; i < input->n_files; i++) {
		const pack_file *file = &input->files[i];
		const char *prefix = file->input ? file->input->weights.prefix : NULL;
		for (size_t j = 0; j < file->n_tensors; j++) {
			pack_tensor *t = &file->tensors[j];
			t->full = t->key = pack_with_prefix(derived, prefix, t->name);
			if (!t->key)
				return qs_no_memory(error);
		}
	}
	return QSTORE_OK;
}

static qstore_status take_matrix(pack_derived *derived, const pack_map *map, pack_tensor *t,
                                 qstore_error *error)
{
	if (t->coding.role != PACK_PLAIN || t->matrix)
		return QSTORE_OK;
	if (qs_blocks_are_modelled(t->dtype))
		return pack_take_blocks(derived, t, error);
	return pack_take_words(derived, map, t, error);
}

qstore_status pack_find_matrices(const pack_input *input, pack_derived *derived, qstore_error *error)
{
	qstore_status status = name_tensors(input, derived, error);
	for (uint32_t v = 0; v < input->n_variants && !status; v++) {
		pack_map map;
		status = pack_map_variant(input, v, 0, &map, error);
		for (size_t i = 0; i < map.n_tensors && !status; i++)
			status = take_matrix(derived, &map, map.tensors[i], error);
		for (size_t i = 0; i < map.n_tensors && !status; i++)
			status = pack_narrow_zero_points(derived, map.tensors[i], error);
		if (!status)
			status = pack_take_onnx(input, derived, &map, v, error);
		free(map.tensors);
	}
	return status;
}

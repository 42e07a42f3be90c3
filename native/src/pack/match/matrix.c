/* Matrices whose codes are not stored as a tensor of one byte a code: ggml's blocks, and codes packed in
 * words. Their codes, scales and zero points become derived tensors, the tensors of their files layouts of
 * these. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/grid.h"
#include "core/layout.h"
#include "text.h"
#include "match.h"

/* Makes t the file's form of codes with this grid. bits: of a code; 0 for blocks. */
static void set_matrix(pack_tensor *t, pack_tensor *codes, const pack_grid *grid, uint32_t bits)
{
	codes->code_bits = bits;
	pack_set_codes(codes, grid);
	pack_set_layout(t, codes, bits);
	t->matrix = codes;
}

/* A view of codes of so many bits that are packed in words; `packed` becomes a layout of it. NULL when out of
 * memory. */
static pack_tensor *derive_zero_points(pack_derived *derived, pack_tensor *packed, pack_view view,
                                       uint32_t bits, uint64_t rows, uint64_t cols)
{
	pack_tensor *zero_points = pack_derive(derived, packed, view, QS_U8, rows, cols);
	if (!zero_points)
		return NULL;
	zero_points->code_bits = bits;
	pack_set_layout(packed, zero_points, bits);
	return zero_points;
}

/* ---- Blocks ---- */

static qstore_status split_blocks(pack_derived *derived, pack_tensor *t, qstore_error *error)
{
	uint64_t cols = pack_cols(t), elems = pack_n_elems(t), blocks = elems / qs_block_elems(t->dtype);
	uint32_t rule = qs_rule_of_block(t->dtype);
	/* Grids have only whole blocks in a row. */
	if (rule == QS_RULE_NONE || cols % qs_block_elems(t->dtype) != 0 || t->role != PACK_PLAIN)
		return QSTORE_OK;
	uint32_t record = qs_rule_record_size(rule), group = qs_rule_group(rule);
	pack_tensor *scales = record == 0 ? pack_derive(derived, t, PACK_BLOCK_SCALES, QS_F16, blocks, 1)
	                                  : pack_derive(derived, t, PACK_BLOCK_SCALES, QS_BYTES, blocks, record);
	pack_tensor *codes =
	    pack_derive(derived, t, PACK_BLOCK_CODES, t->dtype == QS_Q8_0 ? QS_I8 : QS_U8, elems / cols, cols);
	if (!scales || !codes)
		return qs_no_memory(error);
	set_matrix(
	    t, codes,
	    &(pack_grid){
	        .rule = rule, .scales = scales, .group = group, .row_stride = cols / group, .group_stride = 1},
	    0);
	return QSTORE_OK;
}

/* ---- Words ---- */

/* A name with its ending replaced; NULL when out of memory. */
static const char *rename_end(pack_derived *derived, const char *name, const char *end, const char *other)
{
	assert(strlen(name) >= strlen(end));
	return qs_arena_text(derived->arena, "%.*s%s", (int)(strlen(name) - strlen(end)), name, other);
}

/* The tensor with this name but another ending, or NULL. */
static pack_tensor *find_beside(const pack_map *map, const char *name, const char *end, const char *other)
{
	char text[QS_TENSOR_NAME_MAX + 1];
	size_t stem = strlen(name) - strlen(end);
	if (stem + strlen(other) + 1 > sizeof(text))
		return NULL;
	memcpy(text, name, stem);
	strcpy(text + stem, other);
	return pack_map_find(map, text);
}

/* *group: the columns of a group, when the groups are neighbouring columns of this number in their order,
 * else 0. */
static qstore_status find_plain_group(const pack_tensor *order, uint64_t *group, qstore_error *error)
{
	uint64_t n = order->size / 4;
	int32_t block[1024];
	int known = 0, plain = 1;
	*group = n;
	for (uint64_t at = 0; at < n && plain; at += 1024) {
		size_t some = n - at < 1024 ? (size_t)(n - at) : 1024;
		qstore_status status =
		    pack_read(order->source, block, some * 4, order->source_offset + at * 4, error);
		if (status)
			return status;
		for (size_t i = 0; i < some; i++) {
			if (!known && block[i] != 0) {
				known = 1;
				*group = at + i;
			}
			plain &= *group > 0 && block[i] >= 0 && (uint64_t)block[i] == (at + i) / *group;
		}
	}
	*group = plain ? *group : 0;
	return QSTORE_OK;
}

/* AutoGPTQ's and GPTQModel's layout (nn_modules/qlinear): qweight [in × bits / 32, out], qzeros
 * [groups, out × bits / 32], scales [groups, out], g_idx [in]. */
static qstore_status split_gptq(pack_derived *derived, const pack_map *map, pack_tensor *t,
                                qstore_error *error)
{
	pack_tensor *scales = find_beside(map, t->full, ".qweight", ".scales"),
	            *qzeros = find_beside(map, t->full, ".qweight", ".qzeros"),
	            *order = find_beside(map, t->full, ".qweight", ".g_idx");
	if (t->dtype != QS_I32 || t->n_dims != 2 || t->role != PACK_PLAIN || !scales || scales->n_dims != 2 ||
	    !qs_dtype_is_float(scales->dtype))
		return QSTORE_OK;
	uint64_t lines = t->dims[0], out = t->dims[1], groups = scales->dims[0], in = 0;
	if (scales->dims[1] != out || groups == 0 || out == 0)
		return QSTORE_OK;
	if (order && order->dtype == QS_I32 && order->n_dims == 1)
		in = order->dims[0];
	else if (qzeros && qzeros->n_dims == 2 && qzeros->dims[1] > 0)
		in = lines * (out / qzeros->dims[1]); /* zero points are packed as many to a word */
	uint32_t bits = in == lines * 8 ? 4 : in == lines * 4 ? 8 : 0;
	if (bits == 0 || in * out >= QS_TRANSPOSED_MAX || in >= UINT32_MAX)
		return QSTORE_OK;
	uint64_t group = (in + groups - 1) / groups;
	pack_tensor *codes = pack_derive(derived, t, PACK_WORD_CODES_TRANSPOSED, QS_U8, out, in),
	            *zero_points = NULL;
	if (!codes)
		return qs_no_memory(error);
	if (qzeros && qzeros->dtype == QS_I32 && qzeros->n_dims == 2 &&
	    (qzeros->role == PACK_PLAIN || qzeros->role == PACK_LITERAL) && qzeros->dims[0] == groups &&
	    qzeros->dims[1] * (32 / bits) == out) {
		zero_points = derive_zero_points(derived, qzeros, PACK_WORD_CODES, bits, groups, out);
		if (!zero_points)
			return qs_no_memory(error);
	}
	if (order) {
		uint64_t plain = 0;
		if (order->n_dims != 1 || order->dtype != QS_I32 || order->dims[0] != in)
			order = NULL;
		else {
			qstore_status status = find_plain_group(order, &plain, error);
			if (status)
				return status;
			if (plain != 0 && (in + plain - 1) / plain <= groups) {
				order = NULL;
				group = plain;
			}
		}
	}
	set_matrix(t, codes,
	           &(pack_grid){.rule = QS_RULE_DIVIDE,
	                        .scales = scales,
	                        .zero_points = zero_points,
	                        .order = order,
	                        .group = (uint32_t)(order ? groups : group),
	                        .row_stride = 1,
	                        .group_stride = out,
	                        /* The first version of these files stores zero points less one. */
	                        .zero_offset = zero_points ? 1 : 1 << (bits - 1)},
	           bits);
	t->key = rename_end(derived, t->key, ".qweight", ".weight");
	return t->key ? QSTORE_OK : qs_no_memory(error);
}

/* GPTQ and AWQ both call their codes qweight; AWQ packs them along the outputs. */
static int is_awq(const pack_map *map, const pack_tensor *t)
{
	const pack_tensor *scales = find_beside(map, t->full, ".qweight", ".scales");
	return scales && scales->n_dims == 2 && t->n_dims == 2 && scales->dims[1] == t->dims[1] * 8;
}

/* AutoAWQ's layout for its GEMM kernels (awq/modules/linear/gemm.py): qweight [in, out / 8], qzeros
 * [groups, out / 8], scales [groups, out]. */
static qstore_status split_awq(pack_derived *derived, const pack_map *map, pack_tensor *t,
                               qstore_error *error)
{
	pack_tensor *scales = find_beside(map, t->full, ".qweight", ".scales"),
	            *qzeros = find_beside(map, t->full, ".qweight", ".qzeros");
	if (t->dtype != QS_I32 || t->n_dims != 2 || t->role != PACK_PLAIN || !scales || !qzeros ||
	    scales->n_dims != 2 || !qs_dtype_is_float(scales->dtype) || qzeros->dtype != QS_I32 ||
	    qzeros->n_dims != 2 || qzeros->role != PACK_PLAIN)
		return QSTORE_OK;
	uint64_t in = t->dims[0], out = scales->dims[1], groups = scales->dims[0];
	if (in == 0 || out == 0 || groups == 0 || groups > in || out != t->dims[1] * 8 ||
	    in * out >= QS_TRANSPOSED_MAX || qzeros->dims[0] != groups || qzeros->dims[1] != t->dims[1])
		return QSTORE_OK;
	pack_tensor *codes = pack_derive(derived, t, PACK_NIBBLE_CODES_TRANSPOSED, QS_U8, out, in),
	            *zero_points = derive_zero_points(derived, qzeros, PACK_NIBBLE_CODES, 4, groups, out);
	if (!codes || !zero_points)
		return qs_no_memory(error);
	uint64_t group = (in + groups - 1) / groups, power = 1;
	while (power < group)
		power *= 2;
	if ((in + power - 1) / power == groups) /* the last group may be shorter */
		group = power;
	set_matrix(t, codes,
	           &(pack_grid){.rule = QS_RULE_DIVIDE_HALF,
	                        .scales = scales,
	                        .zero_points = zero_points,
	                        .group = pack_row_group(group),
	                        .row_stride = 1,
	                        .group_stride = out},
	           4);
	t->key = rename_end(derived, t->key, ".qweight", ".weight");
	return t->key ? QSTORE_OK : qs_no_memory(error);
}

/* compressed-tensors packs as many zero points into a word as codes, but those of neighbouring rows:
 * weight_zero_point [out × bits / 32, groups], of zero point + 2^(bits − 1). *zero_points becomes a copy of
 * them, a byte each; it stays NULL when there are none. */
static qstore_status unpack_zero_points(pack_derived *derived, const pack_tensor *packed, uint32_t bits,
                                        uint64_t out, uint64_t groups, pack_tensor **zero_points,
                                        qstore_error *error)
{
	uint64_t per_word = 32 / bits, lines = (out + per_word - 1) / per_word;
	if (!packed || packed->dtype != QS_I32 || packed->n_dims != 2 || packed->dims[0] != lines ||
	    packed->dims[1] != groups)
		return QSTORE_OK;
	uint8_t *words = malloc((size_t)packed->size), *bytes = malloc((size_t)(lines * per_word * groups));
	qstore_status status = !words || !bytes ? qs_no_memory(error)
	                                        : pack_read(packed->source, words, (size_t)packed->size,
	                                                    packed->source_offset, error);
	for (uint64_t i = 0; i < lines * groups && !status; i++) {
		uint8_t codes[8];
		qs_words_unpack(bits, words + 4 * i, 1, codes);
		for (uint64_t j = 0; j < per_word; j++)
			bytes[(i / groups * per_word + j) * groups + i % groups] = codes[j];
	}
	if (!status)
		status = pack_derive_copy(derived, packed, QS_U8, bytes, out * groups, zero_points, error);
	free(words);
	free(bytes);
	return status;
}

/* compressed-tensors, compressors/quantized_compressors/pack_quantized.py: weight_packed [out, in × bits /
 * 32] of codes + 2^(bits − 1), weight_scale [out, groups]. */
static qstore_status split_packed(pack_derived *derived, const pack_map *map, pack_tensor *t,
                                  qstore_error *error)
{
	pack_tensor *scales = find_beside(map, t->full, ".weight_packed", ".weight_scale"),
	            *shape = find_beside(map, t->full, ".weight_packed", ".weight_shape"), *zero_points = NULL;
	int64_t dims[2];
	if (t->dtype != QS_I32 || t->n_dims != 2 || t->role != PACK_PLAIN || !scales || scales->n_dims != 2 ||
	    !shape || shape->dtype != QS_I64 || shape->size != 16 || scales->dims[0] != t->dims[0] ||
	    !qs_dtype_is_float(scales->dtype))
		return QSTORE_OK;
	qstore_status status = pack_read(shape->source, dims, sizeof(dims), shape->source_offset, error);
	if (status)
		return status;
	uint64_t out = t->dims[0], in = (uint64_t)dims[1], groups = scales->dims[1];
	uint32_t bits = in == t->dims[1] * 8 ? 4 : in == t->dims[1] * 4 ? 8 : 0;
	if (bits == 0 || (uint64_t)dims[0] != out || groups == 0 || groups > in || in >= UINT32_MAX)
		return QSTORE_OK;
	status = unpack_zero_points(derived, find_beside(map, t->full, ".weight_packed", ".weight_zero_point"),
	                            bits, out, groups, &zero_points, error);
	if (status)
		return status;
	pack_tensor *codes = pack_derive(derived, t, PACK_WORD_CODES, QS_U8, out, in);
	if (!codes)
		return qs_no_memory(error);
	set_matrix(t, codes,
	           &(pack_grid){.rule = bits == 4 ? QS_RULE_ADD_HALF_4 : QS_RULE_DIVIDE_HALF,
	                        .scales = scales,
	                        .zero_points = zero_points,
	                        .group = (uint32_t)((in + groups - 1) / groups),
	                        .row_stride = groups,
	                        .group_stride = 1,
	                        .zero_offset = zero_points ? 0 : 1 << (bits - 1)},
	           bits);
	t->key = rename_end(derived, t->key, ".weight_packed", ".weight");
	return t->key ? QSTORE_OK : qs_no_memory(error);
}

/* torchao's flattened tensors: X._weight_qdata, X._weight_scale. */
static qstore_status name_torchao(pack_derived *derived, pack_tensor *t, qstore_error *error)
{
	t->key = rename_end(derived, t->key, "._weight_qdata", ".weight");
	return t->key ? QSTORE_OK : qs_no_memory(error);
}

/* ---- ONNX ---- */

/* "PREFIX/NAME" where the file has a prefix, else the name; NULL when out of memory. */
static const char *with_prefix(pack_derived *derived, const char *prefix, const char *name)
{
	return prefix && prefix[0] != 0 ? qs_arena_text(derived->arena, "%s/%s", prefix, name) : name;
}

/* *found: the tensor, or NULL when there is none of this name. name: may be NULL. */
static qstore_status find_prefixed(pack_derived *derived, const pack_map *map, const char *prefix,
                                   const char *name, pack_tensor **found, qstore_error *error)
{
	*found = NULL;
	if (!name)
		return QSTORE_OK;
	const char *full = with_prefix(derived, prefix, name);
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
		*zero_points = derive_zero_points(derived, packed, PACK_WORD_CODES, 4, 1, n);
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
	if (t->role != PACK_PLAIN || t->dtype != QS_U8 || rows == 0 || block < 8 || block % 8 != 0 ||
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
	set_matrix(t, codes, &grid, 4);
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
		t->key = with_prefix(derived, prefix, quant->original);
		if (!t->key)
			return qs_no_memory(error);
	}
	if (strcmp(quant->op, "MatMulNBits") == 0 && quant->bits == 4 && scale)
		return split_n_bits(derived, t, scale, zero_points, quant, error);
	if (t->role != PACK_PLAIN || (t->dtype != QS_I8 && t->dtype != QS_U8) || quant->bits != 8 || !scale ||
	    t->n_dims < 2 || !qs_dtype_is_float(scale->dtype))
		return QSTORE_OK;
	uint64_t rows = pack_rows(t), cols = pack_cols(t), n = pack_n_elems(scale);
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
	} else if (n == cols && quant->axis == 1 && t->n_dims == 2) {
		grid.group = 1;
		grid.group_stride = 1;
	} else if (n != 1) {
		return QSTORE_OK;
	}
	if (zero_points && (zero_points->dtype == QS_I8 || zero_points->dtype == QS_U8) &&
	    pack_n_elems(zero_points) == n) {
		grid.zero_points = zero_points;
	} else if (quant->zeros && quant->n_zeros == 1) {
		grid.zero_offset = quant->zeros[0];
	} else if (quant->zeros && quant->n_zeros == n) {
		uint8_t *bytes = malloc(n);
		for (uint64_t i = 0; bytes && i < n; i++)
			bytes[i] = (uint8_t)quant->zeros[i];
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

static qstore_status take_quants(const pack_input *input, pack_derived *derived, const pack_map *map,
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

/* ---- All formats ---- */

static qstore_status name_tensors(const pack_input *input, pack_derived *derived, qstore_error *error)
{
	for (size_t i = 0; i < input->n_files; i++) {
		const pack_file *file = &input->files[i];
		const char *prefix = file->input ? file->input->weights.prefix : NULL;
		for (size_t j = 0; j < file->n_tensors; j++) {
			pack_tensor *t = &file->tensors[j];
			t->full = t->key = with_prefix(derived, prefix, t->name);
			if (!t->key)
				return qs_no_memory(error);
		}
	}
	return QSTORE_OK;
}

static qstore_status take_matrix(pack_derived *derived, const pack_map *map, pack_tensor *t,
                                 qstore_error *error)
{
	if (t->role != PACK_PLAIN || t->matrix)
		return QSTORE_OK;
	if (qs_blocks_are_modelled(t->dtype))
		return split_blocks(derived, t, error);
	if (qs_ends_in(t->name, ".qweight"))
		return is_awq(map, t) ? split_awq(derived, map, t, error) : split_gptq(derived, map, t, error);
	if (qs_ends_in(t->name, ".weight_packed"))
		return split_packed(derived, map, t, error);
	if (qs_ends_in(t->name, "._weight_qdata"))
		return name_torchao(derived, t, error);
	return QSTORE_OK;
}

qstore_status pack_find_matrices(const pack_input *input, pack_derived *derived, qstore_error *error)
{
	qstore_status status = name_tensors(input, derived, error);
	for (uint32_t v = 0; v < input->n_variants && !status; v++) {
		pack_map map;
		status = pack_map_variant(input, v, 0, &map, error);
		for (size_t i = 0; i < map.n_tensors && !status; i++)
			status = take_matrix(derived, &map, map.tensors[i], error);
		if (!status)
			status = take_quants(input, derived, &map, v, error);
		free(map.tensors);
	}
	return status;
}

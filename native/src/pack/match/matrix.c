/* Matrices whose codes do not stand in their files as a tensor of bytes: ggml's blocks, and codes packed in
 * words. Their parts (codes, scales, zero points) become objects, their files' bytes layouts of these. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/layout.h"
#include "text.h"
#include "pack/pack.h"

void pack_use_grid(pack_tensor *codes, const pack_grid *grid)
{
	codes->grid = *grid;
	codes->role = PACK_CODES;
	codes->codes = codes;
	/* However small: other objects need them as they are. */
	grid->scales->role = PACK_PLAIN;
	grid->scales->coarse = NULL;
	if (grid->zeros && grid->zeros->role == PACK_LITERAL)
		grid->zeros->role = PACK_PLAIN;
	if (grid->order && grid->order->role == PACK_LITERAL)
		grid->order->role = PACK_PLAIN;
}

/* A tensor that is the file's form of codes with this grid. */
static void use_codes(pack_tensor *t, pack_tensor *codes, const pack_grid *grid)
{
	pack_use_grid(codes, grid);
	t->role = PACK_LAYOUT;
	t->coarse = t->codes = codes;
}

/* ---- Blocks ---- */

static qstore_status split_blocks(packer *p, pack_tensor *t, qs_error *error)
{
	uint64_t cols = pack_cols(t), elems = pack_n_elems(t), blocks = elems / qs_block_elems(t->dtype);
	uint32_t rule = qs_rule_of_block(t->dtype);
	/* Blocks stand in rows; a grid has whole ones. */
	if (rule == QS_RULE_NONE || cols % qs_block_elems(t->dtype) != 0 || t->role != PACK_PLAIN)
		return QSTORE_OK;
	uint32_t record = qs_rule_record_size(rule), group = qs_rule_group(rule);
	pack_tensor *scales = record == 0 ? pack_add_part(p, t, PACK_BLOCK_SCALES, QS_F16, blocks, 1)
	                                  : pack_add_part(p, t, PACK_BLOCK_SCALES, QS_BYTES, blocks, record);
	pack_tensor *codes =
	    pack_add_part(p, t, PACK_BLOCK_CODES, t->dtype == QS_Q8_0 ? QS_I8 : QS_U8, elems / cols, cols);
	if (!scales || !codes)
		return pack_no_memory(error);
	use_codes(
	    t, codes,
	    &(pack_grid){
	        .rule = rule, .scales = scales, .group = group, .row_stride = cols / group, .group_stride = 1});
	return QSTORE_OK;
}

/* ---- Words ---- */

/* NAME with its ending replaced. */
static const char *rename_end(packer *p, const char *name, const char *end, const char *other)
{
	size_t stem = strlen(name) - strlen(end);
	char *text = malloc(stem + strlen(other) + 1);
	if (!text)
		return NULL;
	memcpy(text, name, stem);
	strcpy(text + stem, other);
	return pack_keep(p, text);
}

static pack_tensor *find_beside(const pack_map *map, const char *name, const char *end, const char *other)
{
	char text[1024];
	size_t stem = strlen(name) - strlen(end);
	if (stem + strlen(other) + 1 > sizeof(text))
		return NULL;
	memcpy(text, name, stem);
	strcpy(text + stem, other);
	return pack_map_find(map, text);
}

/* The size of the groups when the columns are in their order, else 0. */
static qstore_status plain_group(const packer *p, const pack_tensor *order, uint64_t *group, qs_error *error)
{
	uint64_t n = order->size / 4;
	int32_t block[1024];
	int known = 0, plain = 1;
	*group = n;
	for (uint64_t at = 0; at < n && plain; at += 1024) {
		size_t some = n - at < 1024 ? (size_t)(n - at) : 1024;
		qstore_status status =
		    pack_read(p, order->source, block, some * 4, order->source_offset + at * 4, error);
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
static qstore_status split_gptq(packer *p, const pack_map *map, pack_tensor *t, qs_error *error)
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
	pack_tensor *codes = pack_add_part(p, t, PACK_WORD_CODES_T, QS_U8, out, in), *zeros = NULL;
	if (!codes)
		return pack_no_memory(error);
	codes->bits = t->bits = bits;
	if (qzeros && qzeros->dtype == QS_I32 && qzeros->n_dims == 2 &&
	    (qzeros->role == PACK_PLAIN || qzeros->role == PACK_LITERAL) && qzeros->dims[0] == groups &&
	    qzeros->dims[1] * (32 / bits) == out) {
		zeros = pack_add_part(p, qzeros, PACK_WORD_CODES, QS_U8, groups, out);
		if (!zeros)
			return pack_no_memory(error);
		zeros->bits = qzeros->bits = bits;
		qzeros->role = PACK_LAYOUT;
		qzeros->coarse = zeros;
	}
	if (order) {
		uint64_t plain = 0;
		if (order->n_dims != 1 || order->dtype != QS_I32 || order->dims[0] != in)
			order = NULL;
		else {
			qstore_status status = plain_group(p, order, &plain, error);
			if (status)
				return status;
			if (plain != 0 && (in + plain - 1) / plain <= groups) {
				order = NULL;
				group = plain;
			}
		}
	}
	use_codes(t, codes,
	          &(pack_grid){.rule = QS_RULE_DIVIDE,
	                       .scales = scales,
	                       .zeros = zeros,
	                       .order = order,
	                       .group = (uint32_t)(order ? groups : group),
	                       .row_stride = 1,
	                       .group_stride = out,
	                       /* The files' first version has the zero points less one. */
	                       .zero_offset = zeros ? 1 : 1 << (bits - 1)});
	t->key = rename_end(p, t->key, ".qweight", ".weight");
	return t->key ? QSTORE_OK : pack_no_memory(error);
}

/* Both call their codes qweight: AWQ packs them along the outputs. */
static int is_awq(const pack_map *map, const pack_tensor *t)
{
	const pack_tensor *scales = find_beside(map, t->full, ".qweight", ".scales");
	return scales && scales->n_dims == 2 && t->n_dims == 2 && scales->dims[1] == t->dims[1] * 8;
}

/* AutoAWQ's layout for its GEMM kernels (awq/modules/linear/gemm.py): qweight [in, out / 8], qzeros
 * [groups, out / 8], scales [groups, out]. */
static qstore_status split_awq(packer *p, const pack_map *map, pack_tensor *t, qs_error *error)
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
	pack_tensor *codes = pack_add_part(p, t, PACK_NIBBLES_T, QS_U8, out, in),
	            *zeros = pack_add_part(p, qzeros, PACK_NIBBLES, QS_U8, groups, out);
	if (!codes || !zeros)
		return pack_no_memory(error);
	codes->bits = t->bits = zeros->bits = qzeros->bits = 4;
	uint64_t group = (in + groups - 1) / groups, power = 1;
	while (power < group)
		power *= 2;
	if ((in + power - 1) / power == groups) /* the last group may be shorter */
		group = power;
	qzeros->role = PACK_LAYOUT;
	qzeros->coarse = zeros;
	use_codes(t, codes,
	          &(pack_grid){.rule = QS_RULE_DIVIDE_HALF,
	                       .scales = scales,
	                       .zeros = zeros,
	                       .group = pack_group(group),
	                       .row_stride = 1,
	                       .group_stride = out});
	t->key = rename_end(p, t->key, ".qweight", ".weight");
	return t->key ? QSTORE_OK : pack_no_memory(error);
}

/* compressed-tensors packs zero points as many to a word as codes, but those of neighbouring rows:
 * weight_zero_point [out × bits / 32, groups], of zero point + 2^(bits − 1). */
static qstore_status unpack_zeros(packer *p, const pack_tensor *packed, uint32_t bits, uint64_t out,
                                  uint64_t groups, pack_tensor **zeros, qs_error *error)
{
	uint64_t per_word = 32 / bits, lines = (out + per_word - 1) / per_word;
	if (!packed || packed->dtype != QS_I32 || packed->n_dims != 2 || packed->dims[0] != lines ||
	    packed->dims[1] != groups)
		return QSTORE_OK;
	uint8_t *words = malloc((size_t)packed->size), *bytes = malloc((size_t)(lines * per_word * groups));
	qstore_status status = !words || !bytes ? pack_no_memory(error)
	                                        : pack_read(p, packed->source, words, (size_t)packed->size,
	                                                    packed->source_offset, error);
	for (uint64_t i = 0; i < lines * groups && !status; i++) {
		uint8_t codes[8];
		qs_words_unpack(bits, words + 4 * i, 1, codes);
		for (uint64_t j = 0; j < per_word; j++)
			bytes[(i / groups * per_word + j) * groups + i % groups] = codes[j];
	}
	if (!status)
		status = pack_make_part(p, packed, QS_U8, bytes, out * groups, zeros, error);
	free(words);
	free(bytes);
	return status;
}

/* compressed-tensors, compressors/quantized_compressors/pack_quantized.py: weight_packed [out, in × bits /
 * 32] of codes + 2^(bits − 1), weight_scale [out, groups]. */
static qstore_status split_packed(packer *p, const pack_map *map, pack_tensor *t, qs_error *error)
{
	pack_tensor *scales = find_beside(map, t->full, ".weight_packed", ".weight_scale"),
	            *shape = find_beside(map, t->full, ".weight_packed", ".weight_shape"), *zeros = NULL;
	int64_t dims[2];
	if (t->dtype != QS_I32 || t->n_dims != 2 || t->role != PACK_PLAIN || !scales || scales->n_dims != 2 ||
	    !shape || shape->dtype != QS_I64 || shape->size != 16 || scales->dims[0] != t->dims[0] ||
	    !qs_dtype_is_float(scales->dtype))
		return QSTORE_OK;
	qstore_status status = pack_read(p, shape->source, dims, sizeof(dims), shape->source_offset, error);
	if (status)
		return status;
	uint64_t out = t->dims[0], in = (uint64_t)dims[1], groups = scales->dims[1];
	uint32_t bits = in == t->dims[1] * 8 ? 4 : in == t->dims[1] * 4 ? 8 : 0;
	if (bits == 0 || (uint64_t)dims[0] != out || groups == 0 || groups > in || in >= UINT32_MAX)
		return QSTORE_OK;
	status = unpack_zeros(p, find_beside(map, t->full, ".weight_packed", ".weight_zero_point"), bits, out,
	                      groups, &zeros, error);
	if (status)
		return status;
	pack_tensor *codes = pack_add_part(p, t, PACK_WORD_CODES, QS_U8, out, in);
	if (!codes)
		return pack_no_memory(error);
	codes->bits = t->bits = bits;
	use_codes(t, codes,
	          &(pack_grid){.rule = bits == 4 ? QS_RULE_ADD_HALF_4 : QS_RULE_DIVIDE_HALF,
	                       .scales = scales,
	                       .zeros = zeros,
	                       .group = (uint32_t)((in + groups - 1) / groups),
	                       .row_stride = groups,
	                       .group_stride = 1,
	                       .zero_offset = zeros ? 0 : 1 << (bits - 1)});
	t->key = rename_end(p, t->key, ".weight_packed", ".weight");
	return t->key ? QSTORE_OK : pack_no_memory(error);
}

/* torchao's tensors as they are flattened: X._weight_qdata, X._weight_scale. */
static qstore_status name_torchao(packer *p, pack_tensor *t, qs_error *error)
{
	t->key = rename_end(p, t->key, "._weight_qdata", ".weight");
	return t->key ? QSTORE_OK : pack_no_memory(error);
}

/* ---- ONNX ---- */

/* PREFIX/NAME, where the file has a prefix. */
static const char *with_prefix(packer *p, const char *prefix, const char *name)
{
	if (!prefix || prefix[0] == 0)
		return name;
	char *text = malloc(strlen(prefix) + strlen(name) + 2);
	if (text)
		sprintf(text, "%s/%s", prefix, name);
	return pack_keep(p, text);
}

/* *found: NULL when there is no such tensor. 0: out of memory. */
static int find_prefixed(packer *p, const pack_map *map, const char *prefix, const char *name,
                         pack_tensor **found)
{
	*found = NULL;
	if (!name)
		return 1;
	const char *full = with_prefix(p, prefix, name);
	if (full)
		*found = pack_map_find(map, full);
	return full != NULL;
}

/* Zero points of 4 bits, two to a byte, those of each row from a byte of their own on. */
static qstore_status split_nibbles(packer *p, pack_tensor *packed, uint64_t rows, uint64_t cols,
                                   pack_tensor **zeros, qs_error *error)
{
	uint64_t n = rows * cols, line = (cols + 1) / 2;
	if (cols % 2 == 0 && n % 8 == 0) {
		*zeros = pack_add_part(p, packed, PACK_WORD_CODES, QS_U8, 1, n);
		if (!*zeros)
			return pack_no_memory(error);
		(*zeros)->bits = packed->bits = 4;
		packed->role = PACK_LAYOUT;
		packed->coarse = *zeros;
		return QSTORE_OK;
	}
	uint8_t *bytes = malloc((size_t)packed->size), *apart = malloc((size_t)n);
	qstore_status status = !bytes || !apart ? pack_no_memory(error)
	                                        : pack_read(p, packed->source, bytes, (size_t)packed->size,
	                                                    packed->source_offset, error);
	for (uint64_t i = 0; i < n && !status; i++)
		apart[i] = bytes[i / cols * line + i % cols / 2] >> i % cols % 2 * 4 & 15;
	if (!status)
		status = pack_make_part(p, packed, QS_U8, apart, n, zeros, error);
	free(bytes);
	free(apart);
	return status;
}

/* MatMulNBits of 4 bits (onnxruntime, docs/ContribOperators.md): B [N, blocks, block / 2] of a matrix that
 * MatMul has as [K, N]. Symmetric codes are made as those of Q4_0, whatever the block's size (core/mlas/lib/
 * q4_dq.cpp). */
static qstore_status split_n_bits(packer *p, pack_tensor *t, pack_tensor *scale, pack_tensor *zeros,
                                  const qs_onnx_quant *quant, qs_error *error)
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
	if (zeros) {
		if (zeros->dtype != QS_U8 || zeros->size != rows * ((n / rows + 1) / 2))
			return QSTORE_OK;
		grid.rule = QS_RULE_MULTIPLY;
		qstore_status status = split_nibbles(p, zeros, rows, n / rows, &grid.zeros, error);
		if (status)
			return status;
	}
	pack_tensor *codes = pack_add_part(p, t, PACK_WORD_CODES, QS_U8, rows, n / rows * block);
	if (!codes)
		return pack_no_memory(error);
	codes->bits = t->bits = 4;
	codes->is_turned = 1;
	codes->has_grid = 1;
	use_codes(t, codes, &grid);
	return QSTORE_OK;
}

/* Codes as the graph uses them (onnxruntime, quantization/base_quantizer.py). */
static qstore_status take_quant(packer *p, const pack_map *map, const char *prefix,
                                const qs_onnx_quant *quant, qs_error *error)
{
	pack_tensor *t, *scale, *zeros;
	if (!find_prefixed(p, map, prefix, quant->weight, &t) ||
	    !find_prefixed(p, map, prefix, quant->scale, &scale) ||
	    !find_prefixed(p, map, prefix, quant->zero_point, &zeros))
		return pack_no_memory(error);
	if (!t)
		return QSTORE_OK;
	if (quant->original) {
		t->key = with_prefix(p, prefix, quant->original);
		if (!t->key)
			return pack_no_memory(error);
	}
	if (strcmp(quant->op, "MatMulNBits") == 0 && quant->bits == 4 && scale)
		return split_n_bits(p, t, scale, zeros, quant, error);
	if (t->role != PACK_PLAIN || (t->dtype != QS_I8 && t->dtype != QS_U8) || quant->bits != 8 || !scale ||
	    t->n_dims < 2 || !qs_dtype_is_float(scale->dtype))
		return QSTORE_OK;
	uint64_t rows = pack_rows(t), cols = pack_cols(t), n = pack_n_elems(scale);
	pack_grid grid = {.rule = QS_RULE_DIVIDE, .scales = scale, .group = pack_group(cols)};
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
	if (zeros && (zeros->dtype == QS_I8 || zeros->dtype == QS_U8) && pack_n_elems(zeros) == n) {
		grid.zeros = zeros;
	} else if (quant->zeros && quant->n_zeros == 1) {
		grid.zero_offset = quant->zeros[0];
	} else if (quant->zeros && quant->n_zeros == n) {
		uint8_t *bytes = malloc(n);
		for (uint64_t i = 0; bytes && i < n; i++)
			bytes[i] = (uint8_t)quant->zeros[i];
		qstore_status status =
		    !bytes ? pack_no_memory(error) : pack_make_part(p, t, t->dtype, bytes, n, &grid.zeros, error);
		free(bytes);
		if (status)
			return status;
	}
	if (grid.zero_offset < -255 || grid.zero_offset > 255)
		return QSTORE_OK;
	pack_use_grid(t, &grid);
	t->has_grid = 1;
	return QSTORE_OK;
}

static qstore_status take_quants(packer *p, const pack_map *map, uint32_t variant, qs_error *error)
{
	qstore_status status = QSTORE_OK;
	for (size_t i = 0; i < p->n_files; i++) {
		const qs_model_file *input = p->files[i].input;
		if (!input || (p->files[i].variants >> variant & 1) == 0)
			continue;
		for (size_t j = 0; j < input->n_quants && !status; j++)
			status = take_quant(p, map, input->weights.prefix, &input->quants[j], error);
	}
	return status;
}

static int name_fully(packer *p, const pack_file *file, pack_tensor *t)
{
	t->full = t->key = with_prefix(p, file->input ? file->input->weights.prefix : NULL, t->name);
	return t->key != NULL;
}

qstore_status pack_matrices(packer *p, qs_error *error)
{
	for (size_t i = 0; i < p->n_files; i++)
		for (size_t j = 0; j < p->files[i].n_tensors; j++)
			if (!name_fully(p, &p->files[i], &p->files[i].tensors[j]))
				return pack_no_memory(error);
	for (uint32_t v = 0; v <= p->high_number; v++) {
		pack_map map;
		qstore_status status = pack_map_make(p, v, 0, &map) ? QSTORE_OK : pack_no_memory(error);
		for (size_t i = 0; i < map.n_tensors && !status; i++) {
			pack_tensor *t = map.tensors[i];
			if (t->role != PACK_PLAIN || t->codes)
				continue;
			if (qs_blocks_are_modelled(t->dtype))
				status = split_blocks(p, t, error);
			else if (qs_ends_in(t->name, ".qweight"))
				status = is_awq(&map, t) ? split_awq(p, &map, t, error) : split_gptq(p, &map, t, error);
			else if (qs_ends_in(t->name, ".weight_packed"))
				status = split_packed(p, &map, t, error);
			else if (qs_ends_in(t->name, "._weight_qdata"))
				status = name_torchao(p, t, error);
		}
		if (!status)
			status = take_quants(p, &map, v, error);
		free(map.tensors);
		if (status)
			return status;
	}
	return QSTORE_OK;
}

/* Codes of 4 and 8 bits that are packed in words of 32: GPTQ, AWQ, compressed-tensors. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/layout.h"
#include "matrix.h"
#include "text.h"

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
	snprintf(text, sizeof(text), "%.*s%s", (int)stem, name, other);
	return pack_map_find(map, text);
}

/* *group: the columns of a group, when the groups are neighbouring columns of this number in their order,
 * else 0. */
static qstore_status find_plain_group(const pack_tensor *order, uint64_t *group, qstore_error *error)
{
	uint64_t n = order->size / 4;
	int32_t groups[1024];
	int known = 0, plain = 1;
	*group = n;
	for (uint64_t at = 0; at < n && plain; at += 1024) {
		size_t some = n - at < 1024 ? (size_t)(n - at) : 1024;
		qstore_status status =
		    pack_read(order->source, groups, some * 4, order->source_offset + at * 4, error);
		if (status)
			return status;
		for (size_t i = 0; i < some; i++) {
			if (!known && groups[i] != 0) {
				known = 1;
				*group = at + i;
			}
			plain &= *group > 0 && groups[i] >= 0 && (uint64_t)groups[i] == (at + i) / *group;
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
	if (t->dtype != QS_I32 || t->n_dims != 2 || t->coding.role != PACK_PLAIN || !scales ||
	    scales->n_dims != 2 || !qs_dtype_is_float(scales->dtype))
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
	    (qzeros->coding.role == PACK_PLAIN || qzeros->coding.role == PACK_LITERAL) &&
	    qzeros->dims[0] == groups && qzeros->dims[1] * (32 / bits) == out) {
		zero_points = pack_derive_zero_points(derived, qzeros, PACK_WORD_CODES, bits, groups, out);
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
	pack_set_matrix(t, codes,
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
	if (t->dtype != QS_I32 || t->n_dims != 2 || t->coding.role != PACK_PLAIN || !scales || !qzeros ||
	    scales->n_dims != 2 || !qs_dtype_is_float(scales->dtype) || qzeros->dtype != QS_I32 ||
	    qzeros->n_dims != 2 || qzeros->coding.role != PACK_PLAIN)
		return QSTORE_OK;
	uint64_t in = t->dims[0], out = scales->dims[1], groups = scales->dims[0];
	if (in == 0 || out == 0 || groups == 0 || groups > in || out != t->dims[1] * 8 ||
	    in * out >= QS_TRANSPOSED_MAX || qzeros->dims[0] != groups || qzeros->dims[1] != t->dims[1])
		return QSTORE_OK;
	pack_tensor *codes = pack_derive(derived, t, PACK_NIBBLE_CODES_TRANSPOSED, QS_U8, out, in),
	            *zero_points = pack_derive_zero_points(derived, qzeros, PACK_NIBBLE_CODES, 4, groups, out);
	if (!codes || !zero_points)
		return qs_no_memory(error);
	uint64_t group = (in + groups - 1) / groups, power = 1;
	while (power < group)
		power *= 2;
	if ((in + power - 1) / power == groups) /* the last group may be shorter */
		group = power;
	pack_set_matrix(t, codes,
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
	if (t->dtype != QS_I32 || t->n_dims != 2 || t->coding.role != PACK_PLAIN || !scales ||
	    scales->n_dims != 2 || !shape || shape->dtype != QS_I64 || shape->size != 16 ||
	    scales->dims[0] != t->dims[0] || !qs_dtype_is_float(scales->dtype))
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
	pack_set_matrix(t, codes,
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

qstore_status pack_take_words(pack_derived *derived, const pack_map *map, pack_tensor *t, qstore_error *error)
{
	if (qs_ends_in(t->name, ".qweight"))
		return is_awq(map, t) ? split_awq(derived, map, t, error) : split_gptq(derived, map, t, error);
	if (qs_ends_in(t->name, ".weight_packed"))
		return split_packed(derived, map, t, error);
	/* torchao's flattened tensors are bytes, but have names of their own: X._weight_qdata, X._weight_scale.
	 */
	if (qs_ends_in(t->name, "._weight_qdata")) {
		t->key = rename_end(derived, t->key, "._weight_qdata", ".weight");
		return t->key ? QSTORE_OK : qs_no_memory(error);
	}
	/* optimum-quanto: X.weight._data, X.weight._scale. */
	if (qs_ends_in(t->name, "._data")) {
		t->key = rename_end(derived, t->key, "._data", "");
		return t->key ? QSTORE_OK : qs_no_memory(error);
	}
	return QSTORE_OK;
}

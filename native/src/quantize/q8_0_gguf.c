#include "q8_0_gguf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/gguf_parse.h"
#include "text.h"
#include "q8_0.h"

#define FILE_TYPE_Q8_0 7       /* llama.h, LLAMA_FTYPE_MOSTLY_Q8_0 */
#define QUANTIZATION_VERSION 2 /* ggml.h, GGML_QNT_VERSION */
#define VERSION 3              /* gguf.h, GGUF_VERSION */

/* Tensors with one of these in their name are not quantized (llama-quant.cpp, tensor_allows_quantization()).
 */
static const char *const kept[] = {
    "_norm.weight",
    "ffn_gate_inp.weight",
    "ffn_gate_tid2eid.weight",
    "altup",
    "laurel",
    "per_layer_model_proj",
    "ssm_conv1d",
    "shortconv.conv.weight",
    "indexer.k_proj.weight",
    "indexer.q_proj.weight",
    "time_mix_first.weight",
    "time_mix_w0.weight",
    "time_mix_w1.weight",
    "time_mix_w2.weight",
    "time_mix_v0.weight",
    "time_mix_v1.weight",
    "time_mix_v2.weight",
    "time_mix_a0.weight",
    "time_mix_a1.weight",
    "time_mix_a2.weight",
    "time_mix_g1.weight",
    "time_mix_g2.weight",
    "time_mix_decay_w1.weight",
    "time_mix_decay_w2.weight",
    "time_mix_lerp_fused.weight",
    "attn_rel_b.weight",
    ".position_embd",
    "sam.pos_embd",
    "sam.neck.",
    "sam.net_",
    ".rel_pos",
    ".patch_embd",
    ".patch_merger",
    "a.rvq.codebook",
    "mm.a.code_embd",
};

/* ggml.c, ggml_n_dims(): outer dimensions of 1 do not count. */
static uint32_t significant_dims(const qs_weight *tensor)
{
	uint32_t outer = 0;
	while (outer < tensor->n_dims && tensor->dims[outer] == 1)
		outer++;
	return outer < tensor->n_dims ? tensor->n_dims - outer : 1;
}

int qs_gguf_q8_0_selects(const qs_weight *tensor)
{
	size_t size = strlen(tensor->name);
	if (!qs_dtype_is_float(tensor->dtype))
		return 0;
	if (significant_dims(tensor) < 2 || tensor->dims[tensor->n_dims - 1] % QS_Q8_0_ELEMS)
		return 0;
	if (size < 6 || strcmp(tensor->name + size - 6, "weight") != 0 ||
	    !strcmp(tensor->name, "position_embd.weight") || !strcmp(tensor->name, "token_types.weight"))
		return 0;
	for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
		if (strstr(tensor->name, kept[i]))
			return 0;
	return 1;
}

/* Orders tensors by layer, those of no layer first, then by name (llama-model-loader.h,
 * weight_name_comparer). */
static int by_layer(const void *a, const void *b)
{
	const qs_weight *x = a, *y = b;
	int x_layer = -1, y_layer = -1;
	if (sscanf(x->name, "blk.%d.", &x_layer) != 1)
		x_layer = -1;
	if (sscanf(y->name, "blk.%d.", &y_layer) != 1)
		y_layer = -1;
	if (x_layer != y_layer)
		return x_layer < y_layer ? -1 : 1;
	return strcmp(x->name, y->name);
}

static qstore_status plan_tensors(const qs_weights *source, int is_shard, qs_weights *planned,
                                  qstore_error *error)
{
	qstore_status status = QSTORE_OK;
	for (size_t i = 0; i < source->n_tensors; i++) {
		const qs_weight *from = &source->tensors[i];
		qs_weight *to;
		if ((status = qs_weights_add(planned, &to, error)))
			return status;
		*to = *from;
		to->name = qs_arena_text(&planned->arena, "%s", from->name);
		to->dims = qs_arena_array(&planned->arena, from->n_dims, sizeof *to->dims);
		if (!to->name || !to->dims)
			return qs_no_memory(error);
		memcpy(to->dims, from->dims, from->n_dims * sizeof *to->dims);
		if (from->dtype == QS_BYTES)
			return qs_weights_fail(error, source->path, from->name,
			                       "its type is not known, so that no copy of it can be made");
		if (!qs_gguf_q8_0_selects(from))
			continue;
		to->dtype = QS_Q8_0;
		qs_weights_size(to->dtype, to->dims, to->n_dims, &to->size); /* less than before */
	}
	if (!is_shard && planned->n_tensors)
		qsort(planned->tensors, planned->n_tensors, sizeof *planned->tensors, by_layer);
	return QSTORE_OK;
}

/* Writes into a buffer of known size; without a buffer, only counts how large it must be. */
typedef struct cursor {
	uint8_t *data;
	uint64_t at, size;
} cursor;

static void put_bytes(cursor *out, const void *src, uint64_t size)
{
	if (out->data && size && out->at + size <= out->size)
		memcpy(out->data + out->at, src, (size_t)size);
	out->at += size;
}

static void put_number(cursor *out, uint64_t value, uint32_t size)
{
	uint8_t bytes[8];
	for (uint32_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)(value >> 8 * i);
	put_bytes(out, bytes, size);
}

static void put_name(cursor *out, const char *name)
{
	put_number(out, strlen(name), 8);
	put_bytes(out, name, strlen(name));
}

static void put_key(cursor *out, const char *key, uint32_t type, uint64_t value, uint32_t size)
{
	put_name(out, key);
	put_number(out, type, 4);
	put_number(out, value, size);
}

/* True for keys of the metadata that are written anew. */
static int is_replaced(const char *key)
{
	static const char *const keys[] = {"general.quantization_version", "general.file_type", "split.no",
	                                   "split.count", "split.tensors.count"};
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
		if (!strcmp(key, keys[i]))
			return 1;
	return 0;
}

/* Copies the entries of the metadata that are kept. */
static qstore_status put_kept(cursor *out, const char *path, uint64_t *n_kept, qstore_error *error)
{
	gguf_source source;
	gguf_entry entry;
	FILE *stream = NULL;
	qstore_status status = gguf_source_open(&source, path, error);
	*n_kept = 0;
	if (!status && !(stream = fopen(path, "rb")))
		status = qs_fail(error, QSTORE_IO, "%s: cannot open", qs_shown_path(path));
	for (uint64_t i = 0; !status && i < source.n_entries; i++) {
		if ((status = gguf_next_entry(&source, &entry)) || is_replaced(entry.key))
			continue;
		if (out->data && (out->at + entry.size > out->size || fseeko(stream, (off_t)entry.offset, SEEK_SET) ||
		                  fread(out->data + out->at, 1, (size_t)entry.size, stream) != entry.size))
			status = qs_fail(error, QSTORE_IO, "%s: cannot read its metadata: it changed meanwhile",
			                 qs_shown_path(path));
		out->at += entry.size;
		++*n_kept;
	}
	if (stream)
		fclose(stream);
	gguf_source_close(&source);
	return status;
}

static void put_new(cursor *out, const qs_gguf_info *info, int is_shard)
{
	if (!is_shard || info->split_no == 0) {
		put_key(out, "general.quantization_version", GGUF_U32, QUANTIZATION_VERSION, 4);
		put_key(out, "general.file_type", GGUF_U32, FILE_TYPE_Q8_0, 4);
	}
	if (is_shard) {
		put_key(out, "split.no", GGUF_U16, info->split_no, 2);
		put_key(out, "split.count", GGUF_U16, info->split_count, 2);
		if (info->split_tensors != QS_GGUF_NONE)
			put_key(out, "split.tensors.count", GGUF_I32, info->split_tensors, 4);
	}
}

static uint32_t count_new(const qs_gguf_info *info, int is_shard)
{
	uint32_t n = !is_shard || info->split_no == 0 ? 2 : 0;
	return is_shard ? n + 2 + (info->split_tensors != QS_GGUF_NONE) : n;
}

/* Writes the tensors' infos, one after the other, and sets their offsets, in the data. */
static void put_infos(cursor *out, qs_weights *planned, uint32_t alignment)
{
	uint64_t at = 0;
	for (size_t i = 0; i < planned->n_tensors; i++) {
		qs_weight *tensor = &planned->tensors[i];
		uint32_t n_dims = significant_dims(tensor);
		put_name(out, tensor->name);
		put_number(out, n_dims, 4);
		for (uint32_t d = 0; d < n_dims; d++)
			put_number(out, tensor->n_dims ? tensor->dims[tensor->n_dims - 1 - d] : 1, 8);
		put_number(out, gguf_type(tensor->dtype), 4);
		put_number(out, at, 8);
		tensor->offset = at;
		at += gguf_align(tensor->size, alignment);
	}
	planned->file_size = at;
}

static qstore_status put_header(cursor *out, const char *path, const qs_gguf_info *info, int is_shard,
                                uint64_t n_entries, qs_weights *planned, uint64_t *n_kept,
                                qstore_error *error)
{
	out->at = 0;
	put_bytes(out, "GGUF", 4);
	put_number(out, VERSION, 4);
	put_number(out, planned->n_tensors, 8);
	put_number(out, n_entries, 8);
	qstore_status status = put_kept(out, path, n_kept, error);
	if (status)
		return status;
	put_new(out, info, is_shard);
	put_infos(out, planned, info->alignment);
	return QSTORE_OK;
}

qstore_status qs_gguf_q8_0_header(const char *path, const qs_weights *source, uint8_t **header,
                                  size_t *header_size, qs_weights *planned, qstore_error *error)
{
	cursor out = {0};
	qs_gguf_info info;
	uint64_t n_kept = 0;

	*header = NULL;
	*header_size = 0;
	qstore_status status = qs_weights_init(planned, source->path, QS_FORMAT_GGUF, error);
	if (!status)
		status = qs_gguf_read_info(&info, path, error);
	if (status)
		return status;
	int is_shard = info.split_count != QS_GGUF_NONE && info.split_count > 1;
	if ((status = plan_tensors(source, is_shard, planned, error)) ||
	    (status = put_header(&out, path, &info, is_shard, 0, planned, &n_kept, error)))
		return status;
	uint64_t size = gguf_align(out.at, info.alignment);
	if (size - out.at > source->file_size) /* only where there is no data to align */
		return qs_fail(error, QSTORE_INPUT, "%s: general.alignment is larger than the file",
		               qs_shown_path(path));
	out.size = size;
	out.data = calloc(1, (size_t)size);
	if (!out.data)
		return qs_no_memory(error);
	status =
	    put_header(&out, path, &info, is_shard, n_kept + count_new(&info, is_shard), planned, &n_kept, error);
	*header = out.data;
	*header_size = (size_t)size;
	if (status)
		return status;
	planned->header_size = size;
	planned->file_size += size;
	for (size_t i = 0; i < planned->n_tensors; i++)
		planned->tensors[i].offset += size;
	return qs_weights_sort(planned, error);
}

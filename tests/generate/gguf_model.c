#include "gguf_model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "formats/model.h"
#include "quantize/q8_0_gguf.h"
#include "gguf_blocks.h"
#include "gguf_writer.h"
#include "random.h"
#include "values.h"
#include "writer.h"

/* A tensor to be written, and the tensor that it is made of. */
typedef struct out_tensor {
	char name[200];
	uint32_t dtype;
	const qs_weight *from;
	const qs_model_file *file;
	uint64_t heads; /* heads of a matrix whose rows are put into another order; 0: they are not */
	int is_weighed; /* is it quantized with an importance matrix? */
} out_tensor;

typedef struct out_model {
	gguf_bytes metadata;
	uint64_t n_entries;
	out_tensor *tensors;
	size_t n_tensors;
} out_model;

static uint64_t count_elems(const qs_weight *tensor)
{
	return tensor->size / qs_block_size(tensor->dtype) * qs_block_elems(tensor->dtype);
}

static uint64_t out_size(const out_tensor *tensor)
{
	return count_elems(tensor->from) / qs_block_elems(tensor->dtype) * qs_block_size(tensor->dtype);
}

static uint8_t *read_bytes(const char *path, uint64_t offset, uint64_t size)
{
	uint8_t *bytes = gen_allocate((size_t)size + 1);
	FILE *stream = fopen(path, "rb");
	if (!stream || fseeko(stream, (off_t)offset, SEEK_SET) || fread(bytes, 1, (size_t)size, stream) != size)
		gen_die("%s: cannot read", path);
	fclose(stream);
	return bytes;
}

/* Permutes rows like LlamaModel.permute() of convert_hf_to_gguf.py: within a head, row j of the first half is
 * followed by row j of the second half. */
static void interleave_rows(float *values, uint64_t rows, uint64_t cols, uint64_t heads)
{
	uint64_t size = rows / heads, half = size / 2;
	float *copy = gen_allocate((size_t)(rows * cols) * sizeof *copy);
	memcpy(copy, values, (size_t)(rows * cols) * sizeof *copy);
	for (uint64_t row = 0; row < heads * half * 2; row++) {
		uint64_t head = row / size, j = row % size / 2, second = row % 2;
		memcpy(values + row * cols, copy + (head * size + second * half + j) * cols,
		       (size_t)cols * sizeof *copy);
	}
	free(copy);
}

/* Makes numbers like those that llama-imatrix measures, for inputs whose channels differ by powers of two. */
static float *make_importance(const char *name, size_t n)
{
	normal_table *normal = gen_allocate(sizeof *normal);
	float *importance = gen_allocate(n * sizeof *importance);
	rng r;
	normal_table_init(normal);
	rng_seed(&r, 0x1a7, name, 0);
	for (size_t i = 0; i < n; i++)
		importance[i] = (float)exp2_portable(1.5 * normal_next(normal, &r));
	free(normal);
	return importance;
}

static uint8_t *make_data(const out_tensor *tensor)
{
	const qs_weight *from = tensor->from;
	uint64_t n = count_elems(from);
	uint8_t *bytes = read_bytes(tensor->file->path, from->offset, from->size), *data;
	if (from->dtype == tensor->dtype && !tensor->heads)
		return bytes;
	float *values = gen_allocate((size_t)n * sizeof *values + 1);
	for (uint64_t i = 0; i < n; i++)
		values[i] = value_load(bytes, from->dtype, i);
	free(bytes);
	if (tensor->heads)
		interleave_rows(values, from->dims[0], from->dims[1], tensor->heads);
	data = gen_allocate((size_t)out_size(tensor) + 1);
	if (gguf_is_block(tensor->dtype)) {
		size_t n_columns = (size_t)from->dims[from->n_dims - 1];
		float *importance = tensor->is_weighed ? make_importance(from->name, n_columns) : NULL;
		gguf_quantize(tensor->dtype, values, (size_t)(n / qs_block_elems(tensor->dtype)), importance,
		              n_columns, data);
		free(importance);
	} else {
		for (uint64_t i = 0; i < n; i++)
			value_store(data, tensor->dtype, i, values[i]);
	}
	free(values);
	return data;
}

static void put_split(gguf_bytes *header, uint32_t no, const gguf_options *options, size_t n_tensors)
{
	uint16_t numbers[2] = {(uint16_t)no, (uint16_t)options->shards};
	gguf_put_key(header, "split.no", GGUF_U16);
	gguf_put(header, &numbers[0], 2);
	gguf_put_key(header, "split.count", GGUF_U16);
	gguf_put(header, &numbers[1], 2);
	gguf_put_key(header, "split.tensors.count", GGUF_I32);
	gguf_put_u32(header, (uint32_t)n_tensors);
}

/* Writes one file with tensors [first, end). Only the first shard has the metadata, as gguf-split writes
 * it. */
static void write_file(const out_model *model, const gguf_options *options, uint32_t no, size_t first,
                       size_t end, const char *path)
{
	gguf_bytes header = {0};
	uint64_t offset = 0, n_entries = (no ? 0 : model->n_entries) + (options->shards > 1 ? 3 : 0);
	gguf_put_start(&header, options->version, end - first, n_entries + (options->alignment != 32));
	if (!no)
		gguf_put(&header, model->metadata.data, model->metadata.size);
	if (options->alignment != 32)
		gguf_put_key_u32(&header, "general.alignment", options->alignment);
	if (options->shards > 1)
		put_split(&header, no, options, model->n_tensors);
	for (size_t i = first; i < end; i++) {
		const out_tensor *tensor = &model->tensors[i];
		uint64_t dims[GGUF_DIMS_MAX] = {1, 1, 1, 1};
		uint32_t n_dims = tensor->from->n_dims;
		for (uint32_t d = 0; d < n_dims; d++)
			dims[d] = tensor->from->dims[n_dims - 1 - d];
		while (n_dims > 1 && dims[n_dims - 1] == 1)
			n_dims--;
		gguf_put_info(&header, tensor->name, n_dims ? n_dims : 1, dims, gguf_type(tensor->dtype), offset);
		offset += gguf_align(out_size(tensor), options->alignment);
	}
	gguf_pad(&header, options->alignment);
	gguf_write(&header, path);
	gguf_free(&header);

	FILE *stream = fopen(path, "ab");
	for (size_t i = first; i < end; i++) {
		uint8_t *data = make_data(&model->tensors[i]);
		uint64_t size = out_size(&model->tensors[i]);
		if (!stream || fwrite(data, 1, (size_t)size, stream) != size)
			gen_die("%s: cannot write", path);
		for (uint64_t at = size; at < gguf_align(size, options->alignment); at++)
			putc(0, stream);
		free(data);
	}
	if (!stream || fclose(stream))
		gen_die("%s: cannot write", path);
}

/* Writes all files: shards of equal numbers of tensors. */
static void write_model(const out_model *model, const gguf_options *options, const char *out)
{
	size_t stem = strlen(out);
	if (options->shards == 1) {
		write_file(model, options, 0, 0, model->n_tensors, out);
		return;
	}
	if (stem > 5 && !strcmp(out + stem - 5, ".gguf"))
		stem -= 5;
	for (uint32_t no = 0; no < options->shards; no++) {
		char path[4096];
		snprintf(path, sizeof path, "%.*s-%05u-of-%05u.gguf", (int)stem, out, no + 1, options->shards);
		write_file(model, options, no, model->n_tensors * no / options->shards,
		           model->n_tensors * (no + 1) / options->shards, path);
	}
}

static void close_model(out_model *model)
{
	gguf_free(&model->metadata);
	free(model->tensors);
}

/* ---- From safetensors ---- */

/* Makes a tensor's name in GGUF, as gguf-py's tensor_mapping.py does for Llama. */
static void gguf_name(const char *name, char *dst, size_t dst_size)
{
	static const char *const names[][2] = {
	    {"input_layernorm", "attn_norm"}, {"post_attention_layernorm", "ffn_norm"},
	    {"self_attn.q_proj", "attn_q"},   {"self_attn.k_proj", "attn_k"},
	    {"self_attn.v_proj", "attn_v"},   {"self_attn.o_proj", "attn_output"},
	    {"mlp.gate_proj", "ffn_gate"},    {"mlp.up_proj", "ffn_up"},
	    {"mlp.down_proj", "ffn_down"},
	};
	char part[100];
	unsigned layer;
	snprintf(dst, dst_size, "%s", name);
	if (!strcmp(name, "model.embed_tokens.weight"))
		snprintf(dst, dst_size, "token_embd.weight");
	else if (!strcmp(name, "model.norm.weight"))
		snprintf(dst, dst_size, "output_norm.weight");
	else if (!strcmp(name, "lm_head.weight"))
		snprintf(dst, dst_size, "output.weight");
	else if (sscanf(name, "model.layers.%u.%99s", &layer, part) == 2)
		for (size_t i = 0; i < sizeof names / sizeof *names; i++)
			if (!strncmp(part, names[i][0], strlen(names[i][0])))
				snprintf(dst, dst_size, "blk.%u.%s%s", layer, names[i][1], part + strlen(names[i][0]));
}

static uint64_t config_number(const json_t *config, const char *key, uint64_t otherwise)
{
	const json_t *value = json_object_get(config, key);
	return json_is_integer(value) ? (uint64_t)json_integer_value(value) : otherwise;
}

static void put_tokens(out_model *model, uint64_t n)
{
	gguf_bytes *b = &model->metadata;
	char token[24];
	gguf_put_key_text(b, "tokenizer.ggml.model", "llama");
	gguf_put_array(b, "tokenizer.ggml.tokens", GGUF_STRING, n);
	for (uint64_t i = 0; i < n; i++) {
		snprintf(token, sizeof token, "<%" PRIu64 ">", i);
		gguf_put_text(b, token);
	}
	gguf_put_array(b, "tokenizer.ggml.scores", GGUF_F32, n);
	for (uint64_t i = 0; i < n; i++)
		gguf_put_f32(b, -(float)i);
	gguf_put_array(b, "tokenizer.ggml.token_type", GGUF_I32, n);
	for (uint64_t i = 0; i < n; i++)
		gguf_put_u32(b, 1);
	model->n_entries += 4;
}

static void put_config(out_model *model, const json_t *config, uint32_t dtype)
{
	static const char *const keys[][2] = {
	    {"llama.context_length", "max_position_embeddings"},
	    {"llama.embedding_length", "hidden_size"},
	    {"llama.block_count", "num_hidden_layers"},
	    {"llama.feed_forward_length", "intermediate_size"},
	    {"llama.attention.head_count", "num_attention_heads"},
	    {"llama.attention.head_count_kv", "num_key_value_heads"},
	    {"llama.vocab_size", "vocab_size"},
	};
	gguf_bytes *b = &model->metadata;
	gguf_put_key_text(b, "general.architecture", "llama");
	gguf_put_key_text(b, "general.name", "a test");
	/* llama.h: LLAMA_FTYPE_ALL_F32, LLAMA_FTYPE_MOSTLY_F16, LLAMA_FTYPE_MOSTLY_BF16 */
	gguf_put_key_u32(b, "general.file_type", dtype == QS_F32 ? 0 : dtype == QS_F16 ? 1 : 32);
	model->n_entries += 3;
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
		if (!json_object_get(config, keys[i][1]))
			continue;
		gguf_put_key_u32(b, keys[i][0], (uint32_t)config_number(config, keys[i][1], 0));
		model->n_entries++;
	}
	gguf_put_key_f32(b, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
	model->n_entries++;
	put_tokens(model, config_number(config, "vocab_size", 0));
}

void gguf_convert(const char *in, uint32_t dtype, const gguf_options *options, const char *out)
{
	qs_model model;
	qstore_error error;
	out_model made = {0};
	char path[4096];

	if (qs_model_open(&model, in, &error))
		gen_die("%s", error.text);
	const char *slash = strrchr(in, '/');
	if (strlen(in) > 12 && !strcmp(in + strlen(in) - 12, ".safetensors"))
		snprintf(path, sizeof path, "%.*sconfig.json", slash ? (int)(slash + 1 - in) : 0, in);
	else
		snprintf(path, sizeof path, "%s/config.json", in);
	json_t *config = json_load_file(path, 0, NULL);
	/* Some small models have other names for these numbers. */
	uint64_t heads = config_number(config, "num_attention_heads", config_number(config, "num_heads", 0));
	uint64_t key_heads =
	    config_number(config, "num_key_value_heads", config_number(config, "num_kv_heads", heads));
	put_config(&made, config, dtype);
	json_decref(config);
	for (size_t f = 0; f < model.n_files; f++)
		made.n_tensors += model.files[f].weights.n_tensors;
	made.tensors = gen_allocate((made.n_tensors + 1) * sizeof *made.tensors);
	out_tensor *tensor = made.tensors;
	for (size_t f = 0; f < model.n_files; f++) {
		for (size_t t = 0; t < model.files[f].weights.n_tensors; t++, tensor++) {
			tensor->from = &model.files[f].weights.tensors[t];
			tensor->file = &model.files[f];
			gguf_name(tensor->from->name, tensor->name, sizeof tensor->name);
			int is_float = value_is_float(tensor->from->dtype);
			tensor->dtype = !is_float ? tensor->from->dtype : tensor->from->n_dims < 2 ? QS_F32 : dtype;
			if (gguf_type(tensor->dtype) == UINT32_MAX)
				gen_die("%s: GGUF has no such type", tensor->from->name);
			if (tensor->from->n_dims == 2 && is_float)
				tensor->heads = strstr(tensor->name, "attn_q.weight")   ? heads
				                : strstr(tensor->name, "attn_k.weight") ? key_heads
				                                                        : 0;
		}
	}
	write_model(&made, options, out);
	close_model(&made);
	qs_model_close(&model);
}

/* ---- Quantizing ---- */

typedef struct file_type {
	const char *name;
	uint32_t number; /* llama.h, LLAMA_FTYPE_MOSTLY_… */
	uint32_t dtype;
	int mixed; /* "_M": are some matrices of type Q6_K? */
} file_type;

static const file_type file_types[] = {
    {"q4_0", 2, QS_Q4_0, 0},    {"q4_1", 3, QS_Q4_1, 0},    {"q8_0", 7, QS_Q8_0, 0},
    {"q5_0", 8, QS_Q5_0, 0},    {"q5_1", 9, QS_Q5_1, 0},    {"q4_k_s", 14, QS_Q4_K, 0},
    {"q4_k_m", 15, QS_Q4_K, 1}, {"q5_k_s", 16, QS_Q5_K, 0}, {"q5_k_m", 17, QS_Q5_K, 1},
    {"q6_k", 18, QS_Q6_K, 0},
};

typedef struct type_choice {
	const file_type *type;
	int is_tied; /* is there no output.weight, so that the embeddings are used for it? */
	unsigned n_layers, i_value, i_down; /* layers; matrices of two kinds that were seen so far */
} type_choice;

/* llama-quant.cpp, use_more_bits() */
static int use_more_bits(unsigned i, unsigned n)
{
	return i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2;
}

/* llama-quant.cpp, llama_tensor_get_type_impl() and tensor_type_fallback(), for a dense Llama. */
static uint32_t choose_type(type_choice *choice, const qs_weight *tensor, int pure)
{
	const file_type *type = choice->type;
	uint32_t dtype = type->dtype;
	uint64_t cols = tensor->dims[tensor->n_dims - 1];
	int is_k = qs_block_elems(dtype) == 256;
	if (pure)
		;
	else if (!strcmp(tensor->name, "output.weight") ||
	         (choice->is_tied && !strcmp(tensor->name, "token_embd.weight")))
		dtype = dtype == QS_Q8_0 || cols % qs_block_elems(dtype) ? QS_Q8_0 : QS_Q6_K;
	else if (strstr(tensor->name, "attn_v.weight")) {
		unsigned i = choice->i_value++;
		if (type->mixed && use_more_bits(i, choice->n_layers))
			dtype = QS_Q6_K;
		else if (!type->mixed && dtype == QS_Q4_K && i < 4)
			dtype = QS_Q5_K;
	} else if (strstr(tensor->name, "ffn_down")) {
		unsigned i = choice->i_down++;
		if (type->mixed && use_more_bits(i, choice->n_layers))
			dtype = QS_Q6_K;
		else if (!type->mixed && dtype == QS_Q4_K && i < choice->n_layers / 8)
			dtype = QS_Q5_K;
	}
	if (cols % qs_block_elems(dtype) && (is_k || dtype == QS_Q6_K))
		dtype = dtype == QS_Q4_K ? QS_Q5_0 : dtype == QS_Q5_K ? QS_Q5_1 : QS_Q8_0;
	return dtype;
}

static int is_replaced(const char *key)
{
	return !strcmp(key, "general.quantization_version") || !strcmp(key, "general.file_type") ||
	       !strcmp(key, "general.alignment") || !strncmp(key, "split.", 6);
}

static void keep_metadata(out_model *made, const char *path, uint64_t header_size)
{
	gguf_source source;
	gguf_entry entry;
	qstore_error error;
	uint8_t *header = read_bytes(path, 0, header_size);
	if (gguf_source_open(&source, path, &error))
		gen_die("%s", error.text);
	for (uint64_t i = 0; i < source.n_entries; i++) {
		if (gguf_next_entry(&source, &entry))
			gen_die("%s", error.text);
		if (is_replaced(entry.key))
			continue;
		gguf_put(&made->metadata, header + entry.offset, (size_t)entry.size);
		made->n_entries++;
	}
	gguf_source_close(&source);
	free(header);
}

int gguf_quantize_model(const char *in, const char *type, const gguf_options *options, const char *out)
{
	type_choice choice = {0};
	qs_model model;
	qstore_error error;
	out_model made = {0};
	uint8_t *unused;
	size_t unused_size;
	qs_weights order;

	for (size_t i = 0; i < sizeof file_types / sizeof *file_types; i++)
		if (!strcmp(file_types[i].name, type))
			choice.type = &file_types[i];
	if (!choice.type)
		return 0;
	if (qs_model_open(&model, in, &error))
		gen_die("%s", error.text);
	const qs_weights *weights = &model.files[0].weights;
	if (model.n_files != 1)
		gen_die("%s: shards are not joined here", in);
	/* The tensors and their order do not depend on the type, so the list for Q8_0 serves all types. */
	if (qs_gguf_q8_0_header(in, weights, &unused, &unused_size, &order, &error))
		gen_die("%s", error.text);
	free(unused);
	keep_metadata(&made, in, weights->header_size);
	gguf_put_key_u32(&made.metadata, "general.quantization_version", 2);
	gguf_put_key_u32(&made.metadata, "general.file_type", choice.type->number);
	made.n_entries += 2;
	choice.is_tied = !qs_weights_find(weights, "output.weight");
	for (size_t i = 0; i < order.n_tensors; i++)
		choice.n_layers += !!strstr(order.tensors[i].name, "attn_v.weight");
	made.n_tensors = order.n_tensors;
	made.tensors = gen_allocate((made.n_tensors + 1) * sizeof *made.tensors);
	for (size_t i = 0; i < made.n_tensors; i++) {
		out_tensor *tensor = &made.tensors[i];
		tensor->from = qs_weights_find(weights, order.tensors[i].name);
		tensor->file = &model.files[0];
		snprintf(tensor->name, sizeof tensor->name, "%s", tensor->from->name);
		tensor->dtype = tensor->from->dtype;
		if (qs_gguf_q8_0_selects(tensor->from))
			tensor->dtype = choose_type(&choice, tensor->from, options->pure);
		tensor->is_weighed = options->imatrix;
	}
	write_model(&made, options, out);
	close_model(&made);
	qs_weights_close(&order);
	qs_model_close(&model);
	return 1;
}

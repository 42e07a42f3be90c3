#include "writer.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "formats/safetensors.h"
#include "quantize/llm_int8.h"
#include "values.h"

void gen_die(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	fprintf(stderr, "%s: ", program_invocation_short_name);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

void *gen_allocate(size_t size)
{
	void *memory = calloc(size ? size : 1, 1);
	if (!memory)
		gen_die("out of memory");
	return memory;
}

uint64_t gen_tensor_elems(const gen_tensor *tensor)
{
	uint64_t n = 1;
	for (uint32_t i = 0; i < tensor->n_dims; i++)
		n *= tensor->dims[i];
	return n;
}

uint64_t gen_tensor_size(const gen_tensor *tensor)
{
	return gen_tensor_elems(tensor) * qs_dtype_size(tensor->dtype);
}

uint64_t gen_tensor_cols(const gen_tensor *tensor)
{
	return tensor->n_dims ? tensor->dims[tensor->n_dims - 1] : 1;
}

void gen_make_folder(const char *path)
{
	char part[4096];
	size_t size = strlen(path);
	if (size >= sizeof part)
		gen_die("%s: name too long", path);
	for (size_t i = 1; i <= size; i++) {
		if (path[i] && path[i] != '/')
			continue;
		memcpy(part, path, i);
		part[i] = 0;
		if (mkdir(part, 0777) && errno != EEXIST)
			gen_die("%s: cannot make this folder: %s", part, strerror(errno));
	}
}

typedef struct output {
	FILE *stream;
	char path[4200];
} output;

static void output_open(output *out, const char *folder, const char *name)
{
	snprintf(out->path, sizeof out->path, "%s/%s", folder, name);
	out->stream = fopen(out->path, "wb");
	if (!out->stream)
		gen_die("%s: cannot write: %s", out->path, strerror(errno));
	setvbuf(out->stream, NULL, _IOFBF, 1 << 20);
}

static void output_write(output *out, const void *src, size_t size)
{
	if (size && fwrite(src, 1, size, out->stream) != size)
		gen_die("%s: cannot write: %s", out->path, strerror(errno));
}

static void output_close(output *out)
{
	if (fclose(out->stream))
		gen_die("%s: cannot write: %s", out->path, strerror(errno));
}

void gen_write_text(const char *folder, const char *name, const char *text, size_t text_size)
{
	output out = {0};
	output_open(&out, folder, name);
	output_write(&out, text, text_size);
	output_close(&out);
}

static int all_finite(const gen_tensor *tensor)
{
	int finite = 1;
	if (tensor->data)
		qs_llm_int8_absmax(tensor->data, (size_t)gen_tensor_elems(tensor), tensor->dtype, &finite);
	return finite;
}

/* Is the tensor quantized? F32 tensors are cast to FP16 first, as 16-bit ones are, so the same names
 * decide. */
static int is_quantized(const gen_tensor *tensor)
{
	uint32_t dtype = tensor->dtype == QS_F32 && !tensor->data ? QS_F16 : tensor->dtype;
	return qs_llm_int8_selects(tensor->name, dtype, tensor->n_dims, tensor->dims, NULL, NULL) &&
	       all_finite(tensor);
}

static int by_name(const void *a, const void *b)
{
	return strcmp((*(gen_tensor *const *)a)->name, (*(gen_tensor *const *)b)->name);
}

static char *text_of(const char *format, const char *stem, size_t stem_size)
{
	size_t size = stem_size + strlen(format) + 1;
	char *text = gen_allocate(size);
	snprintf(text, size, format, (int)stem_size, stem);
	return text;
}

/* The tensors of a file as its header lists them: one for each tensor, or three for a quantized one. */
typedef struct layout {
	qs_weight *tensors;
	size_t n_tensors;
} layout;

static void layout_add(layout *to, char *name, uint32_t dtype, const uint64_t *dims, uint32_t n_dims)
{
	qs_weight *tensor = &to->tensors[to->n_tensors++];
	tensor->name = name;
	tensor->dtype = dtype;
	tensor->n_dims = n_dims;
	tensor->dims = gen_allocate(n_dims * sizeof *dims);
	tensor->size = qs_dtype_size(dtype);
	for (uint32_t i = 0; i < n_dims; i++)
		tensor->size *= tensor->dims[i] = dims[i];
}

enum { HIGH, LOW, CAST };

static layout make_layout(const gen_files *files, gen_tensor *const *tensors, size_t n_tensors, int which)
{
	static const char *const scale_names[] = {"%.*s.SCB", "%.*s.weight.scale", "%.*s.scale",
	                                          "%.*s.weight_scale"};
	int rule = files->low_rule;
	layout out = {gen_allocate(3 * n_tensors * sizeof *out.tensors), 0};
	for (size_t i = 0; i < n_tensors; i++) {
		const gen_tensor *t = tensors[i];
		size_t name_size = strlen(t->name);
		int quantized = which == LOW && is_quantized(t);
		uint32_t dtype = which == CAST && t->dtype == QS_F32 ? files->cast_dtype : t->dtype;
		layout_add(&out, text_of("%.*s", t->name, name_size), quantized ? QS_I8 : dtype, t->dims, t->n_dims);
		if (quantized) {
			size_t stem_size = name_size - strlen(".weight");
			uint64_t dims[2] = {rule && files->per_tensor ? 1 : t->dims[0], 1};
			layout_add(&out, text_of(scale_names[rule], t->name, stem_size),
			           rule == GEN_COMPRESSED_TENSORS ? t->dtype : QS_F32, dims,
			           rule == GEN_COMPRESSED_TENSORS && !files->per_tensor ? 2 : 1);
			if (rule == GEN_LLM_INT8)
				layout_add(&out, text_of("%.*s.weight_format", t->name, stem_size), QS_U8, t->dims, 0);
		}
	}
	return out;
}

static void layout_free(layout *done)
{
	for (size_t i = 0; i < done->n_tensors; i++) {
		free(done->tensors[i].name);
		free(done->tensors[i].dims);
	}
	free(done->tensors);
}

static void write_header(output *out, layout *of)
{
	uint8_t *header;
	size_t header_size;
	qstore_error error;
	if (qs_safetensors_header(of->tensors, of->n_tensors, "{\"format\":\"pt\"}", &header, &header_size,
	                          &error))
		gen_die("%s: %s", out->path, error.text);
	output_write(out, header, header_size);
	free(header);
}

/* Writes the quantized tensor by any rule but LLM.int8. */
static void write_low(const gen_files *files, const gen_tensor *tensor, output *low)
{
	uint64_t cols = gen_tensor_cols(tensor), rows = gen_tensor_elems(tensor) / cols;
	uint32_t dtype = tensor->dtype;
	size_t row_size = (size_t)cols * qs_dtype_size(dtype);
	uint32_t scale_dtype = files->low_rule == GEN_COMPRESSED_TENSORS ? dtype : QS_F32;
	uint8_t *row = gen_allocate(row_size), *scales = gen_allocate((size_t)rows * 4);
	int8_t *codes = gen_allocate((size_t)cols);
	float absmax = 0;
	gen_rounding rounding = {.rule = files->low_rule, .bits = 8, .dtype = dtype};
	for (int pass = files->per_tensor ? 0 : 1; pass < 2; pass++) {
		for (uint64_t r = 0; r < rows; r++) {
			const uint8_t *src = tensor->data ? tensor->data + r * row_size : row;
			if (!tensor->data)
				files->row(files->context, tensor, r, row);
			absmax = files->per_tensor ? absmax : 0;
			for (uint64_t c = 0; c < cols; c++)
				absmax = fmaxf(absmax, fabsf(value_load(src, dtype, c)));
			if (pass == 0)
				continue;
			gen_params params = gen_find_params(&rounding, -absmax, absmax);
			for (uint64_t c = 0; c < cols; c++)
				codes[c] = (int8_t)gen_round(&rounding, &params, value_load(src, dtype, c));
			output_write(low, codes, (size_t)cols);
			value_store(scales, scale_dtype, files->per_tensor ? 0 : r, params.scale);
		}
	}
	output_write(low, scales, (files->per_tensor ? 1 : (size_t)rows) * qs_dtype_size(scale_dtype));
	free(codes);
	free(scales);
	free(row);
}

static void write_tensor(const gen_files *files, const gen_tensor *tensor, output *high, output *low,
                         output *cast)
{
	uint64_t cols = gen_tensor_cols(tensor), elems = gen_tensor_elems(tensor), rows = cols ? elems / cols : 0;
	size_t row_size = (size_t)cols * qs_dtype_size(tensor->dtype);
	uint8_t *row = gen_allocate(row_size), *half = gen_allocate((size_t)cols * 2), *scb = NULL;
	int8_t *codes = gen_allocate((size_t)cols);
	int quantized = low && is_quantized(tensor), other_rule = quantized && files->low_rule != GEN_LLM_INT8;

	if (quantized)
		scb = gen_allocate((size_t)rows * 4);
	for (uint64_t r = 0; r < rows; r++) {
		const uint8_t *src = tensor->data ? tensor->data + r * row_size : row;
		if (!tensor->data)
			files->row(files->context, tensor, r, row);
		output_write(high, src, row_size);
		if (low && !quantized)
			output_write(low, src, row_size);
		for (uint64_t c = 0; cast && tensor->dtype == QS_F32 && c < cols; c++)
			value_store(half, files->cast_dtype, c, value_load(src, QS_F32, c));
		if (cast)
			output_write(cast, tensor->dtype == QS_F32 ? half : src,
			             tensor->dtype == QS_F32 ? 2 * (size_t)cols : row_size);
		if (!quantized || other_rule)
			continue;
		uint32_t dtype = tensor->dtype;
		if (dtype == QS_F32) {
			for (uint64_t c = 0; c < cols; c++)
				value_store(half, QS_F16, c, value_load(src, QS_F32, c));
			src = half;
			dtype = QS_F16;
		}
		int finite = 1;
		float absmax = qs_llm_int8_absmax(src, (size_t)cols, dtype, &finite);
		qs_llm_int8_quantize(src, (size_t)cols, dtype, absmax, codes);
		output_write(low, codes, (size_t)cols);
		value_store(scb, QS_F32, r, absmax);
	}
	if (other_rule) {
		write_low(files, tensor, low);
	} else if (quantized) {
		output_write(low, scb, (size_t)rows * 4);
		output_write(low, "", 1); /* weight_format: 0, "row" */
	}
	free(scb);
	free(codes);
	free(half);
	free(row);
}

static void shard_name(char *name, size_t name_size, uint32_t shard, uint32_t n_shards)
{
	if (n_shards == 1)
		snprintf(name, name_size, "model.safetensors");
	else
		snprintf(name, name_size, "model-%05u-of-%05u.safetensors", shard + 1, n_shards);
}

/* Writes the index of all tensors, sorted by name. */
static void write_index(const char *folder, const layout *of, const uint32_t *shards, uint32_t n_shards)
{
	output out = {0};
	uint64_t total = 0;
	char shard[80];
	for (size_t i = 0; i < of->n_tensors; i++)
		total += of->tensors[i].size;
	output_open(&out, folder, "model.safetensors.index.json");
	fprintf(out.stream, "{\n  \"metadata\": {\n    \"total_size\": %" PRIu64 "\n  },\n  \"weight_map\": {\n",
	        total);
	for (size_t i = 0; i < of->n_tensors; i++) {
		shard_name(shard, sizeof shard, shards[i], n_shards);
		fprintf(out.stream, "    \"%s\": \"%s\"%s\n", of->tensors[i].name, shard,
		        i + 1 < of->n_tensors ? "," : "");
	}
	fprintf(out.stream, "  }\n}\n");
	if (ferror(out.stream))
		gen_die("%s: cannot write: %s", out.path, strerror(errno));
	output_close(&out);
}

static void write_index_of(const gen_files *files, const char *folder, gen_tensor *const *sorted,
                           size_t n_tensors, int which)
{
	layout all = make_layout(files, sorted, n_tensors, which);
	int n_parts = files->low_rule == GEN_LLM_INT8 ? 3 : 2;
	uint32_t *shards = gen_allocate(all.n_tensors * sizeof *shards);
	size_t at = 0;
	for (size_t i = 0; i < n_tensors; i++)
		for (int k = which == LOW && is_quantized(sorted[i]) ? n_parts : 1; k; k--)
			shards[at++] = sorted[i]->shard;
	write_index(folder, &all, shards, files->n_shards);
	free(shards);
	layout_free(&all);
}

static void write_shard(const gen_files *files, gen_tensor *const *tensors, size_t n_tensors, uint32_t shard)
{
	output high = {0}, low = {0}, cast = {0};
	char name[80];
	shard_name(name, sizeof name, shard, files->n_shards);
	layout high_layout = make_layout(files, tensors, n_tensors, HIGH),
	       low_layout = make_layout(files, tensors, n_tensors, LOW),
	       cast_layout = make_layout(files, tensors, n_tensors, CAST);
	output_open(&high, files->high, name);
	write_header(&high, &high_layout);
	if (files->low) {
		output_open(&low, files->low, name);
		write_header(&low, &low_layout);
	}
	if (files->cast) {
		output_open(&cast, files->cast, name);
		write_header(&cast, &cast_layout);
	}
	for (size_t i = 0; i < n_tensors; i++)
		write_tensor(files, tensors[i], &high, files->low ? &low : NULL, files->cast ? &cast : NULL);
	if (files->cast)
		output_close(&cast);
	layout_free(&cast_layout);
	output_close(&high);
	if (files->low)
		output_close(&low);
	layout_free(&high_layout);
	layout_free(&low_layout);
}

void gen_write_weights(const gen_files *files, gen_tensor *tensors, size_t n_tensors)
{
	gen_tensor **sorted = gen_allocate(n_tensors * sizeof *sorted),
	           **of_shard = gen_allocate(n_tensors * sizeof *of_shard);
	for (size_t i = 0; i < n_tensors; i++)
		sorted[i] = &tensors[i];
	qsort(sorted, n_tensors, sizeof *sorted, by_name);
	for (uint32_t shard = 0; shard < files->n_shards; shard++) {
		size_t n = 0;
		for (size_t i = 0; i < n_tensors; i++)
			if (sorted[i]->shard == shard)
				of_shard[n++] = sorted[i];
		write_shard(files, of_shard, n, shard);
	}
	if (files->n_shards > 1) {
		write_index_of(files, files->high, sorted, n_tensors, HIGH);
		if (files->low)
			write_index_of(files, files->low, sorted, n_tensors, LOW);
		if (files->cast)
			write_index_of(files, files->cast, sorted, n_tensors, CAST);
	}
	free(of_shard);
	free(sorted);
}

/* qstore_pack: what to read, and the passes. */
#include "pack.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "read/archive.h"

/* ---- Inputs ---- */

/* Tensors smaller than this are kept with their file's header. */
#define OBJECT_SIZE_MIN 64

static qstore_status take_weights(packer *p, const qs_model_file *input, uint32_t variant, uint32_t source,
                                  qs_error *error)
{
	pack_file *file;
	qstore_status status = pack_add_file(p, &file, error);
	if (status)
		return status;
	file->name = input->name;
	file->path = input->path;
	file->input = input;
	file->variants = 1u << variant;
	file->size = input->size;
	file->gaps = (pack_segment){source, 0, input->size};
	if (!input->is_weights)
		return QSTORE_OK;
	file->tensors = calloc(input->weights.n_tensors + 1, sizeof(*file->tensors));
	if (!file->tensors)
		return pack_no_memory(error);
	file->n_tensors = 0;
	for (size_t i = 0; i < input->weights.n_tensors; i++) {
		const qs_weight *t = &input->weights.tensors[i];
		if (t->dtype == QS_BYTES)
			continue; /* of a type that nobody knows: bytes of the file */
		file->tensors[file->n_tensors++] = (pack_tensor){
		    .name = t->name,
		    .dtype = t->dtype,
		    .n_dims = t->n_dims,
		    .dims = t->dims,
		    .offset = t->offset,
		    .size = t->size,
		    .role = t->size < OBJECT_SIZE_MIN ? PACK_LITERAL : PACK_PLAIN,
		    .source = source,
		    .source_offset = t->offset,
		    .object = QS_NONE,
		};
	}
	return QSTORE_OK;
}

/* The same bytes in two inputs? */
static qstore_status same_input(const packer *p, uint32_t a, uint32_t b, uint64_t size, int *same,
                                qs_error *error)
{
	uint8_t *buffer = malloc(2 * QS_IO_BLOCK);
	qstore_status status = buffer ? QSTORE_OK : pack_no_memory(error);
	*same = p->sources[a].size == p->sources[b].size;
	for (uint64_t at = 0; at < size && *same && !status; at += QS_IO_BLOCK) {
		size_t n = size - at < QS_IO_BLOCK ? (size_t)(size - at) : QS_IO_BLOCK;
		status = pack_read(p, a, buffer, n, at, error);
		if (!status)
			status = pack_read(p, b, buffer + QS_IO_BLOCK, n, at, error);
		*same = memcmp(buffer, buffer + QS_IO_BLOCK, n) == 0;
	}
	free(buffer);
	return status;
}

/* A file without weights: shared with another variant's when they are the same. */
static qstore_status take_other(packer *p, const qs_model_file *input, uint32_t variant, uint32_t source,
                                qs_error *error)
{
	int same = 0;
	qstore_status status = QSTORE_OK;
	for (size_t i = 0; i < p->n_smalls && !same && !status; i++) {
		pack_small *other = &p->smalls[i];
		if (strcmp(other->name, input->name) != 0)
			continue;
		status = same_input(p, other->source, source, input->size, &same, error);
		if (same)
			other->variants |= 1u << variant;
	}
	for (size_t i = 0; i < p->n_files && !same && !status; i++) {
		pack_file *other = &p->files[i];
		if (other->n_tensors > 0 || strcmp(other->name, input->name) != 0)
			continue;
		status = same_input(p, other->gaps.source, source, input->size, &same, error);
		if (same)
			other->variants |= 1u << variant;
	}
	if (status || same)
		return status;
	if (input->size > QS_FILE_ZSTD_MAX)
		return take_weights(p, input, variant, source, error);
	pack_small *small;
	status = pack_add_small(p, &small, error);
	if (status)
		return status;
	small->name = input->name;
	small->path = input->path;
	small->variants = 1u << variant;
	small->source = source;
	small->size = input->size;
	return QSTORE_OK;
}

static qstore_status take_model(packer *p, const qs_model *model, uint32_t variant, qs_error *error)
{
	qstore_status status = QSTORE_OK;
	for (size_t i = 0; i < model->n_files && !status; i++) {
		const qs_model_file *input = &model->files[i];
		uint32_t source;
		status = pack_add_source(p, input->path, input->size, &source, error);
		if (!status)
			status = input->is_weights ? take_weights(p, input, variant, source, error)
			                           : take_other(p, input, variant, source, error);
	}
	return status;
}

/* A name that no finer variant has: the precision's, or that with a number. */
static qstore_status name_variant(packer *p, uint32_t number, const char *precision, qs_error *error)
{
	unsigned n = 1;
	size_t size = strlen(precision);
	for (uint32_t v = number + 1; v <= p->high_number; v++)
		n += strncmp(p->names[v], precision, size) == 0 &&
		     (p->names[v][size] == 0 || p->names[v][size] == '-');
	p->names[number] = precision;
	if (n == 1)
		return QSTORE_OK;
	char *text = malloc(size + 16);
	if (text)
		snprintf(text, size + 16, "%s-%u", precision, n);
	p->names[number] = pack_keep(p, text);
	return !p->names[number] ? pack_no_memory(error) : QSTORE_OK;
}

static uint64_t weights_size(const qs_model *model)
{
	uint64_t size = 0;
	for (size_t i = 0; i < model->n_files; i++)
		for (size_t j = 0; j < model->files[i].weights.n_tensors; j++)
			size += model->files[i].weights.tensors[j].size;
	return size;
}

/* Variant `number`, of the precision with this suffix in the folder, or NULL; all finer ones are open. */
static qstore_status open_model(packer *p, uint32_t number, const char *path, const char *suffix,
                                qs_error *error)
{
	qs_model *model = &p->models[number];
	qstore_status status =
	    !suffix ? qs_model_open(model, path, error) : qs_model_open_precision(model, path, suffix, error);
	if (status)
		return status;
	const char *precision = qs_model_precision(model, &p->dtypes[number]);
	if (number < p->high_number && !suffix) {
		const qs_model *finer = &p->models[number + 1], *high = &p->models[p->high_number];
		if (strcmp(precision, p->names[p->high_number]) == 0)
			return qs_fail(error, QSTORE_MISMATCH, "%s and %s are both %s", path, high->path, precision);
		uint32_t own = p->dtypes[number], fine = p->dtypes[number + 1];
		/* By the types of most weights: an INT8 model may weigh more than a cast to 16 bits, as its
		 * embeddings are often still singles. Packed codes have no type that says how many bits they have. */
		int swapped = own == QS_I32 || fine == QS_I32
		                  ? weights_size(model) > weights_size(finer)
		                  : (uint64_t)qs_block_size(own) * qs_block_elems(fine) >
		                        (uint64_t)qs_block_size(fine) * qs_block_elems(own);
		if (swapped)
			return qs_fail(
			    error, QSTORE_MISMATCH,
			    "%s is %s, finer than %s, which is %s: are they swapped? They go from fine to coarse", path,
			    precision, finer->path, p->names[number + 1]);
	}
	return name_variant(p, number, precision, error);
}

/* A folder of transformers.js has several precisions, each a variant. *n: how many; 0 for other models. */
static qstore_status open_precisions(packer *p, uint32_t *n, qs_error *error)
{
	qs_precision found[QS_PRECISIONS_MAX];
	qs_model folder;
	qstore_status status = qs_model_open(&folder, p->options->high, error);
	size_t n_found = !status && !folder.is_single ? qs_model_precisions(&folder, found) : 0;
	qs_model_close(&folder);
	*n = n_found > 1 ? (uint32_t)n_found : 0;
	if (*n > 0)
		p->high_number = *n - 1;
	for (uint32_t i = 0; i < *n && !status; i++)
		status = open_model(p, *n - 1 - i, p->options->high, found[i].suffix, error);
	return status;
}

/* Which 8-bit variant is made of HIGH, if any. */
static qstore_status choose_quantizer(packer *p, qs_error *error)
{
	qstore_quantize quantize = p->options->quantize;
	if (quantize == QSTORE_QUANTIZE_DEFAULT && p->options->base)
		quantize = QSTORE_QUANTIZE_NONE;
	const qs_model *model = &p->models[0];
	int gguf = 0, onnx = 0;
	for (size_t i = 0; i < model->n_files; i++) {
		gguf |= model->files[i].is_weights && model->files[i].weights.format == QS_FORMAT_GGUF;
		onnx |= model->files[i].is_weights && model->files[i].weights.format == QS_FORMAT_ONNX;
	}
	if (quantize == QSTORE_QUANTIZE_DEFAULT)
		quantize = onnx ? QSTORE_QUANTIZE_NONE : gguf ? QSTORE_QUANTIZE_Q8_0 : QSTORE_QUANTIZE_LLM_INT8;
	if (quantize == QSTORE_QUANTIZE_LLM_INT8 && (gguf || onnx))
		return qs_fail(error, QSTORE_USAGE, "%s is %s: llm.int8 is for safetensors", model->path,
		               gguf ? "GGUF" : "ONNX");
	if (quantize == QSTORE_QUANTIZE_Q8_0 && !gguf)
		return qs_fail(error, QSTORE_USAGE, "%s is not GGUF: q8_0 is for GGUF", model->path);
	if (quantize == QSTORE_QUANTIZE_NONE)
		return QSTORE_OK;
	if (p->dtypes[0] == QS_I8 || qs_block_elems(p->dtypes[0]) > 1) {
		p->result.nothing_quantized = 1;
		return QSTORE_OK;
	}
	p->made_low = 1;
	p->quantize = quantize;
	p->high_number = 1;
	p->models[1] = p->models[0];
	p->names[1] = p->names[0];
	p->dtypes[1] = p->dtypes[0];
	memset(&p->models[0], 0, sizeof(p->models[0]));
	p->names[0] = gguf ? "q8_0" : "int8";
	p->dtypes[0] = gguf ? QS_Q8_0 : QS_I8;
	return QSTORE_OK;
}

static qstore_status open_models(packer *p, qs_error *error)
{
	const qstore_pack_options *options = p->options;
	uint32_t n_lower = 0, n_precisions = 0;
	if (options->low)
		for (n_lower = 1; options->lower && options->lower[n_lower - 1];)
			n_lower++;
	if (n_lower >= QS_VARIANTS_MAX)
		return qs_fail(error, QSTORE_LIMIT, "%u variants: an archive has at most %d", n_lower + 1,
		               QS_VARIANTS_MAX);
	qstore_status status = QSTORE_OK;
	if (!options->low)
		status = open_precisions(p, &n_precisions, error);
	if (n_precisions == 0) {
		p->high_number = n_lower;
		if (!status)
			status = open_model(p, n_lower, options->high, NULL, error);
		for (uint32_t i = 0; i < n_lower && !status; i++)
			status =
			    open_model(p, n_lower - 1 - i, i == 0 ? options->low : options->lower[i - 1], NULL, error);
	}
	if (status)
		return status;
	if (!options->low && n_precisions == 0)
		status = choose_quantizer(p, error);
	for (uint32_t v = 0; v <= p->high_number && !status; v++)
		status = take_model(p, &p->models[v], v, error);
	return status;
}

/* Refuses what could not be written at the end, before the work. */
static qstore_status check_output(const packer *p, qs_error *error)
{
	const char *path = p->options->output;
	struct stat info, input;
	if (stat(path, &info) != 0)
		return QSTORE_OK;
	if (!S_ISREG(info.st_mode))
		return qs_fail(error, QSTORE_IO, "%s: cannot create: exists and is not a regular file", path);
	for (size_t i = 0; i < p->n_sources; i++) {
		if (fstat(p->sources[i].fd, &input) == 0 && input.st_dev == info.st_dev &&
		    input.st_ino == info.st_ino)
			return qs_fail(error, QSTORE_USAGE, "%s: is one of the files to be packed", path);
	}
	if (!p->options->force)
		return qs_fail(error, QSTORE_EXISTS, "%s: exists already", path);
	return QSTORE_OK;
}

static void fill_result(packer *p)
{
	qstore_pack_result *result = &p->result;
	result->n_variants = (uint32_t)p->builder.n_variants;
	for (uint32_t v = 0; v < result->n_variants; v++) {
		snprintf(result->variants[v].name, sizeof(result->variants[v].name), "%s",
		         p->builder.variants[v].name);
		result->variants[v].raw_size = p->builder.variants[v].raw_size;
		for (size_t i = 0; i < p->n_smalls && p->options->compare; i++) {
			if (p->smalls[i].variants >> v & 1)
				result->variants[v].zstd_size += p->smalls[i].coded_size;
		}
	}
}

static qstore_status run(packer *p, qs_error *error)
{
	const char *output = p->options->output;
	char *temp_path = NULL;
	int fd = -1;
	qstore_status status = open_models(p, error);
	if (!status)
		status = check_output(p, error);
	if (!status)
		status = qs_temp_create(&fd, &temp_path, output, error);
	if (!status)
		status = qs_spool_create(&p->small_fd, output, error);
	if (!status)
		status = qs_spool_create(&p->layer_fd, output, error);
	if (!status)
		status = pack_matrices(p, error);
	if (!status && p->high_number > 0 && !p->made_low)
		status = pack_pair(p, error);
	if (!status && p->options->base)
		status = pack_base(p, error);
	if (!status && p->made_low) {
		status = p->quantize == QSTORE_QUANTIZE_Q8_0 ? pack_quantize_q8_0(p, error) : pack_quantize(p, error);
		if (!p->made_low) {
			p->high_number = 0;
			p->models[0] = p->models[1];
			p->names[0] = p->names[1];
			p->dtypes[0] = p->dtypes[1];
			memset(&p->models[1], 0, sizeof(p->models[1]));
			for (size_t i = 0; i < p->n_files; i++)
				p->files[i].variants = 1;
			for (size_t i = 0; i < p->n_smalls; i++)
				p->smalls[i].variants = 1;
		}
	}
	if (!status)
		status = pack_hash(p, error);
	if (!status)
		status = pack_plan(p, error);
	if (!status)
		status = pack_encode(p, error);
	if (!status)
		status = pack_check_sources(p, error);
	if (!status)
		status = pack_write(p, fd, error);
	if (!status)
		status = pack_check(p, fd, temp_path, error);
	if (fd >= 0 && close(fd) != 0 && !status)
		status = qs_fail(error, QSTORE_IO, "%s: cannot write: %s", output, strerror(errno));
	if (!status)
		status = qs_temp_rename(temp_path, output, p->options->force, error);
	if (!status) {
		qs_sync_folder(output);
		fill_result(p);
	} else if (temp_path) {
		unlink(temp_path);
	}
	free(temp_path);
	return status;
}

static void packer_free(packer *p)
{
	for (size_t i = 0; i < p->n_sources; i++) {
		if (p->sources[i].fd >= 0)
			close(p->sources[i].fd);
	}
	for (size_t i = 0; i < p->n_files; i++) {
		free(p->files[i].tensors);
		free(p->files[i].pieces);
	}
	for (size_t i = 0; i < p->n_smalls; i++)
		free(p->smalls[i].member);
	for (size_t i = 0; i < p->n_texts; i++)
		free(p->texts[i]);
	for (size_t i = 0; i < p->n_parts; i++)
		free(p->parts[i]);
	free(p->parts);
	pack_base_free(p);
	for (size_t i = 0; i < p->n_planned; i++)
		qs_weights_close(&p->planned[i]);
	free(p->planned);
	if (p->small_fd >= 0)
		close(p->small_fd);
	if (p->layer_fd >= 0)
		close(p->layer_fd);
	free(p->sources);
	free(p->files);
	free(p->smalls);
	free(p->segments);
	free(p->objects);
	free(p->texts);
	qs_builder_free(&p->builder);
	pthread_mutex_destroy(&p->progress_lock);
	for (uint32_t v = 0; v < QS_VARIANTS_MAX; v++)
		qs_model_close(&p->models[v]);
}

qstore_status qstore_pack(const qstore_pack_options *options, qstore_pack_result *result, qstore_error *error)
{
	qstore_status status;
	qs_error_clear(error);
	packer *p = calloc(1, sizeof(*p));
	if (p)
		pthread_mutex_init(&p->progress_lock, NULL);
	if (!p) {
		status = qs_no_memory(error);
	} else if (!options->high || !options->output || options->high[0] == 0 || options->output[0] == 0 ||
	           (options->low && options->low[0] == 0)) {
		status = qs_fail(error, QSTORE_USAGE, "a model and an output are needed");
	} else {
		p->options = options;
		p->generated = QS_NONE;
		p->small_fd = p->layer_fd = -1;
		status = run(p, error);
		if (!status && result)
			*result = p->result;
	}
	if (p)
		packer_free(p);
	free(p);
	return status;
}

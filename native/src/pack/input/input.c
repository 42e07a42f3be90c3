#include "input.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "os/array.h"
#include "os/file.h"

/* Tensors of fewer bytes are among their file's literal bytes. */
#define OBJECT_SIZE_MIN 64

pack_file *pack_add_file(pack_input *input)
{
	return qs_array_add(&input->files, &input->n_files, sizeof(*input->files));
}

pack_small *pack_add_small(pack_input *input)
{
	return qs_array_add(&input->smalls, &input->n_smalls, sizeof(*input->smalls));
}

const char *pack_high_path(const pack_input *input)
{
	return input->variants[input->n_variants - 1].model.path;
}

uint32_t pack_coarsest(uint32_t variants)
{
	uint32_t v = 0;
	assert(variants != 0);
	while ((variants >> v & 1) == 0)
		v++;
	return v;
}

uint64_t pack_gap_offset(const pack_file *file, uint64_t at)
{
	return file->is_padded && at >= file->gaps.size ? file->padding : file->gaps.offset + at;
}

void pack_insert_coarsest(pack_input *input, const char *name, uint32_t dtype)
{
	assert(input->n_variants < QS_VARIANTS_MAX);
	for (uint32_t v = input->n_variants++; v > 0; v--) {
		input->variants[v] = input->variants[v - 1];
		input->variants[v].coarser = v == 1 ? 0 : input->variants[v].coarser + 1;
	}
	input->variants[0] = (pack_variant){.name = name, .dtype = dtype, .coarser = QS_NONE};
	for (size_t i = 0; i < input->n_files; i++)
		input->files[i].variants <<= 1;
	for (size_t i = 0; i < input->n_smalls; i++)
		input->smalls[i].variants <<= 1;
}

void pack_close_input(pack_input *input)
{
	pack_close_sources(&input->sources);
	free(input->files);
	free(input->smalls);
	for (uint32_t v = 0; v < QS_VARIANTS_MAX; v++)
		qs_model_close(&input->variants[v].model);
}

/* ---- Files of a variant ---- */

/* A file that is made of objects: weights, or a file that is too large for a member. */
static qstore_status take_assembled(pack_input *input, const qs_model_file *given, uint32_t variant,
                                    const pack_source *source, qstore_error *error)
{
	const qs_weights *weights = &given->weights;
	pack_file *file = pack_add_file(input);
	if (!file)
		return qs_no_memory(error);
	*file = (pack_file){
	    .name = given->name,
	    .path = given->path,
	    .input = given,
	    .variants = 1u << variant,
	    .size = given->size,
	    .gaps = {source, 0, given->size},
	};
	if (!given->is_weights)
		return QSTORE_OK;
	file->tensors = qs_arena_array(input->arena, weights->n_tensors, sizeof(*file->tensors));
	if (!file->tensors)
		return qs_no_memory(error);
	for (size_t i = 0; i < weights->n_tensors; i++) {
		const qs_weight *t = &weights->tensors[i];
		/* A tensor of an unknown type is bytes between the others. */
		if (t->dtype == QS_BYTES)
			continue;
		file->tensors[file->n_tensors++] = (pack_tensor){
		    .name = t->name,
		    .dtype = t->dtype,
		    .n_dims = t->n_dims,
		    .dims = t->dims,
		    .offset = t->offset,
		    .size = t->size,
		    .coding.role = t->size < OBJECT_SIZE_MIN ? PACK_LITERAL : PACK_PLAIN,
		    .source = source,
		    .source_offset = t->offset,
		    .object = QS_NONE,
		};
	}
	return QSTORE_OK;
}

/* Are both the same bytes? */
static qstore_status have_same_bytes(const pack_source *a, const pack_source *b, uint64_t size, int *same,
                                     qstore_error *error)
{
	uint8_t *buffer = malloc(2 * QS_IO_BLOCK);
	qstore_status status = buffer ? QSTORE_OK : qs_no_memory(error);
	*same = 1;
	for (uint64_t at = 0; at < size && *same && !status; at += QS_IO_BLOCK) {
		size_t n = size - at < QS_IO_BLOCK ? (size_t)(size - at) : QS_IO_BLOCK;
		status = pack_read(a, buffer, n, at, error);
		if (!status)
			status = pack_read(b, buffer + QS_IO_BLOCK, n, at, error);
		*same = !status && memcmp(buffer, buffer + QS_IO_BLOCK, n) == 0;
	}
	free(buffer);
	return status;
}

/* A file without weights. When another variant has the same file, both share it. */
static qstore_status take_other(pack_input *input, const qs_model_file *given, uint32_t variant,
                                const pack_source *source, qstore_error *error)
{
	int same = 0;
	qstore_status status = QSTORE_OK;
	for (size_t i = 0; i < input->n_smalls && !same && !status; i++) {
		pack_small *other = &input->smalls[i];
		if (strcmp(other->name, given->name) != 0 || other->bytes.size != given->size)
			continue;
		status = have_same_bytes(other->bytes.source, source, given->size, &same, error);
		if (same)
			other->variants |= 1u << variant;
	}
	for (size_t i = 0; i < input->n_files && !same && !status; i++) {
		pack_file *other = &input->files[i];
		if (other->n_tensors > 0 || strcmp(other->name, given->name) != 0 || other->size != given->size)
			continue;
		status = have_same_bytes(other->gaps.source, source, given->size, &same, error);
		if (same)
			other->variants |= 1u << variant;
	}
	if (status || same)
		return status;
	if (given->size > QS_FILE_ZSTD_MAX)
		return take_assembled(input, given, variant, source, error);
	pack_small *small = pack_add_small(input);
	if (!small)
		return qs_no_memory(error);
	*small = (pack_small){.name = given->name,
	                      .path = given->path,
	                      .variants = 1u << variant,
	                      .bytes = {source, 0, given->size}};
	return QSTORE_OK;
}

static qstore_status take_files(pack_input *input, uint32_t variant, qstore_error *error)
{
	const qs_model *model = &input->variants[variant].model;
	qstore_status status = QSTORE_OK;
	for (size_t i = 0; i < model->n_files && !status; i++) {
		const qs_model_file *given = &model->files[i];
		const pack_source *source;
		status = pack_open_source(&input->sources, input->arena, given->path, given->size, &source, error);
		if (!status)
			status = given->is_weights ? take_assembled(input, given, variant, source, error)
			                           : take_other(input, given, variant, source, error);
	}
	return status;
}

/* ---- Variants ---- */

/* Gives variant `number` a name that no finer variant has: that of its precision, with a number where another
 * has this precision too. */
static qstore_status name_variant(pack_input *input, uint32_t number, const char *precision,
                                  qstore_error *error)
{
	unsigned n = 1;
	size_t size = strlen(precision);
	for (uint32_t v = number + 1; v < input->n_variants; v++) {
		const char *name = input->variants[v].name;
		n += strncmp(name, precision, size) == 0 && (name[size] == 0 || name[size] == '-');
	}
	input->variants[number].name = n == 1 ? precision : qs_arena_text(input->arena, "%s-%u", precision, n);
	return input->variants[number].name ? QSTORE_OK : qs_no_memory(error);
}

static uint64_t weights_size(const qs_model *model)
{
	uint64_t size = 0;
	for (size_t i = 0; i < model->n_files; i++)
		for (size_t j = 0; j < model->files[i].weights.n_tensors; j++)
			size += model->files[i].weights.tensors[j].size;
	return size;
}

/* Is this variant finer than the next one, which should be the finer of both? */
static int are_swapped(const pack_variant *variant, const pack_variant *finer)
{
	/* The types of most weights decide: an INT8 model may weigh more than a cast to 16 bits, because its
	 * embeddings are often still singles. The type of packed codes does not say how many bits a code has. */
	if (variant->dtype == QS_I32 || finer->dtype == QS_I32)
		return weights_size(&variant->model) > weights_size(&finer->model);
	return (uint64_t)qs_block_size(variant->dtype) * qs_block_elems(finer->dtype) >
	       (uint64_t)qs_block_size(finer->dtype) * qs_block_elems(variant->dtype);
}

/* Opens variant `number`; all finer ones are open. suffix: of the precision in the folder, or NULL. */
static qstore_status open_variant(pack_input *input, uint32_t number, const char *path, const char *suffix,
                                  qstore_error *error)
{
	pack_variant *variant = &input->variants[number], *high = &input->variants[input->n_variants - 1];
	qstore_status status = suffix ? qs_model_open_precision(&variant->model, path, suffix, error)
	                              : qs_model_open(&variant->model, path, error);
	if (status)
		return status;
	const char *precision = qs_model_precision(&variant->model, &variant->dtype);
	variant->coarser = number == 0 ? QS_NONE : number - 1;
	if (variant != high && !suffix) {
		if (strcmp(precision, high->name) == 0)
			return qs_fail(error, QSTORE_MISMATCH,
			               "%s and %s are both %s: give models of different precisions", path,
			               high->model.path, precision);
		if (are_swapped(variant, variant + 1))
			return qs_fail(
			    error, QSTORE_MISMATCH,
			    "%s is %s, finer than %s, which is %s: are they swapped? Give them from fine to coarse", path,
			    precision, variant[1].model.path, variant[1].name);
	}
	return name_variant(input, number, precision, error);
}

/* Opens the precisions of a folder for transformers.js, each as a variant. n_variants stays 0 when the model
 * is none of these, or has only one precision. */
static qstore_status open_precisions(pack_input *input, const char *path, qstore_error *error)
{
	qs_precision found[QS_PRECISIONS_MAX];
	qs_model folder;
	qstore_status status = qs_model_open(&folder, path, error);
	size_t n = !status && !folder.is_single ? qs_model_precisions(&folder, found) : 0;
	qs_model_close(&folder);
	if (n <= 1)
		return status;
	input->n_variants = (uint32_t)n;
	for (uint32_t i = 0; i < n && !status; i++)
		status = open_variant(input, (uint32_t)n - 1 - i, path, found[i].suffix, error);
	return status;
}

static qstore_status open_models(pack_input *input, const qstore_pack_options *options, qstore_error *error)
{
	uint32_t n_lower = 0;
	if (options->low)
		for (n_lower = 1; options->lower && options->lower[n_lower - 1];)
			n_lower++;
	if (n_lower >= QS_VARIANTS_MAX)
		return qs_fail(error, QSTORE_LIMIT, "%u models are given, but an archive has at most %d variants",
		               n_lower + 1, QS_VARIANTS_MAX);
	if (!options->low) {
		qstore_status status = open_precisions(input, options->high, error);
		if (status || input->n_variants > 0)
			return status;
	}
	input->n_variants = n_lower + 1;
	qstore_status status = open_variant(input, n_lower, options->high, NULL, error);
	for (uint32_t i = 0; i < n_lower && !status; i++)
		status =
		    open_variant(input, n_lower - 1 - i, i == 0 ? options->low : options->lower[i - 1], NULL, error);
	return status;
}

static int has_warning(const qs_model *model, const char *text)
{
	for (size_t i = 0; i < model->n_warnings; i++)
		if (strcmp(model->warnings[i], text) == 0)
			return 1;
	return 0;
}

/* Passes the models' warnings on. Variants of one folder may have the same ones. */
static void report_warnings(const pack_input *input, const qstore_work *work)
{
	for (uint32_t v = 0; v < input->n_variants; v++) {
		const qs_model *model = &input->variants[v].model;
		for (size_t i = 0; i < model->n_warnings; i++) {
			uint32_t other = 0;
			while (other < v && !has_warning(&input->variants[other].model, model->warnings[i]))
				other++;
			if (other == v)
				qs_warn(work, "%s", model->warnings[i]);
		}
	}
}

qstore_status pack_open_input(pack_input *input, const qstore_pack_options *options, qstore_error *error)
{
	qstore_status status = open_models(input, options, error);
	if (!status)
		report_warnings(input, &options->work);
	for (uint32_t v = 0; v < input->n_variants && !status; v++)
		status = take_files(input, v, error);
	return status;
}

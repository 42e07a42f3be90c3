#include "input.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

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
	return input->variants[input->n_variants - 1].path;
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
	input->variants[0] = (pack_variant){.path = "", .name = name, .dtype = dtype, .coarser = QS_NONE};
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
	for (uint32_t m = 0; m < input->n_models; m++)
		qs_model_close(&input->models[m]);
}

/* ---- Files of models ---- */

/* A file that is made of objects: weights, or a file that is too large for a member. */
static qstore_status take_assembled(pack_input *input, const qs_model_file *given, uint32_t variants,
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
	    .variants = variants,
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

/* A file without weights. When other variants have the same file, all share it. */
static qstore_status take_other(pack_input *input, const qs_model_file *given, uint32_t variants,
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
			other->variants |= variants;
	}
	for (size_t i = 0; i < input->n_files && !same && !status; i++) {
		pack_file *other = &input->files[i];
		if (other->n_tensors > 0 || strcmp(other->name, given->name) != 0 || other->size != given->size)
			continue;
		status = have_same_bytes(other->gaps.source, source, given->size, &same, error);
		if (same)
			other->variants |= variants;
	}
	if (status || same)
		return status;
	if (given->size > QS_FILE_ZSTD_MAX)
		return take_assembled(input, given, variants, source, error);
	pack_small *small = pack_add_small(input);
	if (!small)
		return qs_no_memory(error);
	*small = (pack_small){
	    .name = given->name, .path = given->path, .variants = variants, .bytes = {source, 0, given->size}};
	return QSTORE_OK;
}

/* The variants that have a file of a model. */
static uint32_t variants_of(const pack_input *input, const qs_model *model, const qs_model_file *file)
{
	uint32_t variants = 0;
	for (uint32_t v = 0; v < input->n_variants; v++)
		if (input->variants[v].model == model && file->precisions >> input->variants[v].precision & 1)
			variants |= 1u << v;
	return variants;
}

static qstore_status take_files(pack_input *input, const qs_model *model, qstore_error *error)
{
	qstore_status status = QSTORE_OK;
	for (size_t i = 0; i < model->n_files && !status; i++) {
		const qs_model_file *given = &model->files[i];
		uint32_t variants = variants_of(input, model, given);
		const pack_source *source;
		status = pack_open_source(&input->sources, input->arena, given->path, given->size, &source, error);
		if (!status)
			status = given->is_weights ? take_assembled(input, given, variants, source, error)
			                           : take_other(input, given, variants, source, error);
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
		n += strncmp(name, precision, size) == 0 &&
		     (name[size] == 0 || (name[size] == '-' && strspn(name + size + 1, "0123456789") > 0 &&
		                          name[size + 1 + strspn(name + size + 1, "0123456789")] == 0));
	}
	input->variants[number].name = n == 1 ? precision : qs_arena_text(input->arena, "%s-%u", precision, n);
	return input->variants[number].name ? QSTORE_OK : qs_no_memory(error);
}

static const qs_precision *precision_of(const pack_variant *variant)
{
	return &variant->model->precisions[variant->precision];
}

/* Variants that were given by paths of their own are in the order of these. When a path has several, the
 * variants of all paths are sorted, as far as the bits of their codes are known. */
static void sort_variants(pack_variant *fine_to_coarse, uint32_t n)
{
	for (uint32_t i = 1; i < n; i++) {
		pack_variant variant = fine_to_coarse[i];
		uint32_t at = i;
		for (; at > 0 && variant.bits > 0 && fine_to_coarse[at - 1].bits > 0 &&
		       fine_to_coarse[at - 1].bits < variant.bits;
		     at--)
			fine_to_coarse[at] = fine_to_coarse[at - 1];
		fine_to_coarse[at] = variant;
	}
}

static qstore_status check_order(const pack_variant *finer, const pack_variant *coarser,
                                 const qstore_pack_options *options, qstore_error *error)
{
	const qstore_work *work = &options->work;
	const char *name = precision_of(coarser)->name;
	if (coarser->bits > finer->bits && finer->bits > 0 && !options->allow_mismatch)
		return qs_fail(
		    error, QSTORE_MISMATCH,
		    "%s is %s, finer than %s, which is %s: are they swapped? Give them from fine to coarse, or pack "
		    "them in this order all the same with --allow-mismatch",
		    coarser->path, name, finer->path, precision_of(finer)->name);
	if (strcmp(name, precision_of(finer)->name) == 0 && coarser->model != finer->model)
		qs_warn(work, "%s and %s are both %s", finer->path, coarser->path, name);
	return QSTORE_OK;
}

static qstore_status set_variants(pack_input *input, const qstore_pack_options *options, qstore_error *error)
{
	pack_variant all[QS_VARIANTS_MAX]; /* fine to coarse */
	uint32_t n = 0;
	qstore_status status = QSTORE_OK;
	for (uint32_t m = 0; m < input->n_models; m++) {
		const qs_model *model = &input->models[m];
		for (uint32_t p = 0; p < model->n_precisions; p++) {
			if (n == QS_VARIANTS_MAX)
				return qs_fail(error, QSTORE_LIMIT,
				               "the models have more precisions together than the %d variants that an "
				               "archive can have: leave some out by --skip PATTERN",
				               QS_VARIANTS_MAX);
			all[n++] = (pack_variant){.path = model->path,
			                          .model = model,
			                          .precision = p,
			                          .dtype = model->precisions[p].dtype,
			                          .bits = model->precisions[p].bits};
		}
	}
	if (n > input->n_models)
		sort_variants(all, n);
	input->n_variants = n;
	for (uint32_t i = 0; i < n && !status; i++) {
		if (i > 0)
			status = check_order(&all[i - 1], &all[i], options, error);
		uint32_t v = n - 1 - i;
		input->variants[v] = all[i];
		input->variants[v].coarser = v == 0 ? QS_NONE : v - 1;
		if (!status)
			status = name_variant(input, v, precision_of(&all[i])->name, error);
	}
	return status;
}

static unsigned n_variants_of(const pack_file *file)
{
	unsigned n = 0;
	for (uint32_t bits = file->variants; bits; bits &= bits - 1)
		n++;
	return n;
}

const pack_file *pack_main_file(const pack_input *input, uint32_t variant, uint32_t *n_more)
{
	const pack_file *best = NULL;
	const qs_model *model = input->variants[variant].model;
	uint32_t n = 0;
	for (size_t i = 0; i < input->n_files && model && model->n_precisions > 1; i++) {
		const pack_file *file = &input->files[i];
		if (!(file->variants >> variant & 1) || !file->input || !file->input->is_weights)
			continue;
		n++;
		if (!best || n_variants_of(file) < n_variants_of(best) ||
		    (n_variants_of(file) == n_variants_of(best) && file->size > best->size))
			best = file;
	}
	*n_more = n > 0 ? n - 1 : 0;
	return best;
}

static int is_same_path(const char *a, const char *b)
{
	struct stat x, y;
	return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* Opens the model at path, behind those that are finer. */
static qstore_status open_model(pack_input *input, const char *path, const qstore_pack_options *options,
                                qstore_error *error)
{
	qs_model_options how = {.skip = options->skip, .takes_beside = options->beside};
	if (input->n_models == QS_VARIANTS_MAX)
		return qs_fail(error, QSTORE_LIMIT, "more models are given than the %d variants of an archive",
		               QS_VARIANTS_MAX);
	for (uint32_t m = 0; m < input->n_models; m++)
		if (is_same_path(input->models[m].path, path))
			return qs_fail(error, QSTORE_MISMATCH, "%s is given twice: give models of different precisions",
			               path);
	return qs_model_open_with(&input->models[input->n_models++], path, &how, error);
}

/* A pattern that leaves out nothing is probably misspelt. */
static void warn_of_useless_skips(const pack_input *input, const qstore_pack_options *options)
{
	uint64_t used = 0;
	for (uint32_t m = 0; m < input->n_models; m++)
		used |= input->models[m].skips;
	for (size_t k = 0; options->skip && options->skip[k] && k < 64; k++)
		if (!(used >> k & 1))
			qs_warn(&options->work, "--skip '%s' leaves out nothing: no file or folder is called so",
			        options->skip[k]);
}

static qstore_status open_models(pack_input *input, const qstore_pack_options *options, qstore_error *error)
{
	qstore_status status = open_model(input, options->high, options, error);
	if (!status && options->low)
		status = open_model(input, options->low, options, error);
	for (size_t i = 0; options->low && options->lower && options->lower[i] && !status; i++)
		status = open_model(input, options->lower[i], options, error);
	for (uint32_t m = 0; m < input->n_models && !status; m++)
		for (size_t i = 0; i < input->models[m].n_warnings; i++)
			qs_warn(&options->work, "%s", input->models[m].warnings[i]);
	if (!status)
		warn_of_useless_skips(input, options);
	return status ? status : set_variants(input, options, error);
}

qstore_status pack_open_input(pack_input *input, const qstore_pack_options *options, qstore_error *error)
{
	qstore_status status = open_models(input, options, error);
	if (!status)
		status = pack_set_prefixes(input, error);
	for (uint32_t m = 0; m < input->n_models && !status; m++)
		status = take_files(input, &input->models[m], error);
	return status;
}

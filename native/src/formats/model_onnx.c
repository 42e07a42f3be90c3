#include "model_onnx.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "model_files.h"
#include "text.h"

#define END ".onnx"

/* From fine to coarse. Where two have equal bits, the one that keeps more of the model in FP32 is finer. The
 * suffixes are those of transformers.js (src/utils/dtypes.js, DEFAULT_DTYPE_SUFFIX_MAPPING). */
static const qs_precision precisions[] = {
    {"", "fp32"},        {"_fp16", "fp16"},   {"_quantized", "q8"}, {"_int8", "int8"},
    {"_uint8", "uint8"}, {"_q4", "q4"},       {"_q4f16", "q4f16"},  {"_bnb4", "bnb4"},
    {"_q2", "q2"},       {"_q2f16", "q2f16"}, {"_q1", "q1"},        {"_q1f16", "q1f16"},
};
enum { N_PRECISIONS = sizeof precisions / sizeof *precisions };
_Static_assert((int)N_PRECISIONS == (int)QS_PRECISIONS_MAX, "");

static int ends_in(const char *name, size_t size, const char *end)
{
	size_t end_size = strlen(end);
	return size > end_size && !strncasecmp(name + size - end_size, end, end_size);
}

int qs_model_is_onnx(const char *name)
{
	return ends_in(name, strlen(name), END);
}

const qs_precision *qs_model_onnx_precision(const char *name)
{
	if (!qs_model_is_onnx(name))
		return NULL;
	size_t size = strlen(name) - strlen(END);
	for (size_t i = 1; i < N_PRECISIONS; i++)
		if (ends_in(name, size, precisions[i].suffix))
			return &precisions[i];
	return &precisions[0];
}

size_t qs_model_precisions(const qs_model *model, qs_precision found[QS_PRECISIONS_MAX])
{
	int is_there[N_PRECISIONS] = {0};
	size_t n = 0;
	for (size_t f = 0; f < model->n_files; f++) {
		const qs_precision *precision = qs_model_onnx_precision(model->files[f].name);
		if (precision)
			is_there[precision - precisions] = 1;
	}
	for (size_t i = 0; i < N_PRECISIONS; i++)
		if (is_there[i])
			found[n++] = precisions[i];
	return n;
}

/* The precisions that need a file of external data: all (nothing names it), only others, or the chosen one.
 */
enum { OF_ALL, OF_OTHERS, OF_CHOSEN };

typedef struct opening {
	qs_model *model;
	qstore_error *error;
	const qs_precision *chosen;
	int is_finest, n_found;
	int *keeps; /* of each file */
} opening;

/* The prefix is the file's name, without the suffix of the precision where only one precision is there. */
static qstore_status set_prefix(const opening *state, qs_model_file *file)
{
	size_t size = strlen(file->name) - strlen(END);
	if (state->chosen || state->n_found == 1)
		size -= strlen(qs_model_onnx_precision(file->name)->suffix);
	file->weights.prefix = qs_arena_copy(&file->weights.arena, file->name, size);
	return file->weights.prefix ? QSTORE_OK : qs_no_memory(state->error);
}

/* Gives a file of external data its tensors, which it takes over. */
static qstore_status take_external(const opening *state, const qs_model_file *of, qs_onnx_external *external)
{
	qs_model_file *file = qs_model_find_beside(state->model, of->name, external->location);
	if (!file)
		return qs_fail(state->error, QSTORE_INPUT,
		               "%s: its external data \"" QS_NAME_SHOWN
		               "\" is not a file of the model (a hidden one?)",
		               qs_shown_path(of->path), external->location);
	if (state->chosen) {
		int *keeps = &state->keeps[file - state->model->files];
		int is_chosen = qs_model_onnx_precision(of->name) == state->chosen;
		*keeps = is_chosen || *keeps == OF_CHOSEN ? OF_CHOSEN : OF_OTHERS;
		if (!is_chosen)
			return QSTORE_OK;
	}
	if (qs_model_is_onnx(file->name) || (file->is_weights && !file->weights.path))
		return qs_fail(state->error, QSTORE_INPUT,
		               "%s: its external data \"" QS_NAME_SHOWN "\" is a file of weights",
		               qs_shown_path(of->path), external->location);
	if (file->weights.path)
		return qs_onnx_merge(&file->weights, &external->weights, state->error);
	file->is_weights = 1;
	file->size = external->weights.file_size;
	file->weights = external->weights;
	external->weights = (qs_weights){0};
	if (!of->weights.prefix)
		return QSTORE_OK;
	file->weights.prefix = qs_arena_text(&file->weights.arena, "%s", of->weights.prefix);
	return file->weights.prefix ? QSTORE_OK : qs_no_memory(state->error);
}

/* A single file's external data, which is beside it. */
static qstore_status add_externals(const opening *state, const qs_onnx *onnx)
{
	qstore_status status = QSTORE_OK;
	for (size_t i = 0; i < onnx->n_externals && !status; i++)
		status = qs_model_add_file(state->model, onnx->externals[i].location, onnx->externals[i].weights.path,
		                           0, NULL, state->error);
	qs_model_sort_files(state->model);
	return status;
}

static qstore_status open_onnx_file(opening *state, qs_model_file *file)
{
	qs_onnx onnx;
	const char *name = file->name; /* files may move, their names do not */
	qstore_status status = qs_onnx_open(&onnx, file->path, state->error);
	if (!status && state->model->is_single)
		status = add_externals(state, &onnx);
	file = qs_model_find_file(state->model, name);
	if (!status) {
		file->size = onnx.weights.file_size;
		file->weights = onnx.weights;
		onnx.weights = (qs_weights){0};
		file->quants = onnx.quants;
		file->n_quants = onnx.n_quants;
		onnx.quants = NULL;
		onnx.n_quants = 0;
		if (!state->model->is_single)
			status = set_prefix(state, file);
	}
	for (size_t i = 0; i < onnx.n_externals && !status; i++)
		status = take_external(state, file, &onnx.externals[i]);
	qs_onnx_close(&onnx);
	return status;
}

/* Leaves out the files that only other precisions have; weights of other formats go with the finest one. */
static void leave_out(opening *state)
{
	qs_model *model = state->model;
	size_t n = 0;
	for (size_t f = 0; f < model->n_files; f++) {
		qs_model_file *file = &model->files[f];
		const qs_precision *precision = qs_model_onnx_precision(file->name);
		int is_kept = precision                      ? precision == state->chosen
		              : state->keeps[f] == OF_OTHERS ? 0
		              : state->keeps[f] == OF_CHOSEN ? 1
		                                             : !file->is_weights || state->is_finest;
		if (is_kept)
			model->files[n++] = *file;
		else
			qs_model_free_file(file);
	}
	model->n_files = n;
}

/* Sets the precision's name where the names of files say it. */
static void name_precision(const opening *state, const qs_precision *found)
{
	qs_model *model = state->model;
	size_t n_others = 0;
	for (size_t f = 0; f < model->n_files; f++)
		n_others += model->files[f].is_weights && !qs_model_is_onnx(model->files[f].name);
	if (state->chosen)
		model->precision = state->chosen->name;
	else if (state->n_found == 1 && *found->suffix && !n_others)
		model->precision = found->name;
}

static qstore_status choose_precision(opening *state, const char *suffix, const qs_precision *found)
{
	for (size_t i = 0; i < N_PRECISIONS; i++)
		if (!strcmp(precisions[i].suffix, suffix))
			state->chosen = &precisions[i];
	for (int i = 0; i < state->n_found; i++) {
		if (strcmp(found[i].suffix, suffix))
			continue;
		state->is_finest = !i;
		return QSTORE_OK;
	}
	return qs_fail(state->error, QSTORE_INPUT, "%s: no file named *%s.onnx in this folder",
	               qs_shown_path(state->model->path), suffix);
}

qstore_status qs_model_open_onnx(qs_model *model, const char *suffix, qstore_error *error)
{
	opening state = {.model = model, .error = error};
	qs_precision found[QS_PRECISIONS_MAX];
	qstore_status status = QSTORE_OK;

	state.n_found = (int)qs_model_precisions(model, found);
	if (suffix && !model->is_single)
		status = choose_precision(&state, suffix, found);
	if (status)
		return status;
	name_precision(&state, found);
	state.keeps = calloc(model->n_files + 1, sizeof *state.keeps);
	if (!state.keeps)
		return qs_no_memory(error);
	for (size_t f = 0; f < model->n_files && !status; f++)
		if (qs_model_is_onnx(model->files[f].name) && !model->files[f].weights.path)
			status = open_onnx_file(&state, &model->files[f]);
	if (!status && state.chosen)
		leave_out(&state);
	free(state.keeps);
	return status;
}

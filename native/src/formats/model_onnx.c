#include "model_onnx.h"

#include <string.h>

#include "model_files.h"
#include "model_refused.h"
#include "text.h"

int qs_model_is_onnx(const char *name)
{
	return qs_ends_in(name, ".onnx");
}

/* Gives a file of external data its tensors, which it takes over. */
static qstore_status take_external(qs_model *model, const qs_model_file *of, qs_onnx_external *external,
                                   qstore_error *error)
{
	qs_model_file *file = qs_model_find_beside(model, of->name, external->location);
	if (!file)
		return qs_fail(error, QSTORE_INPUT,
		               "%s: its external data \"" QS_NAME_SHOWN
		               "\" is not there, or hidden: put it beside the model",
		               qs_shown_path(of->path), external->location);
	if (qs_model_is_onnx(file->name) || (file->is_weights && !file->weights.path))
		return qs_fail(error, QSTORE_INPUT,
		               "%s: its external data \"" QS_NAME_SHOWN
		               "\" is a file of weights itself: leave one of both out by --skip",
		               qs_shown_path(of->path), external->location);
	if (file->weights.path)
		return qs_onnx_merge(&file->weights, &external->weights, error);
	file->is_weights = 1;
	file->label = of->label;
	file->component = of->component;
	file->set = of->set;
	file->size = external->weights.file_size;
	file->weights = external->weights;
	external->weights = (qs_weights){0};
	return QSTORE_OK;
}

/* A single file's external data, which is beside it. */
static qstore_status add_externals(qs_model *model, const qs_onnx *onnx, qstore_error *error)
{
	qstore_status status = QSTORE_OK;
	for (size_t i = 0; i < onnx->n_externals && !status; i++) {
		const qs_onnx_external *external = &onnx->externals[i];
		if (qs_model_find_file(model, external->location))
			continue;
		status = qs_model_add_file(model, external->location, external->weights.path, 0, NULL, error);
		qs_model_sort_files(model);
	}
	return status;
}

static qstore_status name_externals(qs_model *model, qs_model_file *file, const qs_onnx *onnx,
                                    qstore_error *error)
{
	file->externals = qs_arena_array(&model->arena, onnx->n_externals, sizeof *file->externals);
	if (!file->externals)
		return qs_no_memory(error);
	for (size_t i = 0; i < onnx->n_externals; i++) {
		file->externals[i] = qs_arena_text(&model->arena, "%s", onnx->externals[i].location);
		if (!file->externals[i])
			return qs_no_memory(error);
		file->n_externals++;
	}
	return QSTORE_OK;
}

static qstore_status open_onnx_file(qs_model *model, const char *name, qstore_error *error)
{
	qs_onnx onnx;
	qs_model_file *file = qs_model_find_file(model, name);
	qstore_status status = qs_onnx_open(&onnx, file->path, error);
	if (!status && model->is_single)
		status = add_externals(model, &onnx, error);
	/* Adding files moves the others. */
	file = qs_model_find_file(model, name);
	if (!status)
		status = name_externals(model, file, &onnx, error);
	if (!status) {
		file->size = onnx.weights.file_size;
		file->weights = onnx.weights;
		onnx.weights = (qs_weights){0};
		file->quants = onnx.quants;
		file->n_quants = onnx.n_quants;
		onnx.quants = NULL;
		onnx.n_quants = 0;
	}
	for (size_t i = 0; i < onnx.n_externals && !status; i++)
		status = take_external(model, file, &onnx.externals[i], error);
	qs_onnx_close(&onnx);
	return status;
}

qstore_status qs_model_open_onnx(qs_model *model, qstore_error *error)
{
	qstore_status status = QSTORE_OK;
	for (size_t f = 0; f < model->n_files && !status; f++) {
		const char *name = model->files[f].name;
		if (!qs_model_is_onnx(name) || model->files[f].weights.path)
			continue;
		status = open_onnx_file(model, name, error);
		if (status)
			status = qs_model_refuse(model, name, error);
	}
	return status;
}

#include "model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "gguf.h"
#include "model_files.h"
#include "model_folder.h"
#include "model_gguf.h"
#include "model_index.h"
#include "model_onnx.h"
#include "model_refused.h"
#include "model_split.h"
#include "model_warnings.h"
#include "pickle.h"
#include "safetensors.h"
#include "text.h"

#define WEIGHTS_SUFFIX ".safetensors"
#define GGUF_SUFFIX ".gguf"
#define INDEX_SUFFIX ".safetensors.index.json"

/* A file, which is weights whatever its name, and the other shards of a GGUF model. */
static qstore_status add_single(qs_model *model, uint64_t size, const qs_model_options *options,
                                qstore_error *error)
{
	const char *path = model->path, *slash = strrchr(path, '/');
	qs_model_file *added;
	if (qs_is_pickle(path))
		return qs_refuse_pickle(path, error);
	qstore_status status = qs_model_add_file(model, slash ? slash + 1 : path, path, size, &added, error);
	if (status)
		return status;
	status = qs_model_set_weights(model, added, error);
	if (!status && qs_gguf_detect(path))
		status = qs_model_add_shards(model, path, error);
	return status || !options->takes_beside ? status : qs_model_scan_beside(model, options, error);
}

/* A file that was named as the model may have any name. */
static qstore_status open_weights_file(qs_model_file *file, qstore_error *error)
{
	if (qs_ends_in(file->name, GGUF_SUFFIX) ||
	    (!qs_ends_in(file->name, WEIGHTS_SUFFIX) && qs_gguf_detect(file->path)))
		return qs_gguf_open(&file->weights, file->path, error);
	return qs_safetensors_open(&file->weights, file->path, error);
}

static qstore_status open_weights(qs_model *model, qstore_error *error)
{
	qstore_status status = qs_model_open_onnx(model, error);
	size_t n_weights = 0;
	for (size_t f = 0; f < model->n_files && !status; f++) {
		qs_model_file *file = &model->files[f];
		if (!file->is_weights)
			continue;
		n_weights++;
		if (file->weights.path || qs_model_is_onnx(file->name))
			continue;
		status = open_weights_file(file, error);
		file->size = file->weights.file_size;
		if (status)
			status = qs_model_refuse(model, file->name, error);
	}
	if (!status)
		status = qs_model_check_refused(model, error);
	if (status || n_weights)
		return status;
	for (size_t f = 0; f < model->n_files; f++)
		if (qs_is_pickle(model->files[f].path))
			return qs_refuse_pickle(model->files[f].path, error);
	return qs_fail(error, QSTORE_INPUT,
	               "%s: no " WEIGHTS_SUFFIX ", " GGUF_SUFFIX " or .onnx file in this folder",
	               qs_shown_path(model->path));
}

qstore_status qs_model_open_with(qs_model *model, const char *path, const qs_model_options *options,
                                 qstore_error *error)
{
	static const qs_model_options none;
	qstore_error unwanted;
	struct stat info;
	qstore_status status;

	if (!options)
		options = &none;
	if (!error)
		error = &unwanted;
	memset(model, 0, sizeof *model);
	model->path = qs_arena_text(&model->arena, "%s", path);
	if (!model->path)
		return qs_no_memory(error);
	if (stat(path, &info))
		return qs_fail(error, QSTORE_IO, "%s: cannot open: %s", qs_shown_path(path), strerror(errno));
	model->is_single = !S_ISDIR(info.st_mode);
	status = model->is_single ? add_single(model, (uint64_t)info.st_size, options, error)
	                          : qs_model_scan_folder(model, options, error);
	if (status)
		return status;
	qs_model_sort_files(model);
	status = open_weights(model, error);
	if (!status)
		status = qs_model_check_gguf(model, error);
	for (size_t f = 0; f < model->n_files && !status; f++)
		if (qs_ends_in(model->files[f].name, INDEX_SUFFIX))
			status = qs_model_check_index(model, &model->files[f], error);
	if (!status)
		status = qs_model_warn_of_files(model, error);
	return status ? status : qs_model_split(model, error);
}

qstore_status qs_model_open(qs_model *model, const char *path, qstore_error *error)
{
	return qs_model_open_with(model, path, NULL, error);
}

void qs_model_close(qs_model *model)
{
	for (size_t f = 0; f < model->n_files; f++)
		qs_model_free_file(&model->files[f]);
	free(model->files);
	free(model->warnings);
	free(model->refused);
	qs_arena_free(&model->arena);
	memset(model, 0, sizeof *model);
}

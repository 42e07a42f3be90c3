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
#include "pickle.h"
#include "safetensors.h"
#include "text.h"

#define WEIGHTS_SUFFIX ".safetensors"
#define GGUF_SUFFIX ".gguf"
#define INDEX_SUFFIX ".safetensors.index.json"

typedef struct tensor_place {
	const char *prefix, *name, *path;
} tensor_place;

static int same_name(const tensor_place *a, const tensor_place *b)
{
	return !strcmp(a->name, b->name) && !strcmp(a->prefix, b->prefix);
}

static int compare_tensor_names(const void *a, const void *b)
{
	const tensor_place *x = a, *y = b;
	int order = strcmp(x->name, y->name);
	if (!order)
		order = strcmp(x->prefix, y->prefix);
	return order ? order : strcmp(x->path, y->path);
}

static qstore_status check_duplicates(const qs_model *model, qstore_error *error)
{
	size_t n = 0, at = 0;
	qstore_status status = QSTORE_OK;
	for (size_t f = 0; f < model->n_files; f++)
		n += model->files[f].weights.n_tensors;
	tensor_place *places = malloc((n ? n : 1) * sizeof *places);
	if (!places)
		return qs_no_memory(error);
	for (size_t f = 0; f < model->n_files; f++) {
		const qs_weights *weights = &model->files[f].weights;
		const char *prefix = weights->prefix ? weights->prefix : "";
		for (size_t t = 0; t < weights->n_tensors; t++)
			places[at++] = (tensor_place){prefix, weights->tensors[t].name, model->files[f].path};
	}
	qsort(places, n, sizeof *places, compare_tensor_names);
	for (size_t i = 1; i < n && !status; i++)
		if (same_name(&places[i], &places[i - 1]))
			status =
			    qs_fail(error, QSTORE_INPUT,
			            "%s: tensor \"%.200s\" is also in %s; if these are two models, give one of them",
			            qs_shown_path(places[i].path), places[i].name, qs_shown_path(places[i - 1].path));
	free(places);
	return status;
}

/* A file, which is weights whatever its name, and the other shards of a GGUF model. */
static qstore_status add_single(qs_model *model, uint64_t size, qstore_error *error)
{
	const char *path = model->path, *slash = strrchr(path, '/');
	qs_model_file *added;
	if (qs_is_pickle(path))
		return qs_refuse_pickle(path, error);
	qstore_status status = qs_model_add_file(model, slash ? slash + 1 : path, path, size, &added, error);
	if (status)
		return status;
	added->is_weights = 1;
	return qs_gguf_detect(path) ? qs_model_add_shards(model, path, error) : QSTORE_OK;
}

/* A file that was named as the model may have any name. */
static qstore_status open_weights_file(qs_model_file *file, qstore_error *error)
{
	if (qs_ends_in(file->name, GGUF_SUFFIX) ||
	    (!qs_ends_in(file->name, WEIGHTS_SUFFIX) && qs_gguf_detect(file->path)))
		return qs_gguf_open(&file->weights, file->path, error);
	return qs_safetensors_open(&file->weights, file->path, error);
}

static qstore_status open_weights(qs_model *model, const char *suffix, qstore_error *error)
{
	qstore_status status = qs_model_open_onnx(model, suffix, error);
	size_t n_weights = 0;
	const qs_model_file *pickle = NULL;
	for (size_t f = 0; f < model->n_files && !status; f++) {
		qs_model_file *file = &model->files[f];
		if (!file->is_weights) {
			if (qs_is_pickle(file->path))
				pickle = file;
			continue;
		}
		if (!file->weights.path)
			status = open_weights_file(file, error);
		file->size = file->weights.file_size;
		n_weights++;
	}
	if (status || n_weights)
		return status;
	if (pickle)
		return qs_refuse_pickle(pickle->path, error);
	return qs_fail(error, QSTORE_INPUT,
	               "%s: no " WEIGHTS_SUFFIX ", " GGUF_SUFFIX " or .onnx file in this folder",
	               qs_shown_path(model->path));
}

static qstore_status open_model(qs_model *model, const char *path, const char *suffix, qstore_error *error)
{
	struct stat info;
	qstore_status status;

	memset(model, 0, sizeof *model);
	model->path = qs_arena_text(&model->arena, "%s", path);
	if (!model->path)
		return qs_no_memory(error);
	if (stat(path, &info))
		return qs_fail(error, QSTORE_IO, "%s: cannot open: %s", qs_shown_path(path), strerror(errno));
	model->is_single = !S_ISDIR(info.st_mode);
	status = model->is_single ? add_single(model, (uint64_t)info.st_size, error)
	                          : qs_model_scan_folder(model, error);
	if (status)
		return status;
	qs_model_sort_files(model);
	status = open_weights(model, suffix, error);
	if (!status)
		status = qs_model_check_gguf(model, error);
	if (!status)
		status = check_duplicates(model, error);
	for (size_t f = 0; f < model->n_files && !status; f++)
		if (qs_ends_in(model->files[f].name, INDEX_SUFFIX))
			status = qs_model_check_index(model, &model->files[f], error);
	return status;
}

qstore_status qs_model_open(qs_model *model, const char *path, qstore_error *error)
{
	return open_model(model, path, NULL, error);
}

qstore_status qs_model_open_precision(qs_model *model, const char *path, const char *suffix,
                                      qstore_error *error)
{
	return open_model(model, path, suffix, error);
}

void qs_model_close(qs_model *model)
{
	for (size_t f = 0; f < model->n_files; f++)
		qs_model_free_file(&model->files[f]);
	free(model->files);
	free(model->warnings);
	qs_arena_free(&model->arena);
	memset(model, 0, sizeof *model);
}

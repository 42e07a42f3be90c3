#include "model_parts.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include <jansson.h>

#include "gguf.h"

#define DEPTH_MAX 32
#define INDEX_SIZE_MAX 100000000u   /* of a model.safetensors.index.json */
#define SMALL_PICKLE_SIZE_MAX 65536 /* training_args.bin and the like: kept as small files */
#define WEIGHTS_SUFFIX ".safetensors"
#define GGUF_SUFFIX ".gguf"
#define INDEX_SUFFIX ".safetensors.index.json"

/* Messages cut long names, so that what is wrong with them always fits behind them. */
#define SHOWN "%.300s"

typedef struct scan {
	qs_model *model;
	size_t capacity;
	qs_error *error;
} scan;

char *qs_model_join(const char *folder, const char *name)
{
	size_t folder_size = strlen(folder), name_size = strlen(name);
	char *path = malloc(folder_size + name_size + 2);
	if (path) {
		memcpy(path, folder, folder_size);
		if (folder_size && folder[folder_size - 1] != '/')
			path[folder_size++] = '/';
		memcpy(path + folder_size, name, name_size + 1);
	}
	return path;
}

/* Zip archives (PyTorch since 1.6) and bare pickles of protocol 2 to 5. A .bin may be something else. */
static int looks_pickled(const char *path)
{
	unsigned char start[4];
	FILE *stream = fopen(path, "rb");
	if (!stream)
		return 0;
	size_t size = fread(start, 1, sizeof start, stream);
	fclose(stream);
	return (size == 4 && !memcmp(start, "PK\3\4", 4)) ||
	       (size >= 2 && start[0] == 0x80 && start[1] >= 2 && start[1] <= 5);
}

static int has_pickle_name(const char *name)
{
	static const char *const suffixes[] = {".bin", ".pt", ".pth", ".ckpt", ".pkl"};
	for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++)
		if (qs_ends_in(name, suffixes[i]))
			return 1;
	return 0;
}

static qstore_status refuse_pickle(const char *path, qs_error *error)
{
	return qs_fail(error, QSTORE_INPUT,
	               SHOWN
	               ": pickled weights are not read, for a pickle is a program; convert them: load "
	               "with transformers and save_pretrained(…, safe_serialization=True), or leave the file out",
	               path);
}

/* Takes name and path over, also on failure. */
static qstore_status add_file(scan *state, char *name, char *path, uint64_t size)
{
	qs_model *model = state->model;
	qs_model_file *file;

	if (model->n_files == state->capacity) {
		size_t capacity = state->capacity ? state->capacity * 2 : 16;
		qs_model_file *files = realloc(model->files, capacity * sizeof *files);
		if (!files) {
			free(name);
			free(path);
			return qs_no_memory(state->error);
		}
		model->files = files;
		state->capacity = capacity;
	}
	file = &model->files[model->n_files++];
	*file = (qs_model_file){.name = name, .path = path, .size = size};
	if (!qs_path_is_safe(name) || !qs_weights_is_utf8(name))
		return qs_fail(state->error, QSTORE_INPUT, SHOWN ": an archive cannot hold a file of this name",
		               path);
	if (qs_ends_in(name, WEIGHTS_SUFFIX) || qs_ends_in(name, GGUF_SUFFIX) || qs_model_is_onnx(name))
		file->is_weights = 1;
	else if (has_pickle_name(name) && size >= SMALL_PICKLE_SIZE_MAX && looks_pickled(path))
		return refuse_pickle(path, state->error);
	return QSTORE_OK;
}

static qstore_status scan_folder(scan *state, const char *path, const char *name, int depth);

static qstore_status scan_entry(scan *state, const char *folder_path, const char *folder_name,
                                const char *entry, int depth)
{
	struct stat info;
	int is_link;
	char *path = qs_model_join(folder_path, entry), *name = qs_model_join(folder_name, entry);
	qstore_status status = QSTORE_OK;

	if (!path || !name) {
		status = qs_no_memory(state->error);
	} else if (lstat(path, &info)) {
		status = qs_fail(state->error, QSTORE_IO, SHOWN ": cannot read: %s", path, strerror(errno));
	} else if ((is_link = S_ISLNK(info.st_mode)) && stat(path, &info)) {
		status = qs_fail(state->error, QSTORE_INPUT, SHOWN ": a symbolic link to a missing file: %s", path,
		                 strerror(errno));
	} else if (S_ISDIR(info.st_mode)) {
		if (!is_link) /* a link to a folder may lead anywhere, or round in circles */
			status = scan_folder(state, path, name, depth + 1);
	} else if (!S_ISREG(info.st_mode)) {
		status = qs_fail(state->error, QSTORE_INPUT, SHOWN ": neither a file nor a folder", path);
	} else {
		return add_file(state, name, path, (uint64_t)info.st_size);
	}
	free(path);
	free(name);
	return status;
}

static qstore_status scan_folder(scan *state, const char *path, const char *name, int depth)
{
	qstore_status status = QSTORE_OK;
	struct dirent *entry;
	if (depth > DEPTH_MAX)
		return qs_fail(state->error, QSTORE_LIMIT, SHOWN ": folders are nested more than %d deep", path,
		               DEPTH_MAX);
	DIR *folder = opendir(path);
	if (!folder)
		return qs_fail(state->error, QSTORE_IO, SHOWN ": cannot open: %s", path, strerror(errno));
	while (!status) {
		errno = 0;
		entry = readdir(folder);
		if (!entry) {
			if (errno)
				status = qs_fail(state->error, QSTORE_IO, SHOWN ": cannot read: %s", path, strerror(errno));
			break;
		}
		if (entry->d_name[0] != '.') /* ".", "..", and hidden entries */
			status = scan_entry(state, path, name, entry->d_name, depth);
	}
	closedir(folder);
	return status;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const qs_model_file *)a)->name, ((const qs_model_file *)b)->name);
}

qs_model_file *qs_model_find_file(const qs_model *model, const char *name)
{
	qs_model_file key = {.name = (char *)name};
	return model->n_files ? bsearch(&key, model->files, model->n_files, sizeof key, by_name) : NULL;
}

void qs_model_sort_files(qs_model *model)
{
	if (model->n_files)
		qsort(model->files, model->n_files, sizeof *model->files, by_name);
}

typedef struct tensor_place {
	const char *prefix, *name, *path;
} tensor_place;

static int same_name(const tensor_place *a, const tensor_place *b)
{
	return !strcmp(a->name, b->name) && !strcmp(a->prefix, b->prefix);
}

static int by_tensor_name(const void *a, const void *b)
{
	const tensor_place *x = a, *y = b;
	int order = strcmp(x->name, y->name);
	if (!order)
		order = strcmp(x->prefix, y->prefix);
	return order ? order : strcmp(x->path, y->path);
}

static qstore_status check_duplicates(const qs_model *model, qs_error *error)
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
	qsort(places, n, sizeof *places, by_tensor_name);
	for (size_t i = 1; i < n && !status; i++)
		if (same_name(&places[i], &places[i - 1]))
			status = qs_fail(error, QSTORE_INPUT,
			                 SHOWN ": tensor \"%.200s\" is also in " SHOWN
			                       "; if these are two models, give one of them",
			                 places[i].path, places[i].name, places[i - 1].path);
	free(places);
	return status;
}

/* model.safetensors.index.json: what its weight_map names must be there. */
static qstore_status check_index(const qs_model *model, const qs_model_file *index, qs_error *error)
{
	json_error_t reason;
	const char *tensor;
	json_t *entry;
	qstore_status status = QSTORE_OK;

	if (index->size > INDEX_SIZE_MAX)
		return qs_fail(error, QSTORE_LIMIT, SHOWN ": %" PRIu64 " bytes, more than %u", index->path,
		               index->size, INDEX_SIZE_MAX);
	json_t *root = json_load_file(index->path, JSON_REJECT_DUPLICATES, &reason);
	if (!root && json_error_code(&reason) == json_error_out_of_memory)
		return qs_no_memory(error);
	if (!root)
		return qs_fail(error, QSTORE_INPUT, SHOWN ": not valid JSON: %s (line %d)", index->path, reason.text,
		               reason.line);
	json_t *map = json_object_get(root, "weight_map");
	if (!json_is_object(map))
		status = qs_fail(error, QSTORE_INPUT, SHOWN ": no weight_map", index->path);
	const char *slash = strrchr(index->name, '/');
	size_t folder_size = slash ? (size_t)(slash - index->name) : 0;
	json_object_foreach(map, tensor, entry)
	{
		const char *shard = json_string_value(entry);
		if (status)
			break;
		if (!shard) {
			status = qs_fail(error, QSTORE_INPUT, SHOWN ": tensor \"%.200s\": its shard is not a name",
			                 index->path, tensor);
			break;
		}
		char *folder = strndup(index->name, folder_size);
		char *name = folder ? qs_model_join(folder, shard) : NULL;
		const qs_model_file *file = name ? qs_model_find_file(model, name) : NULL;
		if (!name)
			status = qs_no_memory(error);
		else if (!file || !file->is_weights)
			status = qs_fail(error, QSTORE_INPUT,
			                 SHOWN ": tensor \"%.200s\" should be in \"%.200s\", which is missing",
			                 index->path, tensor, shard);
		else if (!qs_weights_find(&file->weights, tensor))
			status = qs_fail(error, QSTORE_INPUT,
			                 SHOWN ": tensor \"%.200s\" should be in \"%.200s\", which has no such tensor",
			                 index->path, tensor, shard);
		free(name);
		free(folder);
	}
	json_decref(root);
	return status;
}

static qstore_status add_named(scan *state, const char *path, uint64_t size)
{
	const char *slash = strrchr(path, '/');
	char *name = strdup(slash ? slash + 1 : path), *own_path = strdup(path);
	if (!name || !own_path) {
		free(name);
		free(own_path);
		return qs_no_memory(state->error);
	}
	return add_file(state, name, own_path, size);
}

/* The other shards that are there; check_gguf tells which are not. */
static qstore_status add_shards(scan *state, const char *path)
{
	struct stat file;
	qs_gguf_info info;
	int is_there = 1;
	qstore_status status = qs_gguf_read_info(&info, path, state->error);
	if (status || info.split_count == QS_GGUF_NONE || info.split_count <= 1)
		return status;
	if (info.split_no != 0)
		return qs_fail(state->error, QSTORE_INPUT,
		               SHOWN ": shard %" PRIu64 " of %" PRIu64 ": give the first of them", path,
		               info.split_no + 1, info.split_count);
	for (uint64_t i = 1; i < info.split_count && is_there && !status; i++) {
		char *shard = qs_gguf_shard_path(path, &info, i);
		is_there = shard && !stat(shard, &file);
		if (is_there)
			status = add_named(state, shard, (uint64_t)file.st_size);
		free(shard);
	}
	return status;
}

static qstore_status open_single(scan *state, const char *path, uint64_t size)
{
	if (has_pickle_name(path) && looks_pickled(path))
		return refuse_pickle(path, state->error);
	qstore_status status = add_named(state, path, size);
	if (status)
		return status;
	state->model->files[0].is_weights = 1; /* whatever its name: it was named as the model */
	return qs_gguf_detect(path) ? add_shards(state, path) : QSTORE_OK;
}

/* A file that was named as the model may have any name. */
static qstore_status open_file(qs_model_file *file, qs_error *error)
{
	if (qs_ends_in(file->name, GGUF_SUFFIX) ||
	    (!qs_ends_in(file->name, WEIGHTS_SUFFIX) && qs_gguf_detect(file->path)))
		return qs_gguf_open(&file->weights, file->path, error);
	return qs_safetensors_open(&file->weights, file->path, error);
}

static qstore_status open_weights(qs_model *model, const char *suffix, qs_error *error)
{
	qstore_status status = qs_model_open_onnx(model, suffix, error);
	size_t n_weights = 0;
	const qs_model_file *pickle = NULL;
	for (size_t f = 0; f < model->n_files && !status; f++) {
		qs_model_file *file = &model->files[f];
		if (!file->is_weights) {
			if (has_pickle_name(file->name) && looks_pickled(file->path))
				pickle = file;
			continue;
		}
		if (!file->weights.path)
			status = open_file(file, error);
		file->size = file->weights.file_size;
		n_weights++;
	}
	if (status || n_weights)
		return status;
	if (pickle)
		return refuse_pickle(pickle->path, error);
	return qs_fail(error, QSTORE_INPUT,
	               SHOWN ": no " WEIGHTS_SUFFIX ", " GGUF_SUFFIX " or .onnx file in this folder",
	               model->path);
}

/* Shard i of the model whose first file is given. */
static qstore_status check_shard(const qs_model *model, const qs_model_file *first, const qs_gguf_info *info,
                                 uint64_t i, qs_error *error)
{
	qs_gguf_info own;
	char *name = qs_gguf_shard_path(first->name, info, i);
	if (!name)
		return errno == ENOMEM ? qs_no_memory(error)
		                       : qs_fail(error, QSTORE_INPUT,
		                                 SHOWN ": shard %" PRIu64 " of %" PRIu64
		                                       " is not named NAME-00001-of-00003.gguf as it should be",
		                                 first->path, info->split_no + 1, info->split_count);
	const qs_model_file *file = qs_model_find_file(model, name);
	qstore_status status = QSTORE_OK;
	if (!file)
		status = qs_fail(error, QSTORE_INPUT, SHOWN ": \"%.200s\" is missing, shard %" PRIu64 " of %" PRIu64,
		                 first->path, name, i + 1, info->split_count);
	else if (!(status = qs_gguf_read_info(&own, file->path, error)) &&
	         (own.split_no != i || own.split_count != info->split_count))
		status = qs_fail(error, QSTORE_INPUT,
		                 SHOWN ": is named as shard %" PRIu64 " of %" PRIu64 ", its metadata says otherwise",
		                 file->path, i + 1, info->split_count);
	free(name);
	return status;
}

/* GGUF files are one model: one file, or all shards of one. */
static qstore_status check_gguf(const qs_model *model, qs_error *error)
{
	const qs_model_file *first = NULL, *second = NULL, *other = NULL;
	uint64_t n_gguf = 0, n_tensors = 0;
	qs_gguf_info info;

	for (size_t f = 0; f < model->n_files; f++) {
		const qs_model_file *file = &model->files[f];
		if (!file->is_weights)
			continue;
		if (file->weights.format != QS_FORMAT_GGUF) {
			other = file;
			continue;
		}
		if (!first)
			first = file;
		else if (!second)
			second = file;
		n_gguf++;
		n_tensors += file->weights.n_tensors;
	}
	if (!first)
		return QSTORE_OK;
	qstore_status status = qs_gguf_read_info(&info, first->path, error);
	if (status)
		return status;
	if (info.split_count == QS_GGUF_NONE || !info.split_count)
		info.split_count = 1;
	for (uint64_t i = 0; info.split_count > 1 && i < info.split_count && !status; i++)
		status = check_shard(model, first, &info, i, error);
	if (status)
		return status;
	if (other || n_gguf > info.split_count)
		return qs_fail(error, QSTORE_INPUT,
		               SHOWN ": several models (\"%.200s\", \"%.200s\"): name the one file that is meant",
		               model->path, first->name, other ? other->name : second->name);
	if (info.split_count > 1 && info.split_tensors != QS_GGUF_NONE && info.split_tensors != n_tensors)
		return qs_fail(error, QSTORE_INPUT,
		               SHOWN ": all shards together should have %" PRIu64 " tensors, and have %" PRIu64,
		               first->path, info.split_tensors, n_tensors);
	return QSTORE_OK;
}

static qstore_status open_model(qs_model *model, const char *path, const char *suffix, qs_error *error)
{
	struct stat info;
	scan state = {model, 0, error};
	qstore_status status;

	memset(model, 0, sizeof *model);
	model->path = strdup(path);
	if (!model->path)
		return qs_no_memory(error);
	if (stat(path, &info))
		return qs_fail(error, QSTORE_IO, SHOWN ": cannot open: %s", path, strerror(errno));
	model->is_single = !S_ISDIR(info.st_mode);
	status = model->is_single ? open_single(&state, path, (uint64_t)info.st_size)
	                          : scan_folder(&state, path, "", 0);
	if (status)
		return status;
	qs_model_sort_files(model);
	status = open_weights(model, suffix, error);
	if (!status)
		status = check_gguf(model, error);
	if (!status)
		status = check_duplicates(model, error);
	for (size_t f = 0; f < model->n_files && !status; f++)
		if (qs_ends_in(model->files[f].name, INDEX_SUFFIX))
			status = check_index(model, &model->files[f], error);
	return status;
}

qstore_status qs_model_open(qs_model *model, const char *path, qs_error *error)
{
	return open_model(model, path, NULL, error);
}

qstore_status qs_model_open_precision(qs_model *model, const char *path, const char *suffix, qs_error *error)
{
	return open_model(model, path, suffix, error);
}

void qs_model_free_file(qs_model_file *file)
{
	qs_weights_close(&file->weights);
	qs_onnx_free_quants(file->quants, file->n_quants);
	free(file->name);
	free(file->path);
}

void qs_model_close(qs_model *model)
{
	for (size_t f = 0; f < model->n_files; f++)
		qs_model_free_file(&model->files[f]);
	free(model->files);
	free(model->path);
	memset(model, 0, sizeof *model);
}

const qs_weight *qs_model_find(const qs_model *model, const char *name, const qs_model_file **file)
{
	for (size_t f = 0; f < model->n_files; f++) {
		const qs_weight *tensor =
		    model->files[f].is_weights ? qs_weights_find(&model->files[f].weights, name) : NULL;
		if (tensor) {
			if (file)
				*file = &model->files[f];
			return tensor;
		}
	}
	return NULL;
}

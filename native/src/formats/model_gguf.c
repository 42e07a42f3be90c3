#include "model_gguf.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "gguf.h"
#include "model_files.h"
#include "text.h"

qstore_status qs_model_add_shards(qs_model *model, const char *path, qstore_error *error)
{
	struct stat file;
	qs_gguf_info info;
	int is_there = 1;
	qstore_status status = qs_gguf_read_info(&info, path, error);
	if (status || info.split_count == QS_GGUF_NONE || info.split_count <= 1)
		return status;
	if (info.split_no != 0)
		return qs_fail(error, QSTORE_INPUT, "%s: shard %" PRIu64 " of %" PRIu64 ": give the first of them",
		               qs_shown_path(path), info.split_no + 1, info.split_count);
	for (uint64_t i = 1; i < info.split_count && is_there && !status; i++) {
		char *shard = qs_gguf_shard_path(path, &info, i);
		is_there = shard && !stat(shard, &file);
		if (is_there) {
			const char *slash = strrchr(shard, '/');
			qs_model_file *added;
			status = qs_model_add_file(model, slash ? slash + 1 : shard, shard, (uint64_t)file.st_size,
			                           &added, error);
			if (!status)
				status = qs_model_set_weights(model, added, error);
		}
		free(shard);
	}
	return status;
}

/* Checks that shard i is there, and says of itself that it is that one. first: any shard. */
static qstore_status check_shard(const qs_model *model, const qs_model_file *first, const qs_gguf_info *info,
                                 uint64_t i, qstore_error *error)
{
	qs_gguf_info own;
	char *name = qs_gguf_shard_path(first->name, info, i);
	if (!name)
		return errno == ENOMEM ? qs_no_memory(error)
		                       : qs_fail(error, QSTORE_INPUT,
		                                 "%s: shard %" PRIu64 " of %" PRIu64
		                                 " is not named NAME-00001-of-00003.gguf: name all shards so",
		                                 qs_shown_path(first->path), info->split_no + 1, info->split_count);
	const qs_model_file *file = qs_model_find_file(model, name);
	qstore_status status = QSTORE_OK;
	if (!file)
		status = qs_fail(error, QSTORE_INPUT,
		                 "%s: \"%.200s\" is missing, shard %" PRIu64 " of %" PRIu64 ": download it",
		                 qs_shown_path(first->path), name, i + 1, info->split_count);
	else if (!(status = qs_gguf_read_info(&own, file->path, error)) &&
	         (own.split_no != i || own.split_count != info->split_count))
		status = qs_fail(error, QSTORE_INPUT,
		                 "%s: is named as shard %" PRIu64 " of %" PRIu64
		                 ", its metadata says otherwise: rename it",
		                 qs_shown_path(file->path), i + 1, info->split_count);
	free(name);
	return status;
}

/* Checks the shards of the model that `first` is a shard of, by name the first one. */
static qstore_status check_shards(const qs_model *model, const qs_model_file *first, qstore_error *error)
{
	uint64_t n_tensors = 0;
	qs_gguf_info info;
	qstore_status status = qs_gguf_read_info(&info, first->path, error);
	if (status || info.split_count == QS_GGUF_NONE || info.split_count <= 1)
		return status;
	for (uint64_t i = 0; i < info.split_count && !status; i++)
		status = check_shard(model, first, &info, i, error);
	for (size_t f = 0; f < model->n_files; f++) {
		const qs_model_file *file = &model->files[f];
		assert(!file->is_weights || file->set);
		if (file->is_weights && !strcmp(file->set, first->set))
			n_tensors += file->weights.n_tensors;
	}
	if (!status && info.split_tensors != QS_GGUF_NONE && info.split_tensors != n_tensors)
		return qs_fail(error, QSTORE_INPUT,
		               "%s: all shards together should have %" PRIu64 " tensors, and have %" PRIu64
		               "; download them again",
		               qs_shown_path(first->path), info.split_tensors, n_tensors);
	return status;
}

qstore_status qs_model_check_gguf(const qs_model *model, qstore_error *error)
{
	const char *set = NULL;
	qstore_status status = QSTORE_OK;
	for (size_t f = 0; f < model->n_files && !status; f++) {
		const qs_model_file *file = &model->files[f];
		if (!file->is_weights || file->weights.format != QS_FORMAT_GGUF || (set && !strcmp(file->set, set)))
			continue;
		set = file->set;
		status = check_shards(model, file, error);
	}
	return status;
}

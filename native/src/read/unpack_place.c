#include "unpack_place.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"
#include "os/file.h"
#include "os/temp.h"

static qstore_status check_target(const qs_targets *targets, const char *name, const char *suffix,
                                  qstore_error *error)
{
	struct stat info;
	char *path = qs_path_join(targets->folder, name), *whole = NULL;
	if (!path || asprintf(&whole, "%s%s", path, suffix) < 0) {
		free(path);
		return qs_no_memory(error);
	}
	qstore_status status = qs_check_parents(whole, strlen(targets->folder) + 1, error);
	int exists = !status && lstat(whole, &info) == 0;
	if (exists && (S_ISDIR(info.st_mode) || !targets->force))
		status = qs_fail(error, QSTORE_EXISTS, "%s: exists already%s", whole,
		                 S_ISDIR(info.st_mode) ? ", and is a folder" : "; replace it with --force");
	else if (exists && S_ISREG(info.st_mode) && qs_archive_reads(targets->archive, &info))
		status = qs_fail(error, QSTORE_USAGE,
		                 "%s: is read from, so it cannot be replaced: choose another folder", whole);
	free(whole);
	free(path);
	return status;
}

qstore_status qs_targets_check(const qs_targets *targets, qstore_error *error)
{
	qstore_status status = QSTORE_OK;
	for (size_t i = 0; i < targets->n_outputs && !status; i++) {
		status = check_target(targets, targets->outputs[i].name, "", error);
		if (!status && targets->keep_going)
			status = check_target(targets, targets->outputs[i].name, QS_DAMAGED_SUFFIX, error);
	}
	return status;
}

static int are_in_one_folder(const char *name, const char *other)
{
	const char *slash = strrchr(name, '/'), *other_slash = strrchr(other, '/');
	size_t size = slash ? (size_t)(slash - name) : 0;
	return size == (other_slash ? (size_t)(other_slash - other) : 0) && strncmp(name, other, size) == 0;
}

/* Returns the name that an output gets; NULL: it gets none. */
static const char *placed_name(const qs_output *output)
{
	return output->is_lost ? NULL : output->damaged_name ? output->damaged_name : output->name;
}

static qstore_status place(const qs_targets *targets, size_t number, const char *staging, qstore_error *error)
{
	const qs_output *output = &targets->outputs[number];
	const char *name = placed_name(output);
	if (!name)
		return QSTORE_OK;
	char *from = qs_path_join(staging, output->name), *to = qs_path_join(targets->folder, name);
	qstore_status status = QSTORE_OK;
	if (!from || !to)
		status = qs_no_memory(error);
	else
		status = qs_make_parents(to, strlen(targets->folder) + 1, error);
	if (!status)
		status = qs_temp_rename(from, to, targets->force, error);
	/* Outputs of one folder follow one another. */
	if (!status && (number + 1 == targets->n_outputs || targets->outputs[number + 1].is_lost ||
	                !are_in_one_folder(output->name, targets->outputs[number + 1].name)))
		qs_sync_folders(to, strlen(targets->folder));
	free(from);
	free(to);
	return status;
}

qstore_status qs_targets_place(const qs_targets *targets, const char *staging, qstore_error *error)
{
	size_t placed = 0;
	qstore_status status = QSTORE_OK;
	for (; placed < targets->n_outputs && !status; placed++)
		status = place(targets, placed, staging, error);
	for (size_t i = 0; status && !targets->force && i + 1 < placed; i++) {
		const char *name = placed_name(&targets->outputs[i]);
		char *to = name ? qs_path_join(targets->folder, name) : NULL;
		if (to)
			unlink(to);
		free(to);
	}
	return status;
}

size_t qs_folder_missing(const char *path)
{
	size_t size = strlen(path), found = 0;
	char *folder = strdup(path);
	if (!folder)
		return 0;
	for (size_t i = size; i > 0; i--) {
		struct stat info;
		if (i < size && path[i] != '/')
			continue;
		folder[i] = 0;
		if (lstat(folder, &info) == 0)
			break;
		found = i;
	}
	free(folder);
	return found;
}

void qs_folder_remove(const char *path, size_t made_size)
{
	char *folder = made_size == 0 ? NULL : strdup(path);
	if (!folder)
		return;
	for (size_t i = strlen(path); i >= made_size; i--) {
		if (path[i] != '/' && path[i] != 0)
			continue;
		folder[i] = 0;
		if (rmdir(folder) != 0 && errno != ENOENT)
			break;
	}
	free(folder);
}

qstore_status qs_folder_make(const char *path, qstore_error *error)
{
	struct stat info;
	qstore_status status = qs_make_parents(path, 0, error);
	if (status)
		return status;
	if (mkdir(path, 0777) == 0)
		return QSTORE_OK;
	if (errno == EEXIST && stat(path, &info) == 0) {
		if (S_ISDIR(info.st_mode))
			return QSTORE_OK;
		return qs_fail(error, QSTORE_EXISTS, "%s: exists and is not a folder", path);
	}
	return qs_fail(error, QSTORE_IO, "%s: cannot create the folder: %s", path, strerror(errno));
}

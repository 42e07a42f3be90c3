/* The output folder: what stands there already, what is made, what goes again. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/file.h"
#include "unpack.h"

qstore_status unpack_check_targets(const unpacker *u, qs_error *error)
{
	for (size_t i = 0; i < u->n_outputs; i++) {
		struct stat info;
		char *path = qs_path_join(u->options->output, u->outputs[i].name);
		if (!path)
			return qs_no_memory(error);
		qstore_status status = qs_check_parents(path, strlen(u->options->output) + 1, error);
		if (!status && lstat(path, &info) == 0 && (!u->options->force || S_ISDIR(info.st_mode)))
			status = qs_fail(error, QSTORE_EXISTS, "%s: exists already", path);
		free(path);
		if (status)
			return status;
	}
	return QSTORE_OK;
}

/* Moves what is complete and checked to its place. */
qstore_status unpack_place(const unpacker *u, const char *staging, qs_error *error)
{
	const char *folder = u->options->output;
	size_t placed = 0;
	qstore_status status = QSTORE_OK;
	for (; placed < u->n_outputs && !status; placed++) {
		char *from = qs_path_join(staging, u->outputs[placed].name);
		char *to = qs_path_join(folder, u->outputs[placed].name);
		if (!from || !to)
			status = qs_no_memory(error);
		else
			status = qs_make_parents(to, strlen(folder) + 1, error);
		if (!status)
			status = qs_temp_rename(from, to, u->options->force, error);
		free(from);
		free(to);
	}
	if (status && !u->options->force) {
		for (size_t i = 0; i + 1 < placed; i++) {
			char *to = qs_path_join(folder, u->outputs[i].name);
			if (to)
				unlink(to);
			free(to);
		}
	}
	return status;
}

/* The size of the uppermost folder of a path that does not exist yet; 0 when all exist. */
size_t unpack_missing_folder(const char *path)
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

/* Removes folders that were made for the output, from the innermost up to the one of made_size bytes; they
 * stay when somebody has put something into them. */
void unpack_remove_folders(const char *path, size_t made_size)
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

qstore_status unpack_make_folder(const char *path, qs_error *error)
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

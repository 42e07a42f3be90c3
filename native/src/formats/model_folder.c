#include "model_folder.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "model_files.h"
#include "model_onnx.h"
#include "os/file.h"
#include "pickle.h"
#include "text.h"

#define DEPTH_MAX 32
#define SMALL_PICKLE_SIZE_MAX 65536 /* training_args.bin and the like are kept as small files */

static qstore_status add_entry(qs_model *model, const char *path, const char *name, uint64_t size,
                               qstore_error *error)
{
	qs_model_file *added;
	qstore_status status = qs_model_add_file(model, name, path, size, &added, error);
	if (status)
		return status;
	added->is_weights =
	    qs_ends_in(name, ".safetensors") || qs_ends_in(name, ".gguf") || qs_model_is_onnx(name);
	return !added->is_weights && size >= SMALL_PICKLE_SIZE_MAX && qs_is_pickle(path)
	           ? qs_refuse_pickle(path, error)
	           : QSTORE_OK;
}

static qstore_status scan_folder(qs_model *model, const char *path, const char *name, int depth,
                                 qstore_error *error);

static qstore_status scan_entry(qs_model *model, const char *path, const char *name, int depth,
                                qstore_error *error)
{
	struct stat info;
	if (lstat(path, &info))
		return qs_fail(error, QSTORE_IO, "%s: cannot read: %s", qs_shown_path(path), strerror(errno));
	int is_link = S_ISLNK(info.st_mode);
	if (is_link && stat(path, &info))
		return qs_fail(error, QSTORE_INPUT, "%s: a symbolic link to a missing file: %s", qs_shown_path(path),
		               strerror(errno));
	if (S_ISDIR(info.st_mode))
		/* A link to a folder may lead anywhere, or round in circles. */
		return is_link ? QSTORE_OK : scan_folder(model, path, name, depth + 1, error);
	if (!S_ISREG(info.st_mode))
		return qs_fail(error, QSTORE_INPUT, "%s: neither a file nor a folder; move it away",
		               qs_shown_path(path));
	return add_entry(model, path, name, (uint64_t)info.st_size, error);
}

/* name: the folder's own within the model, or "". */
static qstore_status scan_folder(qs_model *model, const char *path, const char *name, int depth,
                                 qstore_error *error)
{
	qstore_status status = QSTORE_OK;
	if (depth > DEPTH_MAX)
		return qs_fail(error, QSTORE_LIMIT, "%s: folders are nested more than %d deep", qs_shown_path(path),
		               DEPTH_MAX);
	DIR *folder = opendir(path);
	if (!folder)
		return qs_fail(error, QSTORE_IO, "%s: cannot open: %s", qs_shown_path(path), strerror(errno));
	while (!status) {
		errno = 0;
		const struct dirent *entry = readdir(folder);
		if (!entry) {
			if (errno)
				status =
				    qs_fail(error, QSTORE_IO, "%s: cannot read: %s", qs_shown_path(path), strerror(errno));
			break;
		}
		if (entry->d_name[0] == '.') /* ".", "..", and hidden entries */
			continue;
		char *entry_path = qs_path_join(path, entry->d_name), *entry_name = qs_path_join(name, entry->d_name);
		status = entry_path && entry_name ? scan_entry(model, entry_path, entry_name, depth, error)
		                                  : qs_no_memory(error);
		free(entry_path);
		free(entry_name);
	}
	closedir(folder);
	return status;
}

qstore_status qs_model_scan_folder(qs_model *model, qstore_error *error)
{
	return scan_folder(model, model->path, "", 0, error);
}

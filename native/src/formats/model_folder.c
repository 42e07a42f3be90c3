#include "model_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "model_files.h"
#include "model_onnx.h"
#include "model_refused.h"
#include "os/file.h"
#include "pickle.h"
#include "text.h"

#define DEPTH_MAX 32
#define SMALL_PICKLE_SIZE_MAX 65536 /* training_args.bin and the like are kept as small files */

typedef struct scan {
	qs_model *model;
	const qs_model_options *options;
	int is_beside; /* only small files, not in folders */
	qstore_error *error;
} scan;

/* An entry of a folder: the path to open it with, its name within the model. */
typedef struct entry {
	const char *path, *name;
} entry;

static int skips(const char *pattern, const char *name)
{
	const char *slash = strrchr(name, '/'), *last = slash ? slash + 1 : name;
	size_t size = strlen(pattern);
	/* A name with brackets is no pattern for itself. */
	if (fnmatch(pattern, name, 0) == 0 || fnmatch(pattern, last, 0) == 0 || !strcmp(pattern, name))
		return 1;
	/* "FOLDER/" */
	return size > 1 && pattern[size - 1] == '/' && !strncmp(pattern, name, size - 1) && !name[size - 1];
}

static int is_skipped(const scan *s, const char *name)
{
	const char *const *patterns = s->options->skip;
	int found = 0;
	for (size_t k = 0; patterns && patterns[k]; k++)
		if (skips(patterns[k], name)) {
			found = 1;
			s->model->skips |= k < 64 ? (uint64_t)1 << k : 0;
		}
	return found;
}

static int has_weights_name(const char *name)
{
	return qs_ends_in(name, ".safetensors") || qs_ends_in(name, ".gguf") || qs_model_is_onnx(name);
}

/* Is this file, which is beside the model's file, an archive or other weights? Only small files belong to the
 * model. */
static int is_foreign(const char *name)
{
	static const char *const endings[] = {".qstore", ".zip", ".tar", ".7z", ".incomplete"};
	for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
		if (qs_ends_in(name, endings[i]))
			return 1;
	return has_weights_name(name) || qs_is_pickle_name(name) || strstr(name, ".onnx");
}

static qstore_status refuse(const scan *s, const char *name)
{
	return qs_model_refuse(s->model, name, s->error);
}

static qstore_status add_entry(const scan *s, entry e, uint64_t size)
{
	qs_model_file *added;
	if (s->is_beside && is_foreign(e.name))
		return QSTORE_OK;
	qstore_status status = qs_model_add_file(s->model, e.name, e.path, size, &added, s->error);
	if (status)
		return refuse(s, e.name);
	if (has_weights_name(e.name))
		return qs_model_set_weights(s->model, added, s->error);
	if (size < SMALL_PICKLE_SIZE_MAX || s->options->takes_pickles || !qs_is_pickle(e.path))
		return QSTORE_OK;
	qs_refuse_pickle(e.path, s->error);
	return refuse(s, e.name);
}

static qstore_status scan_folder(const scan *s, entry folder, int depth);

static qstore_status scan_entry(const scan *s, entry e, int depth)
{
	struct stat info;
	if (is_skipped(s, e.name))
		return QSTORE_OK;
	if (lstat(e.path, &info))
		return qs_fail(s->error, QSTORE_IO, "%s: cannot read: %s", qs_shown_path(e.path), strerror(errno));
	int is_link = S_ISLNK(info.st_mode);
	if (is_link && stat(e.path, &info)) {
		qs_error_set(s->error, QSTORE_INPUT,
		             "%s: a symbolic link to a missing file (%s): download the file that it leads to",
		             qs_shown_path(e.path), strerror(errno));
		return refuse(s, e.name);
	}
	if (S_ISDIR(info.st_mode))
		/* A link to a folder may lead anywhere, or round in circles. */
		return is_link || s->is_beside ? QSTORE_OK : scan_folder(s, e, depth + 1);
	if (S_ISREG(info.st_mode))
		return add_entry(s, e, (uint64_t)info.st_size);
	if (s->is_beside)
		return QSTORE_OK;
	qs_error_set(s->error, QSTORE_INPUT, "%s: neither a file nor a folder; move it away",
	             qs_shown_path(e.path));
	return refuse(s, e.name);
}

/* folder.name: "" for the model's own. */
static qstore_status scan_folder(const scan *s, entry folder, int depth)
{
	qstore_status status = QSTORE_OK;
	if (depth > DEPTH_MAX)
		return qs_fail(s->error, QSTORE_LIMIT,
		               "%s: folders are nested more than %d deep; leave this one out by --skip",
		               qs_shown_path(folder.path), DEPTH_MAX);
	DIR *opened = opendir(folder.path);
	if (!opened)
		return qs_fail(s->error, QSTORE_IO, "%s: cannot open: %s", qs_shown_path(folder.path),
		               strerror(errno));
	while (!status) {
		errno = 0;
		const struct dirent *next = readdir(opened);
		if (!next) {
			if (errno)
				status = qs_fail(s->error, QSTORE_IO, "%s: cannot read: %s", qs_shown_path(folder.path),
				                 strerror(errno));
			break;
		}
		if (next->d_name[0] == '.') /* ".", "..", and hidden entries */
			continue;
		char *path = qs_path_join(folder.path, next->d_name), *name = qs_path_join(folder.name, next->d_name);
		status = path && name ? scan_entry(s, (entry){path, name}, depth) : qs_no_memory(s->error);
		free(path);
		free(name);
	}
	closedir(opened);
	return status;
}

qstore_status qs_model_scan_folder(qs_model *model, const qs_model_options *options, qstore_error *error)
{
	return scan_folder(&(scan){model, options, 0, error}, (entry){model->path, ""}, 0);
}

qstore_status qs_model_scan_beside(qs_model *model, const qs_model_options *options, qstore_error *error)
{
	const char *slash = strrchr(model->path, '/');
	char *folder = !slash ? qs_arena_text(&model->arena, ".")
	               : slash == model->path
	                   ? qs_arena_text(&model->arena, "/")
	                   : qs_arena_copy(&model->arena, model->path, (size_t)(slash - model->path));
	if (!folder)
		return qs_no_memory(error);
	return scan_folder(&(scan){model, options, 1, error}, (entry){folder, ""}, 0);
}

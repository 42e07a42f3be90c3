#include "model_warnings.h"

#include <stdio.h>
#include <string.h>

#include "model_files.h"
#include "pickle.h"
#include "text.h"

enum { START_SIZE = 512, POINTER_SIZE_MAX = 1024, WEIGHTS_SIZE_MIN = 16384, NAMES_SIZE = 500 };

typedef enum kind { POINTER, UNFINISHED, ARCHIVE, FOREIGN, PICKLE, N_KINDS } kind;

static const char *const texts[N_KINDS] = {
    [POINTER] = "a pointer of Git LFS, not the file itself; fetch it with `git lfs pull`, or",
    [UNFINISHED] = "a download that did not end; fetch it again, or",
    [ARCHIVE] = "an archive, of whose contents nothing is read;",
    [PICKLE] = "a pickle, which is a program: it goes into every variant as it is;",
    [FOREIGN] = "no pickle and no weights that can be read: all of it goes into every variant as it is;",
};

static int ends_in_one_of(const char *name, const char *const *endings)
{
	for (; *endings; endings++)
		if (qs_ends_in(name, *endings))
			return 1;
	return 0;
}

static kind kind_of(const qs_model_file *file)
{
	static const char *const unfinished[] = {".incomplete", ".part", ".crdownload", ".aria2", NULL},
	                         *const archives[] = {".qstore", ".zip", ".tar", ".tgz", ".gz", ".bz2",
	                                              ".xz",     ".zst", ".7z",  ".rar", NULL},
	                         *const foreign[] = {".bin",   ".pt",      ".pth",      ".ckpt",   ".pkl",
	                                             ".h5",    ".msgpack", ".tflite",   ".ort",    ".pb",
	                                             ".npz",   ".ot",      ".pte",      ".engine", ".ggml",
	                                             ".keras", ".nemo",    ".pdparams", ".plan",   NULL};
	uint8_t start[START_SIZE];
	size_t size = 0;
	FILE *stream = fopen(file->path, "rb");
	if (stream) {
		size = fread(start, 1, sizeof start, stream);
		fclose(stream);
	}
	if (file->size <= POINTER_SIZE_MAX && qs_weights_is_pointer(start, size))
		return POINTER;
	if (ends_in_one_of(file->name, unfinished))
		return UNFINISHED;
	if (ends_in_one_of(file->name, archives) || (size == sizeof start && !memcmp(start + 257, "ustar", 5)))
		return ARCHIVE;
	if (qs_is_pickle(file->path) || qs_ends_in(file->name, ".joblib"))
		return PICKLE;
	if (ends_in_one_of(file->name, foreign) && file->size >= WEIGHTS_SIZE_MIN)
		return FOREIGN;
	return size >= 4 && !memcmp(start, "PK\3\4", 4) && file->size >= WEIGHTS_SIZE_MIN ? ARCHIVE : N_KINDS;
}

typedef struct named {
	char names[NAMES_SIZE];
	size_t n;
} named;

/* Warns of models--ORGANIZATION--NAME, where snapshots/REVISION has links to blobs. */
static qstore_status warn_of_cache(qs_model *model, qstore_error *error)
{
	for (size_t f = 0; f < model->n_files; f++) {
		const char *name = model->files[f].name, *blobs = strstr(name, "blobs/");
		if (!blobs || (blobs > name && blobs[-1] != '/'))
			continue;
		for (size_t i = 0; i < model->n_files; i++) {
			const char *other = model->files[i].name;
			if (strncmp(other, name, (size_t)(blobs - name)) != 0 ||
			    strncmp(other + (blobs - name), "snapshots/", 10) != 0)
				continue;
			const char *revision = other + (blobs - name) + 10;
			int shown = (int)(revision + strcspn(revision, "/") - other);
			return qs_model_warn(model, error,
			                     "%s: the cache of a hub, which has every file twice: give the folder of "
			                     "a revision, such as \"%.*s\", or leave '%.*sblobs/*' out by --skip",
			                     qs_shown_path(model->path), shown < 200 ? shown : 200, other,
			                     (int)(blobs - name), name);
		}
		return QSTORE_OK;
	}
	return QSTORE_OK;
}

qstore_status qs_model_warn_of_files(qs_model *model, qstore_error *error)
{
	named lists[N_KINDS] = {0};
	for (size_t f = 0; f < model->n_files; f++) {
		const qs_model_file *file = &model->files[f];
		kind k = file->is_weights ? N_KINDS : kind_of(file);
		if (k < N_KINDS) {
			lists[k].n++;
			qs_text_add(lists[k].names, sizeof lists[k].names, ", ", "%s", file->name);
		}
	}
	qstore_status status = model->is_single ? QSTORE_OK : warn_of_cache(model, error);
	for (int k = 0; k < N_KINDS && !status; k++) {
		if (lists[k].n == 1)
			status = qs_model_warn(model, error, "%s: %s is %s leave it out by --skip",
			                       qs_shown_path(model->path), lists[k].names, texts[k]);
		else if (lists[k].n > 1)
			status =
			    qs_model_warn(model, error, "%s: each of these %zu files is %s leave it out by --skip: %s",
			                  qs_shown_path(model->path), lists[k].n, texts[k], lists[k].names);
	}
	return status;
}

#include "model_files.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/array.h"
#include "text.h"

qstore_status qs_model_add_file(qs_model *model, const char *name, const char *path, uint64_t size,
                                qs_model_file **added, qstore_error *error)
{
	qs_model_file *file = qs_array_add(&model->files, &model->n_files, sizeof *file);
	if (!file)
		return qs_no_memory(error);
	file->size = size;
	file->name = qs_arena_text(&model->arena, "%s", name);
	file->path = qs_arena_text(&model->arena, "%s", path);
	if (!file->name || !file->path)
		return qs_no_memory(error);
	if (added)
		*added = file;
	if (!qs_text_is_utf8(name, SIZE_MAX))
		return qs_fail(error, QSTORE_INPUT,
		               "%s: its name is not UTF-8, as names in an archive are: rename it",
		               qs_shown_path(path));
	if (!qs_path_is_safe(name))
		return qs_fail(error, QSTORE_INPUT, "%s: its name has more than %d bytes: rename it, or its folder",
		               qs_shown_path(path), QS_NAME_MAX);
	return QSTORE_OK;
}

qstore_status qs_model_warn(qs_model *model, qstore_error *error, const char *format, ...)
{
	char text[sizeof error->text];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	char **added = qs_array_add(&model->warnings, &model->n_warnings, sizeof *added);
	if (!added)
		return qs_no_memory(error);
	*added = qs_arena_text(&model->arena, "%s", text);
	if (*added)
		return QSTORE_OK;
	model->n_warnings--;
	return qs_no_memory(error);
}

qstore_status qs_model_set_weights(qs_model *model, qs_model_file *file, qstore_error *error)
{
	qs_labelled_name parts;
	int is_done = qs_label_name(file->name, &parts);
	if (is_done) {
		file->is_weights = 1;
		file->label = parts.label;
		file->component = qs_arena_text(&model->arena, "%s", parts.component);
		file->set = qs_arena_text(&model->arena, "%s", parts.set);
	}
	free(parts.component);
	free(parts.set);
	return is_done && file->component && file->set ? QSTORE_OK : qs_no_memory(error);
}

static int compare_files(const void *a, const void *b)
{
	return strcmp(((const qs_model_file *)a)->name, ((const qs_model_file *)b)->name);
}

qs_model_file *qs_model_find_file(const qs_model *model, const char *name)
{
	qs_model_file key = {.name = (char *)name};
	return model->n_files ? bsearch(&key, model->files, model->n_files, sizeof key, compare_files) : NULL;
}

/* Compares the file's name with that of a file beside another. */
typedef struct beside_key {
	const char *beside, *name;
	size_t folder_size; /* bytes of `beside` up to its name */
} beside_key;

static int compare_with_beside(const void *key, const void *file)
{
	const beside_key *k = key;
	const char *name = ((const qs_model_file *)file)->name;
	int order = strncmp(k->beside, name, k->folder_size);
	return order ? order : strcmp(k->name, name + k->folder_size);
}

qs_model_file *qs_model_find_beside(const qs_model *model, const char *beside, const char *name)
{
	const char *slash = strrchr(beside, '/');
	beside_key key = {beside, name, slash ? (size_t)(slash + 1 - beside) : 0};
	return model->n_files
	           ? bsearch(&key, model->files, model->n_files, sizeof *model->files, compare_with_beside)
	           : NULL;
}

void qs_model_sort_files(qs_model *model)
{
	if (model->n_files)
		qsort(model->files, model->n_files, sizeof *model->files, compare_files);
}

void qs_model_free_file(qs_model_file *file)
{
	qs_weights_close(&file->weights);
	free(file->quants);
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

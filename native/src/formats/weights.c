#include "weights.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "os/array.h"
#include "os/search.h"
#include "text.h"

qstore_status qs_weights_fail(qstore_error *error, const char *path, const char *name, const char *format,
                              ...)
{
	char what[500];
	va_list args;
	va_start(args, format);
	vsnprintf(what, sizeof what, format, args);
	va_end(args);
	return qs_fail(error, QSTORE_INPUT, "%s: tensor \"" QS_NAME_SHOWN "\": %s", qs_shown_path(path), name,
	               what);
}

int qs_weights_size(uint32_t dtype, const uint64_t *dims, uint32_t n_dims, uint64_t *size)
{
	uint64_t product = qs_block_size(dtype), block = qs_block_elems(dtype);
	int empty = 0;
	for (uint32_t i = 0; i < n_dims; i++) {
		uint64_t n = i == n_dims - 1 ? dims[i] / block : dims[i];
		if (!n)
			empty = 1;
		else if (product > UINT64_MAX / n)
			return 0;
		else
			product *= n;
	}
	*size = empty ? 0 : product;
	return 1;
}

int qs_weights_is_pointer(const uint8_t *src, size_t size)
{
	return size >= 8 && !memcmp(src, "version ", 8);
}

/* Hubs answer with a page when a file needs a login, or is gone. */
static int is_web_page(const uint8_t *src, size_t size)
{
	static const char *const starts[] = {"<!doctype", "<html", "<head", "<?xml", "<body"};
	size_t at = size >= 3 && !memcmp(src, "\xef\xbb\xbf", 3) ? 3 : 0;
	while (at < size && (src[at] == ' ' || src[at] == '\n' || src[at] == '\r' || src[at] == '\t'))
		at++;
	for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
		size_t start_size = strlen(starts[i]);
		if (size - at >= start_size && !strncasecmp((const char *)src + at, starts[i], start_size))
			return 1;
	}
	return 0;
}

int qs_weights_is_other(const uint8_t *src, size_t size, const char *format, char text[QS_OTHER_SIZE])
{
	const char *what = NULL;
	if (qs_weights_is_pointer(src, size)) {
		snprintf(text, QS_OTHER_SIZE,
		         "a Git LFS pointer, not the weights themselves: fetch them with `git lfs pull`");
		return 1;
	}
	if (size >= 12 && !memcmp(src, "qstore/index", 12)) {
		snprintf(text, QS_OTHER_SIZE,
		         "a qstore archive, not a model: qstore-unpack restores the models in it");
		return 1;
	}
	if (is_web_page(src, size)) {
		snprintf(text, QS_OTHER_SIZE,
		         "a web page, not %s: download the file again (is a login needed, or is it gone?)", format);
		return 1;
	}
	if (size >= 4 && !memcmp(src, "GGUF", 4))
		what = "a GGUF file";
	else if (size >= 4 && !memcmp(src, "PK\3\4", 4))
		what = "a zip archive (perhaps a PyTorch pickle)";
	else if (size >= 2 && src[0] == 0x80 && src[1] >= 2 && src[1] <= 5)
		what = "a Python pickle";
	else if (size >= 1 && src[0] == '{')
		what = "JSON";
	if (what)
		snprintf(text, QS_OTHER_SIZE, "%s, not %s", what, format);
	return !!what;
}

typedef struct sort_entry {
	qs_weight tensor;
	size_t index;
} sort_entry;

static int compare_offsets(const void *a, const void *b)
{
	const sort_entry *x = a, *y = b;
	if (x->tensor.offset != y->tensor.offset)
		return x->tensor.offset < y->tensor.offset ? -1 : 1;
	if (x->tensor.size != y->tensor.size)
		return x->tensor.size < y->tensor.size ? -1 : 1;
	return x->index < y->index ? -1 : x->index > y->index;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp((*(qs_weight *const *)a)->name, (*(qs_weight *const *)b)->name);
}

static qstore_status check_overlaps(const qs_weights *file, qstore_error *error)
{
	for (size_t i = 1; i < file->n_tensors; i++) {
		const qs_weight *before = &file->tensors[i - 1], *tensor = &file->tensors[i];
		if (tensor->offset < before->offset + before->size)
			return qs_weights_fail(error, file->path, tensor->name, "overlaps tensor \"" QS_NAME_SHOWN "\"",
			                       before->name);
	}
	return QSTORE_OK;
}

qstore_status qs_weights_sort(qs_weights *file, qstore_error *error)
{
	size_t n = file->n_tensors;
	sort_entry *entries = malloc((n ? n : 1) * sizeof *entries);
	file->by_name = malloc((n ? n : 1) * sizeof *file->by_name);
	if (!entries || !file->by_name) {
		free(entries);
		return qs_no_memory(error);
	}
	for (size_t i = 0; i < n; i++)
		entries[i] = (sort_entry){file->tensors[i], i};
	qsort(entries, n, sizeof *entries, compare_offsets);
	for (size_t i = 0; i < n; i++) {
		file->tensors[i] = entries[i].tensor;
		file->by_name[i] = &file->tensors[i];
	}
	free(entries);
	qsort(file->by_name, n, sizeof *file->by_name, compare_names);
	return check_overlaps(file, error);
}

static int compare_weight_name(const void *weight, const void *name)
{
	return strcmp((*(qs_weight *const *)weight)->name, name);
}

const qs_weight *qs_weights_find(const qs_weights *file, const char *name)
{
	size_t n = file->n_tensors;
	size_t at = qs_lower_bound(file->by_name, n, sizeof *file->by_name, name, compare_weight_name);
	return at < n && !strcmp(file->by_name[at]->name, name) ? file->by_name[at] : NULL;
}

qstore_status qs_weights_init(qs_weights *file, const char *path, qs_format format, qstore_error *error)
{
	*file = (qs_weights){.format = format};
	file->path = qs_arena_text(&file->arena, "%s", path);
	return file->path ? QSTORE_OK : qs_no_memory(error);
}

qstore_status qs_weights_add(qs_weights *file, qs_weight **added, qstore_error *error)
{
	*added = qs_array_add(&file->tensors, &file->n_tensors, sizeof **added);
	return *added ? QSTORE_OK : qs_no_memory(error);
}

void qs_weights_close(qs_weights *file)
{
	free(file->tensors);
	free(file->by_name);
	qs_arena_free(&file->arena);
	memset(file, 0, sizeof *file);
}

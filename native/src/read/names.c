/* qstore_find_file and qstore_find_tensor. */
#include "names.h"

#include <stdlib.h>
#include <string.h>

#include "archive.h"
#include "error.h"
#include "os/search.h"

typedef struct name_entry {
	const char *name;
	uint32_t number;
} name_entry;

/* Files or tensors, sorted by name, then by number. */
typedef struct name_table {
	name_entry *entries; /* NULL: not made yet */
	uint32_t n_entries;
} name_table;

struct qs_names {
	const qstore_archive *archive;
	pthread_mutex_t lock; /* held while tables are made */
	name_table files, tensors;
};

qs_names *qs_names_create(const qstore_archive *archive)
{
	qs_names *names = calloc(1, sizeof(*names));
	if (!names)
		return NULL;
	names->archive = archive;
	pthread_mutex_init(&names->lock, NULL);
	return names;
}

void qs_names_destroy(qs_names *names)
{
	if (!names)
		return;
	pthread_mutex_destroy(&names->lock);
	free(names->files.entries);
	free(names->tensors.entries);
	free(names);
}

static int compare_entries(const void *a, const void *b)
{
	const name_entry *x = a, *y = b;
	int order = strcmp(x->name, y->name);
	return order != 0 ? order : (x->number > y->number) - (x->number < y->number);
}

static const char *file_name(const qs_index *index, uint32_t number)
{
	qs_file file;
	qs_index_file(index, number, &file);
	return file.name;
}

static const char *tensor_name(const qs_index *index, uint32_t number)
{
	qs_tensor tensor;
	qs_index_tensor(index, number, &tensor);
	return tensor.name;
}

/* Makes the table unless it is there. Returns 0 if memory is out. */
static int make_table(qs_names *names, name_table *table, uint32_t n_entries,
                      const char *(*name_of)(const qs_index *index, uint32_t number))
{
	pthread_mutex_lock(&names->lock);
	if (!table->entries) {
		table->entries = malloc(((size_t)n_entries + 1) * sizeof(*table->entries));
		table->n_entries = n_entries;
		for (uint32_t i = 0; i < n_entries && table->entries; i++)
			table->entries[i] = (name_entry){name_of(&names->archive->index, i), i};
		if (table->entries)
			qsort(table->entries, n_entries, sizeof(*table->entries), compare_entries);
	}
	int is_there = !!table->entries;
	pthread_mutex_unlock(&names->lock);
	return is_there;
}

static int compare_with_name(const void *entry, const void *name)
{
	return strcmp(((const name_entry *)entry)->name, name);
}

/* Returns the number of the first entry of this name, or of the next name in order. */
static uint32_t first_entry(const name_table *table, const char *name)
{
	return (uint32_t)qs_lower_bound(table->entries, table->n_entries, sizeof(*table->entries), name,
	                                compare_with_name);
}

static int is_named(const name_table *table, uint32_t i, const char *name)
{
	return i < table->n_entries && strcmp(table->entries[i].name, name) == 0;
}

static qstore_status check_variant(const qstore_archive *archive, uint32_t variant, qstore_error *error)
{
	if (variant < archive->index.n_variants)
		return QSTORE_OK;
	return qs_fail(error, QSTORE_USAGE, "%s: has %u precisions, and no number %u", archive->path,
	               archive->index.n_variants, variant);
}

static qstore_status fail_missing(const qstore_archive *archive, uint32_t number, const char *what,
                                  const char *name, qstore_error *error)
{
	qs_variant variant;
	qs_index_variant(&archive->index, number, &variant);
	return qs_fail(error, QSTORE_NOT_FOUND, "%s: has no %s %.400s in %s", archive->path, what, name,
	               variant.name);
}

qstore_status qstore_find_file(const qstore_archive *archive, uint32_t variant, const char *name,
                               uint32_t *number, qstore_error *error)
{
	qs_names *names = archive->names;
	const name_table *table = &names->files;
	qs_error_clear(error);
	*number = QS_NONE;
	qstore_status status = check_variant(archive, variant, error);
	if (status)
		return status;
	if (!make_table(names, &names->files, archive->index.n_files, file_name))
		return qs_no_memory(error);
	for (uint32_t i = first_entry(table, name); is_named(table, i, name); i++) {
		qs_file file;
		qs_index_file(&archive->index, table->entries[i].number, &file);
		if (file.variants >> variant & 1) {
			*number = table->entries[i].number;
			return QSTORE_OK;
		}
	}
	return fail_missing(archive, variant, "file", name, error);
}

qstore_status qstore_find_tensor(const qstore_archive *archive, uint32_t variant, const char *file,
                                 const char *name, uint32_t *number, qstore_error *error)
{
	qs_names *names = archive->names;
	const name_table *table = &names->tensors;
	const char *found_in = NULL;
	qs_error_clear(error);
	*number = QS_NONE;
	qstore_status status = check_variant(archive, variant, error);
	if (status)
		return status;
	if (!make_table(names, &names->tensors, archive->index.n_tensors, tensor_name))
		return qs_no_memory(error);
	for (uint32_t i = first_entry(table, name); is_named(table, i, name); i++) {
		qs_tensor tensor;
		qs_file in;
		qs_index_tensor(&archive->index, table->entries[i].number, &tensor);
		qs_index_file(&archive->index, tensor.file, &in);
		if (!(in.variants >> variant & 1) || (file && strcmp(file, in.name) != 0))
			continue;
		if (found_in)
			return qs_fail(error, QSTORE_USAGE,
			               "%s: tensor %.400s is in the files %.200s and %.200s: say which one is meant",
			               archive->path, name, found_in, in.name);
		*number = table->entries[i].number;
		found_in = in.name;
	}
	return found_in ? QSTORE_OK : fail_missing(archive, variant, "tensor", name, error);
}

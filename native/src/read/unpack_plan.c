#include "unpack_plan.h"

#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "os/array.h"
#include "unpack_tensors.h"

typedef struct unpack_planner {
	const qstore_archive *archive;
	const qstore_unpack_options *options;
	qs_output *outputs;
	size_t n_outputs;
	unsigned char *files_used, *tensors_used; /* for each pattern: has it matched in some variant? */
	const char *first_hidden;                 /* name of the first file that is left out; NULL: none is */
	size_t n_hidden;                          /* files that are left out because their names are hidden */
} unpack_planner;

/* Does name match pattern, in which '*' matches any bytes? */
static int matches(const char *pattern, const char *name)
{
	/* If the text behind a star does not fit, the star takes one byte more. This takes linear time in
	 * practice, and never exponential time. */
	const char *star = NULL, *from = name;
	while (*name != 0) {
		if (*pattern == '*') {
			star = pattern++;
			from = name;
		} else if (*pattern == *name) {
			pattern++;
			name++;
		} else if (star) {
			pattern = star + 1;
			name = ++from;
		} else {
			return 0;
		}
	}
	while (*pattern == '*')
		pattern++;
	return *pattern == 0;
}

static size_t list_size(const char *const *list)
{
	size_t n = 0;
	while (list && list[n])
		n++;
	return n;
}

/* Does name match one of the patterns? Marks all that match. */
static int match_list(const char *const *list, const char *name, unsigned char *used)
{
	int found = 0;
	for (size_t i = 0; list[i]; i++) {
		if (matches(list[i], name))
			found = used[i] = 1;
	}
	return found;
}

static qstore_status check_used(const qstore_archive *archive, const char *const *list,
                                const unsigned char *used, const char *what, qstore_error *error)
{
	for (size_t i = 0; list && list[i]; i++) {
		if (!used[i])
			return qs_fail(error, QSTORE_NOT_FOUND, "%s: has no %s %s in this precision", archive->path, what,
			               list[i]);
	}
	return QSTORE_OK;
}

/* Does a part of the name begin with a dot? */
static int is_hidden(const char *name)
{
	return name[0] == '.' || strstr(name, "/.");
}

static int has_name(const char *const *list, const char *name)
{
	for (; list && *list; list++)
		if (strcmp(*list, name) == 0)
			return 1;
	return 0;
}

/* Is this file left out because its name is hidden, and nobody asked for it? Counts it then. */
static int leave_hidden(unpack_planner *u, const char *name)
{
	if (u->options->hidden || !is_hidden(name) || has_name(u->options->files, name))
		return 0;
	if (u->n_hidden++ == 0)
		u->first_hidden = name;
	return 1;
}

static void warn_hidden(const unpack_planner *u)
{
	const char *path = u->archive->path;
	size_t n_others = u->n_hidden - 1;
	if (u->n_hidden == 1)
		qs_warn(&u->options->work,
		        "%s: file %.300s has a hidden name: it is left out; restore it with --hidden", path,
		        u->first_hidden);
	else if (u->n_hidden > 1)
		qs_warn(&u->options->work,
		        "%s: file %.300s and %zu other%s have hidden names: they are left out; restore them with "
		        "--hidden",
		        path, u->first_hidden, n_others, n_others == 1 ? "" : "s");
}

static qstore_status add_tensors(unpack_planner *u, uint32_t variant, const char *folder, qstore_error *error)
{
	const qs_index *index = &u->archive->index;
	uint32_t *numbers = malloc(((size_t)index->n_tensors + 1) * sizeof(*numbers));
	size_t n = 0;
	if (!numbers)
		return qs_no_memory(error);
	for (uint32_t i = 0; i < index->n_tensors; i++) {
		qs_tensor tensor;
		qs_file file;
		qs_index_tensor(index, i, &tensor);
		qs_index_file(index, tensor.file, &file);
		if (file.variants >> variant & 1 && match_list(u->options->tensors, tensor.name, u->tensors_used))
			numbers[n++] = i;
	}
	qstore_status status =
	    qs_plan_tensors(u->archive, u->options, numbers, n, folder, &u->outputs, &u->n_outputs, error);
	free(numbers);
	return status;
}

/* Refuses a file that has the name of an output of tensors, which are those from `first` on. */
static qstore_status check_free(const unpack_planner *u, size_t first, size_t end, const char *name,
                                const char *file, qstore_error *error)
{
	for (size_t i = first; i < end; i++)
		if (strcmp(u->outputs[i].name, name) == 0)
			return qs_fail(error, QSTORE_USAGE,
			               "file %.400s and the selected tensors would have the same name", file);
	return QSTORE_OK;
}

static qstore_status add_variant(unpack_planner *u, uint32_t variant, const char *folder, qstore_error *error)
{
	const qs_index *index = &u->archive->index;
	const qstore_unpack_options *options = u->options;
	size_t first = u->n_outputs, end;
	if (options->tensors) {
		qstore_status status = add_tensors(u, variant, folder, error);
		if (status)
			return status;
	}
	end = u->n_outputs;
	for (uint32_t i = 0; i < index->n_files; i++) {
		qs_file file;
		qs_index_file(index, i, &file);
		if ((file.variants >> variant & 1) == 0)
			continue;
		if (options->files ? !match_list(options->files, file.name, u->files_used) : !!options->tensors)
			continue;
		if (leave_hidden(u, file.name))
			continue;
		qs_output *output = qs_array_add(&u->outputs, &u->n_outputs, sizeof(*output));
		if (!output || !(output->name = qs_output_name(folder, file.name)))
			return qs_no_memory(error);
		output->file = i;
		output->size = file.size;
		output->tensor = QS_NONE;
		qstore_status status = check_free(u, first, end, output->name, file.name, error);
		if (status)
			return status;
	}
	return QSTORE_OK;
}

/* Fails with TRUNCATED if the archive is a prefix that lacks some of the variant's layer. Selected files or
 * tensors may be complete all the same. */
static qstore_status check_size(const unpack_planner *u, uint32_t variant, qstore_error *error)
{
	const qstore_archive *archive = u->archive;
	qs_variant asked, held;
	if (u->options->keep_going || u->options->files || u->options->tensors)
		return QSTORE_OK;
	qs_index_variant(&archive->index, variant, &asked);
	if (archive->source.size >= qs_archive_prefix_size(archive, variant))
		return QSTORE_OK;
	for (uint32_t i = variant; i-- > 0;) {
		qs_index_variant(&archive->index, i, &held);
		if (archive->source.size >= qs_archive_prefix_size(archive, i))
			return qs_fail(error, QSTORE_TRUNCATED, "%s: ends too early for %s; %s is complete",
			               archive->path, asked.name, held.name);
	}
	return qs_fail(error, QSTORE_TRUNCATED, "%s: ends too early: %llu bytes of the %llu that %s needs",
	               archive->path, (unsigned long long)archive->source.size,
	               (unsigned long long)qs_archive_prefix_size(archive, variant), asked.name);
}

static qstore_status add_asked(unpack_planner *u, qstore_error *error)
{
	const qstore_archive *archive = u->archive;
	const char *precision = u->options->precision ? u->options->precision : "high";
	qstore_status status = QSTORE_OK;
	uint32_t number;
	if (strcmp(precision, "all") != 0) {
		status = qstore_find_variant(archive, precision, &number, error);
		if (!status)
			status = check_size(u, number, error);
		return status ? status : add_variant(u, number, NULL, error);
	}
	for (number = 0; number < archive->index.n_variants && !status; number++) {
		qs_variant variant;
		qs_index_variant(&archive->index, number, &variant);
		status = check_size(u, number, error);
		if (!status)
			status = add_variant(u, number, variant.name, error);
	}
	return status;
}

qstore_status qs_unpack_plan(const qstore_archive *archive, const qstore_unpack_options *options,
                             qs_output **outputs, size_t *n_outputs, qstore_error *error)
{
	unpack_planner u = {.archive = archive,
	                    .options = options,
	                    .files_used = calloc(list_size(options->files) + 1, 1),
	                    .tensors_used = calloc(list_size(options->tensors) + 1, 1)};
	qstore_status status = u.files_used && u.tensors_used ? QSTORE_OK : qs_no_memory(error);
	if (!status)
		status = qs_check_form(options, error);
	if (!status)
		status = add_asked(&u, error);
	if (!status)
		status = check_used(archive, options->files, u.files_used, "file", error);
	if (!status)
		status = check_used(archive, options->tensors, u.tensors_used, "tensor", error);
	if (!status)
		warn_hidden(&u);
	free(u.files_used);
	free(u.tensors_used);
	*outputs = u.outputs;
	*n_outputs = u.n_outputs;
	return status;
}

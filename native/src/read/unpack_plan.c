#include "unpack_plan.h"

#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "formats/safetensors.h"
#include "os/array.h"
#include "os/file.h"

#define TENSORS_NAME "tensors.safetensors"

typedef struct unpack_planner {
	const qstore_archive *archive;
	const qstore_unpack_options *options;
	qs_output *outputs;
	size_t n_outputs;
	unsigned char *files_used, *tensors_used; /* for each pattern: has it matched in some variant? */
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

/* Returns "FOLDER/NAME", or "NAME" without a folder. */
static char *output_name(const char *folder, const char *name)
{
	return folder ? qs_path_join(folder, name) : strdup(name);
}

typedef struct tensor_place {
	const char *name;
	size_t number;
} tensor_place;

static int compare_selected(const void *a, const void *b)
{
	const tensor_place *x = a, *y = b;
	int order = strcmp(x->name, y->name);
	return order != 0 ? order : (x->number > y->number) - (x->number < y->number);
}

/* Refuses tensors of the same name, which cannot be in one file. Parts of a pipeline may have them. */
static qstore_status check_names(const qstore_archive *archive, const qs_weight *tensors,
                                 const qs_range *ranges, size_t n_tensors, qstore_error *error)
{
	tensor_place *places = malloc((n_tensors + 1) * sizeof(*places));
	const tensor_place *again = NULL; /* the first that repeats a name, in the archive's order */
	if (!places)
		return qs_no_memory(error);
	for (size_t i = 0; i < n_tensors; i++)
		places[i] = (tensor_place){tensors[i].name, i};
	qsort(places, n_tensors, sizeof(*places), compare_selected);
	for (size_t i = 1; i < n_tensors; i++) {
		if (strcmp(places[i].name, places[i - 1].name) == 0 && (!again || places[i].number < again->number))
			again = &places[i];
	}
	qstore_status status = QSTORE_OK;
	if (again) {
		qs_file first, second;
		qs_index_file(&archive->index, ranges[again[-1].number].file, &first);
		qs_index_file(&archive->index, ranges[again->number].file, &second);
		status = qs_fail(error, QSTORE_INPUT,
		                 "%s: tensor %.200s is in both %.200s and %.200s: they cannot be in one file",
		                 archive->path, again->name, first.name, second.name);
	}
	free(places);
	return status;
}

static qstore_status add_tensors(unpack_planner *u, uint32_t variant, const char *folder, qstore_error *error)
{
	const qs_index *index = &u->archive->index;
	qs_output *output = qs_array_add(&u->outputs, &u->n_outputs, sizeof(*output));
	if (!output)
		return qs_no_memory(error);
	output->file = QS_NONE;
	output->name = output_name(folder, TENSORS_NAME);
	output->ranges = calloc((size_t)index->n_tensors + 1, sizeof(*output->ranges));
	qs_weight *tensors = calloc((size_t)index->n_tensors + 1, sizeof(*tensors));
	uint64_t *dims = malloc(((size_t)index->n_dims + 1) * sizeof(*dims));
	qstore_status status = QSTORE_OK;
	if (!output->name || !output->ranges || !tensors || !dims) {
		status = qs_no_memory(error);
	} else {
		size_t n = 0;
		for (uint32_t i = 0; i < index->n_dims; i++)
			dims[i] = qs_index_dim(index, i);
		for (uint32_t i = 0; i < index->n_tensors; i++) {
			qs_tensor tensor;
			qs_file file;
			qs_index_tensor(index, i, &tensor);
			qs_index_file(index, tensor.file, &file);
			if ((file.variants >> variant & 1) == 0 ||
			    !match_list(u->options->tensors, tensor.name, u->tensors_used))
				continue;
			tensors[n] = (qs_weight){
			    .name = (char *)tensor.name,
			    .dtype = tensor.dtype,
			    .n_dims = tensor.n_dims,
			    .dims = dims + tensor.first_dim,
			    .size = tensor.size,
			};
			output->ranges[n++] = (qs_range){tensor.file, tensor.offset, tensor.size};
			output->size += tensor.size;
		}
		output->n_ranges = n;
		status = check_names(u->archive, tensors, output->ranges, n, error);
		if (!status)
			status = qs_safetensors_header(tensors, n, NULL, &output->header, &output->header_size, error);
		output->size += output->header_size;
	}
	free(tensors);
	free(dims);
	return status;
}

static qstore_status add_variant(unpack_planner *u, uint32_t variant, const char *folder, qstore_error *error)
{
	const qs_index *index = &u->archive->index;
	const qstore_unpack_options *options = u->options;
	if (options->tensors) {
		qstore_status status = add_tensors(u, variant, folder, error);
		if (status)
			return status;
	}
	for (uint32_t i = 0; i < index->n_files; i++) {
		qs_file file;
		qs_index_file(index, i, &file);
		if ((file.variants >> variant & 1) == 0)
			continue;
		if (options->files ? !match_list(options->files, file.name, u->files_used) : !!options->tensors)
			continue;
		if (options->tensors && strcmp(file.name, TENSORS_NAME) == 0)
			return qs_fail(error, QSTORE_USAGE,
			               "file " TENSORS_NAME " and the selected tensors would have the same name");
		qs_output *output = qs_array_add(&u->outputs, &u->n_outputs, sizeof(*output));
		if (!output || !(output->name = output_name(folder, file.name)))
			return qs_no_memory(error);
		output->file = i;
		output->size = file.size;
	}
	return QSTORE_OK;
}

/* Fails with TRUNCATED if the archive is a prefix that lacks the variant's layer. */
static qstore_status check_size(const qstore_archive *archive, uint32_t variant, qstore_error *error)
{
	qs_variant asked, held;
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
			status = check_size(archive, number, error);
		return status ? status : add_variant(u, number, NULL, error);
	}
	for (number = 0; number < archive->index.n_variants && !status; number++) {
		qs_variant variant;
		qs_index_variant(&archive->index, number, &variant);
		status = check_size(archive, number, error);
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
		status = add_asked(&u, error);
	if (!status)
		status = check_used(archive, options->files, u.files_used, "file", error);
	if (!status)
		status = check_used(archive, options->tensors, u.tensors_used, "tensor", error);
	free(u.files_used);
	free(u.tensors_used);
	*outputs = u.outputs;
	*n_outputs = u.n_outputs;
	return status;
}

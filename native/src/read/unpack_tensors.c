#include "unpack_tensors.h"

#include <stdlib.h>
#include <string.h>

#include "core/dequantize.h"
#include "error.h"
#include "formats/npy.h"
#include "formats/safetensors.h"
#include "os/array.h"
#include "os/file.h"

#define TENSORS_NAME "tensors.safetensors"

/* A selected tensor, as it is to be written. */
typedef struct selected {
	qs_weight weight;
	uint32_t number;
	qs_range range;
} selected;

typedef struct tensor_planner {
	const qstore_archive *archive;
	const char *folder;
	selected *tensors;
	size_t n_tensors;
	uint64_t *dims; /* of all tensors of the index */
	qs_output **outputs;
	size_t *n_outputs;
} tensor_planner;

static int ends_with(const char *name, const char *ending)
{
	size_t size = strlen(name), ending_size = strlen(ending);
	return size > ending_size && strcmp(name + size - ending_size, ending) == 0;
}

qs_form qs_unpack_form(const qstore_unpack_options *options)
{
	if (!options->tensors || options->write)
		return QS_FORM_FOLDER;
	return ends_with(options->output, ".safetensors") ? QS_FORM_SAFETENSORS
	       : ends_with(options->output, ".npy")       ? QS_FORM_NPY
	       : ends_with(options->output, ".bin")       ? QS_FORM_BIN
	                                                  : QS_FORM_FOLDER;
}

qstore_status qs_check_form(const qstore_unpack_options *options, qstore_error *error)
{
	if (options->as && strcmp(options->as, "f32") != 0)
		return qs_fail(error, QSTORE_USAGE, "tensors can be made f32, not %.100s", options->as);
	if (options->as && !options->tensors)
		return qs_fail(error, QSTORE_USAGE, "only selected tensors can be made f32, not whole files");
	if (qs_unpack_form(options) == QS_FORM_FOLDER)
		return QSTORE_OK;
	if (options->files)
		return qs_fail(error, QSTORE_USAGE,
		               "%s: is the name of a file: files beside the tensors need a folder", options->output);
	if (options->precision && strcmp(options->precision, "all") == 0)
		return qs_fail(error, QSTORE_USAGE, "%s: is the name of a file: all precisions need a folder",
		               options->output);
	return QSTORE_OK;
}

char *qs_output_name(const char *folder, const char *name)
{
	return folder ? qs_path_join(folder, name) : strdup(name);
}

/* The name of a tensor's own file, NAME.bin, in which '/' and '%' are escaped. malloc'd. */
static char *bin_name(const char *tensor)
{
	char *name = malloc(3 * strlen(tensor) + sizeof(".bin")), *end = name;
	if (!name)
		return NULL;
	for (; *tensor != 0; tensor++) {
		if (*tensor == '/' || *tensor == '%') {
			memcpy(end, *tensor == '/' ? "%2F" : "%25", 3);
			end += 3;
		} else {
			*end++ = *tensor;
		}
	}
	memcpy(end, ".bin", sizeof(".bin"));
	return name;
}

static int compare_selected(const void *a, const void *b)
{
	const selected *const *x = a, *const *y = b;
	int order = strcmp((*x)->weight.name, (*y)->weight.name);
	return order != 0 ? order : (*x > *y) - (*x < *y);
}

/* Refuses tensors of the same name, which cannot be in one file. Parts of a pipeline may have them. */
static qstore_status check_names(const tensor_planner *p, qstore_error *error)
{
	const qs_index *index = &p->archive->index;
	const selected **sorted = malloc((p->n_tensors + 1) * sizeof(*sorted));
	size_t again = 0; /* the place among the sorted of the first tensor that repeats a name; 0: none */
	if (!sorted)
		return qs_no_memory(error);
	for (size_t i = 0; i < p->n_tensors; i++)
		sorted[i] = &p->tensors[i];
	qsort(sorted, p->n_tensors, sizeof(*sorted), compare_selected);
	for (size_t i = 1; i < p->n_tensors; i++) {
		if (strcmp(sorted[i]->weight.name, sorted[i - 1]->weight.name) == 0 &&
		    (again == 0 || sorted[i] < sorted[again]))
			again = i;
	}
	qstore_status status = QSTORE_OK;
	if (again > 0) {
		qs_file first, second;
		qs_index_file(index, sorted[again - 1]->range.file, &first);
		qs_index_file(index, sorted[again]->range.file, &second);
		status = qs_fail(error, QSTORE_INPUT,
		                 "%s: tensor %.200s is in both %.200s and %.200s: they cannot be in one file",
		                 p->archive->path, sorted[again]->weight.name, first.name, second.name);
	}
	free(sorted);
	return status;
}

/* Is this a type of single elements, which safetensors has a name for? */
static int has_elements(const selected *tensor)
{
	return tensor->weight.dtype != QS_BYTES && qs_dtype_size(tensor->weight.dtype) != 0;
}

static qstore_status convert(selected *tensor, qstore_error *error)
{
	uint32_t dtype = tensor->weight.dtype;
	uint64_t blocks = tensor->weight.size / qs_block_size(dtype);
	if (!qs_dequantizes(dtype)) {
		if (qs_block_elems(dtype) <= 2) /* single elements, and integers of 4 bits: they stay as they are */
			return QSTORE_OK;
		return qs_fail(error, QSTORE_USAGE, "tensor %.400s is %s, which cannot be made f32",
		               tensor->weight.name, qs_dtype_name(dtype));
	}
	if (blocks > UINT64_MAX / 8 / qs_block_elems(dtype))
		return qs_fail(error, QSTORE_LIMIT, "tensor %.400s is too large to be made f32", tensor->weight.name);
	tensor->range.dtype = dtype;
	tensor->weight.dtype = QS_F32;
	tensor->weight.size = qs_range_size(&tensor->range);
	return QSTORE_OK;
}

/* Adds an output of n tensors. Its header is not set yet. Returns NULL if memory is out. */
static qs_output *add_output(tensor_planner *p, const char *name, const selected *const *tensors, size_t n)
{
	qs_output *output = qs_array_add(p->outputs, p->n_outputs, sizeof(*output));
	if (!output)
		return NULL;
	output->file = output->tensor = QS_NONE;
	output->name = qs_output_name(p->folder, name);
	output->ranges = calloc(n + 1, sizeof(*output->ranges));
	if (!output->name || !output->ranges)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		output->ranges[i] = tensors[i]->range;
		output->size += tensors[i]->weight.size;
	}
	output->n_ranges = n;
	return output;
}

static qstore_status add_safetensors(tensor_planner *p, const char *name, const selected *const *tensors,
                                     size_t n, qstore_error *error)
{
	qs_output *output = add_output(p, name, tensors, n);
	qs_weight *weights = calloc(n + 1, sizeof(*weights));
	qstore_status status = QSTORE_OK;
	if (!output || !weights) {
		status = qs_no_memory(error);
	} else {
		for (size_t i = 0; i < n; i++)
			weights[i] = tensors[i]->weight;
		status = qs_safetensors_header(weights, n, NULL, &output->header, &output->header_size, error);
		output->size += output->header_size;
	}
	free(weights);
	return status;
}

static qstore_status add_npy(tensor_planner *p, const char *name, const selected *tensor, qstore_error *error)
{
	qs_output *output = add_output(p, name, &tensor, 1);
	if (!output)
		return qs_no_memory(error);
	qstore_status status = qs_npy_header(&tensor->weight, &output->header, &output->header_size, error);
	output->size += output->header_size;
	return status;
}

static qstore_status add_bin(tensor_planner *p, const char *name, const selected *tensor, qstore_error *error)
{
	qs_output *output = add_output(p, name, &tensor, 1);
	if (!output)
		return qs_no_memory(error);
	output->tensor = tensor->number;
	return QSTORE_OK;
}

/* tensors.safetensors has the tensors of single elements; each other one becomes a file of its own. */
static qstore_status add_folder(tensor_planner *p, const selected **elements, qstore_error *error)
{
	size_t n = 0;
	for (size_t i = 0; i < p->n_tensors; i++)
		if (has_elements(&p->tensors[i]))
			elements[n++] = &p->tensors[i];
	qstore_status status = QSTORE_OK;
	if (n > 0 || p->n_tensors == 0)
		status = add_safetensors(p, TENSORS_NAME, elements, n, error);
	for (size_t i = 0; i < p->n_tensors && !status; i++) {
		if (has_elements(&p->tensors[i]))
			continue;
		char *name = bin_name(p->tensors[i].weight.name);
		status = name ? add_bin(p, name, &p->tensors[i], error) : qs_no_memory(error);
		free(name);
	}
	return status;
}

/* Adds the file that the options name as the output. */
static qstore_status add_file(tensor_planner *p, qs_form form, const char *path, const selected **all,
                              qstore_error *error)
{
	const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
	if (form == QS_FORM_SAFETENSORS) {
		for (size_t i = 0; i < p->n_tensors; i++) {
			all[i] = &p->tensors[i];
			if (!has_elements(all[i]))
				return qs_fail(
				    error, QSTORE_USAGE,
				    "tensor %.400s is %s, which safetensors does not have: add --as f32, or name a "
				    "folder or a .bin file",
				    all[i]->weight.name, qs_dtype_name(all[i]->weight.dtype));
		}
		return add_safetensors(p, name, all, p->n_tensors, error);
	}
	if (p->n_tensors > 1)
		return qs_fail(error, QSTORE_USAGE, "%s: holds one tensor, and %zu are selected", path, p->n_tensors);
	if (p->n_tensors == 0) /* the pattern that finds none is named later */
		return QSTORE_OK;
	return form == QS_FORM_NPY ? add_npy(p, name, p->tensors, error) : add_bin(p, name, p->tensors, error);
}

/* Fills the list of tensors. */
static qstore_status select_tensors(tensor_planner *p, const uint32_t *numbers, size_t n_numbers,
                                    int convert_all, qstore_error *error)
{
	const qs_index *index = &p->archive->index;
	qstore_status status = QSTORE_OK;
	for (uint32_t i = 0; i < index->n_dims; i++)
		p->dims[i] = qs_index_dim(index, i);
	for (size_t i = 0; i < n_numbers && !status; i++) {
		qs_tensor tensor;
		qs_index_tensor(index, numbers[i], &tensor);
		p->tensors[i] = (selected){
		    .weight = {.name = (char *)tensor.name,
		               .dtype = tensor.dtype,
		               .n_dims = tensor.n_dims,
		               .dims = p->dims + tensor.first_dim,
		               .size = tensor.size},
		    .number = numbers[i],
		    .range = {.file = tensor.file, .offset = tensor.offset, .size = tensor.size},
		};
		if (convert_all)
			status = convert(&p->tensors[i], error);
	}
	p->n_tensors = n_numbers;
	return status;
}

qstore_status qs_plan_tensors(const qstore_archive *archive, const qstore_unpack_options *options,
                              const uint32_t *numbers, size_t n_numbers, const char *folder,
                              qs_output **outputs, size_t *n_outputs, qstore_error *error)
{
	tensor_planner p = {.archive = archive,
	                    .folder = folder,
	                    .tensors = calloc(n_numbers + 1, sizeof(*p.tensors)),
	                    .dims = malloc(((size_t)archive->index.n_dims + 1) * sizeof(*p.dims)),
	                    .outputs = outputs,
	                    .n_outputs = n_outputs};
	const selected **list = calloc(n_numbers + 1, sizeof(*list));
	qs_form form = qs_unpack_form(options);
	qstore_status status = p.tensors && p.dims && list ? QSTORE_OK : qs_no_memory(error);
	if (!status)
		status = select_tensors(&p, numbers, n_numbers, !!options->as, error);
	if (!status)
		status = check_names(&p, error);
	if (!status)
		status = form == QS_FORM_FOLDER ? add_folder(&p, list, error)
		                                : add_file(&p, form, options->output, list, error);
	free(list);
	free(p.tensors);
	free(p.dims);
	return status;
}

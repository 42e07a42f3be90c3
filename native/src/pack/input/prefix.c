/* Prefixes of tensors' names. Names are unique in a file only: the text encoders of a pipeline, or graphs in
 * ONNX, have tensors of the same names. */
#include <stdlib.h>
#include <string.h>

#include "input.h"

/* A tensor of a variant. */
typedef struct named_tensor {
	const char *name;
	const qs_model_file *file;
} named_tensor;

static int compare_places(const named_tensor *x, const named_tensor *y)
{
	int order = strcmp(x->file->component, y->file->component);
	return order ? order : strcmp(x->file->name, y->file->name);
}

static int compare_named(const void *a, const void *b)
{
	const named_tensor *x = a, *y = b;
	int order = strcmp(x->name, y->name);
	return order ? order : compare_places(x, y);
}

/* The components, and the files, that need a prefix. */
typedef struct ambiguous {
	const char **components;
	size_t n_components;
	const qs_model_file **files;
	size_t n_files;
} ambiguous;

static void add_component(ambiguous *all, const char *component)
{
	for (size_t i = 0; i < all->n_components; i++)
		if (!strcmp(all->components[i], component))
			return;
	all->components[all->n_components++] = component;
}

static void add_file(ambiguous *all, const qs_model_file *file)
{
	for (size_t i = 0; i < all->n_files; i++)
		if (all->files[i] == file)
			return;
	all->files[all->n_files++] = file;
}

/* Where components have a tensor of the same name in this variant, all but the first are ambiguous; of
 * files of one component all but the first. */
static qstore_status find_in_variant(const pack_input *input, uint32_t variant, ambiguous *all,
                                     qstore_error *error)
{
	const qs_model *model = input->variants[variant].model;
	uint32_t bit = 1u << input->variants[variant].precision;
	size_t n = 0, at = 0;
	for (size_t f = 0; f < model->n_files; f++)
		n += model->files[f].precisions & bit ? model->files[f].weights.n_tensors : 0;
	named_tensor *tensors = malloc((n + 1) * sizeof(*tensors));
	if (!tensors)
		return qs_no_memory(error);
	for (size_t f = 0; f < model->n_files; f++)
		for (size_t t = 0; model->files[f].precisions & bit && t < model->files[f].weights.n_tensors; t++)
			tensors[at++] = (named_tensor){model->files[f].weights.tensors[t].name, &model->files[f]};
	if (n > 0)
		qsort(tensors, n, sizeof(*tensors), compare_named);
	for (size_t i = 1; i < n; i++) {
		if (strcmp(tensors[i].name, tensors[i - 1].name) != 0)
			continue;
		if (strcmp(tensors[i].file->component, tensors[i - 1].file->component) != 0)
			add_component(all, tensors[i].file->component);
		else
			add_file(all, tensors[i].file);
	}
	free(tensors);
	return QSTORE_OK;
}

static qstore_status set_prefix(const ambiguous *all, qs_model_file *file, qstore_error *error)
{
	const char *prefix = NULL;
	for (size_t i = 0; i < all->n_components && file->is_weights; i++)
		if (!strcmp(all->components[i], file->component))
			prefix = file->component;
	for (size_t i = 0; i < all->n_files; i++)
		if (all->files[i] == file)
			prefix = file->name;
	if (!prefix)
		return QSTORE_OK;
	file->weights.prefix = qs_arena_text(&file->weights.arena, "%s", prefix);
	return file->weights.prefix ? QSTORE_OK : qs_no_memory(error);
}

qstore_status pack_set_prefixes(pack_input *input, qstore_error *error)
{
	size_t n = 0;
	for (uint32_t m = 0; m < input->n_models; m++)
		n += input->models[m].n_files;
	ambiguous all = {calloc(n + 1, sizeof(*all.components)), 0, calloc(n + 1, sizeof(*all.files)), 0};
	qstore_status status = all.components && all.files ? QSTORE_OK : qs_no_memory(error);
	for (uint32_t v = 0; v < input->n_variants && !status; v++)
		status = find_in_variant(input, v, &all, error);
	for (uint32_t m = 0; m < input->n_models; m++)
		for (size_t f = 0; f < input->models[m].n_files && !status; f++)
			status = set_prefix(&all, &input->models[m].files[f], error);
	free(all.components);
	free(all.files);
	return status;
}

static size_t folder_size(const char *name)
{
	const char *slash = strrchr(name, '/');
	return slash ? (size_t)(slash - name) : 0;
}

int pack_has_several_models(const pack_variant *variant)
{
	const qs_model_file *first = NULL;
	for (size_t f = 0; f < variant->model->n_files; f++) {
		const qs_model_file *file = &variant->model->files[f];
		if (!(file->precisions >> variant->precision & 1) || !file->weights.n_tensors)
			continue;
		if (!first)
			first = file;
		size_t size = folder_size(first->component);
		if (file->weights.prefix || file->weights.format != first->weights.format ||
		    size != folder_size(file->component) || strncmp(first->component, file->component, size) != 0)
			return 1;
	}
	return 0;
}

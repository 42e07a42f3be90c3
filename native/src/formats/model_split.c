#include "model_split.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "model_files.h"
#include "model_precision.h"
#include "text.h"

enum { LABELS_MAX = 64, N_FORMATS = QS_FORMAT_ONNX + 1 };

/* A label that files have: perhaps a precision of the model. */
typedef struct candidate {
	const qs_label *label;
	qs_precision precision;
	uint64_t size;   /* bytes of its files */
	uint32_t number; /* of the model's precision, if it becomes one */
} candidate;

/* Files that are the same part of the model, in the order of files: files[first] … files[end - 1]. */
typedef struct component {
	size_t first, end;
	uint64_t labels; /* bit l: it has files of label l */
} component;

typedef struct splitting {
	qs_model *model;
	qs_model_file **files; /* of weights, by component */
	size_t n_files;
	uint8_t *labels; /* of each of these, a number of `candidates` */
	candidate candidates[LABELS_MAX];
	size_t n_candidates;
	component *components;
	size_t n_components;
	uint64_t chosen[N_FORMATS]; /* bit l: label l is a precision of the model for files of this format */
	const qs_model_file **some; /* room for a list of files */
	qstore_error *error;
} splitting;

/* ---- Components and labels ---- */

static int compare_parts(const void *a, const void *b)
{
	const qs_model_file *x = *(qs_model_file *const *)a, *y = *(qs_model_file *const *)b;
	int order = strcmp(x->component, y->component);
	if (!order)
		order = strcmp(x->label.text, y->label.text);
	/* A file that is called as its component is comes before sets of other names. */
	if (!order)
		order = !strcmp(y->set, y->component) - !strcmp(x->set, x->component);
	if (!order)
		order = strcmp(x->set, y->set);
	return order ? order : strcmp(x->name, y->name);
}

static void sort_files(splitting *s)
{
	if (s->n_files)
		qsort(s->files, s->n_files, sizeof *s->files, compare_parts);
}

/* Files of equal components and labels that are no shards of one model become components of their own. */
static void separate_sets(splitting *s)
{
	const qs_model_file *first = NULL;
	for (size_t i = 0; i < s->n_files; i++) {
		qs_model_file *file = s->files[i];
		if (!first || strcmp(file->component, first->component) != 0 ||
		    strcmp(file->label.text, first->label.text) != 0)
			first = file;
		else if (strcmp(file->set, first->set) != 0)
			file->component = file->set;
	}
	sort_files(s);
}

/* Has the folder GGUF files beside weights in other formats? They are one model for different runtimes. */
static int has_other_formats(const splitting *s)
{
	size_t n_gguf = 0;
	for (size_t i = 0; i < s->n_files; i++)
		n_gguf += s->files[i]->weights.format == QS_FORMAT_GGUF;
	return n_gguf > 0 && n_gguf < s->n_files;
}

/* Gives GGUF files without a label one that says what is in them, so that they are told from weights in other
 * formats. */
static qstore_status label_gguf(splitting *s)
{
	for (size_t first = 0, end; first < s->n_files; first = end) {
		const qs_model_file *file = s->files[first];
		qs_precision precision;
		for (end = first; end < s->n_files && !strcmp(s->files[end]->component, file->component) &&
		                  !strcmp(s->files[end]->label.text, file->label.text);)
			end++;
		if (file->weights.format != QS_FORMAT_GGUF || file->label.text[0])
			continue;
		for (size_t i = first; i < end; i++)
			s->some[i - first] = s->files[i];
		qs_weights_list list = {s->some, end - first, NULL};
		qstore_status status = qs_find_precision(&list, &s->model->arena, &precision, s->error);
		if (status)
			return status;
		for (size_t i = first; i < end; i++) {
			qs_label *label = &s->files[i]->label;
			snprintf(label->precision, sizeof label->precision, "%s", precision.name);
			snprintf(label->text, sizeof label->text, "%s", precision.name);
			label->bits = precision.bits;
		}
	}
	return QSTORE_OK;
}

static qstore_status list_labels(splitting *s)
{
	for (size_t i = 0; i < s->n_files; i++) {
		const qs_label *label = &s->files[i]->label;
		size_t l = 0;
		while (l < s->n_candidates && strcmp(s->candidates[l].label->text, label->text) != 0)
			l++;
		if (l == LABELS_MAX)
			return qs_fail(s->error, QSTORE_LIMIT,
			               "%s: names of more than %d precisions; leave some out by --skip PATTERN",
			               qs_shown_path(s->model->path), LABELS_MAX);
		if (l == s->n_candidates)
			s->candidates[s->n_candidates++].label = label;
		s->labels[i] = (uint8_t)l;
		s->candidates[l].size += s->files[i]->size;
	}
	return QSTORE_OK;
}

static void list_components(splitting *s)
{
	for (size_t i = 0; i < s->n_files; i++) {
		if (i == 0 || strcmp(s->files[i]->component, s->files[i - 1]->component) != 0)
			s->components[s->n_components++].first = i;
		component *c = &s->components[s->n_components - 1];
		c->end = i + 1;
		c->labels |= (uint64_t)1 << s->labels[i];
	}
}

static qs_format format_of(const splitting *s, const component *c)
{
	return s->files[c->first]->weights.format;
}

/* ---- Precisions ---- */

static int is_projector(const char *name)
{
	for (; *name; name++)
		if (!strncasecmp(name, "mmproj", 6))
			return 1;
	return 0;
}

static void choose(splitting *s, int with_projectors)
{
	for (size_t i = 0; i < s->n_components; i++) {
		const component *c = &s->components[i];
		if ((c->labels & (c->labels - 1)) != 0 &&
		    (with_projectors || !is_projector(s->files[c->first]->component)))
			s->chosen[format_of(s, c)] |= c->labels;
	}
}

/* Which labels are precisions of the model. */
static uint64_t choose_precisions(splitting *s)
{
	uint64_t beside_gguf = 0;
	choose(s, 0);
	if (!s->chosen[QS_FORMAT_GGUF])
		choose(s, 1);
	if (s->chosen[QS_FORMAT_ONNX])
		for (size_t i = 0; i < s->n_components; i++)
			if (format_of(s, &s->components[i]) == QS_FORMAT_ONNX)
				s->chosen[QS_FORMAT_ONNX] |= s->components[i].labels;
	/* Safetensors beside several precisions in GGUF are another one. */
	for (size_t i = 0; i < s->n_components && s->chosen[QS_FORMAT_GGUF] && !s->chosen[QS_FORMAT_SAFETENSORS];
	     i++)
		if (format_of(s, &s->components[i]) == QS_FORMAT_SAFETENSORS)
			beside_gguf |= s->components[i].labels;
	s->chosen[QS_FORMAT_SAFETENSORS] |= beside_gguf;
	uint64_t all = s->chosen[QS_FORMAT_SAFETENSORS] | s->chosen[QS_FORMAT_GGUF] | s->chosen[QS_FORMAT_ONNX];
	for (size_t i = 0; i < s->n_components && !all && has_other_formats(s); i++)
		s->chosen[format_of(s, &s->components[i])] |= s->components[i].labels;
	return all ? all
	           : s->chosen[QS_FORMAT_SAFETENSORS] | s->chosen[QS_FORMAT_GGUF] | s->chosen[QS_FORMAT_ONNX];
}

static int is_floats(const char *precision)
{
	return !strcmp(precision, "fp64") || !strcmp(precision, "fp32") || !strcmp(precision, "bf16") ||
	       !strcmp(precision, "fp16");
}

/* The precision of the first n files of s->some, as their label and what is in them say. */
static qstore_status find_precision(splitting *s, const qs_label *label, size_t n, qs_precision *precision)
{
	qs_weights_list list = {s->some, n, qs_model_find_file(s->model, "config.json")};
	qstore_status status = qs_find_precision(&list, &s->model->arena, precision, s->error);
	/* A name may promise other floats than the tensors are, and "4bit" says less than that they are MLX's. */
	if (status || !label->precision[0] || (is_floats(label->precision) && is_floats(precision->name)) ||
	    strncmp(precision->name, "mlx-", 4) == 0)
		return status;
	precision->name = label->precision;
	/* The graph of an ONNX file may hide that its words are codes. */
	if (label->bits && label->bits < 8 && precision->bits != label->bits)
		precision->dtype = label->bits == 4 ? QS_U4 : QS_U8;
	if (label->bits)
		precision->bits = label->bits;
	return QSTORE_OK;
}

static void add_once(const qs_model_file **list, size_t *n, const qs_model_file *file)
{
	for (size_t i = 0; i < *n; i++)
		if (list[i] == file)
			return;
	list[(*n)++] = file;
}

static qstore_status find_candidate(splitting *s, size_t l)
{
	size_t n = 0;
	for (size_t i = 0; i < s->n_files; i++) {
		const qs_model_file *file = s->files[i];
		if (s->labels[i] != l || !(s->chosen[file->weights.format] >> l & 1))
			continue;
		add_once(s->some, &n, file);
		/* External data that several precisions have in common has the label of the first one. */
		for (size_t e = 0; e < file->n_externals; e++) {
			const qs_model_file *external = qs_model_find_beside(s->model, file->name, file->externals[e]);
			if (external)
				add_once(s->some, &n, external);
		}
	}
	return find_precision(s, s->candidates[l].label, n, &s->candidates[l].precision);
}

/* Is a finer than b? Files without a label are what the others were made of. */
static int is_finer(const candidate *a, const candidate *b)
{
	if (a->precision.bits != b->precision.bits)
		return a->precision.bits > b->precision.bits;
	if (!a->label->text[0] != !b->label->text[0])
		return !a->label->text[0];
	if (a->label->order != b->label->order)
		return a->label->order < b->label->order;
	if (a->size != b->size)
		return a->size > b->size;
	return strcmp(a->label->text, b->label->text) < 0;
}

static int has_name(const qs_model *model, uint32_t number, const char *name)
{
	for (uint32_t p = 0; p < model->n_precisions; p++)
		if (p != number && !strcmp(model->precisions[p].name, name))
			return 1;
	return 0;
}

/* Each of several precisions with the same name is called by its whole label, and by a number where that does
 * not help.
 */
static qstore_status make_names_unique(qs_model *model, candidate *const *of)
{
	int is_shared[QS_PRECISIONS_MAX];
	for (uint32_t p = 0; p < model->n_precisions; p++)
		is_shared[p] = has_name(model, p, model->precisions[p].name);
	for (uint32_t p = 0; p < model->n_precisions; p++)
		if (is_shared[p] && of[p]->label->text[0])
			model->precisions[p].name = of[p]->label->text;
	for (uint32_t p = 1; p < model->n_precisions; p++) {
		const char *name = model->precisions[p].name;
		unsigned n = 2;
		int is_taken = 0;
		for (uint32_t q = 0; q < p; q++)
			is_taken |= !strcmp(model->precisions[q].name, name);
		while (is_taken && has_name(model, p, model->precisions[p].name)) {
			model->precisions[p].name = qs_arena_text(&model->arena, "%s-%u", name, n++);
			if (!model->precisions[p].name)
				return QSTORE_MEMORY;
		}
	}
	return QSTORE_OK;
}

/* Makes these labels the model's precisions, fine to coarse. */
static qstore_status set_precisions(splitting *s, uint64_t labels)
{
	qs_model *model = s->model;
	candidate *sorted[LABELS_MAX];
	size_t n = 0;
	for (size_t l = 0; l < s->n_candidates; l++) {
		size_t at = n;
		if (!(labels >> l & 1))
			continue;
		qstore_status status = find_candidate(s, l);
		if (status)
			return status;
		for (; at > 0 && is_finer(&s->candidates[l], sorted[at - 1]); at--)
			sorted[at] = sorted[at - 1];
		sorted[at] = &s->candidates[l];
		n++;
	}
	if (n > QS_PRECISIONS_MAX)
		return qs_fail(s->error, QSTORE_LIMIT,
		               "%s: %zu precisions, but an archive has at most %d variants; leave some out by --skip "
		               "PATTERN",
		               qs_shown_path(model->path), n, QS_PRECISIONS_MAX);
	model->n_precisions = (uint32_t)n;
	for (size_t p = 0; p < n; p++) {
		sorted[p]->number = (uint32_t)p;
		model->precisions[p] = sorted[p]->precision;
	}
	return make_names_unique(model, sorted) ? qs_no_memory(s->error) : QSTORE_OK;
}

/* ---- Files of precisions ---- */

/* The label of a component's files that take part in the precision of label `wanted`. */
static size_t nearest_label(splitting *s, const component *c, size_t wanted, uint64_t *unknown)
{
	size_t best = LABELS_MAX;
	if (c->labels >> wanted & 1)
		return wanted;
	unsigned bits = s->candidates[wanted].precision.bits;
	for (size_t l = 0; l < s->n_candidates; l++) {
		if (!(c->labels >> l & 1))
			continue;
		const candidate *one = &s->candidates[l], *other = &s->candidates[best % LABELS_MAX];
		unsigned own = one->precision.name ? one->precision.bits : one->label->bits;
		unsigned other_bits = best == LABELS_MAX      ? 0
		                      : other->precision.name ? other->precision.bits
		                                              : other->label->bits;
		if (best == LABELS_MAX || (own >= bits ? other_bits < bits || own < other_bits : own > other_bits))
			best = l;
	}
	assert(best < LABELS_MAX); /* a component has files, each of which has a label */
	*unknown &= ~((uint64_t)1 << best);
	return best;
}

/* Adds to each file of a component the precisions that it takes part in. */
static void assign_component(splitting *s, const component *c)
{
	qs_format format = format_of(s, c);
	uint64_t unused = c->labels & ~s->chosen[format];
	for (size_t l = 0; l < s->n_candidates; l++) {
		if (!(s->chosen[format] >> l & 1))
			continue;
		size_t taken = format == QS_FORMAT_ONNX ? l : nearest_label(s, c, l, &unused);
		for (size_t i = c->first; i < c->end; i++)
			if (s->labels[i] == taken)
				s->files[i]->precisions |= 1u << s->candidates[l].number;
	}
	for (size_t i = c->first; i < c->end; i++)
		if (unused >> s->labels[i] & 1)
			s->files[i]->precisions |= 1;
}

static void assign_externals(const qs_model *model)
{
	for (size_t f = 0; f < model->n_files; f++)
		for (size_t i = 0; i < model->files[f].n_externals; i++) {
			qs_model_file *external =
			    qs_model_find_beside(model, model->files[f].name, model->files[f].externals[i]);
			if (external)
				external->precisions |= model->files[f].precisions;
		}
}

/* The precisions of the weights in the folder that the first `size` bytes of name are, if its name says that
 * it is one of a precision; else 0. *is_known: false when out of memory. */
static uint32_t precisions_of_folder(const qs_model *model, const char *name, size_t size, int *is_known)
{
	qs_labelled_name parts;
	uint32_t found = 0;
	char *folder = malloc(size + 3);
	*is_known = folder ? 1 : 0;
	if (!folder)
		return 0;
	snprintf(folder, size + 3, "%.*s/-", (int)size, name);
	*is_known = qs_label_name(folder, &parts);
	for (size_t f = 0; f < model->n_files && *is_known && parts.label.text[0]; f++)
		if (model->files[f].is_weights && !strncmp(model->files[f].name, folder, size + 1))
			found |= model->files[f].precisions;
	free(parts.component);
	free(parts.set);
	free(folder);
	return found;
}

static qstore_status assign_small_files(splitting *s)
{
	const qs_model *model = s->model;
	uint32_t all = (uint32_t)(((uint64_t)1 << model->n_precisions) - 1);
	for (size_t f = 0; f < model->n_files; f++) {
		qs_model_file *file = &model->files[f];
		if (file->is_weights)
			continue;
		for (size_t size = strlen(file->name); size > 0 && !file->precisions && model->n_precisions > 1;
		     size--) {
			int is_known = 1;
			if (file->name[size] == '/')
				file->precisions = precisions_of_folder(model, file->name, size, &is_known);
			if (!is_known)
				return qs_no_memory(s->error);
		}
		if (!file->precisions)
			file->precisions = all;
	}
	return QSTORE_OK;
}

/* ---- The same model twice ---- */

static size_t folder_size(const char *name)
{
	const char *slash = strrchr(name, '/');
	return slash ? (size_t)(slash - name) : 0;
}

/* The tensors of component a that b has too; *n: all tensors of a. */
static size_t count_common(const splitting *s, const component *a, const component *b, size_t *n)
{
	size_t n_common = 0;
	*n = 0;
	for (size_t i = a->first; i < a->end; i++)
		for (size_t t = 0; t < s->files[i]->weights.n_tensors; t++) {
			++*n;
			for (size_t j = b->first; j < b->end; j++)
				if (qs_weights_find(&s->files[j]->weights, s->files[i]->weights.tensors[t].name)) {
					n_common++;
					break;
				}
		}
	return n_common;
}

/* Graphs in ONNX often have some tensors in common; each is needed. */
static qstore_status warn_of_doubles(splitting *s)
{
	for (size_t i = 1; i < s->n_components; i++)
		for (size_t j = 0; j < i; j++) {
			const component *a = &s->components[j], *b = &s->components[i];
			const qs_model_file *x = s->files[a->first], *y = s->files[b->first];
			size_t size = folder_size(x->name), n;
			if (x->weights.format != y->weights.format || x->weights.format == QS_FORMAT_ONNX ||
			    !(x->precisions & y->precisions) || size != folder_size(y->name) ||
			    strncmp(x->name, y->name, size) != 0)
				continue;
			size_t n_common = count_common(s, a, b, &n);
			if (!n_common || n_common < n / 2)
				continue;
			qstore_status status = qs_model_warn(
			    s->model, s->error,
			    "%s: %zu tensor%s of \"" QS_NAME_SHOWN "\" %s in \"" QS_NAME_SHOWN
			    "\" too: both are packed; if it is the same model twice, leave one of them out by --skip",
			    qs_shown_path(s->model->path), n_common, n_common == 1 ? "" : "s", x->name,
			    n_common == 1 ? "is" : "are", y->name);
			if (status)
				return status;
			break;
		}
	return QSTORE_OK;
}

/* ---- All ---- */

/* The one precision of a model that is not split. */
static qstore_status set_one_precision(splitting *s)
{
	static const qs_label none;
	const qs_label *label = s->n_candidates == 1 ? s->candidates[0].label : &none;
	for (size_t i = 0; i < s->n_files; i++) {
		s->files[i]->precisions = 1;
		s->some[i] = s->files[i];
		/* In other formats the tensors say more. */
		if (s->files[i]->weights.format != QS_FORMAT_ONNX)
			label = &none;
	}
	s->model->n_precisions = 1;
	return find_precision(s, label, s->n_files, &s->model->precisions[0]);
}

static qstore_status split(splitting *s)
{
	for (size_t f = 0; f < s->model->n_files; f++)
		if (s->model->files[f].is_weights)
			s->files[s->n_files++] = &s->model->files[f];
	sort_files(s);
	separate_sets(s);
	qstore_status status = has_other_formats(s) ? label_gguf(s) : QSTORE_OK;
	if (!status)
		status = list_labels(s);
	if (status)
		return status;
	list_components(s);
	uint64_t labels = choose_precisions(s);
	if (!labels) {
		status = set_one_precision(s);
	} else if (!(status = set_precisions(s, labels))) {
		for (size_t i = 0; i < s->n_components; i++)
			assign_component(s, &s->components[i]);
		assign_externals(s->model);
	}
	if (!status)
		status = assign_small_files(s);
	return status ? status : warn_of_doubles(s);
}

qstore_status qs_model_split(qs_model *model, qstore_error *error)
{
	splitting s = {.model = model, .error = error};
	qs_arena arena = {0};
	size_t n = model->n_files + 1;
	s.files = qs_arena_array(&arena, n, sizeof *s.files);
	s.some = qs_arena_array(&arena, n, sizeof *s.some);
	s.labels = qs_arena_array(&arena, n, sizeof *s.labels);
	s.components = qs_arena_array(&arena, n, sizeof *s.components);
	qstore_status status = s.files && s.some && s.labels && s.components ? split(&s) : qs_no_memory(error);
	qs_arena_free(&arena);
	return status;
}

#include "equal.h"

#include <stdlib.h>
#include <string.h>

#include "compare.h"
#include "core/checksum.h"
#include "core/index.h"
#include "os/file.h"
#include "os/search.h"
#include "rule.h"

/* Smaller tensors are not worth a search. */
#define SIZE_MIN 513
/* Bytes of each of the three samples. */
#define SAMPLE_SIZE 4096
#define SAMPLES 3

/* A tensor, and the checksum by which it is looked for. */
typedef struct keyed {
	pack_tensor *tensor;
	uint64_t key;
	size_t number; /* in the order of files */
} keyed;

typedef struct keyed_list {
	keyed *items;
	size_t n;
} keyed_list;

static int can_be_equal(const pack_tensor *t)
{
	return t->coding.role != PACK_LITERAL && t->view == PACK_AS_IS && t->size >= SIZE_MIN;
}

/* Lists the tensors of files, by their layers, then in the order of files. The caller frees items. */
static qstore_status list_tensors(const pack_input *input, keyed_list *list, qstore_error *error)
{
	size_t n = 0;
	for (size_t i = 0; i < input->n_files; i++)
		n += input->files[i].n_tensors;
	*list = (keyed_list){.items = malloc((n + 1) * sizeof(*list->items))};
	if (!list->items)
		return qs_no_memory(error);
	for (uint32_t v = 0; v < input->n_variants; v++)
		for (size_t i = 0; i < input->n_files; i++) {
			const pack_file *file = &input->files[i];
			for (size_t j = 0; j < file->n_tensors && pack_coarsest(file->variants) == v; j++) {
				pack_tensor *t = &file->tensors[j];
				t->layer = v;
				if (can_be_equal(t)) {
					list->items[list->n] = (keyed){.tensor = t, .number = list->n};
					list->n++;
				}
			}
		}
	return QSTORE_OK;
}

static int compare_numbers(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

static int compare_keyed(const void *a, const void *b)
{
	const keyed *x = a, *y = b;
	int order = compare_numbers(x->tensor->size, y->tensor->size);
	if (order == 0)
		order = compare_numbers(x->tensor->dtype, y->tensor->dtype);
	if (order == 0)
		order = compare_numbers(x->key, y->key);
	return order != 0 ? order : compare_numbers(x->number, y->number);
}

static int have_same_key(const keyed *a, const keyed *b)
{
	return a->tensor->size == b->tensor->size && a->tensor->dtype == b->tensor->dtype && a->key == b->key;
}

static void sort_keyed(keyed_list *list)
{
	if (list->n > 0)
		qsort(list->items, list->n, sizeof(*list->items), compare_keyed);
}

/* *key: of the first, the middle and the last bytes. */
static qstore_status sample_key(const pack_tensor *t, uint64_t *key, qstore_error *error)
{
	uint8_t samples[SAMPLES * SAMPLE_SIZE];
	size_t n = 0;
	qstore_status status = QSTORE_OK;
	if (t->size <= sizeof(samples)) {
		n = (size_t)t->size;
		status = pack_tensor_read(t, samples, n, 0, NULL, error);
	}
	for (uint64_t i = 0; i < SAMPLES && t->size > sizeof(samples) && !status; i++, n += SAMPLE_SIZE)
		status = pack_tensor_read(t, samples + n, SAMPLE_SIZE, (t->size - SAMPLE_SIZE) / (SAMPLES - 1) * i,
		                          NULL, error);
	*key = status ? 0 : qs_checksum(samples, n);
	return status;
}

/* *key: of all bytes. buffer: QS_IO_BLOCK bytes. */
static qstore_status full_key(const pack_tensor *t, const pack_progress *progress, uint8_t *buffer,
                              uint64_t *key, qstore_error *error)
{
	uint64_t sums[2] = {0, 0};
	for (uint64_t at = 0; at < t->size; at += QS_IO_BLOCK) {
		size_t n = t->size - at < QS_IO_BLOCK ? (size_t)(t->size - at) : QS_IO_BLOCK;
		qstore_status status = pack_tensor_read(t, buffer, n, at, NULL, error);
		if (!status)
			status = pack_check_cancelled(progress, error);
		if (status)
			return status;
		sums[1] = qs_checksum(buffer, n);
		sums[0] = qs_checksum(sums, sizeof(sums));
	}
	*key = sums[0];
	return QSTORE_OK;
}

/* Links tensors [first, end) of equal keys, if their bytes are equal. buffer: 2 * QS_IO_BLOCK bytes. */
static qstore_status link_equal(keyed *first, const keyed *end, const pack_progress *progress,
                                uint8_t *buffer, qstore_error *error)
{
	for (keyed *k = first, *last = first; ++k < end;) {
		int equal = 0;
		qstore_status status = pack_are_equal(first->tensor, k->tensor, progress, buffer, &equal, error);
		if (status)
			return status;
		if (!equal)
			continue;
		first->tensor->equal = k->tensor->equal = first->tensor;
		last->tensor->next_equal = k->tensor;
		last = k;
	}
	return QSTORE_OK;
}

typedef qstore_status group_visit(keyed *first, size_t n, const pack_progress *progress, uint8_t *buffer,
                                  qstore_error *error);

/* Visits each group of at least two tensors of equal keys. */
static qstore_status visit_groups(keyed *items, size_t n, group_visit *visit, const pack_progress *progress,
                                  uint8_t *buffer, qstore_error *error)
{
	for (size_t first = 0, end; first < n; first = end) {
		for (end = first + 1; end < n && have_same_key(&items[first], &items[end]);)
			end++;
		qstore_status status =
		    end - first > 1 ? visit(&items[first], end - first, progress, buffer, error) : QSTORE_OK;
		if (status)
			return status;
	}
	return QSTORE_OK;
}

static qstore_status link_group(keyed *first, size_t n, const pack_progress *progress, uint8_t *buffer,
                                qstore_error *error)
{
	return link_equal(first, first + n, progress, buffer, error);
}

/* Tensors whose samples are equal. More than two are told apart by a checksum of all bytes, so that each is
 * compared with one other only. */
static qstore_status split_group(keyed *first, size_t n, const pack_progress *progress, uint8_t *buffer,
                                 qstore_error *error)
{
	if (n == 2)
		return link_group(first, n, progress, buffer, error);
	for (size_t i = 0; i < n; i++) {
		qstore_status status = full_key(first[i].tensor, progress, buffer, &first[i].key, error);
		if (status)
			return status;
	}
	qsort(first, n, sizeof(*first), compare_keyed);
	return visit_groups(first, n, link_group, progress, buffer, error);
}

qstore_status pack_find_equal(const pack_input *input, const pack_progress *progress, qstore_error *error)
{
	keyed_list list;
	uint8_t *buffer = malloc(2 * QS_IO_BLOCK);
	qstore_status status = list_tensors(input, &list, error);
	if (!status && !buffer)
		status = qs_no_memory(error);
	sort_keyed(&list);
	/* Only tensors of the same size and type are read. */
	for (size_t i = 0; i < list.n && !status; i++) {
		const keyed *k = &list.items[i];
		k->tensor->equal = k->tensor->next_equal = NULL;
		int is_alone = (i == 0 || k[-1].tensor->size != k->tensor->size) &&
		               (i + 1 == list.n || k[1].tensor->size != k->tensor->size);
		if (!is_alone)
			status = sample_key(k->tensor, &list.items[i].key, error);
		if (!status)
			status = pack_check_cancelled(progress, error);
	}
	sort_keyed(&list);
	if (!status)
		status = visit_groups(list.items, list.n, split_group, progress, buffer, error);
	free(list.items);
	free(buffer);
	return status;
}

pack_tensor *pack_equal_in(const pack_tensor *t, uint32_t first, uint32_t last)
{
	for (pack_tensor *other = t->equal; other; other = other->next_equal)
		if (other->layer >= last && other->layer < first)
			return other;
	return NULL;
}

int pack_is_shared_early(const pack_tensor *t)
{
	return t->n_dims > 1 && !t->coding.is_needed && !pack_is_scales_name(t->name);
}

/* ---- Duplicates ---- */

static void mark_grid(const pack_tensor *t)
{
	pack_tensor *needed[] = {t->coding.grid.scales, t->coding.grid.zero_points, t->coding.grid.order};
	for (size_t i = 0; i < sizeof(needed) / sizeof(*needed); i++)
		if (needed[i])
			pack_coded(needed[i])->coding.is_needed = 1;
}

void pack_mark_needed(const pack_input *input, const pack_derived *derived)
{
	for (size_t i = 0; i < derived->n_tensors; i++)
		mark_grid(derived->tensors[i]);
	for (size_t i = 0; i < input->n_files; i++)
		for (size_t j = 0; j < input->files[i].n_tensors; j++)
			mark_grid(&input->files[i].tensors[j]);
}

/* Is the tensor coded from others, or a duplicate? */
static int builds_on_others(const pack_tensor *t)
{
	return t->coding.role != PACK_PLAIN && (t->coding.role != PACK_CODES || t->coding.coarser_codes) &&
	       (t->coding.role != PACK_LAYOUT || t->coding.content->view == PACK_TRANSPOSED);
}

static int have_same_chunks(const pack_tensor *a, const pack_tensor *b)
{
	uint64_t cols[2];
	uint32_t elems[2];
	pack_geometry(a, &cols[0], &elems[0]);
	pack_geometry(b, &cols[1], &elems[1]);
	return cols[0] == cols[1] && elems[0] == elems[1];
}

/* May the object of `original` have the place of that of the equal tensor t? */
static int can_replace(const pack_tensor *t, pack_tensor *original)
{
	const pack_tensor *coded = pack_coded(original);
	pack_role role = coded->coding.role;
	if (t->coding.role == PACK_DUPLICATE || t->coding.role == PACK_PARTS || t->coding.role == PACK_LITERAL ||
	    coded == t)
		return 0;
	/* Scales have to be plain, and to stay that. */
	if (t->coding.is_needed)
		return role == PACK_PLAIN;
	if (!t->coding.is_referenced)
		return 1;
	/* Objects that are coded from t need the same chunks; codes have a grid, too, that is their own. */
	return t->coding.role != PACK_CODES && t->coding.role != PACK_LAYOUT &&
	       (role == PACK_PLAIN || role == PACK_REFINE || role == PACK_DELTA) && have_same_chunks(t, coded);
}

static void share(pack_tensor *t, pack_tensor *original)
{
	if (t == original || !can_replace(t, original))
		return;
	pack_set_duplicate(t, original);
	if (t->coding.is_needed)
		pack_coded(original)->coding.is_needed = 1;
}

/* Returns the tensor of a layer whose object those that equal t are to use: one that is coded from others or
 * has another object by now, or else the first one, a plain one if there is any. */
static pack_tensor *choose_original(const pack_tensor *t, uint32_t layer)
{
	pack_tensor *best = NULL;
	for (pack_tensor *other = t->equal; other; other = other->next_equal) {
		if (other->layer != layer)
			continue;
		if (builds_on_others(other))
			return pack_coded(other);
		if (!best || (best->coding.role != PACK_PLAIN && other->coding.role == PACK_PLAIN))
			best = other;
	}
	return best;
}

void pack_share_variant(const pack_input *input, uint32_t variant)
{
	for (size_t i = 0; i < input->n_files; i++) {
		const pack_file *file = &input->files[i];
		for (size_t j = 0; j < file->n_tensors && pack_coarsest(file->variants) == variant; j++) {
			pack_tensor *t = &file->tensors[j];
			if (!t->equal || !pack_is_shared_early(t))
				continue;
			pack_tensor *original = choose_original(t, variant);
			if (pack_cols(t) == pack_cols(original) && pack_is_shared_early(original))
				share(t, original);
		}
	}
}

/* Shares the objects of all equal tensors: those of the coarsest layer. */
static void share_equal(const keyed_list *list)
{
	for (size_t i = 0; i < list->n; i++) {
		pack_tensor *t = list->items[i].tensor;
		if (!t->equal)
			continue;
		share(t, choose_original(t, t->equal->layer));
		/* Scales whose equals are not plain may be equal to other scales. */
		for (pack_tensor *other = t->equal; other && other != t && t->coding.is_needed;
		     other = other->next_equal)
			if (other->coding.is_needed && !t->coding.is_referenced)
				share(t, other);
	}
}

/* Makes INT8 codes that were made of equal floats duplicates, if their rows are equal too: each row has its
 * scale. */
static void share_made_codes(const pack_input *input)
{
	for (size_t i = 0; i < input->n_files; i++)
		for (size_t j = 0; j < input->files[i].n_tensors; j++) {
			pack_tensor *t = &input->files[i].tensors[j];
			if (t->view != PACK_LLM_INT8 || t->viewed->coding.role != PACK_DUPLICATE)
				continue;
			const pack_tensor *fine = pack_coded(t->viewed->coding.original);
			pack_tensor *codes = fine->coding.role == PACK_REFINE ? fine->coding.refined_codes : NULL;
			if (codes && codes->view == PACK_LLM_INT8 && codes != t && codes->size == t->size &&
			    pack_cols(codes) == pack_cols(t))
				pack_set_duplicate(t, codes);
		}
}

/* ---- Transposed copies ---- */

/* Elements of the first row, or column, that are compared first. */
#define LINE_ELEMS 32

static int is_matrix(const pack_tensor *t)
{
	return t->n_dims == 2 && qs_dtype_is_float(t->dtype) && pack_n_elems(t) < QS_TRANSPOSED_MAX &&
	       t->cols == 0;
}

/* *key: of the dims and the first elements of the first row; of the transposed matrix if is_transposed. */
static qstore_status line_key(const pack_tensor *t, int is_transposed, uint64_t *key, qstore_error *error)
{
	uint8_t line[16 + 4 * LINE_ELEMS] = {0};
	size_t elem = qs_dtype_size(t->dtype);
	uint64_t rows = t->dims[is_transposed], cols = t->dims[!is_transposed],
	         n = cols < LINE_ELEMS ? cols : LINE_ELEMS;
	qstore_status status = QSTORE_OK;
	memcpy(line, &rows, 8);
	memcpy(line + 8, &cols, 8);
	if (!is_transposed)
		status = pack_tensor_read(t, line + 16, (size_t)n * elem, 0, NULL, error);
	for (size_t i = 0; i < n && is_transposed && !status; i++)
		status = pack_tensor_read(t, line + 16 + i * elem, elem, i * rows * elem, NULL, error);
	*key = qs_checksum(line, sizeof(line));
	return status;
}

/* Can the object of `t` be what a transposed layout is made of? */
static int can_be_content(const pack_tensor *t)
{
	return t->coding.role == PACK_PLAIN || t->coding.role == PACK_REFINE || t->coding.role == PACK_DELTA;
}

/* Makes t a layout of `other`, or equal to the matrix that `other` is a layout of, if it is that
 * transposed. */
static qstore_status share_transposed(pack_derived *derived, pack_tensor *t, pack_tensor *other,
                                      const pack_progress *progress, uint8_t *buffer, qstore_error *error)
{
	pack_tensor *coded = pack_coded(other), *view;
	int equal = 0, is_layout = coded->coding.role == PACK_LAYOUT;
	pack_tensor *content = is_layout ? pack_coded(coded->coding.content) : coded;
	if (content == t || content->layer > t->layer || !can_be_content(content) ||
	    (is_layout && coded->coding.content->view != PACK_TRANSPOSED))
		return QSTORE_OK;
	view = pack_derive(derived, t, PACK_TRANSPOSED, t->dtype, t->dims[1], t->dims[0]);
	if (!view)
		return qs_no_memory(error);
	qstore_status status = pack_are_equal(view, other, progress, buffer, &equal, error);
	if (status || !equal)
		return status;
	if (is_layout) {
		pack_set_duplicate(t, content);
	} else {
		pack_set_duplicate(view, content);
		pack_set_layout(t, view, 8 * qs_dtype_size(t->dtype));
	}
	return QSTORE_OK;
}

static qstore_status find_transposed(pack_derived *derived, const keyed_list *lines, const keyed *k,
                                     const pack_progress *progress, uint8_t *buffer, qstore_error *error)
{
	pack_tensor *t = k->tensor;
	keyed wanted = {.tensor = t};
	if (t->coding.role != PACK_PLAIN || t->coding.is_needed || t->coding.is_referenced)
		return QSTORE_OK;
	qstore_status status = line_key(t, 1, &wanted.key, error);
	size_t first = qs_lower_bound(lines->items, lines->n, sizeof(*lines->items), &wanted, compare_keyed);
	for (size_t i = first; i < lines->n && have_same_key(&lines->items[i], &wanted) && !status; i++) {
		const keyed *other = &lines->items[i];
		/* When two are stored on their own, the first one stays so. */
		int is_plain = other->tensor->coding.role == PACK_PLAIN;
		if (other->tensor != t && t->coding.role == PACK_PLAIN && (!is_plain || other->number < k->number))
			status = share_transposed(derived, t, other->tensor, progress, buffer, error);
	}
	return status;
}

static qstore_status share_all_transposed(pack_derived *derived, const keyed_list *list,
                                          const pack_progress *progress, qstore_error *error)
{
	keyed_list lines = {.items = malloc((list->n + 1) * sizeof(*lines.items))};
	uint8_t *buffer = malloc(2 * QS_IO_BLOCK);
	qstore_status status = lines.items && buffer ? QSTORE_OK : qs_no_memory(error);
	for (size_t i = 0; i < list->n && !status; i++) {
		keyed k = list->items[i];
		if (!is_matrix(k.tensor))
			continue;
		status = line_key(k.tensor, 0, &k.key, error);
		lines.items[lines.n++] = k;
	}
	if (!status)
		sort_keyed(&lines);
	for (size_t i = 0; i < list->n && !status; i++)
		if (is_matrix(list->items[i].tensor))
			status = find_transposed(derived, &lines, &list->items[i], progress, buffer, error);
	free(lines.items);
	free(buffer);
	return status;
}

qstore_status pack_share_all(const pack_input *input, pack_derived *derived, const pack_progress *progress,
                             qstore_error *error)
{
	keyed_list list;
	qstore_status status = list_tensors(input, &list, error);
	if (!status) {
		pack_mark_needed(input, derived);
		share_equal(&list);
		share_made_codes(input);
		status = share_all_transposed(derived, &list, progress, error);
	}
	free(list.items);
	return status;
}

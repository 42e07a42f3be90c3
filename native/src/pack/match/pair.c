/* Pairs of tensors: a tensor of a variant and the tensor of a coarser one that it is coded from. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/index.h"
#include "equal.h"
#include "match.h"
#include "names.h"
#include "pair.h"
#include "parts.h"
#include "text.h"

/* ---- Pairs by content ---- */

/* *found: the matrix of a variant that has most in common with these floats, or NULL. */
static qstore_status find_by_content(pack_pairing *q, pack_tensor *fine, uint32_t coarse_variant,
                                     pack_tensor **found, qstore_error *error)
{
	const pack_map *map = &q->keys[coarse_variant];
	double best = PACK_CONTENT_MIN;
	pack_tensor *half;
	qstore_status status = pack_cast_to_16_bits(q->derived, fine, &half, error);
	*found = NULL;
	for (size_t i = 0; i < map->n_tensors && !status; i++) {
		pack_tensor *t = map->tensors[i], *codes = pack_matrix_of(pack_coded(t));
		double correlation;
		if (!codes || !codes->has_grid || pack_n_elems(codes) != pack_n_elems(fine) ||
		    pack_cols(codes) != pack_cols(fine) || pack_map_find(&q->keys[q->fine_variant], t->key))
			continue;
		status = pack_correlate(&q->search, half, codes, &correlation, error);
		if (!status && correlation > best) {
			best = correlation;
			*found = t;
		}
	}
	return status;
}

static int is_onnx_matrix(const pack_file *file, const pack_tensor *t)
{
	return file->input && file->input->weights.format == QS_FORMAT_ONNX && t->coding.role == PACK_PLAIN &&
	       !t->matrix && t->n_dims == 2 && pack_n_elems(t) >= PACK_CONTENT_ELEMS &&
	       qs_dtype_is_float(t->dtype);
}

/* ---- Variants ---- */

/* Coarser variants [last, first) may be built on, the nearest first. */
typedef struct variant_range {
	uint32_t first, last;
} variant_range;

/* Makes a tensor a duplicate of one with the same bytes: of a coarser variant, or of its own variant if that
 * one is coded from a coarser variant by now. Their names do not matter. */
static void pair_with_equal(pack_pairing *q, pack_tensor *t, variant_range coarser, int *is_coarser)
{
	pack_tensor *equal = pack_equal_in(t, coarser.first, coarser.last);
	*is_coarser = !!equal;
	for (pack_tensor *other = t->equal; !equal && other; other = other->next_equal)
		if (other != t && other->layer == q->fine_variant && pack_is_paired(other))
			equal = other;
	if (equal && pack_coded(equal)->coding.role != PACK_LITERAL && t->coding.role != PACK_DUPLICATE &&
	    !t->coding.is_referenced && pack_is_shared_early(t) && pack_is_shared_early(equal))
		pack_set_duplicate(t, pack_coded(equal));
}

/* Pairs a tensor with the nearest coarser one of its key that it fits. *has_namesake: whether there is any of
 * its key. */
static qstore_status pair_by_key(pack_pairing *q, pack_tensor *t, variant_range coarser, int *has_namesake,
                                 qstore_error *error)
{
	pack_apart_tensor apart = {.fine = t, .why = PACK_UNCOMPARED, .fine_variant = q->fine_variant};
	pair_with_equal(q, t, coarser, has_namesake);
	for (uint32_t v = coarser.first; v-- > coarser.last && !pack_is_paired(t);) {
		pack_tensor *coarse = pack_map_find(&q->keys[v], t->key);
		pack_match match;
		if (!coarse)
			continue;
		*has_namesake = 1;
		qstore_status status = pack_pair_tensors(q, t, coarse, v, &match, error);
		if (status)
			return status;
		if (apart.why == PACK_UNCOMPARED) {
			pack_count_match(&q->tally, t, match, v);
			apart.why = match;
			apart.coarse_variant = v;
		}
	}
	return pack_is_paired(t) || apart.why <= PACK_MATCHED ? QSTORE_OK
	                                                      : pack_note_apart(q->apart, &apart, error);
}

/* Pairs a matrix that has no namesake in any coarser variant. */
static qstore_status pair_by_content(pack_pairing *q, pack_tensor *t, variant_range coarser, size_t *n_common,
                                     qstore_error *error)
{
	for (uint32_t v = coarser.first; v-- > coarser.last && t->coding.role == PACK_PLAIN;) {
		pack_tensor *coarse;
		pack_match match;
		qstore_status status = find_by_content(q, t, v, &coarse, error);
		if (!status && coarse) {
			++*n_common;
			status = pack_pair_tensors(q, t, coarse, v, &match, error);
		}
		if (status)
			return status;
	}
	return QSTORE_OK;
}

/* Pairs the tensors of a file of the fine variant, either by their keys or by their values. */
static qstore_status pair_file(pack_pairing *q, pack_file *file, int by_content, variant_range coarser,
                               size_t *n_common, qstore_error *error)
{
	for (size_t i = 0; i < file->n_tensors; i++) {
		pack_tensor *t = &file->tensors[i];
		int has_namesake = 0;
		qstore_status status = QSTORE_OK;
		if (!by_content)
			status = pair_by_key(q, t, coarser, &has_namesake, error);
		else if (is_onnx_matrix(file, t))
			status = pair_by_content(q, t, coarser, n_common, error);
		if (status)
			return status;
		*n_common += has_namesake != 0;
	}
	return QSTORE_OK;
}

/* Pairs the tensors of the fine variant, those with keys first. *n_common: those that have a coarser partner.
 */
static qstore_status pair_all_tensors(pack_pairing *q, variant_range coarser, size_t *n_common,
                                      qstore_error *error)
{
	const pack_input *input = q->input;
	qstore_status status = QSTORE_OK;
	for (int by_content = 0; by_content < 2; by_content++)
		for (size_t i = 0; i < input->n_files && !status; i++)
			if (pack_coarsest(input->files[i].variants) == q->fine_variant)
				status = pair_file(q, &input->files[i], by_content, coarser, n_common, error);
	return status;
}

/* Notes a matrix that has no partner, if it is worth a word. */
static qstore_status note_alone(pack_pairing *q, pack_tensor *t, variant_range coarser, qstore_error *error)
{
	pack_apart_tensor apart = {.fine = t,
	                           .why = pack_n_elems(t) >= PACK_COMMON_MIN ? PACK_NO_PARTNER : PACK_UNCOMPARED,
	                           .fine_variant = q->fine_variant,
	                           .coarse_variant = coarser.first - 1};
	for (uint32_t v = coarser.first; v-- > coarser.last;) {
		if (pack_map_find(&q->keys[v], t->key))
			return QSTORE_OK; /* both have been compared */
		const pack_tensor *codes = pack_find_unknown_codes(&q->names[v], t);
		if (codes) {
			apart.why = codes->size == pack_n_elems(t) && qs_dtype_size(codes->dtype) == 1
			                ? PACK_OTHER_NAME
			                : PACK_OTHER_PACKING;
			apart.coarse_variant = v;
		}
	}
	return apart.why == PACK_UNCOMPARED ? QSTORE_OK : pack_note_apart(q->apart, &apart, error);
}

static qstore_status note_all_alone(pack_pairing *q, variant_range coarser, qstore_error *error)
{
	const pack_input *input = q->input;
	for (size_t i = 0; i < input->n_files; i++) {
		const pack_file *file = &input->files[i];
		for (size_t j = 0; j < file->n_tensors && pack_coarsest(file->variants) == q->fine_variant; j++) {
			pack_tensor *t = &file->tensors[j];
			qstore_status status = pack_is_plain_weights(t) ? note_alone(q, t, coarser, error) : QSTORE_OK;
			if (status)
				return status;
		}
	}
	return QSTORE_OK;
}

/* Has the model more bytes in tensors that are not read (qs_weights) than in those that are? Then their names
 * say little. */
static int is_mostly_unread(const qs_model *model)
{
	uint64_t unread = 0, read = 0;
	for (size_t i = 0; i < model->n_files; i++) {
		const qs_weights *weights = &model->files[i].weights;
		unread += weights->unread_size;
		for (size_t j = 0; j < weights->n_tensors; j++)
			read += weights->tensors[j].size;
	}
	return unread > read;
}

/* Finds for each tensor of a variant the nearest coarser one that has something to code it from. */
static qstore_status pair_variant(pack_pairing *q, uint32_t fine, variant_range coarser, int allow_mismatch,
                                  qstore_error *error)
{
	const pack_input *input = q->input;
	size_t n_common = 0;
	q->fine_variant = fine;
	q->tally = (pack_tally){.n_wrong = 0};
	qstore_status status = QSTORE_OK;
	for (uint32_t v = coarser.first; v-- > coarser.last && !status;)
		status = pack_rename_prefixes(&q->keys[fine], &q->keys[v], q->derived->arena, error);
	for (uint32_t v = coarser.first; v-- > coarser.last && !status;)
		status = pack_pair_experts(q, v, &n_common, error);
	if (!status)
		status = pair_all_tensors(q, coarser, &n_common, error);
	if (!status) {
		pack_share_variant(input, fine);
		status = note_all_alone(q, coarser, error);
	}
	if (status || allow_mismatch)
		return status;
	/* Precisions of one folder need not have any component in common; files of a vocabulary have no tensors.
	 */
	if (n_common == 0 && input->variants[fine].model != input->variants[fine - 1].model &&
	    q->names[fine].n_tensors > 0 && !is_mostly_unread(input->variants[fine].model) &&
	    !is_mostly_unread(input->variants[fine - 1].model))
		return qs_fail(error, QSTORE_MISMATCH,
		               "%s does not belong to %s: they have no tensor name in common; give a version of the "
		               "same model, or pack both all the same with --allow-mismatch",
		               input->variants[fine - 1].path, input->variants[fine].path);
	return pack_check_tally(&q->tally, input, fine, error);
}

/* Makes the finest variant build on the one of this name. */
static qstore_status set_coarser(pack_input *input, const char *name, qstore_error *error)
{
	pack_variant *high = &input->variants[input->n_variants - 1];
	for (uint32_t v = 0; v + 1 < input->n_variants; v++)
		if (strcmp(input->variants[v].name, name) == 0) {
			high->coarser = v;
			return QSTORE_OK;
		}
	char names[256] = "";
	for (uint32_t v = 0; v + 1 < input->n_variants; v++)
		qs_text_add(names, sizeof(names), ", ", "%s", input->variants[v].name);
	return qs_fail(error, QSTORE_NOT_FOUND, "no variant coarser than %s is called %s; there are %s",
	               high->path, name, names);
}

static qstore_status pair_all_variants(pack_pairing *q, const qstore_pack_options *options,
                                       qstore_error *error)
{
	const pack_input *input = q->input;
	pack_share_variant(input, 0);
	for (uint32_t v = 1; v < input->n_variants; v++) {
		variant_range coarser = {.first = v, .last = 0};
		if (v == input->n_variants - 1 && options->from) {
			qstore_status status = set_coarser(q->input, options->from, error);
			if (status)
				return status;
			coarser =
			    (variant_range){.first = input->variants[v].coarser + 1, .last = input->variants[v].coarser};
		}
		qstore_status status = pair_variant(q, v, coarser, options->allow_mismatch, error);
		if (status)
			return status;
	}
	return QSTORE_OK;
}

/* Gives the namesakes of doubles chunks of as few elements as theirs have: differences need the same. */
static void align_with_doubles(const pack_pairing *q)
{
	for (uint32_t v = 0; v < q->input->n_variants; v++)
		for (size_t i = 0; i < q->keys[v].n_tensors; i++) {
			const pack_tensor *t = q->keys[v].tensors[i];
			uint64_t cols;
			uint32_t elems;
			pack_geometry(t, &cols, &elems);
			for (uint32_t w = 0; w < q->input->n_variants && t->dtype == QS_F64 && elems % cols == 0; w++) {
				pack_tensor *other = w != v ? pack_map_find(&q->keys[w], t->key) : NULL;
				if (other && pack_cols(other) == cols && qs_dtype_size(other->dtype) > 0)
					other->chunk_rows = (uint32_t)(elems / cols);
			}
		}
}

qstore_status pack_pair_variants(pack_input *input, pack_derived *derived, pack_apart *apart,
                                 const qstore_pack_options *options, const pack_progress *progress,
                                 qstore_error *error)
{
	pack_pairing *q = calloc(1, sizeof(*q));
	if (!q)
		return qs_no_memory(error);
	q->input = input;
	q->derived = derived;
	q->progress = progress;
	q->apart = apart;
	q->encoder = qs_encoder_create();
	qstore_status status = q->encoder ? QSTORE_OK : qs_no_memory(error);
	if (!status)
		status = pack_find_equal(input, progress, error);
	pack_mark_needed(input, derived);
	if (!status)
		status = pack_search_init(&q->search, derived, progress, error);
	for (uint32_t v = 0; v < input->n_variants && !status; v++) {
		status = pack_map_variant(input, v, 0, &q->names[v], error);
		if (!status)
			status = pack_map_variant(input, v, 1, &q->keys[v], error);
	}
	if (!status) {
		align_with_doubles(q);
		status = pair_all_variants(q, options, error);
	}
	if (!status && derived->is_out_of_memory)
		status = qs_no_memory(error);
	for (uint32_t v = 0; v < QS_VARIANTS_MAX; v++) {
		free(q->names[v].tensors);
		free(q->keys[v].tensors);
	}
	qs_encoder_destroy(q->encoder);
	pack_search_free(&q->search);
	free(q);
	return status;
}

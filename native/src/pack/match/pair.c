/* Pairs of tensors: a tensor of a variant and the tensor of a coarser one that it is coded from. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apart.h"
#include "compare.h"
#include "core/delta.h"
#include "match.h"
#include "os/file.h"
#include "rule.h"

typedef struct pairing {
	pack_input *input;
	pack_derived *derived;
	const pack_progress *progress;
	pack_map names[QS_VARIANTS_MAX], keys[QS_VARIANTS_MAX]; /* of each variant */
	pack_search search;
	qs_encoder *encoder;
	uint32_t fine_variant; /* whose tensors are paired */
	pack_apart *apart;
	pack_tally tally; /* of fine_variant */
} pairing;

/* Squared correlation of a pair. Tensors that do not belong together have at most a sixth of it. */
#define CONTENT_MIN 0.25

static int have_same_shape(const pack_tensor *a, const pack_tensor *b)
{
	if (a->n_dims != b->n_dims)
		return 0;
	for (uint32_t i = 0; i < a->n_dims; i++) {
		if (a->dims[i] != b->dims[i])
			return 0;
	}
	return 1;
}

/* The matrix of codes that a tensor is the file's form of; NULL when it can be none. */
static pack_tensor *matrix_of(pack_tensor *t)
{
	if (t->matrix)
		return t->matrix;
	return (t->dtype == QS_I8 || t->dtype == QS_U8) && t->n_dims > 1 && t->coding.role != PACK_LITERAL ? t
	                                                                                                   : NULL;
}

/* ---- Floats from codes ---- */

/* *half: the floats themselves, or the cast of singles to BF16, to which these are differences. */
static qstore_status cast_to_16_bits(pack_derived *derived, pack_tensor *fine, pack_tensor **half,
                                     qstore_error *error)
{
	*half = fine;
	if (fine->dtype == QS_F32) {
		if (!fine->cast)
			fine->cast =
			    pack_derive(derived, fine, PACK_CAST_BF16, QS_BF16, pack_rows(fine), pack_cols(fine));
		*half = fine->cast;
	}
	return *half ? QSTORE_OK : qs_no_memory(error);
}

/* *transposed: the floats with their columns as rows. The file's tensor can be a layout of them. */
static qstore_status transpose(pack_derived *derived, pack_tensor *fine, pack_tensor **transposed,
                               qstore_error *error)
{
	if (!fine->transposed)
		fine->transposed =
		    pack_derive(derived, fine, PACK_TRANSPOSED, fine->dtype, pack_cols(fine), pack_rows(fine));
	*transposed = fine->transposed;
	return *transposed ? QSTORE_OK : qs_no_memory(error);
}

static void set_layout_of_transposed(pack_tensor *fine)
{
	pack_set_layout(fine, fine->transposed, 8 * qs_dtype_size(fine->dtype));
}

static int can_be_transposed(const pack_tensor *t)
{
	return qs_dtype_is_float(t->dtype) && t->n_dims == 2 && pack_n_elems(t) < QS_TRANSPOSED_MAX &&
	       pack_n_elems(t) > 0 && t->coding.role == PACK_PLAIN;
}

/* A rule that explains fewer codes is taken only if that saves bytes. */
#define DIFFERING_SMALL 0.02
/* Quantizers without choices that give another code for more of the weights quantized other weights. Casts
 * to 16 bits before they ran change at most 7 % of the codes. */
#define DIFFERING_MAX 0.15

static int has_no_choices(uint32_t rule)
{
	return rule == QS_RULE_LLM_INT8 || rule == QS_RULE_Q8_0 || rule == QS_RULE_Q8_0_D;
}

/* Codes floats as a refinement of codes of variant `coarse_variant`, if they belong to them. */
static qstore_status pair_with_codes(pairing *q, pack_tensor *fine, pack_tensor *codes,
                                     uint32_t coarse_variant, pack_match *match, qstore_error *error)
{
	pack_tensor *half, before = *codes;
	pack_fit fit;
	int found, pays = 1;
	qstore_status status = cast_to_16_bits(q->derived, fine, &half, error);
	if (!status)
		status = pack_find_rule(&q->search, half, codes, &q->names[coarse_variant], &found, &fit, error);
	if (status)
		return status;
	*match = PACK_OTHER_PACKING;
	if (!found)
		return QSTORE_OK;
	*match = fit == PACK_WRONG     ? PACK_OTHER_VALUES
	         : fit == PACK_RELATED ? PACK_FAR_VALUES
	         : has_no_choices(codes->coding.grid.rule) && q->search.differing > DIFFERING_MAX
	             ? PACK_OTHER_WEIGHTS
	             : PACK_MATCHED;
	if (fit != PACK_FITS) {
		status = pack_find_factors(&q->search, half, codes, &found, error);
		if (status)
			return status;
		if (found)
			*match = PACK_MATCHED;
		fit = found ? PACK_FITS : fit;
	}
	if ((fit == PACK_FITS && q->search.differing > DIFFERING_SMALL) || fit == PACK_LOOSE)
		status = pack_refine_pays(q->encoder, half, codes, &pays, error);
	if (status)
		return status;
	if (!pays && *match == PACK_MATCHED)
		*match = PACK_FAR_VALUES;
	if (fit == PACK_RELATED || fit == PACK_WRONG || !pays) {
		/* The codes say too little about the values: both are coded on their own. */
		codes->coding = before.coding;
		codes->matrix = before.matrix;
		half->coding.factors = NULL;
		return QSTORE_OK;
	}
	pack_set_refine(half, codes);
	if (half != fine)
		pack_set_delta(fine, half);
	return pack_use_absmax(&q->search, fine, codes, error);
}

/* ---- All pairs ---- */

/* Codes floats as differences to others, if that pays. given: the file's tensor, which `fine` may be
 * transposed from. */
static qstore_status pair_with_floats(pairing *q, pack_tensor *given, pack_tensor *fine, pack_tensor *coarse,
                                      pack_match *match, qstore_error *error)
{
	int pays = 0;
	double correlation = 1;
	qstore_status status = QSTORE_OK;
	if (qs_delta_applies(coarse->dtype, fine->dtype))
		status = pack_delta_pays(q->encoder, fine, coarse, &pays, error);
	if (!status && !pays)
		status = pack_correlate_floats(fine, coarse, &correlation, error);
	/* Norms and biases of any two models are alike. */
	if (fine->n_dims > 1)
		*match = correlation < CONTENT_MIN ? PACK_OTHER_VALUES : PACK_MATCHED;
	if (status || !pays)
		return status;
	if (coarse->coding.role == PACK_LAYOUT) {
		/* The elements of a layout are those of its content: they have to be transposed too. */
		status = transpose(q->derived, given, &fine, error);
		if (status)
			return status;
		set_layout_of_transposed(given);
		coarse = coarse->coding.content;
	}
	pack_set_delta(fine, coarse);
	return QSTORE_OK;
}

/* Compares two tensors that do not have the same number of rows and columns. */
static pack_match match_of_other_shapes(const pairing *q, const pack_tensor *fine, const pack_tensor *coarse,
                                        const pack_tensor *coded, uint32_t coarse_variant)
{
	if (!qs_dtype_is_float(fine->dtype) || fine->n_dims < 2)
		return PACK_UNCOMPARED;
	if (qs_dtype_is_float(coarse->dtype))
		return PACK_OTHER_SHAPE;
	return coarse->dtype == QS_I8 && coarse->n_dims == fine->n_dims &&
	               pack_n_elems(fine) % pack_n_elems(coarse) != 0 &&
	               pack_has_scales(&q->names[coarse_variant], coded)
	           ? PACK_OTHER_SHAPE
	           : PACK_OTHER_PACKING;
}

/* Codes `given`, of q->fine_variant, from `coarse`, of coarse_variant, when that is possible. */
static qstore_status pair_tensors(pairing *q, pack_tensor *given, pack_tensor *coarse,
                                  uint32_t coarse_variant, pack_match *match, qstore_error *error)
{
	pack_tensor *fine = given, *coded = pack_coded(coarse), *codes = matrix_of(coded),
	            *own_codes = matrix_of(given);
	qstore_status status = QSTORE_OK;
	*match = PACK_UNCOMPARED;
	if (given->coding.role == PACK_DUPLICATE || coded->coding.role == PACK_LITERAL)
		return QSTORE_OK;
	if (given->dtype == coarse->dtype && have_same_shape(given, coarse)) {
		int equal = 0;
		status = pack_are_equal(given, coded, q->progress, q->search.coarse, &equal, error);
		if (!status && equal) {
			pack_set_duplicate(given, coded);
			*match = PACK_MATCHED;
		}
		if (status || equal)
			return status;
	}
	if (codes && codes->is_transposed && can_be_transposed(given))
		status = transpose(q->derived, given, &fine, error);
	if (status)
		return status;
	const pack_tensor *shape = codes ? codes : coded, *own_shape = own_codes ? own_codes : fine;
	if (pack_n_elems(shape) != pack_n_elems(own_shape) || pack_cols(shape) != pack_cols(own_shape)) {
		*match = match_of_other_shapes(q, fine, coarse, coded, coarse_variant);
		return QSTORE_OK;
	}
	if (own_codes && codes) {
		if (!own_codes->coding.coarser_codes && own_codes->is_transposed == codes->is_transposed &&
		    fine->coding.role != PACK_LITERAL &&
		    pack_guess_grid(&q->search, &q->names[coarse_variant], codes) &&
		    pack_guess_grid(&q->search, &q->names[q->fine_variant], own_codes)) {
			own_codes->coding.coarser_codes = codes;
			*match = PACK_MATCHED;
		}
		return QSTORE_OK;
	}
	if (fine->coding.role != PACK_PLAIN)
		return QSTORE_OK;
	if (qs_dtype_is_float(fine->dtype) && codes && fine->n_dims > 1 &&
	    codes->is_transposed == (fine != given)) {
		status = pair_with_codes(q, fine, codes, coarse_variant, match, error);
		if (fine != given && fine->coding.role != PACK_PLAIN)
			set_layout_of_transposed(given);
		return status;
	}
	/* Scales are small, and have to be plain when they are in a grid. */
	if (!codes && !pack_is_scales_name(fine->name) && have_same_shape(fine, coarse) &&
	    qs_dtype_is_float(fine->dtype) && qs_dtype_is_float(coarse->dtype))
		return pair_with_floats(q, given, fine, coded, match, error);
	return QSTORE_OK;
}

/* Is it decided what the tensor is coded from? */
static int is_paired(pack_tensor *t)
{
	const pack_tensor *own_codes = matrix_of(t);
	if (t->coding.role == PACK_DUPLICATE)
		return 1;
	return own_codes ? !!own_codes->coding.coarser_codes
	                 : t->coding.role != PACK_LITERAL && t->coding.role != PACK_PLAIN;
}

/* ---- Pairs by content ---- */

/* *found: the matrix of a variant that has most in common with these floats, or NULL. */
static qstore_status find_by_content(pairing *q, pack_tensor *fine, uint32_t coarse_variant,
                                     pack_tensor **found, qstore_error *error)
{
	const pack_map *map = &q->keys[coarse_variant];
	double best = CONTENT_MIN;
	pack_tensor *half;
	qstore_status status = cast_to_16_bits(q->derived, fine, &half, error);
	*found = NULL;
	for (size_t i = 0; i < map->n_tensors && !status; i++) {
		pack_tensor *t = map->tensors[i], *codes = matrix_of(pack_coded(t));
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

/* Pairs a tensor with the nearest coarser one of its key that it fits. *has_namesake: whether there is any of
 * its key. */
static qstore_status pair_by_key(pairing *q, pack_tensor *t, variant_range coarser, int *has_namesake,
                                 qstore_error *error)
{
	pack_apart_tensor apart = {.fine = t, .why = PACK_UNCOMPARED, .fine_variant = q->fine_variant};
	*has_namesake = 0;
	for (uint32_t v = coarser.first; v-- > coarser.last && !is_paired(t);) {
		pack_tensor *coarse = pack_map_find(&q->keys[v], t->key);
		pack_match match;
		if (!coarse)
			continue;
		*has_namesake = 1;
		qstore_status status = pair_tensors(q, t, coarse, v, &match, error);
		if (status)
			return status;
		if (apart.why == PACK_UNCOMPARED) {
			pack_count_match(&q->tally, t, match, v);
			apart.why = match;
			apart.coarse_variant = v;
		}
	}
	int is_matrix = qs_dtype_is_float(t->dtype) && t->n_dims > 1 && t->coding.role == PACK_PLAIN;
	for (uint32_t v = coarser.first; v-- > coarser.last && is_matrix && !*has_namesake;) {
		if (pack_has_packed_codes(&q->names[v], t)) {
			apart.why = PACK_OTHER_PACKING;
			apart.coarse_variant = v;
		}
	}
	return is_paired(t) || apart.why <= PACK_MATCHED ? QSTORE_OK : pack_note_apart(q->apart, &apart, error);
}

/* Pairs a matrix that has no namesake in any coarser variant. */
static qstore_status pair_by_content(pairing *q, pack_tensor *t, variant_range coarser, size_t *n_common,
                                     qstore_error *error)
{
	for (uint32_t v = coarser.first; v-- > coarser.last && t->coding.role == PACK_PLAIN;) {
		pack_tensor *coarse;
		pack_match match;
		qstore_status status = find_by_content(q, t, v, &coarse, error);
		if (!status && coarse) {
			++*n_common;
			status = pair_tensors(q, t, coarse, v, &match, error);
		}
		if (status)
			return status;
	}
	return QSTORE_OK;
}

/* Pairs the tensors of the fine variant. *n_common: those that have a coarser partner. */
static qstore_status pair_all_tensors(pairing *q, variant_range coarser, size_t *n_common,
                                      qstore_error *error)
{
	const pack_input *input = q->input;
	for (size_t i = 0; i < 2 * input->n_files; i++) {
		pack_file *file = &input->files[i % input->n_files];
		int by_content = i >= input->n_files;
		for (size_t j = 0; j < file->n_tensors && (file->variants >> q->fine_variant & 1); j++) {
			pack_tensor *t = &file->tensors[j];
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
static qstore_status pair_variant(pairing *q, uint32_t fine, variant_range coarser, int allow_mismatch,
                                  qstore_error *error)
{
	const pack_input *input = q->input;
	size_t n_common = 0;
	q->fine_variant = fine;
	q->tally = (pack_tally){.n_wrong = 0};
	qstore_status status = pair_all_tensors(q, coarser, &n_common, error);
	if (status || allow_mismatch)
		return status;
	if (n_common == 0 && !is_mostly_unread(&input->variants[fine].model) &&
	    !is_mostly_unread(&input->variants[fine - 1].model))
		return qs_fail(error, QSTORE_MISMATCH,
		               "%s does not belong to %s: they have no tensor name in common; give a version of the "
		               "same model, or pack both all the same with --allow-mismatch",
		               input->variants[fine - 1].model.path, input->variants[fine].model.path);
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
	for (uint32_t v = 0; v + 1 < input->n_variants && strlen(names) + 1 < sizeof(names); v++) {
		size_t used = strlen(names);
		snprintf(names + used, sizeof(names) - used, "%s%s", v > 0 ? ", " : "", input->variants[v].name);
	}
	return qs_fail(error, QSTORE_NOT_FOUND, "no variant coarser than %s is called %s; there are %s",
	               high->model.path, name, names);
}

static qstore_status pair_all_variants(pairing *q, const qstore_pack_options *options, qstore_error *error)
{
	const pack_input *input = q->input;
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

qstore_status pack_pair_variants(pack_input *input, pack_derived *derived, pack_apart *apart,
                                 const qstore_pack_options *options, const pack_progress *progress,
                                 qstore_error *error)
{
	pairing *q = calloc(1, sizeof(*q));
	if (!q)
		return qs_no_memory(error);
	q->input = input;
	q->derived = derived;
	q->progress = progress;
	q->apart = apart;
	q->encoder = qs_encoder_create();
	qstore_status status = q->encoder ? QSTORE_OK : qs_no_memory(error);
	if (!status)
		status = pack_search_init(&q->search, derived, progress, error);
	for (uint32_t v = 0; v < input->n_variants && !status; v++) {
		status = pack_map_variant(input, v, 0, &q->names[v], error);
		if (!status)
			status = pack_map_variant(input, v, 1, &q->keys[v], error);
	}
	if (!status)
		status = pair_all_variants(q, options, error);
	for (uint32_t v = 0; v < QS_VARIANTS_MAX; v++) {
		free(q->names[v].tensors);
		free(q->keys[v].tensors);
	}
	if (!status && options->strict)
		status = pack_refuse_apart(apart, input, error);
	qs_encoder_destroy(q->encoder);
	pack_search_free(&q->search);
	free(q);
	return status;
}

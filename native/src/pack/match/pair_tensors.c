/* A tensor and a coarser one: equal, a refinement of codes, or a difference to floats. */
#include <string.h>

#include "compare.h"
#include "core/delta.h"
#include "pair.h"
#include "parts.h"

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

pack_tensor *pack_matrix_of(pack_tensor *t)
{
	if (t->matrix)
		return t->matrix;
	return (t->dtype == QS_I8 || t->dtype == QS_U8) && t->n_dims > 1 && t->coding.role != PACK_LITERAL ? t
	                                                                                                   : NULL;
}

/* ---- Floats from codes ---- */

qstore_status pack_cast_to_16_bits(pack_derived *derived, pack_tensor *fine, pack_tensor **half,
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

/* Takes the cast of singles to FP16 in place of that to BF16, *half, when a sample becomes smaller: it
 * changes fewer codes. Values beyond FP16's range make the sample larger. */
static qstore_status try_cast_to_f16(pack_pairing *q, pack_tensor *fine, const pack_tensor *codes,
                                     pack_tensor **half, qstore_error *error)
{
	pack_tensor *other =
	    pack_derive(q->derived, fine, PACK_CAST_F16, QS_F16, pack_rows(fine), pack_cols(fine));
	size_t size, other_size = SIZE_MAX;
	if (!other)
		return qs_no_memory(error);
	other->cols = codes->cols;
	qstore_status status = pack_cast_size(q->encoder, fine, *half, codes, &size, error);
	if (!status)
		status = pack_cast_size(q->encoder, fine, other, codes, &other_size, error);
	if (!status && other_size < size)
		fine->cast = *half = other;
	return status;
}

/* Codes floats as a refinement of codes of variant `coarse_variant`, if they belong to them. */
static qstore_status pair_with_codes(pack_pairing *q, pack_tensor *fine, pack_tensor *codes,
                                     uint32_t coarse_variant, pack_match *match, qstore_error *error)
{
	pack_tensor *half, before = *codes;
	pack_fit fit;
	int found, pays = 1;
	qstore_status status = pack_cast_to_16_bits(q->derived, fine, &half, error);
	if (!status)
		status = pack_find_rule(&q->search, half, codes, &q->names[coarse_variant], &found, &fit, error);
	if (status)
		return status;
	*match = PACK_NO_SCALES;
	if (!found)
		return QSTORE_OK;
	/* The grid that was found may have other columns than the tensors: see pack_find_rule. */
	half->cols = fine->cols = codes->cols;
	*match = fit == PACK_WRONG     ? PACK_OTHER_VALUES
	         : fit == PACK_RELATED ? PACK_FAR_VALUES
	         : has_no_choices(codes->coding.grid.rule) && q->search.differing > DIFFERING_MAX
	             ? PACK_OTHER_WEIGHTS
	             : PACK_MATCHED;
	if (fit == PACK_WRONG) {
		/* Tiled or permuted codes have the same scales. */
		int follow;
		status = pack_scales_follow(half, codes->coding.grid.scales, &follow, error);
		if (status)
			return status;
		*match = follow ? PACK_OTHER_PACKING : *match;
	}
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
	/* Codes of nothing but zeros are those of values that are too small for their quantizer. */
	if (!pays && *match <= PACK_OTHER_WEIGHTS)
		*match = q->search.is_zero        ? PACK_UNCOMPARED
		         : *match == PACK_MATCHED ? PACK_FAR_VALUES
		                                  : PACK_OTHER_VALUES;
	if (fit == PACK_RELATED || fit == PACK_WRONG || !pays) {
		/* The codes say too little about the values: both are coded on their own. */
		codes->coding = before.coding;
		codes->matrix = before.matrix;
		codes->cols = before.cols;
		half->coding.factors = NULL;
		return QSTORE_OK;
	}
	if (half != fine && !half->coding.factors) {
		status = try_cast_to_f16(q, fine, codes, &half, error);
		if (status)
			return status;
	}
	pack_set_refine(half, codes);
	if (half != fine)
		pack_set_delta(fine, half);
	return pack_use_absmax(&q->search, fine, codes, error);
}

/* ---- Floats from floats ---- */

/* Floats that are no help to one another have at least this squared correlation if they are of the same
 * checkpoint; FP8 has an error of a few percent. */
#define SAME_FLOATS_MIN 0.999
#define SAME_FP8_MIN 0.99

int pack_share_chunks(pack_tensor *fine, pack_tensor *coarse)
{
	uint64_t cols;
	uint32_t own, other;
	pack_geometry(fine, &cols, &own);
	pack_geometry(coarse, &cols, &other);
	if (own == other)
		return 1;
	uint32_t least = own < other ? own : other;
	int is_fixed = coarse->coding.is_referenced ||
	               (coarse->coding.role != PACK_PLAIN && coarse->coding.role != PACK_BASE);
	if (least % cols != 0 || (other != least && is_fixed))
		return 0;
	fine->chunk_rows = coarse->chunk_rows = (uint32_t)(least / cols);
	return 1;
}

/* Codes floats as differences to others, if that pays. given: the file's tensor, which `fine` may be
 * transposed from. */
static qstore_status pair_with_floats(pack_pairing *q, pack_tensor *given, pack_tensor *fine,
                                      pack_tensor *coarse, pack_match *match, qstore_error *error)
{
	int pays = 0, is_layout = coarse->coding.role == PACK_LAYOUT;
	double correlation = 1;
	if (coarse->coding.role == PACK_PARTS || (is_layout && coarse->coding.content->view != PACK_TRANSPOSED))
		return QSTORE_OK;
	qstore_status status = pack_delta_pays(q->encoder, fine, coarse, &pays, error);
	if (!status && !pays)
		status = pack_correlate_floats(fine, coarse, &correlation, error);
	/* Norms and biases of any two models are alike. */
	if (fine->n_dims > 1)
		*match = correlation < PACK_CONTENT_MIN  ? PACK_OTHER_VALUES
		         : correlation < SAME_FLOATS_MIN ? PACK_OTHER_WEIGHTS
		                                         : PACK_MATCHED;
	if (!status && pays)
		status = pack_narrow_pays(q->encoder, fine, coarse, &pays, error);
	if (status || !pays || (is_layout && fine != given) || !pack_share_chunks(fine, coarse))
		return status;
	if (is_layout) {
		/* The elements of a layout are those of its content: they have to be transposed too. */
		status = transpose(q->derived, given, &fine, error);
		if (status)
			return status;
		coarse = coarse->coding.content;
		fine->chunk_rows = coarse->chunk_rows;
	}
	pack_set_delta(fine, coarse);
	return QSTORE_OK;
}

/* ---- All pairs ---- */

/* Compares two tensors that do not have the same number of rows and columns. */
static pack_match match_of_other_shapes(const pack_pairing *q, const pack_tensor *fine,
                                        const pack_tensor *coarse, uint32_t coarse_variant)
{
	if (!qs_dtype_is_float(fine->dtype) || fine->n_dims < 2)
		return PACK_UNCOMPARED;
	if (qs_dtype_is_float(coarse->dtype))
		return PACK_OTHER_SHAPE;
	uint64_t elems = pack_n_elems(coarse);
	if (coarse->dtype != QS_I8 || coarse->n_dims != fine->n_dims || elems == 0 ||
	    !pack_has_scales(&q->names[coarse_variant], coarse))
		return PACK_OTHER_PACKING;
	return pack_n_elems(fine) % elems != 0 ? PACK_OTHER_SHAPE
	       : pack_n_elems(fine) == elems   ? PACK_OTHER_ORDER
	                                       : PACK_OTHER_PACKING;
}

/* Compares floats with a coarser tensor of the same rows and columns that they cannot be coded from. */
static qstore_status match_of_other_types(const pack_tensor *fine, pack_tensor *coarse, pack_match *match,
                                          qstore_error *error)
{
	double correlation;
	if (pack_matrix_of(coarse)) {
		*match = fine->dtype == QS_F64 ? PACK_OTHER_TYPE : PACK_UNCOMPARED;
		return QSTORE_OK;
	}
	if (qs_dtype_is_scale(coarse->dtype))
		return QSTORE_OK;
	*match = PACK_OTHER_PACKING;
	if (coarse->dtype != QS_F8_E4M3 && coarse->dtype != QS_F8_E5M2)
		return QSTORE_OK;
	qstore_status status = pack_correlate_fp8(fine, coarse, &correlation, error);
	*match = correlation < PACK_CONTENT_MIN ? PACK_OTHER_VALUES
	         : correlation < SAME_FP8_MIN   ? PACK_OTHER_WEIGHTS
	                                        : PACK_UNMODELLED;
	return status;
}

int pack_is_plain_weights(const pack_tensor *t)
{
	const char *dot = strrchr(t->name, '.');
	return qs_dtype_is_scale(t->dtype) && t->n_dims > 1 && t->coding.role == PACK_PLAIN &&
	       !t->coding.is_needed && !pack_is_scales_name(dot ? dot : t->name);
}

static int have_same_rows(const pack_tensor *a, const pack_tensor *b)
{
	return pack_n_elems(a) == pack_n_elems(b) && pack_cols(a) == pack_cols(b);
}

/* Codes `fine` from `coarse`: tensors of the same rows and columns, which are not equal. given: the file's
 * tensor, which `fine` may be transposed from. */
static qstore_status pair_as(pack_pairing *q, pack_tensor *given, pack_tensor *fine, pack_tensor *coarse,
                             uint32_t coarse_variant, pack_match *match, qstore_error *error)
{
	pack_tensor *codes = pack_matrix_of(coarse), before = *fine;
	const pack_tensor *shape = codes ? codes : coarse;
	qstore_status status = QSTORE_OK;
	if (!qs_dtype_is_scale(fine->dtype) || fine->coding.role != PACK_PLAIN)
		return QSTORE_OK;
	/* Objects that build on one another have the same columns and chunks of the same elements. */
	fine->chunk_rows = shape->chunk_rows;
	fine->cols = shape->cols;
	fine->cast = NULL;
	if (codes && fine->n_dims > 1 && qs_dtype_is_float(fine->dtype) && pack_n_elems(fine) >= PACK_CODES_MIN)
		status = pair_with_codes(q, fine, codes, coarse_variant, match, error);
	/* Scales are small, and have to be plain when they are in a grid. */
	else if (!codes && !pack_is_scales_name(fine->name) && qs_delta_applies(coarse->dtype, fine->dtype))
		status = pair_with_floats(q, given, fine, coarse, match, error);
	if (fine == given && fine->transposed && fine->transposed->coding.role == PACK_DELTA)
		set_layout_of_transposed(given);
	if (fine->coding.role == PACK_PLAIN) {
		fine->chunk_rows = before.chunk_rows;
		fine->cols = before.cols;
		fine->cast = NULL;
	}
	if (!status && fine != given && fine->coding.role != PACK_PLAIN) {
		set_layout_of_transposed(given);
		if (codes)
			codes->is_transposed = 1;
	}
	return status;
}

/* Recodes codes from coarser ones. */
static void pair_codes(pack_pairing *q, pack_tensor *own_codes, pack_tensor *codes, uint32_t coarse_variant,
                       pack_match *match)
{
	if (have_same_rows(own_codes, codes) && !own_codes->coding.coarser_codes &&
	    own_codes->is_transposed == codes->is_transposed && own_codes->chunk_rows == codes->chunk_rows &&
	    own_codes->coding.role != PACK_LITERAL &&
	    pack_guess_grid(&q->search, &q->names[coarse_variant], codes) &&
	    pack_guess_grid(&q->search, &q->names[q->fine_variant], own_codes)) {
		own_codes->coding.coarser_codes = codes;
		codes->coding.is_referenced = 1;
		*match = PACK_MATCHED;
	}
}

/* Is the tensor, which is no part of another, a matrix with `rows` columns and `cols` rows? */
static int is_transposed_of(const pack_tensor *t, uint64_t rows, uint64_t cols)
{
	return t->n_dims == 2 && t->dims[0] == cols && t->dims[1] == rows;
}

qstore_status pack_pair_tensors(pack_pairing *q, pack_tensor *given, pack_tensor *coarse,
                                uint32_t coarse_variant, pack_match *match, qstore_error *error)
{
	pack_tensor *coded = pack_coded(coarse), *codes = pack_matrix_of(coded),
	            *own_codes = pack_matrix_of(given), *fine = NULL;
	const pack_tensor *shape = codes ? codes : coded;
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
	if (own_codes && codes) {
		pair_codes(q, own_codes, codes, coarse_variant, match);
		return QSTORE_OK;
	}
	int has_order = codes && codes->is_transposed,
	    as_it_is = !has_order &&
	               (have_same_rows(shape, given) || (shape->cols != 0 && have_same_shape(shape, given)));
	if (as_it_is)
		status = pair_as(q, given, given, coded, coarse_variant, match, error);
	int transposes = can_be_transposed(given) && *match != PACK_MATCHED && *match != PACK_OTHER_WEIGHTS &&
	                 (codes || qs_dtype_is_float(coded->dtype)) &&
	                 (has_order || is_transposed_of(shape, pack_rows(given), pack_cols(given)));
	if (!status && transposes) {
		pack_match other = PACK_UNCOMPARED;
		status = transpose(q->derived, given, &fine, error);
		if (!status && have_same_rows(shape, fine))
			status = pair_as(q, given, fine, coded, coarse_variant, &other, error);
		if (!as_it_is || other == PACK_MATCHED || other == PACK_OTHER_WEIGHTS)
			*match = other;
	}
	if (!status && *match == PACK_UNCOMPARED && !as_it_is && !(fine && have_same_rows(shape, fine)))
		*match = match_of_other_shapes(q, given, coded, coarse_variant);
	if (!status && *match > PACK_OTHER_WEIGHTS)
		status = pack_pair_parts(q, given, coded, coarse_variant, match, error);
	if (!status && *match == PACK_UNCOMPARED && as_it_is && pack_n_elems(given) >= PACK_COMMON_MIN &&
	    pack_is_plain_weights(given))
		status = match_of_other_types(given, coded, match, error);
	/* Scales are stored beside codes, whatever the coarser model's are. */
	if (*match > PACK_MATCHED && given->coding.role == PACK_PLAIN && !pack_is_plain_weights(given))
		*match = PACK_UNCOMPARED;
	return status;
}

int pack_is_paired(pack_tensor *t)
{
	const pack_tensor *own_codes = pack_matrix_of(t);
	if (t->coding.role == PACK_DUPLICATE)
		return 1;
	return own_codes ? !!own_codes->coding.coarser_codes
	                 : t->coding.role != PACK_LITERAL && t->coding.role != PACK_PLAIN;
}

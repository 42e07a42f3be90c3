/* Variants as given: which tensors are the same in a coarser one, which have their codes there, and which are
 * close to floats there. */
#include <stdlib.h>
#include <string.h>

#include "core/delta.h"
#include "rule.h"

/* More tensors than this are not named in a message. */
#define NAMED_MAX 5

static int same_shape(const pack_tensor *a, const pack_tensor *b)
{
	if (a->n_dims != b->n_dims)
		return 0;
	for (uint32_t i = 0; i < a->n_dims; i++) {
		if (a->dims[i] != b->dims[i])
			return 0;
	}
	return 1;
}

/* What pairing needs besides the packer. */
typedef struct pairing {
	packer *p;
	pack_map maps[QS_VARIANTS_MAX], keys[QS_VARIANTS_MAX]; /* of each variant */
	pack_search search;
	qs_encoder *encoder;
	char named[600]; /* tensors that do not fit */
	size_t n_wrong, n_shapes;
	uint32_t wrong_coarse, fine_number;
} pairing;

static void note_wrong(pairing *q, const char *name, uint32_t coarse)
{
	if (q->n_wrong == 0)
		q->wrong_coarse = coarse;
	if (q->n_wrong++ < NAMED_MAX && strlen(q->named) + strlen(name) + 3 < sizeof(q->named)) {
		if (q->named[0] != 0)
			strcat(q->named, ", ");
		strcat(q->named, name);
	}
}

/* The matrix of codes that a tensor is the file's form of; NULL when it can be none. */
static pack_tensor *codes_of(pack_tensor *t)
{
	if (t->codes)
		return t->codes;
	return (t->dtype == QS_I8 || t->dtype == QS_U8) && t->n_dims > 1 && t->role != PACK_LITERAL ? t : NULL;
}

/* Singles are differences to their cast, which no file shows. */
static qstore_status in_16_bits(packer *p, pack_tensor *fine, pack_tensor **half, qs_error *error)
{
	*half = fine;
	if (fine->dtype == QS_F32) {
		if (!fine->cast)
			fine->cast = pack_add_part(p, fine, PACK_CAST_BF16, QS_BF16, pack_rows(fine), pack_cols(fine));
		*half = fine->cast;
	}
	return *half ? QSTORE_OK : pack_no_memory(error);
}

/* Floats with their columns as rows, which a layout turns back. */
static qstore_status turn(packer *p, pack_tensor *fine, pack_tensor **turned, qs_error *error)
{
	if (!fine->turned)
		fine->turned = pack_add_part(p, fine, PACK_TURNED, fine->dtype, pack_cols(fine), pack_rows(fine));
	*turned = fine->turned;
	return *turned ? QSTORE_OK : pack_no_memory(error);
}

static void use_turned(pack_tensor *fine)
{
	fine->role = PACK_LAYOUT;
	fine->coarse = fine->turned;
	fine->bits = 8 * qs_dtype_size(fine->dtype);
}

static int can_turn(const pack_tensor *t)
{
	return qs_dtype_is_float(t->dtype) && t->n_dims == 2 && pack_n_elems(t) < QS_TRANSPOSED_MAX &&
	       pack_n_elems(t) > 0 && t->role == PACK_PLAIN;
}

/* Floats from codes. */
static qstore_status pair_refine(pairing *q, pack_tensor *fine, pack_tensor *codes, uint32_t number,
                                 int *done, qs_error *error)
{
	pack_tensor *half, before = *codes;
	pack_fit fit;
	qstore_status status = in_16_bits(q->p, fine, &half, error);
	if (!status)
		status = pack_find_rule(&q->search, half, codes, &q->maps[number], done, &fit, error);
	if (status || !*done)
		return status;
	if (fit != PACK_FITS) {
		int found;
		status = pack_find_factors(&q->search, half, codes, &found, error);
		if (status)
			return status;
		fit = found ? PACK_FITS : fit;
	}
	if (fit == PACK_WRONG)
		note_wrong(q, fine->name, number);
	if (fit > PACK_LOOSE) { /* the one says too little of the other: coded apart, by no rule */
		codes->role = before.role;
		codes->codes = before.codes;
		codes->grid = before.grid;
		return QSTORE_OK;
	}
	half->role = PACK_REFINE;
	half->coarse = codes;
	if (half != fine) {
		fine->role = PACK_DELTA;
		fine->coarse = half;
	}
	return pack_use_absmax(&q->search, fine, codes, error);
}

/* Codes `fine` from `coarse`, of variant `number`, when it can be. */
static qstore_status pair_tensors(pairing *q, pack_tensor *fine, uint32_t fine_number, pack_tensor *coarse,
                                  uint32_t number, qs_error *error)
{
	packer *p = q->p;
	pack_tensor *root = pack_stored(coarse), *codes = codes_of(root), *own = codes_of(fine), *given = fine;
	qstore_status status = QSTORE_OK;
	int done = 0;
	if (fine->role == PACK_SHARED || root->role == PACK_LITERAL)
		return QSTORE_OK;
	if (fine->dtype == coarse->dtype && same_shape(fine, coarse)) {
		int same = 0;
		status = pack_same_bytes(p, fine, root, q->search.coarse, &same, error);
		if (status)
			return status;
		if (same) {
			fine->role = PACK_SHARED;
			fine->coarse = root;
			p->result.n_equal++;
			return QSTORE_OK;
		}
	}
	if (codes && codes->is_turned && can_turn(fine))
		status = turn(p, given, &fine, error);
	if (status)
		return status;
	const pack_tensor *shape = codes ? codes : root, *own_shape = own ? own : fine;
	if (pack_n_elems(shape) != pack_n_elems(own_shape) || pack_cols(shape) != pack_cols(own_shape)) {
		/* Packed formats have shapes of their own; codes and floats have not. */
		int is_float = qs_dtype_is_float(fine->dtype);
		if ((is_float && qs_dtype_is_float(coarse->dtype)) ||
		    (is_float && coarse->dtype == QS_I8 && coarse->n_dims == fine->n_dims && coarse->n_dims > 1 &&
		     pack_has_scales(&q->maps[number], root))) {
			q->n_shapes++;
			note_wrong(q, fine->name, number);
		}
		return QSTORE_OK;
	}
	if (own && codes) {
		if (!own->coarse && own->is_turned == codes->is_turned && fine->role != PACK_LITERAL &&
		    pack_guess_grid(&q->search, &q->maps[number], codes) &&
		    pack_guess_grid(&q->search, &q->maps[fine_number], own))
			own->coarse = codes;
		return QSTORE_OK;
	}
	if (fine->role != PACK_PLAIN)
		return QSTORE_OK;
	if (qs_dtype_is_float(fine->dtype) && codes && fine->n_dims > 1 && codes->is_turned == (fine != given)) {
		status = pair_refine(q, fine, codes, number, &done, error);
		if (fine != given && fine->role != PACK_PLAIN)
			use_turned(given);
		return status;
	}
	/* Scales are small, and grids need them plain. */
	if (!codes && !pack_is_scales_name(fine->name) && same_shape(fine, coarse) &&
	    qs_delta_applies(coarse->dtype, fine->dtype)) {
		int pays;
		status = pack_delta_pays(p, q->encoder, fine, root, &pays, error);
		if (status || !pays)
			return status;
		if (root->role == PACK_LAYOUT) { /* what it is the layout of is there to be built on */
			status = turn(p, given, &fine, error);
			if (status)
				return status;
			use_turned(given);
			root = root->coarse;
		}
		fine->role = PACK_DELTA;
		fine->coarse = root;
	}
	return status;
}

/* Has the tensor what it is coded from? */
static int is_paired(pack_tensor *t)
{
	const pack_tensor *own = codes_of(t);
	return t->role == PACK_SHARED || (own ? own->coarse != NULL : t->role > PACK_PLAIN);
}

/* ---- Pairs by content ---- */

#define CONTENT_MIN 0.25 /* square of the correlation; others have at most a sixth of that */

/* The matrix of variant `number` that has most in common with these floats. */
static qstore_status find_content(pairing *q, pack_tensor *fine, uint32_t number, pack_tensor **found,
                                  qs_error *error)
{
	const pack_map *map = &q->keys[number];
	double best = CONTENT_MIN;
	pack_tensor *half;
	qstore_status status = in_16_bits(q->p, fine, &half, error);
	*found = NULL;
	for (size_t i = 0; i < map->n_tensors && !status; i++) {
		pack_tensor *t = map->tensors[i], *codes = codes_of(pack_stored(t));
		double correlation;
		if (!codes || !codes->has_grid || pack_n_elems(codes) != pack_n_elems(fine) ||
		    pack_cols(codes) != pack_cols(fine) || pack_map_find(&q->keys[q->fine_number], t->key))
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
	return file->input && file->input->weights.format == QS_FORMAT_ONNX && t->role == PACK_PLAIN &&
	       !t->codes && t->n_dims == 2 && pack_n_elems(t) >= PACK_CONTENT_ELEMS &&
	       qs_dtype_is_float(t->dtype);
}

/* What has no namesake in any coarser variant. */
static qstore_status pair_contents(pairing *q, uint32_t fine, uint32_t first, uint32_t last, size_t *n_found,
                                   qs_error *error)
{
	packer *p = q->p;
	q->fine_number = fine;
	for (size_t i = 0; i < p->n_files; i++)
		for (size_t j = 0; j < p->files[i].n_tensors && (p->files[i].variants >> fine & 1) != 0; j++) {
			pack_tensor *t = &p->files[i].tensors[j];
			for (uint32_t v = first; v-- > last && is_onnx_matrix(&p->files[i], t);) {
				pack_tensor *coarse;
				qstore_status status = find_content(q, t, v, &coarse, error);
				if (!status && coarse) {
					++*n_found;
					status = pair_tensors(q, t, fine, coarse, v, error);
				}
				if (status)
					return status;
			}
		}
	return QSTORE_OK;
}

/* Each tensor of a variant is coded from the nearest coarser one that has something to code it from. */
static qstore_status pair_variant(pairing *q, uint32_t fine, qs_error *error)
{
	packer *p = q->p;
	size_t n_common = 0;
	uint32_t first = fine, last = 0;
	q->n_wrong = q->n_shapes = 0;
	q->named[0] = 0;
	if (fine == p->high_number && p->options->from) {
		while (last < fine && strcmp(p->names[last], p->options->from) != 0)
			last++;
		if (last == fine)
			return qs_fail(error, QSTORE_NOT_FOUND, "no variant coarser than %s is called %s",
			               p->models[fine].path, p->options->from);
		first = last + 1;
		p->from = last;
	}
	for (size_t i = 0; i < p->n_files; i++) {
		if ((p->files[i].variants >> fine & 1) == 0)
			continue;
		for (size_t j = 0; j < p->files[i].n_tensors; j++) {
			pack_tensor *t = &p->files[i].tensors[j];
			for (uint32_t v = first; v-- > last && !is_paired(t);) {
				pack_tensor *coarse = pack_map_find(&q->keys[v], t->key);
				if (!coarse)
					continue;
				n_common++;
				size_t n_wrong = q->n_wrong;
				qstore_status status = pair_tensors(q, t, fine, coarse, v, error);
				if (status)
					return status;
				if (q->n_wrong > n_wrong)
					break;
			}
		}
	}
	const char *fine_path = p->models[fine].path;
	qstore_status status = pair_contents(q, fine, first, last, &n_common, error);
	if (status)
		return status;
	if (n_common == 0)
		return qs_fail(error, QSTORE_MISMATCH, "%s does not belong to %s: they have no tensor name in common",
		               p->models[fine - 1].path, fine_path);
	if (q->n_wrong > 0) {
		const char *what = q->n_shapes == q->n_wrong ? "shape"
		                   : q->n_shapes == 0        ? "value"
		                                             : "shape or value";
		return qs_fail(error, QSTORE_MISMATCH, "%s does not belong to %s: %zu tensor%s in %s: %s%s",
		               p->models[q->wrong_coarse].path, fine_path, q->n_wrong,
		               q->n_wrong == 1 ? " differs" : "s differ", what, q->named,
		               q->n_wrong > NAMED_MAX ? ", …" : "");
	}
	return QSTORE_OK;
}

qstore_status pack_pair(packer *p, qs_error *error)
{
	pairing *q = calloc(1, sizeof(*q));
	if (!q)
		return pack_no_memory(error);
	q->p = p;
	q->encoder = qs_encoder_create();
	int ok = pack_search_init(&q->search, p) && q->encoder;
	for (uint32_t v = 0; v <= p->high_number && ok; v++)
		ok = pack_map_make(p, v, 0, &q->maps[v]) && pack_map_make(p, v, 1, &q->keys[v]);
	qstore_status status = ok ? QSTORE_OK : pack_no_memory(error);
	for (uint32_t v = 1; v <= p->high_number && !status; v++)
		status = pair_variant(q, v, error);
	for (uint32_t v = 0; v < QS_VARIANTS_MAX; v++) {
		free(q->maps[v].tensors);
		free(q->keys[v].tensors);
	}
	qs_encoder_destroy(q->encoder);
	pack_search_free(&q->search);
	free(q);
	return status;
}

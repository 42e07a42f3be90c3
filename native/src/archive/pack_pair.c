/* Variants as given: which tensors are the same in a coarser one, which have their codes there, and which are
 * close to floats there. */
#include <stdlib.h>
#include <string.h>

#include "../core/bytes.h"
#include "../core/cells.h"
#include "../core/delta.h"
#include "../core/mode.h"
#include "../encode/encode.h"
#include "pack.h"

/* More tensors than this are not named in a message. */
#define NAMED_MAX 5

typedef struct tensor_map {
	pack_tensor **tensors; /* sorted by name */
	size_t n_tensors;
} tensor_map;

static int compare_tensors(const void *a, const void *b)
{
	return strcmp((*(pack_tensor *const *)a)->name, (*(pack_tensor *const *)b)->name);
}

static int compare_name(const void *name, const void *tensor)
{
	return strcmp(name, (*(pack_tensor *const *)tensor)->name);
}

static pack_tensor *map_find(const tensor_map *map, const char *name)
{
	pack_tensor **found = map->n_tensors == 0 ? NULL
	                                          : bsearch(name, map->tensors, map->n_tensors,
	                                                    sizeof(*map->tensors), compare_name);
	return found == NULL ? NULL : *found;
}

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

static int is_float(uint32_t dtype)
{
	return dtype == QS_F16 || dtype == QS_BF16 || dtype == QS_F32 || dtype == QS_F64;
}

static qstore_status same_bytes(const packer *p, const pack_tensor *a, const pack_tensor *b, uint8_t *buffer,
                                int *same, qs_error *error)
{
	*same = 1;
	for (uint64_t at = 0; at < a->size && *same; at += QS_IO_BLOCK) {
		size_t n = a->size - at < QS_IO_BLOCK ? (size_t)(a->size - at) : QS_IO_BLOCK;
		qstore_status status = pack_read(p, a->source, buffer, n, a->source_offset + at, error);
		if (status == QSTORE_OK)
			status = pack_read(p, b->source, buffer + QS_IO_BLOCK, n, b->source_offset + at, error);
		if (status != QSTORE_OK)
			return status;
		if (pack_is_cancelled(p))
			return qs_fail(error, QSTORE_CANCELLED, "cancelled");
		*same = memcmp(buffer, buffer + QS_IO_BLOCK, n) == 0;
	}
	return QSTORE_OK;
}

/* What pairing needs besides the packer. */
typedef struct pairing {
	packer *p;
	tensor_map maps[QS_VARIANTS_MAX]; /* of each variant */
	uint8_t *fine, *coarse, *scales;  /* a chunk each */
	uint8_t *coded;
	qs_encoder *encoder;
	char named[600]; /* tensors that do not fit */
	size_t n_wrong, n_shapes;
	uint32_t wrong_coarse;
} pairing;

/* Where the bytes of a tensor that is stored once are. */
static pack_tensor *stored(pack_tensor *t)
{
	while (t->role == PACK_SHARED)
		t = t->coarse;
	return t;
}

/* ---- Quantizers ---- */

/* Elements of a chunk that are looked at; all of them in tensors that are no more than the chunks looked at.
 */
#define SAMPLE_ELEMS (1u << 16)
#define SAMPLE_ELEMS_SMALL (1u << 18)
#define CANDIDATES_MAX 16

typedef struct candidate {
	pack_tensor *scales;
	int named; /* like scales */
	uint64_t mismatches[QS_RULE_COUNT];
} candidate;

static int is_scales_name(const char *rest)
{
	return strstr(rest, "scale") != NULL || strstr(rest, "SCB") != NULL;
}

/* Floats of the codes' variant, named like them ("X.weight": X.SCB, X.weight_scale, X.scale, X.weight.scale
 * …; "X": X.scale, X_scale …), one a row or one for all. */
static size_t find_candidates(const tensor_map *map, const pack_tensor *codes, uint64_t rows,
                              candidate found[CANDIDATES_MAX])
{
	size_t stem = strlen(codes->name), n = 0, low = 0, high = map->n_tensors;
	if (stem > 7 && strcmp(codes->name + stem - 7, ".weight") == 0)
		stem -= 7;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (strncmp(map->tensors[middle]->name, codes->name, stem) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < map->n_tensors && n < CANDIDATES_MAX; low++) {
		pack_tensor *t = map->tensors[low];
		if (strncmp(t->name, codes->name, stem) != 0)
			break;
		const char *rest = t->name + stem, *dot = strchr(rest, '.');
		if ((rest[0] != '.' && rest[0] != '_') || t == codes || t->size == 0)
			continue;
		/* At most two parts: not those of modules within a module. */
		dot = dot == rest ? strchr(rest + 1, '.') : dot;
		if (dot != NULL && strchr(dot + 1, '.') != NULL)
			continue;
		if (t->dtype != QS_F32 && t->dtype != QS_F16 && t->dtype != QS_BF16)
			continue;
		uint64_t elems = pack_n_elems(t);
		if (elems != rows && elems != 1)
			continue;
		pack_tensor *root = stored(t);
		if (root->role == PACK_REFINE || root->role == PACK_CODES)
			continue;
		found[n] = (candidate){.scales = root, .named = is_scales_name(rest)};
		n++;
	}
	return n;
}

static qstore_status read_sample(pairing *q, const pack_tensor *t, uint8_t *dst, uint64_t first, size_t n,
                                 qs_error *error)
{
	size_t size = qs_dtype_size(t->dtype);
	return pack_read(q->p, t->source, dst, n * size, t->source_offset + first * size, error);
}

static qstore_status read_scales(pairing *q, const pack_tensor *scales, qs_chunk_desc *desc, qs_error *error)
{
	int single = pack_n_elems(scales) == 1;
	size_t size = qs_dtype_size(scales->dtype), n = single ? 1 : qs_chunk_rows(desc);
	desc->scales = q->scales;
	desc->scales_size = n * size;
	desc->scales_dtype = scales->dtype;
	return read_sample(q, scales, q->scales, single ? 0 : desc->first_elem / desc->cols, n, error);
}

/* Elements that the rule gives another code than desc->coarse has. */
static uint64_t count_mismatches(const qs_chunk_desc *desc, const uint8_t *fine)
{
	uint64_t n = 0;
	for (qs_row_part part = qs_first_row(desc); part.count; part = qs_next_row(desc, part)) {
		float scale = qs_chunk_scale(desc, part.row);
		for (uint32_t i = part.begin; i < part.begin + part.count; i++) {
			int code = qs_cell_code(desc->dtype, desc->rule, scale, qs_load16(fine + 2 * (size_t)i));
			int given = (int8_t)desc->coarse[i];
			if (code != QS_NO_CODE)
				code = code > 127 ? 127 : code < -128 ? -128 : code;
			/* Some quantizers are symmetric. */
			n += code != given && !(code == -128 && given == -127);
		}
	}
	return n;
}

static qs_chunk_desc sample_desc(const pack_tensor *fine, uint64_t first, uint32_t n)
{
	uint32_t chunk_elems;
	qs_chunk_desc desc = {.kind = QS_KIND_REFINE, .dtype = fine->dtype, .n_elems = n, .first_elem = first};
	pack_geometry(fine->dtype, fine->n_dims, fine->dims, &desc.cols, &chunk_elems);
	return desc;
}

/* Runs every rule with every candidate on the first, the middle and the last chunk; the fewest mismatches
 * win. *scales is NULL when there is no candidate. */
static qstore_status find_rule(pairing *q, const pack_tensor *fine, const pack_tensor *codes,
                               const tensor_map *map, pack_tensor **scales, uint32_t *rule, int *alike,
                               qs_error *error)
{
	/* The first of equals is taken. */
	static const uint8_t by_use[] = {QS_RULE_LLM_INT8, QS_RULE_DIVIDE, QS_RULE_MULTIPLY, QS_RULE_DIVIDE_BF16};
	candidate candidates[CANDIDATES_MAX];
	uint64_t cols, seen = 0, elems = pack_n_elems(fine), best = 0;
	uint32_t chunk_elems;
	double error_sum, square_sum;
	pack_geometry(fine->dtype, fine->n_dims, fine->dims, &cols, &chunk_elems);
	size_t n_candidates = find_candidates(map, codes, (elems + cols - 1) / cols, candidates);
	uint64_t n_chunks = (elems + chunk_elems - 1) / chunk_elems, previous = QS_NONE;
	uint64_t chunks[3] = {0, n_chunks / 2, n_chunks - 1};
	*scales = NULL;
	*rule = QS_RULE_NONE;
	*alike = 1;
	for (int c = 0; c < 3 && n_candidates > 0; c++) {
		if (chunks[c] == previous)
			continue;
		previous = chunks[c];
		uint64_t first = chunks[c] * chunk_elems, left = elems - first;
		uint32_t most = n_chunks <= 3 ? SAMPLE_ELEMS_SMALL : SAMPLE_ELEMS;
		uint32_t n = left < most ? (uint32_t)left : most;
		n = n < chunk_elems ? n : chunk_elems;
		qs_chunk_desc desc = sample_desc(fine, first, n);
		desc.coarse = q->coarse;
		qstore_status status = read_sample(q, fine, q->fine, first, n, error);
		if (status == QSTORE_OK)
			status = read_sample(q, codes, q->coarse, first, n, error);
		for (size_t i = 0; i < n_candidates && status == QSTORE_OK; i++) {
			status = read_scales(q, candidates[i].scales, &desc, error);
			for (desc.rule = 1; desc.rule < QS_RULE_COUNT && status == QSTORE_OK; desc.rule++)
				candidates[i].mismatches[desc.rule] += count_mismatches(&desc, q->fine);
		}
		if (status != QSTORE_OK)
			return status;
		if (pack_is_cancelled(q->p))
			return qs_fail(error, QSTORE_CANCELLED, "cancelled");
		seen += n;
	}
	for (size_t i = 0; i < n_candidates; i++) {
		for (size_t j = 0; j < sizeof(by_use); j++) {
			uint32_t r = by_use[j];
			uint64_t mismatches = candidates[i].mismatches[r];
			/* What is not named like scales has to prove itself. */
			if (candidates[i].named ? *scales != NULL && mismatches >= best
			                        : mismatches >= seen / 2 || (*scales != NULL && mismatches >= best))
				continue;
			best = mismatches;
			*scales = candidates[i].scales;
			*rule = r;
		}
	}
	if (*scales == NULL)
		return QSTORE_OK;
	/* Wrong pairs are found before hours of work. */
	qs_chunk_desc desc = sample_desc(fine, 0, elems < SAMPLE_ELEMS ? (uint32_t)elems : SAMPLE_ELEMS);
	desc.n_elems = desc.n_elems < chunk_elems ? desc.n_elems : chunk_elems;
	desc.coarse = q->coarse;
	desc.rule = *rule;
	qstore_status status = read_sample(q, fine, q->fine, 0, desc.n_elems, error);
	if (status == QSTORE_OK)
		status = read_sample(q, codes, q->coarse, 0, desc.n_elems, error);
	if (status == QSTORE_OK)
		status = read_scales(q, *scales, &desc, error);
	if (status == QSTORE_OK)
		pack_error_sums(&desc, q->fine, &error_sum, &square_sum);
	if (status == QSTORE_OK)
		*alike = pack_alike(error_sum, square_sum, desc.n_elems);
	return status;
}

/* ---- Floats ---- */

/* Does a piece of the middle chunk shrink by its difference to the coarse one's? */
static qstore_status delta_pays(pairing *q, const pack_tensor *fine, const pack_tensor *coarse, int *pays,
                                qs_error *error)
{
	uint32_t chunk_elems;
	uint64_t elems = pack_n_elems(fine), first;
	qs_chunk_desc desc = {.kind = QS_KIND_PLAIN, .dtype = fine->dtype};
	pack_geometry(fine->dtype, fine->n_dims, fine->dims, &desc.cols, &chunk_elems);
	first = elems / chunk_elems / 2 * chunk_elems;
	desc.first_elem = first;
	desc.n_elems = elems - first < SAMPLE_ELEMS ? (uint32_t)(elems - first) : SAMPLE_ELEMS;
	size_t fine_size = desc.n_elems * (size_t)qs_dtype_size(fine->dtype), plain_size, delta_size;
	*pays = 0;
	qstore_status status = read_sample(q, fine, q->fine, first, desc.n_elems, error);
	if (status == QSTORE_OK)
		status = read_sample(q, coarse, q->coarse, first, desc.n_elems, error);
	if (status != QSTORE_OK)
		return status;
	size_t cap = qs_chunk_bound(QS_CHUNK_SIZE_MAX);
	status = qs_chunk_encode(q->encoder, &desc, q->fine, fine_size, q->coded, cap, &plain_size, NULL);
	desc.kind = QS_KIND_DELTA;
	desc.coarse = q->coarse;
	desc.coarse_dtype = coarse->dtype;
	if (status == QSTORE_OK)
		status = qs_chunk_encode(q->encoder, &desc, q->fine, fine_size, q->coded, cap, &delta_size, NULL);
	if (status != QSTORE_OK)
		return qs_fail(error, status, "%s: cannot be coded: %s", fine->name, qstore_status_message(status));
	*pays = delta_size < plain_size - plain_size / 50;
	return QSTORE_OK;
}

/* ---- Pairs ---- */

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

/* Codes `fine` from `coarse`, of variant `number`, when it can be. */
static qstore_status pair_tensors(pairing *q, pack_tensor *fine, pack_tensor *coarse, uint32_t number,
                                  qs_error *error)
{
	packer *p = q->p;
	pack_tensor *root = stored(coarse), *scales;
	qstore_status status = QSTORE_OK;
	if (!same_shape(fine, coarse)) {
		/* Packed formats have shapes of their own; codes and floats have not. */
		candidate found[CANDIDATES_MAX];
		int wrong = is_float(fine->dtype) && is_float(coarse->dtype);
		if (is_float(fine->dtype) && coarse->dtype == QS_I8 && coarse->n_dims == fine->n_dims &&
		    coarse->n_dims > 1) {
			size_t n = find_candidates(&q->maps[number], coarse, coarse->dims[0], found);
			for (size_t i = 0; i < n; i++)
				wrong |= found[i].named;
		}
		if (wrong) {
			q->n_shapes++;
			note_wrong(q, fine->name, number);
		}
		return QSTORE_OK;
	}
	if (fine->role != PACK_PLAIN || root->role == PACK_LITERAL)
		return QSTORE_OK;
	if (fine->dtype == coarse->dtype) {
		int same = 0;
		status = same_bytes(p, fine, root, q->coarse, &same, error);
		if (status != QSTORE_OK)
			return status;
		if (same) {
			fine->role = PACK_SHARED;
			fine->coarse = root;
			p->result.n_equal++;
			return QSTORE_OK;
		}
	}
	if ((fine->dtype == QS_F16 || fine->dtype == QS_BF16) && coarse->dtype == QS_I8 && fine->n_dims > 1) {
		uint32_t rule;
		int alike;
		status = find_rule(q, fine, root, &q->maps[number], &scales, &rule, &alike, error);
		if (status != QSTORE_OK || scales == NULL)
			return status;
		if (!alike)
			note_wrong(q, fine->name, number);
		root->role = PACK_CODES;
		scales->role = PACK_PLAIN; /* however small; other objects need it as it is */
		scales->coarse = NULL;
		fine->role = PACK_REFINE;
		fine->rule = rule;
		fine->coarse = root;
		fine->scales = scales;
	} else if (root->role != PACK_CODES && qs_delta_applies(coarse->dtype, fine->dtype)) {
		int pays;
		status = delta_pays(q, fine, root, &pays, error);
		if (status == QSTORE_OK && pays) {
			fine->role = PACK_DELTA;
			fine->coarse = root;
		}
	}
	return status;
}

/* Each tensor of a variant is coded from the nearest coarser one that has something to code it from. */
static qstore_status pair_variant(pairing *q, uint32_t fine, qs_error *error)
{
	packer *p = q->p;
	size_t n_common = 0;
	q->n_wrong = q->n_shapes = 0;
	q->named[0] = 0;
	for (size_t i = 0; i < p->n_files; i++) {
		if ((p->files[i].variants >> fine & 1) == 0)
			continue;
		for (size_t j = 0; j < p->files[i].n_tensors; j++) {
			pack_tensor *t = &p->files[i].tensors[j];
			for (uint32_t v = fine; v-- > 0 && t->role <= PACK_PLAIN;) {
				pack_tensor *coarse = map_find(&q->maps[v], t->name);
				if (coarse == NULL)
					continue;
				n_common++;
				size_t n_wrong = q->n_wrong;
				qstore_status status = pair_tensors(q, t, coarse, v, error);
				if (status != QSTORE_OK)
					return status;
				if (q->n_wrong > n_wrong)
					break;
			}
		}
	}
	const char *fine_path = p->models[fine].path;
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

static int make_map(const packer *p, uint32_t variant, tensor_map *map)
{
	size_t n = 0;
	for (size_t i = 0; i < p->n_files; i++)
		n += p->files[i].variants >> variant & 1 ? p->files[i].n_tensors : 0;
	map->tensors = malloc((n + 1) * sizeof(*map->tensors));
	if (map->tensors == NULL)
		return 0;
	for (size_t i = 0; i < p->n_files; i++) {
		if ((p->files[i].variants >> variant & 1) == 0)
			continue;
		for (size_t j = 0; j < p->files[i].n_tensors; j++)
			map->tensors[map->n_tensors++] = &p->files[i].tensors[j];
	}
	if (n > 0)
		qsort(map->tensors, n, sizeof(*map->tensors), compare_tensors);
	return 1;
}

qstore_status pack_pair(packer *p, qs_error *error)
{
	pairing *q = calloc(1, sizeof(*q));
	if (q == NULL)
		return pack_no_memory(error);
	q->p = p;
	q->fine = malloc(QS_CHUNK_SIZE_MAX);
	q->coarse = malloc(2 * QS_IO_BLOCK > QS_CHUNK_SIZE_MAX ? 2 * QS_IO_BLOCK : QS_CHUNK_SIZE_MAX);
	q->scales = malloc(SAMPLE_ELEMS_SMALL * sizeof(float));
	q->coded = malloc(qs_chunk_bound(QS_CHUNK_SIZE_MAX));
	q->encoder = qs_encoder_create();
	int ok =
	    q->fine != NULL && q->coarse != NULL && q->scales != NULL && q->coded != NULL && q->encoder != NULL;
	for (uint32_t v = 0; v <= p->high_number && ok; v++)
		ok = make_map(p, v, &q->maps[v]);
	qstore_status status = ok ? QSTORE_OK : pack_no_memory(error);
	for (uint32_t v = 1; v <= p->high_number && status == QSTORE_OK; v++)
		status = pair_variant(q, v, error);
	for (uint32_t v = 0; v < QS_VARIANTS_MAX; v++)
		free(q->maps[v].tensors);
	if (q->encoder != NULL)
		qs_encoder_destroy(q->encoder);
	free(q->fine);
	free(q->coarse);
	free(q->scales);
	free(q->coded);
	free(q);
	return status;
}

/* Variants as given: which tensors are the same in a coarser one, which have their codes there, and which are
 * close to floats there. */
#include <stdlib.h>
#include <string.h>

#include "../core/bytes.h"
#include "../core/cells.h"
#include "../core/delta.h"
#include "../core/layout.h"
#include "../core/mode.h"
#include "../encode/encode.h"
#include "pack.h"

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

static int is_float(uint32_t dtype)
{
	return dtype == QS_F16 || dtype == QS_BF16 || dtype == QS_F32 || dtype == QS_F64;
}

/* ---- Quantizers ---- */

/* Elements of a chunk that are looked at; all of them in tensors that are no more than the chunks looked at.
 */
#define SAMPLE_ELEMS (1u << 16)
#define SAMPLE_ELEMS_SMALL (1u << 18)
#define SCALES_MAX 8
/* Square of the correlation of codes with values that they are not near to, but belong to: columns may be
 * scaled (SmoothQuant, AWQ). */
#define RELATED_MIN 0.1
#define STRIDES_MAX 6
#define GRIDS_MAX 96

typedef struct candidate {
	pack_grid grid;
	int named; /* like scales */
	uint64_t mismatches;
	pack_sums sums;
} candidate;

typedef struct candidates {
	candidate list[GRIDS_MAX];
	size_t n;
} candidates;

/* What pairing needs besides the packer. */
typedef struct pairing {
	packer *p;
	pack_map maps[QS_VARIANTS_MAX], keys[QS_VARIANTS_MAX]; /* of each variant */
	uint8_t *fine, *coarse;                                /* a chunk each */
	uint8_t *coded, *scratch;
	pack_grid_memory grid;
	candidates candidates;
	qs_encoder *encoder;
	char named[600]; /* tensors that do not fit */
	size_t n_wrong, n_shapes;
	uint32_t wrong_coarse, fine_number;
} pairing;

static int is_scales_name(const char *rest)
{
	return strstr(rest, "scale") != NULL || strstr(rest, "SCB") != NULL;
}

static int is_zeros_name(const char *rest)
{
	return strstr(rest, "zero") != NULL;
}

/* What a tensor of codes has in common with the names of its scales. */
static size_t stem_of(const char *name)
{
	static const char *const ends[] = {".weight", "_quantized", "_weight_qdata"};
	size_t size = strlen(name);
	for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++) {
		size_t n = strlen(ends[i]);
		if (size > n && strcmp(name + size - n, ends[i]) == 0)
			return size - n;
	}
	return size;
}

/* Tensors named like this one ("X.weight": X.SCB, X.weight_scale, X.scale, X.weight.scale …; "X": X.scale,
 * X_scale …), at most `most`. */
static size_t find_named(const pack_map *map, const pack_tensor *codes, pack_tensor **found, size_t most)
{
	char stem_text[QS_TENSOR_NAME_MAX + 1];
	size_t stem = stem_of(codes->full), n = 0;
	if (stem > QS_TENSOR_NAME_MAX)
		return 0;
	memcpy(stem_text, codes->full, stem);
	stem_text[stem] = 0;
	for (size_t i = pack_map_first(map, stem_text); i < map->n_tensors && n < most; i++) {
		pack_tensor *t = map->tensors[i];
		if (strncmp(t->full, codes->full, stem) != 0)
			break;
		const char *rest = t->full + stem, *dot = strchr(rest, '.');
		if ((rest[0] != '.' && rest[0] != '_') || t == codes || t->size == 0)
			continue;
		/* At most two parts: not those of modules within a module. */
		dot = dot == rest ? strchr(rest + 1, '.') : dot;
		if (dot != NULL && strchr(dot + 1, '.') != NULL)
			continue;
		t = pack_stored(t);
		if (t->role == PACK_PLAIN || t->role == PACK_LITERAL)
			found[n++] = t;
	}
	return n;
}

/* The ways in which n scales can belong to rows × cols codes. */
static size_t find_strides(uint64_t n, const pack_tensor *scales, uint64_t rows, uint64_t cols,
                           pack_grid found[STRIDES_MAX])
{
	size_t n_found = 0;
	uint64_t first = scales->n_dims > 0 ? scales->dims[0] : 1;
	if (n == 1)
		found[n_found++] = (pack_grid){.group = pack_group(cols)};
	else if (n == rows)
		found[n_found++] = (pack_grid){.group = pack_group(cols), .row_stride = 1};
	if (n > 1 && n == cols && cols > 1)
		found[n_found++] = (pack_grid){.group = 1, .group_stride = 1};
	if (n > rows && rows > 0 && n % rows == 0 && n / rows < cols) {
		uint64_t groups = n / rows;
		for (uint32_t g = 0; g < 7 && n_found < STRIDES_MAX; g++) {
			/* All of one size, or of one in use and a rest. */
			uint64_t group = g == 0 ? (cols + groups - 1) / groups : 8u << g;
			if ((cols + group - 1) / group != groups ||
			    (g > 0 && cols % groups == 0 && group == cols / groups))
				continue;
			if (first == rows)
				found[n_found++] =
				    (pack_grid){.group = (uint32_t)group, .row_stride = groups, .group_stride = 1};
			else if (first == groups)
				found[n_found++] =
				    (pack_grid){.group = (uint32_t)group, .row_stride = 1, .group_stride = rows};
		}
	}
	return n_found;
}

/* Every grid that a matrix of codes may have. Those of packed codes and blocks are known but for details. */
static void find_grids(const pack_map *map, pack_tensor *codes, candidates *c)
{
	/* The first of equals is taken. */
	static const uint8_t rules[] = {QS_RULE_LLM_INT8, QS_RULE_DIVIDE, QS_RULE_MULTIPLY, QS_RULE_DIVIDE_HALF};
	pack_tensor *named[32];
	c->n = 0;
	if (codes->view != PACK_AS_IS || codes->has_grid) {
		c->list[c->n++] = (candidate){.grid = codes->grid, .named = 1};
		if (codes->view == PACK_WORD_CODES_T && codes->grid.zeros != NULL) {
			/* GPTQModel's second version has the zero points themselves. */
			c->list[c->n] = c->list[0];
			c->list[c->n++].grid.zero_offset = 0;
		}
		/* Groups whose size does not divide the columns: by the sizes that are in use. */
		for (uint32_t group = 16; group <= 1024 && codes->grid.order == NULL; group *= 2) {
			const pack_grid *known = &codes->grid;
			uint64_t cols = pack_cols(codes), groups = (cols + known->group - 1) / known->group;
			if (cols % known->group == 0 && known->group != group && known->group < cols &&
			    (cols + group - 1) / group == groups && codes->grid.rule < QS_RULE_Q8_0) {
				c->list[c->n] = c->list[0];
				c->list[c->n++].grid.group = group;
			}
		}
		for (size_t i = 0, n = c->n; codes->grid.rule < QS_RULE_Q8_0 && i < n; i++)
			for (size_t r = 1; r < sizeof(rules); r++) {
				if (rules[r] == c->list[i].grid.rule)
					continue;
				c->list[c->n] = c->list[i];
				c->list[c->n++].grid.rule = rules[r];
			}
		return;
	}
	uint64_t rows = pack_rows(codes), cols = pack_cols(codes);
	size_t n_named = find_named(map, codes, named, sizeof(named) / sizeof(*named)), n_scales = 0;
	for (size_t i = 0; i < n_named && n_scales < SCALES_MAX; i++) {
		pack_tensor *scales = named[i], *zeros = NULL;
		uint64_t n = pack_n_elems(scales);
		pack_grid strides[STRIDES_MAX];
		if (scales->dtype != QS_F32 && scales->dtype != QS_F16 && scales->dtype != QS_BF16)
			continue;
		size_t n_strides = find_strides(n, scales, rows, cols, strides);
		n_scales += n_strides > 0;
		for (size_t j = 0; j < n_named; j++)
			if (is_zeros_name(named[j]->full + stem_of(codes->full)) && pack_n_elems(named[j]) == n &&
			    (named[j]->dtype == QS_U8 || named[j]->dtype == QS_I8))
				zeros = named[j];
		for (size_t j = 0; j < n_strides; j++)
			for (size_t r = 0; r < sizeof(rules) && c->n < GRIDS_MAX; r++) {
				candidate *added = &c->list[c->n++];
				*added = (candidate){.grid = strides[j],
				                     .named = is_scales_name(scales->full + stem_of(codes->full))};
				added->grid.rule = rules[r];
				added->grid.scales = scales;
				added->grid.zeros = zeros;
				added->grid.zero_offset = zeros == NULL && codes->dtype == QS_U8 ? 128 : 0;
			}
	}
}

static qstore_status read_sample(pairing *q, const pack_tensor *t, uint8_t *dst, uint64_t first, size_t n,
                                 qs_error *error)
{
	size_t size = qs_dtype_size(t->dtype);
	return pack_tensor_read(q->p, t, dst, n * size, first * size, q->scratch, error);
}

/* Elements that the rule gives another code than desc->coarse has. */
static uint64_t count_mismatches(const qs_chunk_desc *desc, const uint8_t *fine)
{
	const qs_grid *grid = &desc->coarse_grid;
	int is_signed = desc->coarse_dtype == QS_I8, low = is_signed ? -128 : 0;
	int high = is_signed ? 127 : (int)qs_rule_levels(grid->rule) - 1;
	uint64_t n = 0;
	qs_runs runs;
	qs_runs_begin(&runs, grid, desc->cols, desc->first_elem, desc->n_elems, QS_CODED_ROWS, NULL);
	while (qs_runs_next(&runs)) {
		qs_step step;
		qs_grid_step(grid, runs.run.number, &step);
		for (uint32_t i = runs.run.begin, end = i + runs.run.count; i < end; i++) {
			int code = qs_cell_code(desc->dtype, grid->rule, &step, qs_load16(fine + 2 * (size_t)i));
			int given = is_signed ? (int8_t)desc->coarse[i] : desc->coarse[i];
			if (code != QS_NO_CODE)
				code = code > high ? high : code < low ? low : code;
			/* Some quantizers are symmetric. */
			n += code != given && !(is_signed && code == -128 && given == -127);
		}
	}
	return n;
}

/* What codes and scales say of values. */
typedef enum fit { FITS, RELATED, WRONG } fit;

/* Tries every grid on the first, the middle and the last chunk; the fewest mismatches win. `found` is NULL
 * when there is no candidate; codes->grid is set else. */
static qstore_status find_rule(pairing *q, const pack_tensor *fine, pack_tensor *codes, const pack_map *map,
                               int *found, fit *how, qs_error *error)
{
	candidates *c = &q->candidates;
	uint64_t cols, seen = 0, elems = pack_n_elems(fine);
	uint32_t chunk_elems;
	pack_geometry(fine, &cols, &chunk_elems);
	find_grids(map, codes, c);
	uint64_t n_chunks = (elems + chunk_elems - 1) / chunk_elems, previous = QS_NONE;
	uint64_t chunks[3] = {0, n_chunks / 2, n_chunks - 1};
	*found = 0;
	*how = FITS;
	for (int k = 0; k < 3 && c->n > 0; k++) {
		if (chunks[k] == previous)
			continue;
		previous = chunks[k];
		uint64_t first = chunks[k] * chunk_elems, left = elems - first;
		uint32_t most = n_chunks <= 3 ? SAMPLE_ELEMS_SMALL : SAMPLE_ELEMS;
		uint32_t n = left < most ? (uint32_t)left : most;
		n = n < chunk_elems ? n : chunk_elems;
		qs_chunk_desc desc = {.kind = QS_KIND_REFINE,
		                      .dtype = fine->dtype,
		                      .n_elems = n,
		                      .cols = cols,
		                      .first_elem = first,
		                      .coarse = q->coarse,
		                      .coarse_dtype = codes->dtype};
		qstore_status status = read_sample(q, fine, q->fine, first, n, error);
		if (status == QSTORE_OK)
			status = read_sample(q, codes, q->coarse, first, n, error);
		for (size_t i = 0; i < c->n && status == QSTORE_OK; i++) {
			status = pack_load_grid(q->p, &c->list[i].grid, codes->dtype, cols, first, n, &q->grid,
			                        q->scratch, &desc.coarse_grid, error);
			if (status != QSTORE_OK)
				break;
			c->list[i].mismatches += count_mismatches(&desc, q->fine);
			pack_add_sums(&desc, q->fine, &c->list[i].sums);
		}
		if (status != QSTORE_OK)
			return status;
		if (pack_is_cancelled(q->p))
			return qs_fail(error, QSTORE_CANCELLED, "cancelled");
		seen += n;
	}
	const candidate *best = NULL;
	for (size_t i = 0; i < c->n; i++) {
		const candidate *other = &c->list[i];
		/* What is not named like scales has to prove itself. */
		if (!other->named && other->mismatches >= seen / 2)
			continue;
		if (best == NULL || other->mismatches < best->mismatches)
			best = other;
	}
	if (best == NULL)
		return QSTORE_OK;
	/* Codes that were not made by rounding alone miss by any rule: the nearest values decide. */
	if (best->mismatches > seen / 4)
		for (size_t i = 0; i < c->n; i++)
			if (c->list[i].sums.errors < 0.98 * best->sums.errors)
				best = &c->list[i];
	*found = 1;
	/* Wrong pairs are found before hours of work. */
	*how = pack_alike(&best->sums) ? FITS : pack_correlation(&best->sums) > RELATED_MIN ? RELATED : WRONG;
	pack_grid grid = best->grid;
	pack_use_grid(codes, &grid);
	return QSTORE_OK;
}

/* Are the scales of all Q8_0 blocks those that these values' absmax gives? */
static qstore_status use_absmax(pairing *q, const pack_tensor *fine, pack_tensor *codes, qs_error *error)
{
	packer *p = q->p;
	if ((fine->dtype != QS_BF16 && fine->dtype != QS_F16) || codes->grid.rule != QS_RULE_Q8_0_D ||
	    fine->view != PACK_AS_IS)
		return QSTORE_OK;
	pack_tensor *scales = codes->grid.scales;
	pack_tensor *absmax = pack_add_part(p, fine, PACK_BLOCK_ABSMAX, fine->dtype, pack_rows(scales), 1);
	if (absmax == NULL)
		return pack_no_memory(error);
	absmax->owner = scales->owner;
	const uint32_t piece = 1u << 13;
	uint64_t n = pack_n_elems(scales);
	memset(q->coarse, 0, 32 * (size_t)piece);
	for (uint64_t at = 0; at < n; at += piece) {
		uint32_t some = n - at < piece ? (uint32_t)(n - at) : piece;
		uint8_t *stored_scales = q->fine, *found = q->fine + 2 * (size_t)piece,
		        *blocks = q->coded; /* 34 bytes each */
		qstore_status status = read_sample(q, scales, stored_scales, at, some, error);
		if (status == QSTORE_OK)
			status = read_sample(q, absmax, found, at, some, error);
		if (status != QSTORE_OK)
			return status;
		qs_blocks_join(QS_Q8_0, fine->dtype, q->coarse, found, some, blocks);
		for (uint32_t i = 0; i < some; i++)
			if (memcmp(blocks + 34 * (size_t)i, stored_scales + 2 * (size_t)i, 2) != 0)
				return QSTORE_OK;
	}
	codes->grid.rule = QS_RULE_Q8_0;
	codes->grid.scales = absmax;
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

/* The matrix of codes that a tensor is the file's form of; NULL when it can be none. */
static pack_tensor *codes_of(pack_tensor *t)
{
	if (t->codes != NULL)
		return t->codes;
	return (t->dtype == QS_I8 || t->dtype == QS_U8) && t->n_dims > 1 && t->role != PACK_LITERAL ? t : NULL;
}

/* Floats from codes. */
static qstore_status pair_refine(pairing *q, pack_tensor *fine, pack_tensor *codes, uint32_t number,
                                 int *done, qs_error *error)
{
	packer *p = q->p;
	pack_tensor *half = fine;
	fit how;
	if (fine->dtype == QS_F32) {
		/* Singles are differences to their cast, which no file shows. */
		half = pack_add_part(p, fine, PACK_CAST_BF16, QS_BF16, pack_rows(fine), pack_cols(fine));
		if (half == NULL)
			return pack_no_memory(error);
	}
	qstore_status status = find_rule(q, half, codes, &q->maps[number], done, &how, error);
	if (status != QSTORE_OK || !*done)
		return status;
	if (how == WRONG)
		note_wrong(q, fine->name, number);
	if (how != FITS)
		return QSTORE_OK; /* the one says too little of the other: coded apart */
	half->role = PACK_REFINE;
	half->coarse = codes;
	if (half != fine) {
		fine->role = PACK_DELTA;
		fine->coarse = half;
	}
	return use_absmax(q, fine, codes, error);
}

/* Codes from coarser codes. Those in I8 whose grid nothing has shown yet: by the names of their scales. */
static int guess_grid(pairing *q, pack_tensor *codes, uint32_t number)
{
	if (codes->grid.rule != QS_RULE_NONE)
		return 1;
	find_grids(&q->maps[number], codes, &q->candidates);
	for (size_t i = 0; i < q->candidates.n; i++) {
		const candidate *c = &q->candidates.list[i];
		int is_absmax = strstr(c->grid.scales->name, "SCB") != NULL;
		if (!c->named || is_absmax != (c->grid.rule == QS_RULE_LLM_INT8))
			continue;
		pack_use_grid(codes, &c->grid);
		return 1;
	}
	return 0;
}

/* Codes `fine` from `coarse`, of variant `number`, when it can be. */
static qstore_status pair_tensors(pairing *q, pack_tensor *fine, uint32_t fine_number, pack_tensor *coarse,
                                  uint32_t number, qs_error *error)
{
	packer *p = q->p;
	pack_tensor *root = pack_stored(coarse), *codes = codes_of(root), *own = codes_of(fine);
	qstore_status status = QSTORE_OK;
	int done = 0;
	if (fine->role == PACK_SHARED || root->role == PACK_LITERAL)
		return QSTORE_OK;
	if (fine->dtype == coarse->dtype && same_shape(fine, coarse)) {
		int same = 0;
		status = pack_same_bytes(p, fine, root, q->coarse, &same, error);
		if (status != QSTORE_OK)
			return status;
		if (same) {
			fine->role = PACK_SHARED;
			fine->coarse = root;
			p->result.n_equal++;
			return QSTORE_OK;
		}
	}
	const pack_tensor *shape = codes != NULL ? codes : root, *own_shape = own != NULL ? own : fine;
	if (pack_n_elems(shape) != pack_n_elems(own_shape) || pack_cols(shape) != pack_cols(own_shape)) {
		/* Packed formats have shapes of their own; codes and floats have not. */
		pack_tensor *found[32];
		int wrong = is_float(fine->dtype) && is_float(coarse->dtype);
		if (is_float(fine->dtype) && coarse->dtype == QS_I8 && coarse->n_dims == fine->n_dims &&
		    coarse->n_dims > 1) {
			size_t n = find_named(&q->maps[number], root, found, sizeof(found) / sizeof(*found));
			for (size_t i = 0; i < n; i++)
				wrong |= is_scales_name(found[i]->full + stem_of(root->full));
		}
		if (wrong) {
			q->n_shapes++;
			note_wrong(q, fine->name, number);
		}
		return QSTORE_OK;
	}
	if (own != NULL && codes != NULL) {
		if (own->coarse == NULL && fine->role != PACK_LITERAL && guess_grid(q, codes, number) &&
		    guess_grid(q, own, fine_number))
			own->coarse = codes;
		return QSTORE_OK;
	}
	if (fine->role != PACK_PLAIN)
		return QSTORE_OK;
	if ((fine->dtype == QS_F16 || fine->dtype == QS_BF16 || fine->dtype == QS_F32) && codes != NULL &&
	    fine->n_dims > 1)
		return pair_refine(q, fine, codes, number, &done, error);
	/* Scales are small, and grids need them plain. */
	if (codes == NULL && !is_scales_name(fine->name) && same_shape(fine, coarse) &&
	    qs_delta_applies(coarse->dtype, fine->dtype)) {
		int pays;
		status = pack_delta_pays(p, fine, root, &pays, error);
		if (status == QSTORE_OK && pays) {
			fine->role = PACK_DELTA;
			fine->coarse = root;
		}
	}
	return status;
}

/* Has the tensor what it is coded from? */
static int is_paired(pack_tensor *t)
{
	const pack_tensor *own = codes_of(t);
	return t->role == PACK_SHARED || (own != NULL ? own->coarse != NULL : t->role > PACK_PLAIN);
}

/* ---- Pairs by content ---- */

/* Optimizers rename an ONNX graph's weights. Pieces of matrices of one shape tell those that belong together.
 */
#define CONTENT_ELEMS 4096u
#define CONTENT_MIN 0.25 /* square of the correlation; others have at most a sixth of that */

static qstore_status correlate(pairing *q, const pack_tensor *fine, pack_tensor *codes, double *correlation,
                               qs_error *error)
{
	uint64_t cols = pack_cols(fine), elems = pack_n_elems(fine);
	uint64_t first = elems / 2 / cols * cols, left = elems - first;
	qs_chunk_desc desc = {.kind = QS_KIND_REFINE,
	                      .dtype = fine->dtype,
	                      .n_elems = left < CONTENT_ELEMS ? (uint32_t)left : CONTENT_ELEMS,
	                      .cols = cols,
	                      .first_elem = first,
	                      .coarse = q->coarse,
	                      .coarse_dtype = codes->dtype};
	pack_sums sums = {0};
	qstore_status status = read_sample(q, fine, q->fine, first, desc.n_elems, error);
	if (status == QSTORE_OK)
		status = read_sample(q, codes, q->coarse, first, desc.n_elems, error);
	if (status == QSTORE_OK)
		status = pack_load_grid(q->p, &codes->grid, codes->dtype, cols, first, desc.n_elems, &q->grid,
		                        q->scratch, &desc.coarse_grid, error);
	if (status == QSTORE_OK)
		pack_add_sums(&desc, q->fine, &sums);
	*correlation = pack_correlation(&sums);
	return status;
}

/* The matrix of variant `number` that has most in common with these floats. */
static qstore_status find_content(pairing *q, pack_tensor *fine, uint32_t number, pack_tensor **found,
                                  qs_error *error)
{
	const pack_map *map = &q->keys[number];
	double best = CONTENT_MIN;
	pack_tensor *half = fine;
	*found = NULL;
	if (fine->dtype == QS_F32) {
		half = pack_add_part(q->p, fine, PACK_CAST_BF16, QS_BF16, pack_rows(fine), pack_cols(fine));
		if (half == NULL)
			return pack_no_memory(error);
	}
	for (size_t i = 0; i < map->n_tensors; i++) {
		pack_tensor *t = map->tensors[i], *codes = codes_of(pack_stored(t));
		double correlation;
		if (codes == NULL || !codes->has_grid || pack_n_elems(codes) != pack_n_elems(fine) ||
		    pack_cols(codes) != pack_cols(fine) || pack_map_find(&q->keys[q->fine_number], t->key) != NULL)
			continue;
		qstore_status status = correlate(q, half, codes, &correlation, error);
		if (status != QSTORE_OK)
			return status;
		if (correlation > best) {
			best = correlation;
			*found = t;
		}
	}
	return QSTORE_OK;
}

static int is_onnx_matrix(const pack_file *file, const pack_tensor *t)
{
	return file->input != NULL && file->input->weights.format == QS_FORMAT_ONNX && t->role == PACK_PLAIN &&
	       t->codes == NULL && t->n_dims == 2 && pack_n_elems(t) >= CONTENT_ELEMS &&
	       (t->dtype == QS_F16 || t->dtype == QS_BF16 || t->dtype == QS_F32);
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
				if (status == QSTORE_OK && coarse != NULL) {
					++*n_found;
					status = pair_tensors(q, t, fine, coarse, v, error);
				}
				if (status != QSTORE_OK)
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
	if (fine == p->high_number && p->options->from != NULL) {
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
				if (coarse == NULL)
					continue;
				n_common++;
				size_t n_wrong = q->n_wrong;
				qstore_status status = pair_tensors(q, t, fine, coarse, v, error);
				if (status != QSTORE_OK)
					return status;
				if (q->n_wrong > n_wrong)
					break;
			}
		}
	}
	const char *fine_path = p->models[fine].path;
	qstore_status status = pair_contents(q, fine, first, last, &n_common, error);
	if (status != QSTORE_OK)
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
	if (q == NULL)
		return pack_no_memory(error);
	q->p = p;
	q->fine = malloc(QS_CHUNK_SIZE_MAX);
	q->coarse = malloc(2 * QS_IO_BLOCK > QS_CHUNK_SIZE_MAX ? 2 * QS_IO_BLOCK : QS_CHUNK_SIZE_MAX);
	q->scratch = malloc(PACK_SCRATCH_SIZE);
	q->coded = malloc(qs_chunk_bound(QS_CHUNK_SIZE_MAX));
	q->encoder = qs_encoder_create();
	int ok =
	    q->fine != NULL && q->coarse != NULL && q->scratch != NULL && q->coded != NULL && q->encoder != NULL;
	for (uint32_t v = 0; v <= p->high_number && ok; v++)
		ok = pack_map_make(p, v, 0, &q->maps[v]) && pack_map_make(p, v, 1, &q->keys[v]);
	qstore_status status = ok ? QSTORE_OK : pack_no_memory(error);
	for (uint32_t v = 1; v <= p->high_number && status == QSTORE_OK; v++)
		status = pair_variant(q, v, error);
	for (uint32_t v = 0; v < QS_VARIANTS_MAX; v++) {
		free(q->maps[v].tensors);
		free(q->keys[v].tensors);
	}
	if (q->encoder != NULL)
		qs_encoder_destroy(q->encoder);
	free(q->fine);
	free(q->coarse);
	free(q->scratch);
	pack_grid_free(&q->grid);
	free(q->coded);
	free(q);
	return status;
}

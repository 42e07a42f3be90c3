#include "rule.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/cells.h"
#include "core/layout.h"
#include "core/rules.h"
#include "os/file.h"
#include "parts.h"
#include "text.h"

/* Elements of a chunk that are looked at, in tensors of more than three chunks and in others. */
#define SAMPLE_ELEMS (1u << 16)
#define SAMPLE_ELEMS_SMALL (1u << 18)
/* And where the rule of the last pair is tried before others. */
#define SAMPLE_ELEMS_LIKELY (1u << 14)
/* There it may have so many times the mismatches that it had in that pair. */
#define LIKELY_SHARE 1.25
#define NAMED_MAX 32 /* tensors whose names begin like that of a matrix of codes */
#define SCALES_MAX 8
#define STRIDES_MAX 6
#define DIMS_MAX 7 /* dimensions along which scales are looked for */
#define RULES_MAX 8
/* Blocks of Q8_0 whose scales are compared at a time. */
#define BLOCKS_AT_ONCE (1u << 13)
_Static_assert((34 + 2 + 2) * BLOCKS_AT_ONCE <= QS_CHUNK_SIZE_MAX,
               "scales, maxima and blocks fit into a chunk");
/* Codes whose squared correlation with values is larger belong to them, even if they are far from them:
 * columns may be scaled (SmoothQuant, AWQ). */
#define RELATED_MIN 0.1

qstore_status pack_search_init(pack_search *s, pack_derived *derived, const pack_progress *progress,
                               qstore_error *error)
{
	size_t coarse_size = 2 * QS_IO_BLOCK > QS_CHUNK_SIZE_MAX ? 2 * QS_IO_BLOCK : QS_CHUNK_SIZE_MAX;
	s->derived = derived;
	s->progress = progress;
	s->fine = malloc(QS_CHUNK_SIZE_MAX);
	s->coarse = malloc(coarse_size);
	s->scratch = malloc(PACK_SCRATCH_SIZE);
	return s->fine && s->coarse && s->scratch ? QSTORE_OK : qs_no_memory(error);
}

void pack_search_free(pack_search *s)
{
	free(s->fine);
	free(s->coarse);
	free(s->scratch);
	pack_grid_free(&s->grid);
}

int pack_is_scales_name(const char *name)
{
	return strstr(name, "scale") || strstr(name, "SCB");
}

static int is_zero_points_name(const char *rest)
{
	return strstr(rest, "zero") ? 1 : 0;
}

/* The length of the stem that a tensor of codes has in common with its scales. */
static size_t stem_of(const char *name)
{
	static const char *const ends[] = {".weight", "_quantized", "_weight_qdata", "._data"};
	for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++)
		if (qs_ends_in(name, ends[i]))
			return strlen(name) - strlen(ends[i]);
	return strlen(name);
}

/* Tensors whose names begin with the stem of this one's ("X.weight": X.SCB, X.weight_scale, X.scale,
 * X.weight.scale …; "X": X.scale, X_scale …). Returns their number. */
static size_t find_named(const pack_map *map, const pack_tensor *codes, pack_tensor *found[NAMED_MAX])
{
	char stem_text[QS_TENSOR_NAME_MAX + 1];
	size_t stem = stem_of(codes->full), n = 0;
	if (stem > QS_TENSOR_NAME_MAX)
		return 0;
	memcpy(stem_text, codes->full, stem);
	stem_text[stem] = 0;
	for (size_t i = pack_map_first(map, stem_text); i < map->n_tensors && n < NAMED_MAX; i++) {
		pack_tensor *t = map->tensors[i];
		if (strncmp(t->full, codes->full, stem) != 0)
			break;
		const char *rest = t->full + stem, *dot = strchr(rest, '.');
		if ((rest[0] != '.' && rest[0] != '_') || t == codes || t->size == 0)
			continue;
		/* Tensors of modules within this module have more than two words behind the stem. */
		dot = dot == rest ? strchr(rest + 1, '.') : dot;
		if (dot && strchr(dot + 1, '.'))
			continue;
		t = pack_coded(t);
		if (t->coding.role == PACK_PLAIN || t->coding.role == PACK_LITERAL || t->has_slices)
			found[n++] = t;
	}
	return n;
}

int pack_has_scales(const pack_map *map, const pack_tensor *codes)
{
	pack_tensor *named[NAMED_MAX];
	size_t n = find_named(map, codes, named);
	for (size_t i = 0; i < n; i++)
		if (pack_is_scales_name(named[i]->full + stem_of(codes->full)))
			return 1;
	return 0;
}

const pack_tensor *pack_find_unknown_codes(const pack_map *map, const pack_tensor *fine)
{
	pack_tensor *named[NAMED_MAX];
	size_t n = find_named(map, fine, named);
	for (size_t i = 0; i < n; i++)
		if (named[i]->size >= pack_n_elems(fine) / 8 && !qs_dtype_is_float(named[i]->dtype))
			return named[i];
	return NULL;
}

/* Are codes stored as they are, a byte each? */
static int are_bytes(const pack_tensor *codes)
{
	return codes->view == PACK_AS_IS || codes->view == PACK_COLUMNS;
}

/* The groups and strides by which n scales can belong to rows × cols codes. Returns their number. */
static size_t find_strides(uint64_t n, const pack_tensor *scales, uint64_t rows, uint64_t cols,
                           pack_grid found[STRIDES_MAX])
{
	size_t n_found = 0;
	uint64_t first = scales->n_dims > 0 ? scales->dims[0] : 1;
	if (n == 1)
		found[n_found++] = (pack_grid){.group = pack_row_group(cols)};
	else if (n == rows)
		found[n_found++] = (pack_grid){.group = pack_row_group(cols), .row_stride = 1};
	if (n > 1 && n == cols && cols > 1)
		found[n_found++] = (pack_grid){.group = 1, .group_stride = 1};
	if (n > rows && rows > 0 && n % rows == 0 && n / rows < cols) {
		uint64_t groups = n / rows;
		for (uint32_t g = 0; g < 7 && n_found < STRIDES_MAX; g++) {
			/* Groups of the same size, or of a usual size (16 to 512) and a smaller last one. */
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

/* The grids, but for rules, by which scales can belong to codes. Returns their number. */
static size_t find_grids(const pack_tensor *scales, const pack_tensor *codes,
                         pack_candidate found[STRIDES_MAX + DIMS_MAX])
{
	uint64_t n = pack_n_elems(scales), cols = pack_cols(codes), rows = pack_rows(codes), all_cols = cols;
	pack_grid strides[STRIDES_MAX];
	/* The first rows and columns of a matrix have the scales of all of it. */
	if (codes->whole && !codes->whole->has_slices) {
		rows = codes->whole_rows;
		all_cols = codes->whole_cols;
	}
	size_t n_found = find_strides(n, scales, rows, all_cols, strides);
	for (size_t i = 0; i < n_found; i++) {
		found[i] = (pack_candidate){.grid = strides[i]};
		if (found[i].grid.group == pack_row_group(all_cols))
			found[i].grid.group = pack_row_group(cols);
	}
	/* A scale for each element of another dimension than the first one: the matrix is seen with as many
	 * columns as there are elements from that dimension on. */
	uint64_t after = cols;
	for (uint32_t axis = 1; codes->n_dims > 2 && n > 1 && axis < codes->n_dims && axis <= DIMS_MAX; axis++) {
		uint64_t dim = codes->dims[axis];
		after /= dim > 0 ? dim : 1;
		if (dim == n && codes->chunk_rows == 0 && after * dim <= UINT32_MAX)
			found[n_found++] =
			    (pack_candidate){.grid = {.group = (uint32_t)after, .group_stride = 1}, .cols = after * dim};
	}
	return n_found;
}

QS_RULES_ARE(18);

/* The rules that codes with these zero points (or NULL) may be made by; of rules that fit equally the first
 * is taken. Returns their number. */
static size_t find_rules(const pack_tensor *codes, const pack_tensor *zero_points, uint8_t rules[RULES_MAX])
{
	static const uint8_t common[] = {QS_RULE_DIVIDE, QS_RULE_MULTIPLY, QS_RULE_DIVIDE_HALF};
	int is_packed = codes->view == PACK_WORD_CODES;
	size_t n = 0;
	if (are_bytes(codes))
		rules[n++] = QS_RULE_LLM_INT8;
	if (is_packed && codes->code_bits == 4) { /* rules for 16 codes */
		rules[n++] = QS_RULE_ADD_HALF_4;
		rules[n++] = QS_RULE_ADD_4;
	}
	for (size_t i = 0; i < sizeof(common); i++)
		rules[n++] = common[i];
	if (zero_points && (are_bytes(codes) || (is_packed && codes->code_bits == 8))) {
		rules[n++] = QS_RULE_ADD_HALF;
		rules[n++] = QS_RULE_ADD;
	}
	assert(n <= RULES_MAX);
	return n;
}

/* Adds a candidate, unless there are PACK_CANDIDATES_MAX already. */
static void add_candidate(pack_search *s, pack_candidate candidate)
{
	if (s->n_candidates < PACK_CANDIDATES_MAX)
		s->candidates[s->n_candidates++] = candidate;
}

/* Makes a candidate of every grid that a matrix of codes may have. The grids of packed codes and of blocks
 * are known but for details. */
static void find_candidates(pack_search *s, const pack_map *map, const pack_tensor *codes)
{
	uint8_t rules[RULES_MAX];
	pack_tensor *named[NAMED_MAX];
	s->n_candidates = 0;
	if (!are_bytes(codes) || codes->has_grid) {
		pack_candidate known = {.grid = codes->coding.grid, .is_named = 1}, other = known;
		add_candidate(s, known);
		if (codes->view == PACK_WORD_CODES_TRANSPOSED && codes->coding.grid.zero_points) {
			/* GPTQModel's second version stores zero points as they are, not less one. */
			other.grid.zero_offset = 0;
			add_candidate(s, other);
		}
		/* When the size of groups does not divide the columns, files leave open which of the usual sizes it
		 * is. */
		other = known;
		for (uint32_t group = 16; group <= 1024 && !codes->coding.grid.order; group *= 2) {
			uint64_t cols = pack_cols(codes), given = codes->coding.grid.group,
			         groups = (cols + given - 1) / given;
			if (cols % given == 0 && given != group && given < cols && (cols + group - 1) / group == groups &&
			    qs_rule_group(codes->coding.grid.rule) == 0) {
				other.grid.group = group;
				add_candidate(s, other);
			}
		}
		size_t n_rules = find_rules(codes, codes->coding.grid.zero_points, rules);
		for (size_t i = 0, n = s->n_candidates; qs_rule_group(codes->coding.grid.rule) == 0 && i < n; i++)
			for (size_t r = 0; r < n_rules; r++) {
				other = s->candidates[i];
				if (rules[r] == other.grid.rule || qs_rule_has_absmax(rules[r]))
					continue;
				other.grid.rule = rules[r];
				add_candidate(s, other);
			}
		return;
	}
	size_t n_named = find_named(map, codes, named), n_scales = 0;
	for (size_t i = 0; i < n_named && n_scales < SCALES_MAX; i++) {
		pack_tensor *scales = qs_dtype_is_scale(named[i]->dtype)
		                          ? pack_scales_of_part(s->derived, named[i], codes)
		                          : NULL,
		            *zero_points = NULL;
		pack_candidate grids[STRIDES_MAX + DIMS_MAX];
		if (!scales)
			continue;
		size_t n_grids = find_grids(scales, codes, grids);
		n_scales += n_grids > 0;
		for (size_t j = 0; j < n_named; j++) {
			pack_tensor *bytes = named[j]->bytes ? named[j]->bytes : named[j];
			if (is_zero_points_name(named[j]->full + stem_of(codes->full)) &&
			    pack_n_elems(bytes) == pack_n_elems(named[i]) &&
			    (bytes->dtype == QS_U8 || bytes->dtype == QS_I8))
				zero_points = pack_scales_of_part(s->derived, bytes, codes);
		}
		size_t n_rules = find_rules(codes, zero_points, rules);
		for (size_t j = 0; j < n_grids; j++)
			for (size_t r = 0; r < n_rules; r++) {
				pack_candidate candidate = grids[j];
				candidate.is_named = pack_is_scales_name(scales->full + stem_of(codes->full));
				candidate.grid.rule = rules[r];
				candidate.grid.scales = scales;
				candidate.grid.zero_points = zero_points;
				candidate.grid.zero_offset = !zero_points && codes->dtype == QS_U8 ? 128 : 0;
				add_candidate(s, candidate);
			}
	}
}

static qstore_status read_sample_elems(pack_search *s, const pack_tensor *t, uint8_t *dst, uint64_t first,
                                       size_t n, qstore_error *error)
{
	size_t size = qs_dtype_size(t->dtype);
	return pack_tensor_read(t, dst, n * size, first * size, s->scratch, error);
}

/* Reads n values into s->fine and their codes into s->coarse, and describes them in *desc. */
static qstore_status read_sample(pack_search *s, const pack_tensor *fine, const pack_tensor *codes,
                                 uint64_t first, uint32_t n, qs_chunk_desc *desc, qstore_error *error)
{
	*desc = (qs_chunk_desc){.kind = QS_KIND_REFINE,
	                        .dtype = fine->dtype,
	                        .n_elems = n,
	                        .cols = pack_cols(fine),
	                        .first_elem = first,
	                        .coarse = s->coarse,
	                        .coarse_dtype = codes->dtype};
	qstore_status status = read_sample_elems(s, fine, s->fine, first, n, error);
	return status ? status : read_sample_elems(s, codes, s->coarse, first, n, error);
}

static qstore_status load_sample_grid(pack_search *s, const pack_grid *grid, qs_chunk_desc *desc,
                                      qstore_error *error)
{
	return pack_load_grid(grid, desc->coarse_dtype, desc->cols, desc->first_elem, desc->n_elems, &s->grid,
	                      s->scratch, &desc->coarse_grid, error);
}

/* Counts the elements for which the rule gives another code than desc->coarse has. */
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
			/* Some quantizers use -127 in place of -128. */
			n += code != given && !(is_signed && code == -128 && given == -127);
		}
	}
	return n;
}

/* Measures the first n candidates on `most` elements of the first, the middle and the last chunk, and counts
 * these in *seen. */
static qstore_status measure_candidates(pack_search *s, const pack_tensor *fine, const pack_tensor *codes,
                                        size_t n_candidates, uint32_t most, uint64_t *seen,
                                        qstore_error *error)
{
	uint64_t cols, elems = pack_n_elems(fine), previous = QS_NONE;
	uint32_t chunk_elems;
	pack_geometry(fine, &cols, &chunk_elems);
	uint64_t n_chunks = (elems + chunk_elems - 1) / chunk_elems;
	uint64_t chunks[3] = {0, n_chunks / 2, n_chunks - 1};
	*seen = 0;
	for (size_t i = 0; i < n_candidates; i++) {
		s->candidates[i].mismatches = 0;
		s->candidates[i].sums = (pack_sums){0};
	}
	for (int k = 0; k < 3 && n_candidates > 0; k++) {
		if (chunks[k] == previous)
			continue;
		previous = chunks[k];
		uint64_t first = chunks[k] * chunk_elems, left = elems - first;
		uint32_t n = left < most ? (uint32_t)left : most;
		n = n < chunk_elems ? n : chunk_elems;
		qs_chunk_desc desc;
		qstore_status status = read_sample(s, fine, codes, first, n, &desc, error);
		for (size_t i = 0; i < n_candidates && !status; i++) {
			uint64_t other_cols = s->candidates[i].cols;
			desc.cols = other_cols > 0 ? other_cols : cols;
			status = load_sample_grid(s, &s->candidates[i].grid, &desc, error);
			if (status)
				break;
			s->candidates[i].mismatches += count_mismatches(&desc, s->fine);
			pack_add_sums(&desc, s->fine, &s->candidates[i].sums);
		}
		if (status)
			return status;
		status = pack_check_cancelled(s->progress, error);
		if (status)
			return status;
		*seen += n;
	}
	return QSTORE_OK;
}

/* Returns the best of the first n candidates, or NULL. */
static const pack_candidate *best_candidate(const pack_search *s, size_t n, uint64_t seen)
{
	const pack_candidate *best = NULL;
	for (size_t i = 0; i < n; i++) {
		const pack_candidate *other = &s->candidates[i];
		/* Tensors that are not named like scales have to explain half of the codes. */
		if (!other->is_named && other->mismatches >= seen / 2)
			continue;
		if (!best || other->mismatches < best->mismatches)
			best = other;
	}
	/* Codes that were not made by rounding alone differ from every rule's: then the grid whose values are
	 * nearest wins. */
	if (best && best->mismatches > seen / 4)
		for (size_t i = 0; i < n; i++)
			if (s->candidates[i].sums.errors < 0.98 * best->sums.errors)
				best = &s->candidates[i];
	return best;
}

/* Moves the candidates of the last pair's rule to the front. Returns their number. */
static size_t put_likely_first(pack_search *s)
{
	size_t n = 0;
	for (size_t i = 0; i < s->n_candidates; i++)
		if (s->candidates[i].grid.rule == s->last_rule) {
			pack_candidate likely = s->candidates[i];
			memmove(&s->candidates[n + 1], &s->candidates[n], (i - n) * sizeof(likely));
			s->candidates[n++] = likely;
		}
	return n;
}

qstore_status pack_find_rule(pack_search *s, const pack_tensor *fine, pack_tensor *codes, const pack_map *map,
                             int *found, pack_fit *fit, qstore_error *error)
{
	uint64_t cols, seen, elems = pack_n_elems(fine);
	uint32_t chunk_elems;
	pack_geometry(fine, &cols, &chunk_elems);
	*found = 0;
	*fit = PACK_FITS;
	find_candidates(s, map, codes);
	/* The matrices of a model mostly have one rule. Where it explains as many codes of a sample as it did in
	 * the last pair for which all rules were tried, no other is tried. */
	size_t n_likely = put_likely_first(s);
	qstore_status status = measure_candidates(s, fine, codes, n_likely, SAMPLE_ELEMS_LIKELY, &seen, error);
	if (status)
		return status;
	const pack_candidate *best = best_candidate(s, n_likely, seen);
	if (!best || !pack_sums_are_alike(&best->sums) ||
	    (double)best->mismatches > LIKELY_SHARE * s->last_mismatches * (double)seen) {
		uint32_t most = elems <= 3 * (uint64_t)chunk_elems ? SAMPLE_ELEMS_SMALL : SAMPLE_ELEMS;
		status = measure_candidates(s, fine, codes, s->n_candidates, most, &seen, error);
		if (status)
			return status;
		best = best_candidate(s, s->n_candidates, seen);
		if (best && pack_sums_are_alike(&best->sums)) {
			s->last_rule = best->grid.rule;
			s->last_mismatches = (double)best->mismatches / (double)seen;
		}
	}
	if (!best)
		return QSTORE_OK;
	*found = 1;
	s->differing = (double)best->mismatches / (double)seen;
	s->is_zero = best->sums.coarse_squares == 0;
	if (pack_sums_are_alike(&best->sums))
		*fit = best->mismatches > seen / 4 ? PACK_LOOSE : PACK_FITS;
	else
		*fit = pack_sums_correlation(&best->sums) > RELATED_MIN ? PACK_RELATED : PACK_WRONG;
	pack_grid grid = best->grid;
	if (best->cols > 0)
		codes->cols = best->cols;
	pack_set_codes(codes, &grid);
	return QSTORE_OK;
}

int pack_guess_grid(pack_search *s, const pack_map *map, pack_tensor *codes)
{
	if (codes->coding.grid.rule != QS_RULE_NONE)
		return 1;
	find_candidates(s, map, codes);
	for (size_t i = 0; i < s->n_candidates; i++) {
		const pack_candidate *c = &s->candidates[i];
		int is_absmax = strstr(c->grid.scales->name, "SCB") ? 1 : 0;
		if (!c->is_named || c->cols > 0 || is_absmax != qs_rule_has_absmax(c->grid.rule))
			continue;
		pack_set_codes(codes, &c->grid);
		return 1;
	}
	return 0;
}

qstore_status pack_use_absmax(pack_search *s, const pack_tensor *fine, pack_tensor *codes,
                              qstore_error *error)
{
	if ((fine->dtype != QS_BF16 && fine->dtype != QS_F16) || codes->coding.grid.rule != QS_RULE_Q8_0_D ||
	    fine->view != PACK_AS_IS)
		return QSTORE_OK;
	pack_tensor *scales = codes->coding.grid.scales;
	pack_tensor *absmax = pack_derive(s->derived, fine, PACK_BLOCK_ABSMAX, fine->dtype, pack_rows(scales), 1);
	if (!absmax)
		return qs_no_memory(error);
	absmax->owner = scales->owner;
	uint64_t n = pack_n_elems(scales);
	memset(s->coarse, 0, 32 * (size_t)BLOCKS_AT_ONCE);
	for (uint64_t at = 0; at < n; at += BLOCKS_AT_ONCE) {
		uint32_t some = n - at < BLOCKS_AT_ONCE ? (uint32_t)(n - at) : BLOCKS_AT_ONCE;
		uint8_t *stored_scales = s->fine, *found = stored_scales + 2 * (size_t)BLOCKS_AT_ONCE,
		        *blocks = found + 2 * (size_t)BLOCKS_AT_ONCE; /* 34 bytes each */
		qstore_status status = read_sample_elems(s, scales, stored_scales, at, some, error);
		if (!status)
			status = read_sample_elems(s, absmax, found, at, some, error);
		if (status)
			return status;
		qs_blocks_join(QS_Q8_0, fine->dtype, s->coarse, found, some, blocks);
		for (uint32_t i = 0; i < some; i++)
			if (memcmp(blocks + 34 * (size_t)i, stored_scales + 2 * (size_t)i, 2) != 0)
				return QSTORE_OK;
	}
	codes->coding.grid.rule = QS_RULE_Q8_0;
	codes->coding.grid.scales = absmax;
	return QSTORE_OK;
}

qstore_status pack_correlate(pack_search *s, const pack_tensor *fine, const pack_tensor *codes,
                             double *correlation, qstore_error *error)
{
	uint64_t cols = pack_cols(codes), elems = pack_n_elems(fine);
	uint64_t first = elems / 2 / cols * cols, left = elems - first;
	qs_chunk_desc desc;
	pack_sums sums = {0};
	qstore_status status = read_sample(
	    s, fine, codes, first, left < PACK_CONTENT_ELEMS ? (uint32_t)left : PACK_CONTENT_ELEMS, &desc, error);
	desc.cols = cols;
	if (!status)
		status = load_sample_grid(s, &codes->coding.grid, &desc, error);
	if (!status)
		pack_add_sums(&desc, s->fine, &sums);
	*correlation = pack_sums_correlation(&sums);
	return status;
}

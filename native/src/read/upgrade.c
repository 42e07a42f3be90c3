/* qstore_list_upgrades, which lists the tensors that a finer variant changes, with their bytes and their
 * gain. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "archive.h"
#include "decode.h"
#include "describe.h"
#include "error.h"
#include "grids.h"
#include "os/array.h"

/* The objects that a tensor needs and a reader of variant `from` does not have. */
typedef struct upgrade_cost {
	const qstore_archive *archive;
	uint32_t from;
	uint32_t *counted_for; /* for each object: 1 + the tensor that it was counted for last; 0: none */
	uint32_t tensor, n_objects;
	uint64_t size; /* their coded bytes */
} upgrade_cost;

/* Counts an object, and all objects that it builds on, once for the tensor. */
static void add_object(upgrade_cost *cost, uint32_t number)
{
	qs_object object;
	if (number == QS_NONE || cost->counted_for[number] == cost->tensor + 1)
		return;
	qs_index_object(&cost->archive->index, number, &object);
	if (object.kind != QS_KIND_BASE && object.variant <= cost->from)
		return;
	cost->counted_for[number] = cost->tensor + 1;
	cost->n_objects++;
	cost->size += object.coded_size;
	add_object(cost, object.coarse);
	add_object(cost, object.scales);
	add_object(cost, object.zero_points);
	add_object(cost, object.order);
}

/* Counts the objects of a tensor: its own, or those of its parts. Returns 0 for one that has none: it is
 * among the literal bytes of its file. */
static int add_tensor(upgrade_cost *cost, uint32_t number, const qs_tensor *tensor)
{
	uint32_t first, n = qs_archive_tensor_extents(cost->archive, tensor, &first);
	cost->tensor = number;
	cost->n_objects = 0;
	cost->size = 0;
	add_object(cost, tensor->object);
	for (uint32_t i = 0; i < n; i++) {
		qs_extent extent;
		qs_index_extent(&cost->archive->index, first + i, &extent);
		add_object(cost, extent.object);
	}
	return n > 0 || tensor->object != QS_NONE;
}

/* ---- The gain ---- */

typedef struct upgrade_sampler {
	const qstore_archive *archive;
	uint32_t from;
	qs_decoder *decoder;
	qs_chunk_memory chunk;
	qs_grid_memory grid;
	uint8_t *codes; /* QS_CHUNK_SIZE_MAX bytes */
} upgrade_sampler;

static qstore_status create_sampler(upgrade_sampler *s, const qstore_archive *archive, uint32_t from,
                                    qstore_error *error)
{
	*s = (upgrade_sampler){.archive = archive, .from = from, .decoder = qs_decoder_create(archive, NULL, 0)};
	qs_grid_memory_init(&s->grid);
	s->codes = malloc(QS_CHUNK_SIZE_MAX);
	return qs_chunk_memory_create(&s->chunk) && s->decoder && s->codes ? QSTORE_OK : qs_no_memory(error);
}

static void destroy_sampler(upgrade_sampler *s)
{
	qs_decoder_destroy(s->decoder);
	qs_chunk_memory_free(&s->chunk);
	qs_grid_memory_free(&s->grid);
	free(s->codes);
}

/* Returns the sum of the squares of the values of n codes; codes NULL: of the distances between neighbouring
 * codes. */
static double sum_squares(const qs_grid *grid, const uint8_t *codes, uint64_t cols, uint64_t first,
                          uint32_t n)
{
	qs_runs runs;
	double sum = 0;
	qs_runs_begin(&runs, grid, cols, first, n, QS_CODED_ROWS, NULL);
	while (qs_runs_next(&runs)) {
		qs_line line = qs_grid_line(grid, runs.run.number);
		for (uint32_t i = runs.run.begin; i < runs.run.begin + runs.run.count; i++) {
			double value = (double)line.slope;
			if (codes)
				value =
				    value * (grid->codes_dtype == QS_I8 ? (int8_t)codes[i] : codes[i]) + (double)line.start;
			sum += value * value;
		}
	}
	return sum;
}

/* Estimates a sum over the elements of codes, from the part in their middle: of the squares of their values,
 * or of their steps (the distances between neighbouring codes). */
static qstore_status sample_codes(upgrade_sampler *s, uint32_t number, int of_steps, double *sum,
                                  qstore_error *error)
{
	qs_part part = qs_part_of(s->archive, number, 0);
	part.number = (uint32_t)(qs_object_n_parts(&part.object) / 2);
	qs_part_range all = {number, part.number, 0, qs_part_size(&part)};
	qs_grid grid;
	qstore_status status = of_steps ? QSTORE_OK : qs_decoder_read(s->decoder, &all, s->codes, error);
	if (!status)
		status = qs_grid_load(&part, &s->grid, &s->chunk, &grid, error);
	if (status)
		return status;
	uint32_t n = qs_part_elems(&part);
	uint64_t first = qs_part_first(&part);
	if (!qs_grid_covers(&grid, part.object.cols, first, n))
		return qs_part_fail(&part, QSTORE_CORRUPT, "is damaged: its scales do not fit", error);
	*sum = sum_squares(&grid, of_steps ? NULL : s->codes, part.object.cols, first, n) *
	       (double)part.object.n_elems / (double)n;
	return QSTORE_OK;
}

/* Adds the gain of an object that the caller does not have: follows what it builds on, down to the codes that
 * the caller has. The index has the error of codes that were refined. The error of other codes is about that
 * of rounding, a twelfth of their step's square for each element. */
static qstore_status add_gain(upgrade_sampler *s, uint32_t number, double share, double *gain,
                              qstore_error *error)
{
	const qs_index *index = &s->archive->index;
	qs_object object, codes;
	double sum = 0;
	if (number == QS_NONE)
		return QSTORE_OK;
	qs_index_object(index, number, &object);
	if (object.variant <= s->from || object.n_elems == 0 || object.coarse == QS_NONE)
		return QSTORE_OK;
	if (object.kind == QS_KIND_LAYOUT && object.rule == QS_LAYOUT_JOINED) {
		qstore_status status = add_gain(s, object.beside, share, gain, error);
		if (status)
			return status;
	}
	qs_index_object(index, object.coarse, &codes);
	if (codes.kind != QS_KIND_CODES || codes.variant > s->from || object.kind == QS_KIND_LAYOUT)
		return add_gain(s, object.coarse, share, gain, error);
	qstore_status status = sample_codes(s, object.coarse, object.kind == QS_KIND_CODES, &sum, error);
	if (!status && sum < (double)INFINITY) /* not NaN either */
		*gain += share * sum * (object.kind == QS_KIND_CODES ? 1.0 / 12 : (double)object.error);
	return status;
}

/* Finds the gain of a tensor: of its object, or of what it has of the objects of its parts. */
static qstore_status find_gain(upgrade_sampler *s, const qs_tensor *tensor, double *gain, qstore_error *error)
{
	uint32_t first, n = qs_archive_tensor_extents(s->archive, tensor, &first);
	*gain = 0;
	qstore_status status = add_gain(s, tensor->object, 1, gain, error);
	for (uint32_t i = 0; i < n && !status; i++) {
		qs_extent extent;
		qs_object object;
		qs_index_extent(&s->archive->index, first + i, &extent);
		qs_index_object(&s->archive->index, extent.object, &object);
		if (extent.size > 0)
			status = add_gain(s, extent.object, (double)extent.size / (double)qs_object_bytes(&object), gain,
			                  error);
	}
	return status;
}

/* Tensors that gain most for a byte come first; equal ones stay in the archive's order. */
static int compare_worth(const void *a, const void *b)
{
	const qstore_upgrade *x = a, *y = b;
	double of_x = x->gain / (double)(x->coded_size + 1), of_y = y->gain / (double)(y->coded_size + 1);
	return of_x != of_y ? (of_x < of_y) - (of_x > of_y) : (x->tensor > y->tensor) - (x->tensor < y->tensor);
}

/* ---- The list ---- */

static qstore_status list_tensors(const qstore_archive *archive, uint32_t variant, uint32_t from,
                                  qstore_upgrade **list, size_t *n, qstore_error *error)
{
	const qs_index *index = &archive->index;
	upgrade_cost cost = {.archive = archive, .from = from};
	qstore_status status = QSTORE_OK;
	cost.counted_for = calloc((size_t)index->n_objects + 1, sizeof(*cost.counted_for));
	if (!cost.counted_for)
		return qs_no_memory(error);
	for (uint32_t i = 0; i < index->n_tensors && !status; i++) {
		qs_tensor tensor;
		qs_file file;
		qs_index_tensor(index, i, &tensor);
		qs_index_file(index, tensor.file, &file);
		if (!(file.variants >> variant & 1) || file.variants >> from & 1)
			continue;
		if (add_tensor(&cost, i, &tensor) && cost.n_objects == 0)
			continue; /* it is equal to a tensor of the coarser variant */
		qstore_upgrade *added = qs_array_add(list, n, sizeof(*added));
		if (added)
			*added = (qstore_upgrade){.tensor = i, .coded_size = cost.size};
		else
			status = qs_no_memory(error);
	}
	free(cost.counted_for);
	return status;
}

qstore_status qstore_list_upgrades(const qstore_archive *archive, uint32_t variant, uint32_t from,
                                   int by_importance, qstore_upgrade **list, size_t *n_list,
                                   qstore_error *error)
{
	const qs_index *index = &archive->index;
	upgrade_sampler sampler;
	qs_error_clear(error);
	*list = NULL;
	*n_list = 0;
	if (variant >= index->n_variants || from >= variant)
		return qs_fail(error, QSTORE_USAGE,
		               "%s: precision %u cannot be upgraded to %u: it has %u, from coarse to fine",
		               archive->path, from, variant, index->n_variants);
	qstore_status status = list_tensors(archive, variant, from, list, n_list, error);
	if (!status && by_importance) {
		status = create_sampler(&sampler, archive, from, error);
		for (size_t i = 0; i < *n_list && !status; i++) {
			qs_tensor tensor;
			qs_index_tensor(index, (*list)[i].tensor, &tensor);
			status = find_gain(&sampler, &tensor, &(*list)[i].gain, error);
		}
		destroy_sampler(&sampler);
		if (!status && *n_list > 0) /* qsort takes no NULL */
			qsort(*list, *n_list, sizeof(**list), compare_worth);
	}
	if (status) {
		free(*list);
		*list = NULL;
		*n_list = 0;
	}
	return status;
}

void qstore_free(void *memory)
{
	free(memory);
}

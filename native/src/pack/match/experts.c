#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "names.h"
#include "parts.h"
#include "text.h"

/* A matrix of each expert that a fused tensor has, for example "gate_proj.weight". */
typedef struct expert_member {
	const char *name; /* behind "P.experts.0." */
	uint64_t rows;
	const char *place; /* where the fused tensor's name has it */
} expert_member;

/* A fused tensor and how the other variant names its parts. */
typedef struct fused_experts {
	pack_tensor *tensor;
	size_t prefix_size; /* of "P.experts." */
	expert_member members[PACK_SLICES_MAX];
	size_t n_members;
} fused_experts;

/* The words of an expert's matrix without ".weight". */
static size_t base_size(const char *name)
{
	return strlen(name) - (qs_ends_in(name, ".weight") ? strlen(".weight") : 0);
}

/* Where a fused tensor's name, "gate_up_proj" or "w13", has the word that a matrix, "gate_proj" or "w1", has
 * for itself; NULL when it does not. */
static const char *find_place(const char *fused, size_t fused_size, const char *name)
{
	size_t size = base_size(name), word = strcspn(name, "_.");
	if (size == fused_size && memcmp(name, fused, size) == 0)
		return fused;
	if (memchr(name, '.', size))
		return NULL;
	if (word < size) { /* "gate" and "_proj" */
		size_t rest = size - word;
		if (rest >= fused_size || memcmp(fused + fused_size - rest, name + word, rest) != 0)
			return NULL;
		for (const char *at = fused; at + word < fused + fused_size; at++)
			if (memcmp(at, name, word) == 0 && (at == fused || at[-1] == '_') && at[word] == '_')
				return at;
		return NULL;
	}
	if (size == 2 && fused_size > 2 && name[0] == fused[0]) /* "w1" */
		return memchr(fused + 1, name[1], fused_size - 1);
	return NULL;
}

static int compare_members(const void *a, const void *b)
{
	const expert_member *x = a, *y = b;
	return (x->place > y->place) - (x->place < y->place);
}

/* Finds the matrices of expert 0. False when they do not make up the fused tensor. */
static int find_members(fused_experts *f, const pack_map *map)
{
	const char *key = f->tensor->key, *dot;
	size_t size = base_size(key);
	uint64_t rows = 0;
	for (dot = key + size; dot > key && *dot != '.';)
		dot--;
	if (dot == key)
		return 0;
	f->prefix_size = (size_t)(dot + 1 - key);
	f->n_members = 0;
	char first[QS_TENSOR_NAME_MAX + 4];
	snprintf(first, sizeof(first), "%.*s0.", (int)f->prefix_size, key);
	for (size_t i = pack_map_first(map, first); i < map->n_tensors; i++) {
		pack_tensor *t = map->tensors[i];
		if (strncmp(t->key, first, strlen(first)) != 0)
			break;
		const char *name = t->key + strlen(first),
		           *place = find_place(dot + 1, (size_t)(key + size - dot - 1), name);
		if (!place || t->n_dims != 2)
			continue;
		/* [experts, in, out]: each slice is the transposed matrix of an expert. */
		int is_transposed =
		    t->dims[0] == f->tensor->dims[2] && t->dims[1] == f->tensor->dims[1] && t->dims[0] != t->dims[1];
		if (t->dims[1] != f->tensor->dims[2] && !is_transposed)
			continue;
		if (f->n_members == PACK_SLICES_MAX)
			return 0;
		f->members[f->n_members++] = (expert_member){name, t->dims[is_transposed], place};
		rows += t->dims[is_transposed];
	}
	if (f->n_members > 0)
		qsort(f->members, f->n_members, sizeof(*f->members), compare_members);
	return rows == f->tensor->dims[1];
}

/* The matrix of an expert in the other variant, or NULL. */
static pack_tensor *find_expert(const fused_experts *f, const pack_map *map, size_t part)
{
	char key[QS_TENSOR_NAME_MAX + 32];
	assert(f->n_members > 0);
	snprintf(key, sizeof(key), "%.*s%zu.%s", (int)f->prefix_size, f->tensor->key, part / f->n_members,
	         f->members[part % f->n_members].name);
	return pack_map_find(map, key);
}

/* Pairs the parts of a fused tensor of variant `fused` with the experts of the other variant. The first pair
 * decides whether it is split. */
static qstore_status pair_fused(pack_pairing *q, fused_experts *f, const pack_map *others, int is_fine,
                                uint32_t coarse, size_t *n_common, qstore_error *error)
{
	uint64_t rows[PACK_SLICES_MAX];
	for (size_t i = 0; i < f->n_members; i++)
		rows[i] = f->members[i].rows;
	qstore_status status = pack_make_slices(q->derived, f->tensor, (size_t)f->tensor->dims[0], rows,
	                                        f->n_members, f->tensor->dims[2], error);
	for (size_t i = 0; i < f->tensor->n_parts && !status; i++) {
		pack_tensor *part = f->tensor->parts[i], *expert = find_expert(f, others, i),
		            *fine = is_fine ? part : expert;
		pack_match match;
		if (!expert || (i == 0 && expert->coding.role != PACK_PLAIN && expert->coding.role != PACK_CODES))
			continue;
		status = pack_pair_tensors(q, fine, is_fine ? expert : part, coarse, &match, error);
		if (status)
			break;
		pack_count_match(&q->tally, fine, match, coarse);
		if (i > 0)
			continue;
		if (!pack_is_paired(fine)) {
			f->tensor->has_slices = 0;
			break;
		}
		pack_use_slices(f->tensor);
		++*n_common;
	}
	return status;
}

/* Fused tensors of `own` without a namesake in the other variant. */
static qstore_status pair_all_fused(pack_pairing *q, const pack_map *own, const pack_map *others, int is_fine,
                                    uint32_t coarse, size_t *n_common, qstore_error *error)
{
	qstore_status status = QSTORE_OK;
	for (size_t i = 0; i < own->n_tensors && !status; i++) {
		fused_experts f = {.tensor = own->tensors[i]};
		if (f.tensor->n_dims == 3 && f.tensor->dims[0] > 0 && pack_can_be_split(f.tensor) &&
		    strlen(f.tensor->key) <= QS_TENSOR_NAME_MAX && !pack_map_find(others, f.tensor->key) &&
		    find_members(&f, others))
			status = pair_fused(q, &f, others, is_fine, coarse, n_common, error);
	}
	return status;
}

qstore_status pack_pair_experts(pack_pairing *q, uint32_t coarse, size_t *n_common, qstore_error *error)
{
	const pack_map *fine_map = &q->keys[q->fine_variant], *coarse_map = &q->keys[coarse];
	qstore_status status = pair_all_fused(q, fine_map, coarse_map, 1, coarse, n_common, error);
	return status ? status : pair_all_fused(q, coarse_map, fine_map, 0, coarse, n_common, error);
}

/* The plan's files and their tensors in the index. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/index.h"
#include "plan.h"

qstore_status pack_fail_index(const pack_plan *plan, qstore_status status, qstore_error *error)
{
	if (status == QSTORE_MEMORY)
		return qs_no_memory(error);
	return qs_fail(error, status, "%s: the index cannot be made: %s", plan->output,
	               qstore_status_message(status));
}

/* Appends an extent to a file. */
static qstore_status add_extent(pack_plan *plan, qs_file *file, qs_extent extent, qstore_error *error)
{
	uint32_t number;
	if (extent.size == 0)
		return QSTORE_OK;
	assert(extent.object < plan->n_objects);
	qstore_status status = qs_builder_add_extent(&plan->builder, &number);
	if (status)
		return pack_fail_index(plan, status, error);
	plan->builder.extents[number] = extent;
	file->n_extents++;
	return QSTORE_OK;
}

static qstore_status index_tensor(pack_plan *plan, uint32_t file, const char *path, const pack_tensor *t,
                                  uint32_t object, qstore_error *error)
{
	qs_index_builder *builder = &plan->builder;
	uint32_t number;
	if (strlen(t->name) > QS_TENSOR_NAME_MAX)
		return qs_fail(error, QSTORE_LIMIT, "%s: tensor %.400s: %s", path, t->name,
		               qstore_status_message(QSTORE_LIMIT));
	qs_tensor tensor = {
	    .name = qs_builder_name(builder, t->name),
	    .file = file,
	    .dtype = t->dtype,
	    .first_dim = (uint32_t)builder->n_dims,
	    .n_dims = t->n_dims,
	    .object = object,
	    .offset = t->offset,
	    .size = t->size,
	};
	if (!tensor.name)
		return qs_no_memory(error);
	qstore_status status = QSTORE_OK;
	for (uint32_t i = 0; i < t->n_dims && !status; i++)
		status = qs_builder_add_dim(builder, t->dims[i]);
	if (!status)
		status = qs_builder_add_tensor(builder, &number);
	if (status)
		return pack_fail_index(plan, status, error);
	builder->tensors[number] = tensor;
	return QSTORE_OK;
}

/* The extents of a tensor that is no literal: one for each of its parts. */
static qstore_status add_tensor_extents(pack_plan *plan, qs_file *file, pack_tensor *tensor,
                                        qstore_error *error)
{
	const pack_tensor *coded = pack_coded(tensor);
	if (coded->coding.role != PACK_PARTS)
		return add_extent(plan, file, (qs_extent){coded->object, coded->object_offset, coded->size}, error);
	qstore_status status = QSTORE_OK;
	for (size_t i = 0; i < coded->n_parts && !status; i++)
		status = add_tensor_extents(plan, file, coded->parts[i], error);
	return status;
}

/* The record of a file that is made of objects, its extents and its tensors. */
static qstore_status index_file(pack_plan *plan, uint32_t number, pack_planned_file *planned,
                                qstore_error *error)
{
	const pack_file *file = planned->file;
	qs_file record = {
	    .name = qs_builder_name(&plan->builder, file->name),
	    .variants = file->variants,
	    .kind = QS_FILE_ASSEMBLED,
	    .size = file->size,
	    .first_extent = (uint32_t)plan->builder.n_extents,
	};
	/* Bytes of the literal object that extents have; those behind them that are of the next extent; bytes of
	 * the file that have been looked at. */
	uint64_t literal = 0, pending = 0, at = 0;
	if (!record.name)
		return qs_no_memory(error);
	for (size_t i = 0; i <= file->n_tensors; i++) {
		pack_tensor *t = i < file->n_tensors ? &file->tensors[i] : NULL;
		uint64_t end = t ? t->offset : file->size;
		uint32_t object = t && pack_coded(t)->is_joint ? QS_NONE : pack_object_of(t);
		qstore_status status = QSTORE_OK;
		pending += end - at;
		at = t ? end + t->size : end;
		if (t && t->coding.role == PACK_LITERAL) {
			pending += t->size;
		} else {
			status = add_extent(plan, &record, (qs_extent){planned->literal, literal, pending}, error);
			literal += pending;
			pending = 0;
			if (!status && t)
				status = add_tensor_extents(plan, &record, t, error);
		}
		if (!status && t)
			status = index_tensor(plan, number, file->path, t, object, error);
		if (status)
			return status;
	}
	plan->builder.files[number] = record;
	planned->number = number;
	return QSTORE_OK;
}

static qstore_status index_member(pack_plan *plan, uint32_t number, const pack_member *member,
                                  qstore_error *error)
{
	qs_file record = {
	    .name = qs_builder_name(&plan->builder, member->small->name),
	    .variants = member->small->variants,
	    .kind = member->kind,
	    .size = member->small->bytes.size,
	    .coded_size = member->coded_size,
	};
	if (!record.name)
		return qs_no_memory(error);
	plan->builder.files[number] = record;
	memcpy(plan->builder.sha256[number], member->sha256, sizeof(member->sha256));
	return QSTORE_OK;
}

static qstore_status index_base_file(pack_plan *plan, uint32_t number, const pack_base_file *file,
                                     qstore_error *error)
{
	qs_file record = {
	    .name = qs_builder_name(&plan->builder, file->name), .kind = QS_FILE_BASE, .size = file->size};
	if (!record.name)
		return qs_no_memory(error);
	plan->builder.files[number] = record;
	memcpy(plan->builder.sha256[number], file->sha256, sizeof(file->sha256));
	for (size_t i = 0; i < plan->n_objects; i++)
		if (plan->builder.objects[i].kind == QS_KIND_BASE && plan->objects[i].tensor->base_file == file)
			plan->builder.objects[i].base_file = number;
	return QSTORE_OK;
}

/* A file of the index: one of the three. */
typedef struct index_entry {
	const char *name;
	uint32_t rank; /* its coarsest variant; files of the base have higher ranks than all variants */
	pack_planned_file *file;
	const pack_member *member;
	const pack_base_file *base_file;
} index_entry;

/* The index has files by name, those of the same name by rank. */
static int compare_entries(const void *a, const void *b)
{
	const index_entry *x = a, *y = b;
	int order = strcmp(x->name, y->name);
	return order != 0 ? order : (x->rank > y->rank) - (x->rank < y->rank);
}

static size_t list_entries(pack_plan *plan, const pack_base *base, const pack_members *members,
                           index_entry *entries)
{
	size_t n = 0;
	for (size_t i = 0; i < plan->n_files; i++)
		entries[n++] = (index_entry){.name = plan->files[i].file->name,
		                             .rank = pack_coarsest(plan->files[i].file->variants),
		                             .file = &plan->files[i]};
	for (size_t i = 0; i < members->n; i++)
		entries[n++] = (index_entry){.name = members->items[i].small->name,
		                             .rank = pack_coarsest(members->items[i].small->variants),
		                             .member = &members->items[i]};
	for (size_t i = 0; i < base->n_files; i++)
		if (base->files[i]->is_used)
			entries[n++] = (index_entry){.name = base->files[i]->name,
			                             .rank = QS_VARIANTS_MAX + (uint32_t)i,
			                             .base_file = base->files[i]};
	if (n > 0)
		qsort(entries, n, sizeof(*entries), compare_entries);
	return n;
}

qstore_status pack_index_files(pack_plan *plan, const pack_base *base, const pack_members *members,
                               qstore_error *error)
{
	index_entry *entries = calloc(plan->n_files + members->n + base->n_files + 1, sizeof(*entries));
	if (!entries)
		return qs_no_memory(error);
	size_t n = list_entries(plan, base, members, entries);
	qstore_status status = QSTORE_OK;
	for (size_t i = 0; i < n && !status; i++) {
		uint32_t number;
		const index_entry *e = &entries[i];
		status = qs_builder_add_file(&plan->builder, &number);
		if (status)
			status = pack_fail_index(plan, status, error);
		else if (e->file)
			status = index_file(plan, number, e->file, error);
		else if (e->member)
			status = index_member(plan, number, e->member, error);
		else
			status = index_base_file(plan, number, e->base_file, error);
	}
	free(entries);
	return status;
}

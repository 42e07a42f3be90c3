/* The plan: which bytes are which object's, and the index of all. */
#include <stdlib.h>
#include <string.h>

#include "pack/pack.h"

static uint32_t coarsest(uint32_t variants)
{
	uint32_t v = 0;
	while ((variants >> v & 1) == 0)
		v++;
	return v;
}

static int compare_files(const void *a, const void *b)
{
	const pack_file *x = a, *y = b;
	uint32_t vx = coarsest(x->variants), vy = coarsest(y->variants);
	return vx != vy ? (vx < vy ? -1 : 1) : strcmp(x->name, y->name);
}

static qstore_status add_segment(packer *p, size_t first, pack_segment segment, qs_error *error)
{
	if (segment.size == 0)
		return QSTORE_OK;
	if (p->n_segments > first) {
		pack_segment *last = &p->segments[p->n_segments - 1];
		if (last->source == segment.source && last->offset + last->size == segment.offset) {
			last->size += segment.size;
			return QSTORE_OK;
		}
	}
	pack_segment *larger = realloc(p->segments, (p->n_segments + 1) * sizeof(*larger));
	if (!larger)
		return pack_no_memory(error);
	p->segments = larger;
	p->segments[p->n_segments++] = segment;
	return QSTORE_OK;
}

static qstore_status add_object(packer *p, qs_object object, const pack_object *own, uint32_t *number,
                                qs_error *error)
{
	pack_object *larger = realloc(p->objects, (p->builder.n_objects + 1) * sizeof(*larger));
	if (!larger)
		return pack_no_memory(error);
	p->objects = larger;
	uint64_t n_parts = qs_object_n_parts(&object);
	uint64_t n_chunks = object.kind == QS_KIND_LAYOUT || object.kind == QS_KIND_BASE ? 0 : n_parts;
	object.n_chunks = (uint32_t)n_chunks;
	qstore_status status = qs_builder_add_chunks(&p->builder, n_chunks, &object.first_chunk);
	if (!status)
		status = qs_builder_add_parts(&p->builder, n_parts, &object.first_part);
	if (!status)
		status = qs_builder_add_object(&p->builder, number);
	if (status)
		return qs_fail(error, status, "%s: the index: %s", p->options->output, qstore_status_message(status));
	p->builder.objects[*number] = object;
	p->objects[*number] = *own;
	return QSTORE_OK;
}

static int is_own(const pack_tensor *t)
{
	return t->role != PACK_LITERAL && t->role != PACK_SHARED;
}

static qstore_status plan_literal(packer *p, pack_file *file, qs_error *error)
{
	pack_object own = {.first_segment = p->n_segments};
	qs_object object = {
	    .kind = QS_KIND_PLAIN,
	    .dtype = QS_BYTES,
	    .variant = coarsest(file->variants),
	    .coarse = QS_NONE,
	    .scales = QS_NONE,
	    .zeros = QS_NONE,
	    .order = QS_NONE,
	    .cols = 1,
	    .chunk_elems = 1u << 18,
	};
	uint64_t at = 0;
	for (size_t i = 0; i <= file->n_tensors; i++) {
		const pack_tensor *t = i < file->n_tensors ? &file->tensors[i] : NULL;
		uint64_t end = t ? t->offset : file->size;
		pack_segment gap = {file->gaps.source, pack_gap_offset(file, at), end - at};
		qstore_status status = add_segment(p, own.first_segment, gap, error);
		object.n_elems += gap.size;
		if (!status && t && t->role == PACK_LITERAL) {
			status = add_segment(p, own.first_segment, (pack_segment){t->source, t->source_offset, t->size},
			                     error);
			object.n_elems += t->size;
		}
		if (status)
			return status;
		at = t ? end + t->size : end;
	}
	own.n_segments = p->n_segments - own.first_segment;
	if (object.n_elems == 0)
		return QSTORE_OK;
	return add_object(p, object, &own, &file->literal, error);
}

static qstore_status plan_object(packer *p, pack_tensor *t, uint32_t layer, qs_error *error);

/* What an object names comes before it. */
static qstore_status plan_needed(packer *p, const pack_tensor *t, qs_error *error)
{
	pack_tensor *needed[] = {t->coarse, t->grid.scales, t->grid.zeros, t->grid.order, t->factors};
	qstore_status status = QSTORE_OK;
	for (size_t i = 0; i < sizeof(needed) / sizeof(*needed) && !status; i++)
		if (needed[i])
			status = plan_object(p, pack_stored(needed[i]), t->layer, error);
	return status;
}

static uint32_t object_of(pack_tensor *t)
{
	return !t ? QS_NONE : pack_stored(t)->object;
}

/* The object of a tensor that has one of its own, unless it is there already. layer: of one of the base. */
static qstore_status plan_object(packer *p, pack_tensor *t, uint32_t layer, qs_error *error)
{
	static const uint8_t kinds[] = {
	    [PACK_PLAIN] = QS_KIND_PLAIN, [PACK_CODES] = QS_KIND_CODES,   [PACK_REFINE] = QS_KIND_REFINE,
	    [PACK_DELTA] = QS_KIND_DELTA, [PACK_LAYOUT] = QS_KIND_LAYOUT, [PACK_BASE] = QS_KIND_BASE,
	};
	if (!is_own(t) || t->object != QS_NONE)
		return QSTORE_OK;
	qstore_status status = plan_needed(p, t, error);
	if (status)
		return status;
	pack_object own = {.tensor = t};
	qs_object object = {
	    .kind = kinds[t->role],
	    .dtype = t->dtype,
	    .variant = t->role == PACK_BASE ? layer : t->layer,
	    .coarse = object_of(t->coarse),
	    .scales = QS_NONE,
	    .zeros = QS_NONE,
	    .order = QS_NONE,
	    .n_elems = pack_n_elems(t),
	};
	pack_geometry(t, &object.cols, &object.chunk_elems);
	if (t->role == PACK_BASE)
		object.row_stride = t->source_offset;
	if (t->role == PACK_PLAIN && qs_block_elems(t->dtype) > 1) {
		/* Blocks of a type that is not modelled. */
		object.dtype = QS_BYTES;
		object.n_elems = t->size;
		object.cols = qs_block_size(t->dtype);
		object.chunk_elems = (1u << 18) - (1u << 18) % (uint32_t)object.cols;
	}
	if (t->role == PACK_CODES && t->grid.rule != QS_RULE_NONE) {
		object.rule = t->grid.rule;
		object.scales = object_of(t->grid.scales);
		object.zeros = object_of(t->grid.zeros);
		object.order = object_of(t->grid.order);
		object.group = t->grid.group;
		object.row_stride = t->grid.row_stride;
		object.group_stride = t->grid.group_stride;
		object.zero_offset = t->grid.zero_offset;
	}
	if (t->role == PACK_REFINE)
		object.scales = object_of(t->factors);
	if (t->role == PACK_LAYOUT) {
		const pack_tensor *codes = t->coarse;
		uint32_t per_elem = t->bits == 0 ? 1 : 8 * qs_dtype_size(t->dtype) / t->bits;
		static const uint8_t layouts[] = {
		    [PACK_WORD_CODES] = QS_LAYOUT_PACKED,
		    [PACK_WORD_CODES_T] = QS_LAYOUT_TRANSPOSED,
		    [PACK_TURNED] = QS_LAYOUT_TRANSPOSED,
		    [PACK_NIBBLES] = QS_LAYOUT_INTERLEAVED,
		    [PACK_NIBBLES_T] = QS_LAYOUT_INTERLEAVED_COLUMNS,
		    [PACK_BLOCK_CODES] = QS_LAYOUT_BLOCKS,
		    [PACK_Q8_0_CODES] = QS_LAYOUT_BLOCKS,
		};
		object.rule = layouts[codes->view];
		object.group = t->bits;
		if (object.rule == QS_LAYOUT_BLOCKS)
			object.scales = object_of(codes->grid.scales);
		if (!qs_layout_is_by_columns(object.rule)) {
			pack_geometry(codes, &object.cols, &object.chunk_elems);
			object.cols /= per_elem;
			object.chunk_elems /= per_elem;
		}
	}
	return add_object(p, object, &own, &t->object, error);
}

static qstore_status plan_objects(packer *p, pack_file *file, qs_error *error)
{
	qstore_status status = plan_literal(p, file, error);
	for (size_t i = 0; i < file->n_tensors && !status; i++) {
		pack_tensor *t = &file->tensors[i];
		status = plan_object(p, pack_stored(t), t->layer, error);
	}
	return status;
}

/* ---- Files and tensors in the index ---- */

/* One extent; neighbours in the same object become one. */
static qstore_status add_extent(packer *p, qs_file *file, uint32_t object, uint64_t offset, uint64_t size,
                                qs_error *error)
{
	uint32_t number;
	if (size == 0)
		return QSTORE_OK;
	qstore_status status = qs_builder_add_extent(&p->builder, &number);
	if (status)
		return qs_fail(error, status, "%s: the index: %s", p->options->output, qstore_status_message(status));
	p->builder.extents[number] = (qs_extent){object, offset, size};
	p->objects[object].variants |= file->variants;
	file->n_extents++;
	return QSTORE_OK;
}

static qstore_status index_tensor(packer *p, uint32_t file, const char *path, const pack_tensor *t,
                                  qs_error *error)
{
	uint32_t number;
	qs_tensor tensor = {
	    .name = qs_builder_name(&p->builder, t->name),
	    .file = file,
	    .dtype = t->dtype,
	    .first_dim = (uint32_t)p->builder.n_dims,
	    .n_dims = t->n_dims,
	    .object = t->object,
	    .offset = t->offset,
	    .size = t->size,
	};
	qstore_status status = !tensor.name ? QSTORE_MEMORY : QSTORE_OK;
	if (strlen(t->name) > QS_TENSOR_NAME_MAX)
		status = QSTORE_LIMIT;
	for (uint32_t i = 0; i < t->n_dims && !status; i++)
		status = qs_builder_add_dim(&p->builder, t->dims[i]);
	if (!status)
		status = qs_builder_add_tensor(&p->builder, &number);
	if (status)
		return qs_fail(error, status, "%s: tensor %.400s: %s", path, t->name, qstore_status_message(status));
	p->builder.tensors[number] = tensor;
	return QSTORE_OK;
}

static qstore_status index_file(packer *p, uint32_t number, pack_file *f, qs_error *error)
{
	qs_file file = {
	    .name = qs_builder_name(&p->builder, f->name),
	    .variants = f->variants,
	    .kind = QS_FILE_ASSEMBLED,
	    .size = f->size,
	    .first_extent = (uint32_t)p->builder.n_extents,
	};
	uint64_t literal = 0, pending = 0, at = 0;
	if (!file.name)
		return pack_no_memory(error);
	for (size_t i = 0; i <= f->n_tensors; i++) {
		pack_tensor *t = i < f->n_tensors ? &f->tensors[i] : NULL;
		uint64_t end = t ? t->offset : f->size;
		qstore_status status = QSTORE_OK;
		pending += end - at;
		at = t ? end + t->size : end;
		if (t && t->role == PACK_SHARED)
			t->object = t->coarse->object;
		if (t && t->role == PACK_LITERAL) {
			pending += t->size;
		} else {
			status = add_extent(p, &file, f->literal, literal, pending, error);
			literal += pending;
			pending = 0;
			if (!status && t)
				status = add_extent(p, &file, t->object, 0, t->size, error);
		}
		if (!status && t)
			status = index_tensor(p, number, f->path, t, error);
		if (status)
			return status;
	}
	p->builder.files[number] = file;
	f->number = number;
	return QSTORE_OK;
}

static qstore_status index_small(packer *p, uint32_t number, const pack_small *small, qs_error *error)
{
	qs_file file = {
	    .name = qs_builder_name(&p->builder, small->name),
	    .variants = small->variants,
	    .kind = small->kind,
	    .size = small->size,
	    .coded_size = small->coded_size,
	};
	if (!file.name)
		return pack_no_memory(error);
	p->builder.files[number] = file;
	memcpy(p->builder.sha256[number], small->sha256, sizeof(small->sha256));
	return QSTORE_OK;
}

static int compare_smalls(const void *a, const void *b)
{
	const pack_small *x = a, *y = b;
	int order = strcmp(x->name, y->name);
	return order != 0 ? order : (int)coarsest(x->variants) - (int)coarsest(y->variants);
}

static qstore_status index_base(packer *p, uint32_t number, pack_base_file *base)
{
	qs_file file = {
	    .name = qs_builder_name(&p->builder, base->name), .kind = QS_FILE_BASE, .size = base->size};
	if (!file.name)
		return QSTORE_MEMORY;
	base->number = number;
	p->builder.files[number] = file;
	memcpy(p->builder.sha256[number], base->sha256, sizeof(base->sha256));
	return QSTORE_OK;
}

/* One of the three; in the index's order: by name, then coarse to fine. */
typedef struct index_entry {
	const char *name;
	uint32_t rank; /* its coarsest variant; those of the base are last */
	pack_file *file;
	const pack_small *small;
	pack_base_file *base;
} index_entry;

static int compare_entries(const void *a, const void *b)
{
	const index_entry *x = a, *y = b;
	int order = strcmp(x->name, y->name);
	return order != 0 ? order : (x->rank > y->rank) - (x->rank < y->rank);
}

static qstore_status index_files(packer *p, qs_error *error)
{
	size_t n = 0;
	index_entry *entries = calloc(p->n_files + p->n_smalls + p->n_bases + 1, sizeof(*entries));
	if (!entries)
		return pack_no_memory(error);
	if (p->n_smalls > 0)
		qsort(p->smalls, p->n_smalls, sizeof(*p->smalls), compare_smalls);
	for (size_t i = 0; i < p->n_files; i++)
		entries[n++] = (index_entry){
		    .name = p->files[i].name, .rank = coarsest(p->files[i].variants), .file = &p->files[i]};
	for (size_t i = 0; i < p->n_smalls; i++)
		entries[n++] = (index_entry){
		    .name = p->smalls[i].name, .rank = coarsest(p->smalls[i].variants), .small = &p->smalls[i]};
	for (size_t i = 0; i < p->n_bases; i++)
		if (p->bases[i].used)
			entries[n++] = (index_entry){
			    .name = p->bases[i].name, .rank = QS_VARIANTS_MAX + (uint32_t)i, .base = &p->bases[i]};
	if (n > 0)
		qsort(entries, n, sizeof(*entries), compare_entries);
	qstore_status status = QSTORE_OK;
	for (size_t i = 0; i < n && !status; i++) {
		uint32_t number;
		const index_entry *e = &entries[i];
		if (qs_builder_add_file(&p->builder, &number) || (e->base && index_base(p, number, e->base)))
			status = pack_no_memory(error);
		else if (e->file)
			status = index_file(p, number, e->file, error);
		else if (e->small)
			status = index_small(p, number, e->small, error);
	}
	free(entries);
	for (size_t i = 0; i < p->builder.n_objects; i++) {
		qs_object *object = &p->builder.objects[i];
		if (object->kind == QS_KIND_BASE)
			object->group = p->bases[p->objects[i].tensor->base_file].number;
	}
	return status;
}

qstore_status pack_plan(packer *p, qs_error *error)
{
	for (uint32_t v = 0; v <= p->high_number; v++) {
		uint32_t number;
		qstore_status status = qs_builder_add_variant(&p->builder, &number);
		const char *name = qs_builder_name(&p->builder, p->names[v]);
		if (status || !name)
			return pack_no_memory(error);
		p->builder.variants[number] =
		    (qs_variant){.name = name,
		                 .dtype = p->dtypes[v],
		                 .coarser = v == 0                                    ? QS_NONE
		                            : v == p->high_number && p->options->from ? p->from
		                                                                      : v - 1};
		for (size_t i = 0; i < p->n_files; i++)
			p->builder.variants[number].raw_size += p->files[i].variants >> v & 1 ? p->files[i].size : 0;
		for (size_t i = 0; i < p->n_smalls; i++)
			p->builder.variants[number].raw_size += p->smalls[i].variants >> v & 1 ? p->smalls[i].size : 0;
	}
	if (p->n_files > 0)
		qsort(p->files, p->n_files, sizeof(*p->files), compare_files);
	for (size_t i = 0; i < p->n_files; i++)
		for (size_t j = 0; j < p->files[i].n_tensors; j++)
			p->files[i].tensors[j].layer = coarsest(p->files[i].variants);
	pack_set_layers(p);
	for (size_t i = 0; i < p->n_files; i++) {
		qstore_status status = plan_objects(p, &p->files[i], error);
		if (status)
			return status;
	}
	return index_files(p, error);
}

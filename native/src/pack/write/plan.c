/* The plan: which bytes are which object's, and the index. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/index.h"
#include "os/array.h"
#include "plan.h"

/* Elements of a chunk of bytes that are no tensor's. */
#define LITERAL_CHUNK (1u << 18)

/* Tensors of at most this many bytes share an object, if there are at least so many of one dtype. Its chunks
 * are small, so that a reader of one tensor decodes little more than that. */
#define JOINT_SIZE_MAX 512
#define JOINT_TENSORS_MIN 16
#define JOINT_CHUNK_SIZE (1u << 16) /* bytes */

_Static_assert(LITERAL_CHUNK <= QS_CHUNK_SIZE_MAX, "chunks of literal bytes are not too large");

void pack_free_plan(pack_plan *plan)
{
	for (size_t i = 0; i < plan->n_files; i++)
		free(plan->files[i].pieces);
	free(plan->files);
	free(plan->ranges);
	free(plan->objects);
	qs_builder_free(&plan->builder);
}

/* ---- Objects ---- */

/* An object of its own kind, without references. */
static qs_object new_object(uint32_t kind, uint32_t dtype, uint32_t variant)
{
	return (qs_object){.kind = kind,
	                   .dtype = dtype,
	                   .variant = variant,
	                   .coarse = QS_NONE,
	                   .scales = QS_NONE,
	                   .zero_points = QS_NONE,
	                   .order = QS_NONE};
}

static qstore_status add_object(pack_plan *plan, qs_object object, pack_object own, uint32_t *number,
                                qstore_error *error)
{
	uint64_t n_parts = qs_object_n_parts(&object);
	uint64_t n_chunks = object.kind == QS_KIND_LAYOUT || object.kind == QS_KIND_BASE ? 0 : n_parts;
	object.n_chunks = (uint32_t)n_chunks;
	pack_object *added = qs_array_add(&plan->objects, &plan->n_objects, sizeof(*added));
	if (!added)
		return qs_no_memory(error);
	*added = own;
	qstore_status status = qs_builder_add_chunks(&plan->builder, n_chunks, &object.first_chunk);
	if (!status)
		status = qs_builder_add_parts(&plan->builder, n_parts, &object.first_part);
	if (!status)
		status = qs_builder_add_object(&plan->builder, number);
	if (status)
		return pack_fail_index(plan, status, error);
	plan->builder.objects[*number] = object;
	assert(plan->n_objects == plan->builder.n_objects);
	return QSTORE_OK;
}

/* Appends bytes to the literal object that begins with range `first`. */
static qstore_status add_range(pack_plan *plan, size_t first, pack_range range, qstore_error *error)
{
	if (range.size == 0)
		return QSTORE_OK;
	if (plan->n_ranges > first) {
		pack_range *last = &plan->ranges[plan->n_ranges - 1];
		if (last->source == range.source && last->offset + last->size == range.offset) {
			last->size += range.size;
			return QSTORE_OK;
		}
	}
	pack_range *added = qs_array_add(&plan->ranges, &plan->n_ranges, sizeof(*added));
	if (!added)
		return qs_no_memory(error);
	*added = range;
	return QSTORE_OK;
}

/* The object of a file's literal bytes: those between its tensors, and its small tensors. */
static qstore_status plan_literal(pack_plan *plan, pack_planned_file *planned, qstore_error *error)
{
	const pack_file *file = planned->file;
	pack_object own = {.first_range = plan->n_ranges};
	qs_object object = new_object(QS_KIND_PLAIN, QS_BYTES, pack_coarsest(file->variants));
	uint64_t at = 0;
	object.cols = 1;
	object.chunk_elems = LITERAL_CHUNK;
	for (size_t i = 0; i <= file->n_tensors; i++) {
		const pack_tensor *t = i < file->n_tensors ? &file->tensors[i] : NULL;
		uint64_t end = t ? t->offset : file->size;
		assert(end >= at);
		pack_range gap = {file->gaps.source, pack_gap_offset(file, at), end - at};
		qstore_status status = add_range(plan, own.first_range, gap, error);
		object.n_elems += gap.size;
		if (!status && t && t->coding.role == PACK_LITERAL) {
			status =
			    add_range(plan, own.first_range, (pack_range){t->source, t->source_offset, t->size}, error);
			object.n_elems += t->size;
		}
		if (status)
			return status;
		at = t ? end + t->size : end;
	}
	own.n_ranges = plan->n_ranges - own.first_range;
	return object.n_elems > 0 ? add_object(plan, object, own, &planned->literal, error) : QSTORE_OK;
}

/* Is the tensor small, and no other object is coded from it? */
static int suits_joint(const pack_tensor *t, uint32_t dtype)
{
	return t->dtype == dtype && t->coding.role == PACK_PLAIN && t->view == PACK_AS_IS && !t->is_named &&
	       !t->whole && t->size > 0 && t->size <= JOINT_SIZE_MAX;
}

/* The object of a file's small tensors of one dtype, one behind the other: it has fewer tables, and takes
 * less of the index, than one object for each. */
static qstore_status plan_joint(pack_plan *plan, const pack_file *file, uint32_t dtype, qstore_error *error)
{
	pack_object own = {.first_range = plan->n_ranges};
	qs_object object = new_object(QS_KIND_PLAIN, dtype, pack_coarsest(file->variants));
	size_t n = 0;
	for (size_t i = 0; i < file->n_tensors; i++)
		n += (size_t)suits_joint(&file->tensors[i], dtype);
	if (n < JOINT_TENSORS_MIN)
		return QSTORE_OK;
	object.cols = 1;
	object.chunk_elems = JOINT_CHUNK_SIZE / qs_dtype_size(dtype);
	for (size_t i = 0; i < file->n_tensors; i++) {
		pack_tensor *t = &file->tensors[i];
		if (!suits_joint(t, dtype))
			continue;
		t->is_joint = 1;
		t->object = (uint32_t)plan->n_objects;
		t->object_offset = object.n_elems * qs_dtype_size(dtype);
		object.n_elems += pack_n_elems(t);
		qstore_status status =
		    add_range(plan, own.first_range, (pack_range){t->source, t->source_offset, t->size}, error);
		if (status)
			return status;
	}
	own.n_ranges = plan->n_ranges - own.first_range;
	uint32_t number;
	return add_object(plan, object, own, &number, error);
}

static void set_grid(qs_object *object, const pack_grid *grid)
{
	object->rule = grid->rule;
	object->scales = pack_object_of(grid->scales);
	object->zero_points = pack_object_of(grid->zero_points);
	object->order = pack_object_of(grid->order);
	object->group = grid->group;
	object->row_stride = grid->row_stride;
	object->group_stride = grid->group_stride;
	object->zero_offset = grid->zero_offset;
}

static void plan_layout(qs_object *object, const pack_tensor *t)
{
	static const uint8_t layouts[] = {
	    [PACK_WORD_CODES] = QS_LAYOUT_PACKED,
	    [PACK_WORD_CODES_TRANSPOSED] = QS_LAYOUT_TRANSPOSED,
	    [PACK_TRANSPOSED] = QS_LAYOUT_TRANSPOSED,
	    [PACK_NIBBLE_CODES] = QS_LAYOUT_INTERLEAVED,
	    [PACK_NIBBLE_CODES_TRANSPOSED] = QS_LAYOUT_INTERLEAVED_COLUMNS,
	    [PACK_BLOCK_CODES] = QS_LAYOUT_BLOCKS,
	    [PACK_Q8_0_CODES] = QS_LAYOUT_BLOCKS,
	    [PACK_COLUMNS] = QS_LAYOUT_JOINED,
	};
	const pack_tensor *content = t->coding.content;
	uint32_t layout = layouts[content->view];
	int has_blocks = layout == QS_LAYOUT_BLOCKS;
	object->rule = layout;
	if (layout == QS_LAYOUT_JOINED) {
		object->beside = pack_object_of(t->coding.beside);
		pack_geometry(t, &object->cols, &object->chunk_elems);
		return;
	}
	assert(layout != 0 && has_blocks == (t->coding.layout_bits == 0));
	object->bits = t->coding.layout_bits;
	if (has_blocks)
		object->scales = pack_object_of(content->coding.grid.scales);
	/* Layouts along the rows are restored chunk by chunk of their content, the others as a whole. */
	if (!qs_layout_is_by_columns(layout)) {
		uint32_t per_elem = has_blocks ? 1 : 8 * qs_dtype_size(t->dtype) / t->coding.layout_bits;
		pack_geometry(content, &object->cols, &object->chunk_elems);
		object->cols /= per_elem;
		object->chunk_elems /= per_elem;
	}
}

/* The object of a tensor that has one of its own; layer: of one of the base. */
static qs_object make_object(const pack_tensor *t, uint32_t layer)
{
	static const uint8_t kinds[] = {
	    [PACK_PLAIN] = QS_KIND_PLAIN, [PACK_CODES] = QS_KIND_CODES,   [PACK_REFINE] = QS_KIND_REFINE,
	    [PACK_DELTA] = QS_KIND_DELTA, [PACK_LAYOUT] = QS_KIND_LAYOUT, [PACK_BASE] = QS_KIND_BASE,
	};
	qs_object object =
	    new_object(kinds[t->coding.role], t->dtype, t->coding.role == PACK_BASE ? layer : t->layer);
	object.coarse = pack_object_of(pack_builds_on(t));
	object.n_elems = pack_n_elems(t);
	pack_geometry(t, &object.cols, &object.chunk_elems);
	switch (t->coding.role) {
	case PACK_PLAIN:
		if (qs_block_elems(t->dtype) > 1) {
			/* Blocks of a type that is not modelled are coded as bytes. */
			object.dtype = QS_BYTES;
			object.n_elems = t->size;
			object.cols = qs_block_size(t->dtype);
			object.chunk_elems = LITERAL_CHUNK - LITERAL_CHUNK % (uint32_t)object.cols;
		}
		break;
	case PACK_CODES:
		if (t->coding.grid.rule != QS_RULE_NONE)
			set_grid(&object, &t->coding.grid);
		break;
	case PACK_REFINE:
		object.scales = pack_object_of(t->coding.factors);
		break;
	case PACK_LAYOUT:
		plan_layout(&object, t);
		break;
	case PACK_BASE:
		object.base_offset = t->source_offset;
		break;
	default:
		break;
	}
	return object;
}

/* The tensors whose objects the object of another one names; NULL where there is none. */
enum { N_NAMED = 6 };
static void list_named(const pack_tensor *t, pack_tensor *named[N_NAMED])
{
	pack_tensor *all[N_NAMED] = {pack_builds_on(t),          t->coding.beside,     t->coding.grid.scales,
	                             t->coding.grid.zero_points, t->coding.grid.order, t->coding.factors};
	memcpy(named, all, sizeof(all));
}

static void mark_named(const pack_tensor *t)
{
	pack_tensor *named[N_NAMED];
	list_named(t, named);
	for (size_t i = 0; i < N_NAMED; i++)
		if (named[i])
			pack_coded(named[i])->is_named = 1;
}

static void mark_all_named(const pack_input *input, const pack_derived *derived)
{
	for (size_t i = 0; i < input->n_files; i++)
		for (size_t j = 0; j < input->files[i].n_tensors; j++)
			mark_named(&input->files[i].tensors[j]);
	for (size_t i = 0; i < derived->n_tensors; i++)
		mark_named(derived->tensors[i]);
}

/* Adds the object of a tensor, unless it has none of its own or is there already; the objects that it names
 * come before it. layer: of one of the base. */
static qstore_status plan_tensor(pack_plan *plan, pack_tensor *t, uint32_t layer, qstore_error *error)
{
	if (t->coding.role == PACK_LITERAL || t->coding.role == PACK_DUPLICATE || t->object != QS_NONE)
		return QSTORE_OK;
	if (t->coding.role == PACK_PARTS) {
		qstore_status status = QSTORE_OK;
		for (size_t i = 0; i < t->n_parts && !status; i++)
			status = plan_tensor(plan, pack_coded(t->parts[i]), layer, error);
		return status;
	}
	pack_tensor *named[N_NAMED];
	list_named(t, named);
	for (size_t i = 0; i < N_NAMED; i++) {
		qstore_status status =
		    named[i] ? plan_tensor(plan, pack_coded(named[i]), t->layer, error) : QSTORE_OK;
		if (status)
			return status;
	}
	return add_object(plan, make_object(t, layer), (pack_object){.tensor = t}, &t->object, error);
}

static qstore_status plan_objects(pack_plan *plan, qstore_error *error)
{
	for (size_t i = 0; i < plan->n_files; i++) {
		const pack_file *file = plan->files[i].file;
		qstore_status status = plan_literal(plan, &plan->files[i], error);
		for (uint32_t dtype = 1; dtype < QS_Q4_0 && !status; dtype++)
			status = plan_joint(plan, file, dtype, error);
		for (size_t j = 0; j < file->n_tensors && !status; j++) {
			pack_tensor *t = &file->tensors[j];
			status = plan_tensor(plan, pack_coded(t), t->layer, error);
		}
		if (status)
			return status;
	}
	return QSTORE_OK;
}

/* ---- Variants and layers ---- */

static qstore_status index_variants(pack_plan *plan, const pack_input *input, qstore_error *error)
{
	for (uint32_t v = 0; v < input->n_variants; v++) {
		const pack_variant *variant = &input->variants[v];
		uint32_t number;
		qstore_status status = qs_builder_add_variant(&plan->builder, &number);
		const char *name = qs_builder_name(&plan->builder, variant->name);
		if (status)
			return pack_fail_index(plan, status, error);
		if (!name)
			return qs_no_memory(error);
		qs_variant record = {.name = name, .dtype = variant->dtype, .coarser = variant->coarser};
		for (size_t i = 0; i < input->n_files; i++)
			record.raw_size += input->files[i].variants >> v & 1 ? input->files[i].size : 0;
		for (size_t i = 0; i < input->n_smalls; i++)
			record.raw_size += input->smalls[i].variants >> v & 1 ? input->smalls[i].bytes.size : 0;
		plan->builder.variants[number] = record;
	}
	return QSTORE_OK;
}

static int compare_planned_files(const void *a, const void *b)
{
	const pack_file *x = ((const pack_planned_file *)a)->file, *y = ((const pack_planned_file *)b)->file;
	uint32_t vx = pack_coarsest(x->variants), vy = pack_coarsest(y->variants);
	return vx != vy ? (vx < vy ? -1 : 1) : strcmp(x->name, y->name);
}

/* Lists the files in the order of their objects, and sets the layers of all tensors. */
static qstore_status list_files(pack_plan *plan, const pack_input *input, const pack_derived *derived,
                                qstore_error *error)
{
	plan->files = calloc(input->n_files + 1, sizeof(*plan->files));
	if (!plan->files)
		return qs_no_memory(error);
	for (size_t i = 0; i < input->n_files; i++) {
		const pack_file *file = &input->files[i];
		plan->files[plan->n_files++] = (pack_planned_file){.file = file, .literal = QS_NONE};
		for (size_t j = 0; j < file->n_tensors; j++)
			file->tensors[j].layer = pack_coarsest(file->variants);
	}
	if (plan->n_files > 0)
		qsort(plan->files, plan->n_files, sizeof(*plan->files), compare_planned_files);
	for (size_t i = 0; i < derived->n_tensors; i++)
		derived->tensors[i]->layer = derived->tensors[i]->owner->layer;
	return QSTORE_OK;
}

qstore_status pack_make_plan(pack_plan *plan, const pack_input *input, const pack_derived *derived,
                             const pack_base *base, const pack_members *members, qstore_error *error)
{
	qstore_status status = index_variants(plan, input, error);
	if (!status)
		status = list_files(plan, input, derived, error);
	mark_all_named(input, derived);
	if (!status)
		status = plan_objects(plan, error);
	if (!status)
		status = pack_index_files(plan, base, members, error);
	return status;
}

/* Every chunk is coded, in order, into the spool of layers; beside that the SHA-256 of whole files. */
#include <assert.h>
#include <float.h>
#include <stdlib.h>
#include <string.h>

#include "core/checksum.h"
#include "encode/encode.h"
#include "os/file.h"
#include "os/array.h"
#include "os/pool.h"
#include "os/search.h"
#include "os/sha256.h"
#include "pack/input/grid.h"
#include "read/archive.h"
#include "restored.h"

typedef struct encode_pass {
	pack_plan *plan;
	pack_spool *layers;
	pack_progress *progress;
	qs_sha256 *sha256; /* of the last stretch's chunks */
	qs_stretch stretch;
} encode_pass;

typedef struct encode_thread {
	qs_encoder *encoder;
	uint8_t *src, *coarse, *scratch, *dst;
	pack_grid_memory coarse_grid, grid;
	size_t dst_capacity;
	/* Sizes of the part that is coded. */
	size_t src_size, dst_size; /* dst_size 0: the object has no chunks */
	uint64_t part_checksum;
	uint32_t chunk_checksum;
	qs_chunk_stats stats;
	pack_sums sums;
} encode_thread;

static void encode_destroy(void *user, void *memory)
{
	(void)user;
	encode_thread *t = memory;
	if (t->encoder)
		qs_encoder_destroy(t->encoder);
	free(t->src);
	free(t->coarse);
	pack_grid_free(&t->coarse_grid);
	pack_grid_free(&t->grid);
	free(t->scratch);
	free(t->dst);
	free(t);
}

static void *encode_create(void *user)
{
	(void)user;
	encode_thread *t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	t->encoder = qs_encoder_create();
	t->src = malloc(QS_CHUNK_SIZE_MAX);
	t->coarse = malloc(QS_CHUNK_SIZE_MAX);
	t->scratch = malloc(PACK_SCRATCH_SIZE);
	t->dst_capacity = qs_chunk_bound(QS_CHUNK_SIZE_MAX);
	t->dst = malloc(t->dst_capacity);
	int ok = t->encoder && t->src && t->coarse && t->scratch && t->dst;
	if (!ok) {
		encode_destroy(user, t);
		return NULL;
	}
	return t;
}

static uint64_t first_part_of(const void *object)
{
	return ((const qs_object *)object)->first_part;
}

/* Returns the number of the object that a part belongs to. */
static uint32_t find_object(const qs_index_builder *builder, uint64_t part)
{
	return (uint32_t)qs_last_begun(builder->objects, builder->n_objects, sizeof(*builder->objects), part,
	                               first_part_of);
}

/* Bytes [offset, offset + size) of an object. */
static qstore_status read_object(const pack_plan *plan, uint32_t number, uint8_t *dst, size_t size,
                                 uint64_t offset, uint8_t *scratch, qstore_error *error)
{
	const pack_object *own = &plan->objects[number];
	if (own->tensor)
		return pack_tensor_read(own->tensor, dst, size, offset, scratch, error);
	for (size_t i = own->first_range; size > 0; i++) {
		assert(i < own->first_range + own->n_ranges);
		const pack_range *s = &plan->ranges[i];
		if (offset >= s->size) {
			offset -= s->size;
			continue;
		}
		size_t n = s->size - offset < size ? (size_t)(s->size - offset) : size;
		qstore_status status = pack_read(s->source, dst, n, s->offset + offset, error);
		if (status)
			return status;
		dst += n;
		size -= n;
		offset = 0;
	}
	return QSTORE_OK;
}

/* Reads everything that the chunk of *desc is coded from: coarse elements, grids and factors. */
static qstore_status load_coarse(const pack_plan *plan, const qs_object *object, const pack_tensor *tensor,
                                 encode_thread *t, qs_chunk_desc *desc, qstore_error *error)
{
	if (object->coarse == QS_NONE)
		return QSTORE_OK;
	desc->coarse = t->coarse;
	desc->coarse_dtype = plan->builder.objects[object->coarse].dtype;
	size_t coarse_size = qs_dtype_size(desc->coarse_dtype);
	qstore_status status = read_object(plan, object->coarse, t->coarse, desc->n_elems * coarse_size,
	                                   desc->first_elem * coarse_size, t->scratch, error);
	if (!status && object->kind != QS_KIND_DELTA)
		status = pack_load_grid(&pack_builds_on(tensor)->coding.grid, desc->coarse_dtype, desc->cols,
		                        desc->first_elem, desc->n_elems, &t->coarse_grid, t->scratch,
		                        &desc->coarse_grid, error);
	if (!status && object->kind == QS_KIND_CODES)
		status = pack_load_grid(&tensor->coding.grid, desc->dtype, desc->cols, desc->first_elem,
		                        desc->n_elems, &t->grid, t->scratch, &desc->grid, error);
	if (!status && object->kind == QS_KIND_REFINE)
		status = pack_load_factors(tensor, &t->coarse_grid, t->scratch, desc, error);
	return status;
}

static qstore_status encode_work(void *user, void *memory, uint64_t job, qstore_error *error)
{
	const encode_pass *pass = user;
	const pack_plan *plan = pass->plan;
	encode_thread *t = memory;
	uint32_t number = find_object(&plan->builder, job);
	const qs_object *object = &plan->builder.objects[number];
	const pack_tensor *tensor = plan->objects[number].tensor;
	uint64_t first_elem = (job - object->first_part) * object->chunk_elems;
	uint64_t left = object->n_elems - first_elem;
	uint32_t block_elems = qs_block_elems(object->dtype), block_size = qs_block_size(object->dtype);
	qs_chunk_desc desc = {
	    .kind = object->kind,
	    .dtype = object->dtype,
	    .n_elems = left < object->chunk_elems ? (uint32_t)left : object->chunk_elems,
	    .cols = object->cols,
	    .first_elem = first_elem,
	};
	t->src_size = (size_t)desc.n_elems / block_elems * block_size;
	t->dst_size = 0;
	t->sums = (pack_sums){0};
	t->stats = (qs_chunk_stats){0, 0};
	assert(t->src_size <= QS_CHUNK_SIZE_MAX);
	qstore_status status = read_object(plan, number, t->src, t->src_size,
	                                   first_elem / block_elems * block_size, t->scratch, error);
	if (status)
		return status;
	t->part_checksum = qs_checksum(t->src, t->src_size);
	if (object->n_chunks == 0)
		return QSTORE_OK;
	status = load_coarse(plan, object, tensor, t, &desc, error);
	if (status)
		return status;
	if (object->kind == QS_KIND_REFINE)
		pack_add_sums(&desc, t->src, &t->sums);
	status = qs_chunk_encode(t->encoder, &desc, t->src, t->src_size, t->dst, t->dst_capacity, &t->dst_size,
	                         &t->stats);
	if (!status && (t->dst_size == 0 || t->dst_size > QS_CHUNK_CODED_MAX))
		status = QSTORE_LIMIT;
	if (status)
		return qs_fail(error, status, "%s%s: cannot be coded: %s; please report this",
		               tensor ? "tensor " : "", tensor ? tensor->name : "bytes outside tensors",
		               qstore_status_message(status));
	t->chunk_checksum = (uint32_t)qs_checksum(t->dst, t->dst_size);
	return QSTORE_OK;
}

/* Stores the seal of the last stretch of chunks, if there is one. */
static qstore_status end_stretch(encode_pass *pass, qstore_error *error)
{
	qs_index_builder *builder = &pass->plan->builder;
	uint8_t digest[32];
	if (pass->stretch.size == 0)
		return QSTORE_OK;
	uint8_t(*seal)[QS_SEAL_BYTES] = qs_array_add(&builder->seals, &builder->n_seals, sizeof(*seal));
	if (!seal || !qs_sha256_final(pass->sha256, digest) || !qs_sha256_reset(pass->sha256))
		return qs_no_memory(error);
	memcpy(seal, digest, QS_SEAL_BYTES);
	return QSTORE_OK;
}

/* Adds the next chunk to the last stretch, or begins a stretch with it. */
static qstore_status seal_chunk(encode_pass *pass, uint32_t layer, const encode_thread *t,
                                qstore_error *error)
{
	qs_stretch next = pass->stretch;
	qstore_status status =
	    qs_stretch_add(&next, layer, (uint32_t)t->dst_size) ? end_stretch(pass, error) : QSTORE_OK;
	if (status)
		return status;
	pass->stretch = next;
	return qs_sha256_update(pass->sha256, t->dst, t->dst_size) ? QSTORE_OK : qs_no_memory(error);
}

/* Bytes of the archive that an object is made from, so far. The base's bytes count, since its owner has them.
 */
static uint64_t coded_chain(const qs_index_builder *builder, uint32_t number)
{
	uint64_t size = 0;
	for (; number != QS_NONE; number = builder->objects[number].coarse) {
		const qs_object *object = &builder->objects[number];
		size += object->kind == QS_KIND_BASE ? qs_object_bytes(object) : object->coded_size;
	}
	return size;
}

/* Stores the chunk as it is, if with fewer coded bytes readers would have to hold too much for the bytes that
 * the archive has (FORMAT.md, 4.1). */
static void keep_proportion(const qs_index_builder *builder, uint32_t number, pack_object *own,
                            encode_thread *t)
{
	own->size += t->src_size;
	if (own->size <= own->free_size ||
	    (own->size - own->free_size) / QS_FRAME_RATIO <= coded_chain(builder, number) + t->dst_size)
		return;
	t->dst[0] = QS_MODE_RAW;
	memcpy(t->dst + 1, t->src, t->src_size);
	t->dst_size = 1 + t->src_size;
	t->chunk_checksum = (uint32_t)qs_checksum(t->dst, t->dst_size);
}

static qstore_status encode_commit(void *user, void *memory, uint64_t job, qstore_error *error)
{
	encode_pass *pass = user;
	qs_index_builder *builder = &pass->plan->builder;
	encode_thread *t = memory;
	uint32_t number = find_object(builder, job);
	qs_object *object = &builder->objects[number];
	pack_object *own = &pass->plan->objects[number];
	uint64_t offset;
	if (object->n_chunks > 0)
		keep_proportion(builder, number, own, t);
	qstore_status status = pack_spool_append(pass->layers, t->dst, t->dst_size, &offset, error);
	if (status)
		return status;
	builder->parts[job] = t->part_checksum;
	if (object->n_chunks > 0) {
		uint64_t chunk = object->first_chunk + job - object->first_part;
		builder->checksums[chunk] = t->chunk_checksum;
		builder->chunk_sizes[chunk] = (uint32_t)t->dst_size;
		status = seal_chunk(pass, object->variant, t, error);
		if (status)
			return status;
	}
	object->coded_size += t->dst_size;
	builder->variants[object->variant].layer_size += t->dst_size;
	own->sums.errors += t->sums.errors;
	own->sums.squares += t->sums.squares;
	own->sums.n += t->sums.n;
	own->n_exceptions += t->stats.n_exceptions;
	pack_advance(pass->progress, t->src_size);
	return QSTORE_OK;
}

/* A whole file, which takes a thread as long as many chunks. */
static qstore_status hash_file_aside(void *user, void *memory, uint64_t job, qstore_error *error)
{
	const encode_pass *pass = user;
	encode_thread *t = memory;
	return pack_hash_file(pass->plan, (size_t)job, t->src, t->scratch, pass->progress, error);
}

/* ---- After all chunks ---- */

/* Sets how far codes are from their values. */
static void set_errors(pack_plan *plan)
{
	for (size_t i = 0; i < plan->n_objects; i++) {
		qs_object *object = &plan->builder.objects[i];
		const pack_sums *sums = &plan->objects[i].sums;
		if (object->kind != QS_KIND_REFINE)
			continue;
		double error_ratio = sums->squares > 0.0 ? sums->errors / sums->squares : 0.0;
		object->error = error_ratio < FLT_MAX ? (float)error_ratio : FLT_MAX;
	}
}

static void count_rule(qstore_pack_result *result, uint32_t number, const qs_object *object,
                       const pack_object *own)
{
	const char *name = qs_rule_name(number);
	uint32_t i = 0;
	while (i < result->n_rules && result->rules[i].name != name)
		i++;
	if (i == QSTORE_RULES_MAX)
		return;
	qstore_pack_rule *rule = &result->rules[i];
	if (i == result->n_rules)
		result->n_rules++;
	rule->name = name;
	rule->n_tensors++;
	rule->n_weights += object->n_elems;
	rule->n_exceptions += own->n_exceptions;
}

/* Counts objects by how they are coded. */
static void count_objects(const pack_plan *plan, qstore_pack_result *result)
{
	const qs_object *objects = plan->builder.objects;
	for (size_t i = 0; i < plan->n_objects; i++) {
		const qs_object *object = &objects[i];
		const pack_object *own = &plan->objects[i];
		if (object->kind == QS_KIND_DELTA) {
			result->n_delta++;
			result->delta_weights += object->n_elems;
			result->delta_size += object->coded_size;
		}
		if (object->kind != QS_KIND_REFINE)
			continue;
		const qs_object *codes = &objects[object->coarse];
		count_rule(result, codes->rule, object, own);
		result->n_paired++;
		result->paired_weights += object->n_elems;
		result->paired_size += object->coded_size;
		for (; codes; codes = codes->coarse == QS_NONE ? NULL : &objects[codes->coarse])
			result->paired_size += codes->coded_size + objects[codes->scales].coded_size;
		result->n_exceptions += own->n_exceptions;
	}
}

uint64_t pack_coded_size(const pack_plan *plan, pack_tensor *tensor)
{
	const pack_tensor *t = pack_coded(tensor);
	uint64_t sum = 0;
	for (size_t i = 0; t->coding.role == PACK_PARTS && i < t->n_parts; i++)
		sum += pack_coded_size(plan, t->parts[i]);
	if (t->coding.role == PACK_PARTS)
		return sum;
	uint64_t size = 0;
	if (t->object != QS_NONE) {
		const qs_extent extent = {t->object, t->object_offset, t->size};
		size = qs_extent_coded_size(&extent, &plan->builder.objects[t->object]);
	}
	pack_tensor *below = pack_builds_on(t);
	return below && below->owner == t ? size + pack_coded_size(plan, below) : size;
}

static void hold(pack_plan *plan, uint32_t number, uint64_t free_size)
{
	pack_object *object = number == QS_NONE ? NULL : &plan->objects[number];
	if (object && object->free_size > free_size)
		object->free_size = free_size;
}

/* Notes which objects readers hold more than a part of. */
static void find_held(pack_plan *plan)
{
	for (size_t i = 0; i < plan->n_objects; i++)
		plan->objects[i].free_size = UINT64_MAX;
	for (size_t i = 0; i < plan->n_objects; i++) {
		const qs_object *object = &plan->builder.objects[i];
		if (qs_object_is_by_columns(object))
			hold(plan, object->coarse, QS_FRAME_FREE);
		if (object->kind != QS_KIND_CODES && object->kind != QS_KIND_REFINE)
			continue;
		hold(plan, object->scales, QS_SIDE_FREE);
		hold(plan, object->zero_points, QS_SIDE_FREE);
		hold(plan, object->order, QS_SIDE_FREE);
	}
}

qstore_status pack_encode(pack_plan *plan, pack_spool *layers, pack_progress *progress,
                          qstore_pack_result *result, qstore_error *error)
{
	encode_pass pass = {.plan = plan, .layers = layers, .progress = progress, .sha256 = qs_sha256_create()};
	uint64_t total = 0;
	for (size_t i = 0; i < plan->n_objects; i++)
		total += qs_object_bytes(&plan->builder.objects[i]);
	for (size_t i = 0; i < plan->n_files; i++)
		total += plan->files[i].file->size;
	qs_jobs jobs = {
	    .n_jobs = plan->builder.n_parts,
	    .user = &pass,
	    .create = encode_create,
	    .destroy = encode_destroy,
	    .work = encode_work,
	    .commit = encode_commit,
	    .n_side = plan->n_files,
	    .side = hash_file_aside,
	    .cancel = progress->work->cancel,
	};
	find_held(plan);
	pack_phase(progress, "encoding", total);
	qstore_status status =
	    pass.sha256 ? qs_pool_run(&jobs, progress->work->threads, error) : qs_no_memory(error);
	if (!status)
		status = end_stretch(&pass, error);
	qs_sha256_destroy(pass.sha256);
	if (status)
		return status;
	set_errors(plan);
	count_objects(plan, result);
	return QSTORE_OK;
}

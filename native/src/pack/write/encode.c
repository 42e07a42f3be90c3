/* Second pass: every chunk coded, in order, into the spool of layers; the checksum of every part, coded or
 * not. */
#include <float.h>
#include <stdlib.h>
#include <string.h>

#include "core/mode.h"
#include "read/archive.h"
#include "pack/pack.h"

typedef struct encode_pass {
	packer *p;
} encode_pass;

typedef struct encode_thread {
	qs_encoder *encoder;
	uint8_t *src, *coarse, *scratch, *dst;
	pack_grid_memory coarse_grid, grid;
	size_t dst_cap;
	size_t src_size, dst_size;
	uint64_t checksum, part;
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
	t->dst_cap = qs_chunk_bound(QS_CHUNK_SIZE_MAX);
	t->dst = malloc(t->dst_cap);
	int ok = t->encoder && t->src && t->coarse && t->scratch && t->dst;
	if (!ok) {
		encode_destroy(user, t);
		return NULL;
	}
	return t;
}

static uint32_t find_object(const qs_index_builder *builder, uint64_t part)
{
	uint32_t low = 0, high = (uint32_t)builder->n_objects;
	while (high - low > 1) {
		uint32_t middle = low + (high - low) / 2;
		if (builder->objects[middle].first_part <= part)
			low = middle;
		else
			high = middle;
	}
	return low;
}

static qstore_status object_read(const packer *p, uint32_t number, uint8_t *dst, size_t size, uint64_t offset,
                                 uint8_t *scratch, qs_error *error)
{
	const pack_object *own = &p->objects[number];
	if (own->tensor)
		return pack_tensor_read(p, own->tensor, dst, size, offset, scratch, error);
	for (size_t i = own->first_segment; size > 0; i++) {
		const pack_segment *s = &p->segments[i];
		if (offset >= s->size) {
			offset -= s->size;
			continue;
		}
		size_t n = s->size - offset < size ? (size_t)(s->size - offset) : size;
		qstore_status status = pack_read(p, s->source, dst, n, s->offset + offset, error);
		if (status)
			return status;
		dst += n;
		size -= n;
		offset = 0;
	}
	return QSTORE_OK;
}

static qstore_status encode_work(void *user, void *memory, uint64_t job, qs_error *error)
{
	const encode_pass *pass = user;
	const packer *p = pass->p;
	encode_thread *t = memory;
	uint32_t number = find_object(&p->builder, job);
	const qs_object *object = &p->builder.objects[number];
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
	qstore_status status =
	    object_read(p, number, t->src, t->src_size, first_elem / block_elems * block_size, t->scratch, error);
	if (status)
		return status;
	t->part = qs_checksum(t->src, t->src_size);
	if (object->n_chunks == 0)
		return QSTORE_OK;
	if (!status && object->coarse != QS_NONE) {
		desc.coarse = t->coarse;
		desc.coarse_dtype = p->builder.objects[object->coarse].dtype;
		size_t coarse_size = qs_dtype_size(desc.coarse_dtype);
		status = object_read(p, object->coarse, t->coarse, desc.n_elems * coarse_size,
		                     first_elem * coarse_size, t->scratch, error);
	}
	const pack_tensor *tensor = p->objects[number].tensor;
	if (!status && object->coarse != QS_NONE && object->kind != QS_KIND_DELTA)
		status = pack_load_grid(p, &tensor->coarse->grid, desc.coarse_dtype, desc.cols, first_elem,
		                        desc.n_elems, &t->coarse_grid, t->scratch, &desc.coarse_grid, error);
	if (!status && object->coarse != QS_NONE && object->kind == QS_KIND_CODES)
		status = pack_load_grid(p, &tensor->grid, desc.dtype, desc.cols, first_elem, desc.n_elems, &t->grid,
		                        t->scratch, &desc.grid, error);
	if (!status && object->kind == QS_KIND_REFINE)
		status = pack_load_factors(p, tensor, &t->coarse_grid, t->scratch, &desc, error);
	if (status)
		return status;
	if (object->kind == QS_KIND_REFINE)
		pack_add_sums(&desc, t->src, &t->sums);
	status =
	    qs_chunk_encode(t->encoder, &desc, t->src, t->src_size, t->dst, t->dst_cap, &t->dst_size, &t->stats);
	if (!status && (t->dst_size == 0 || t->dst_size > QS_CHUNK_CODED_MAX))
		status = QSTORE_LIMIT;
	if (status)
		return qs_fail(error, status, "%s: cannot be coded: %s",
		               p->objects[number].tensor ? p->objects[number].tensor->name : "bytes outside tensors",
		               qstore_status_message(status));
	t->checksum = qs_checksum(t->dst, t->dst_size);
	return QSTORE_OK;
}

static qstore_status encode_commit(void *user, void *memory, uint64_t job, qs_error *error)
{
	encode_pass *pass = user;
	packer *p = pass->p;
	encode_thread *t = memory;
	uint32_t number = find_object(&p->builder, job);
	qs_object *object = &p->builder.objects[number];
	pack_object *own = &p->objects[number];
	qstore_status status = qs_write_all(p->layer_fd, t->dst, t->dst_size, p->options->output, error);
	if (status)
		return status;
	p->builder.parts[job] = t->part;
	if (object->n_chunks > 0) {
		uint64_t chunk = object->first_chunk + job - object->first_part;
		p->builder.checksums[chunk] = t->checksum;
		p->builder.chunk_sizes[chunk] = (uint32_t)t->dst_size;
	}
	object->coded_size += t->dst_size;
	p->builder.variants[object->variant].layer_size += t->dst_size;
	own->sums.errors += t->sums.errors;
	own->sums.squares += t->sums.squares;
	own->sums.n += t->sums.n;
	own->n_exceptions += t->stats.n_exceptions;
	pack_advance(p, t->src_size);
	return QSTORE_OK;
}

/* A whole file, which takes a thread as long as many chunks. */
static qstore_status hash_file(void *user, void *memory, uint64_t job, qs_error *error)
{
	const encode_pass *pass = user;
	encode_thread *t = memory;
	return pack_hash_file(pass->p, (size_t)job, t->src, t->scratch, error);
}

static void count_rule(packer *p, uint32_t number, const qs_object *object, const pack_object *own)
{
	qstore_pack_result *result = &p->result;
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

/* What was learned of each object. */
static qstore_status finish_objects(packer *p, qs_error *error)
{
	char named[600] = "";
	size_t n_wrong = 0;
	uint32_t wrong_fine = 0, wrong_coarse = 0;
	uint64_t offset = 0;
	for (size_t i = 0; i < p->builder.n_objects; i++) {
		qs_object *object = &p->builder.objects[i];
		const pack_object *own = &p->objects[i];
		object->offset = offset; /* in the spool, for now */
		offset += object->coded_size;
		if (object->kind == QS_KIND_DELTA) {
			p->result.n_delta++;
			p->result.delta_weights += object->n_elems;
			p->result.delta_size += object->coded_size;
		}
		if (object->kind != QS_KIND_REFINE)
			continue;
		const qs_object *codes = &p->builder.objects[object->coarse];
		count_rule(p, codes->rule, object, own);
		double error_ratio = own->sums.squares > 0.0 ? own->sums.errors / own->sums.squares : 0.0;
		object->error = error_ratio < FLT_MAX ? (float)error_ratio : FLT_MAX;
		int alike = pack_alike(&own->sums);
		if (!alike && n_wrong == 0) {
			wrong_fine = object->variant;
			wrong_coarse = p->builder.objects[object->coarse].variant;
		}
		if (!alike && n_wrong++ < 5 && strlen(named) + strlen(own->tensor->name) + 3 < sizeof(named)) {
			if (named[0] != 0)
				strcat(named, ", ");
			strcat(named, own->tensor->name);
		}
		p->result.n_paired++;
		p->result.paired_weights += object->n_elems;
		p->result.paired_size += object->coded_size;
		for (; codes; codes = codes->coarse == QS_NONE ? NULL : &p->builder.objects[codes->coarse])
			p->result.paired_size += codes->coded_size + p->builder.objects[codes->scales].coded_size;
		p->result.n_exceptions += own->n_exceptions;
	}
	if (n_wrong > 0 && !p->made_low)
		return qs_fail(error, QSTORE_MISMATCH, "%s does not belong to %s: %zu tensor%s in value: %s%s",
		               p->models[wrong_coarse].path, p->models[wrong_fine].path, n_wrong,
		               n_wrong == 1 ? " differs" : "s differ", named, n_wrong > 5 ? ", …" : "");
	return QSTORE_OK;
}

qstore_status pack_encode(packer *p, qs_error *error)
{
	encode_pass pass = {.p = p};
	uint64_t total = 0;
	for (size_t i = 0; i < p->builder.n_objects; i++)
		total += qs_object_bytes(&p->builder.objects[i]);
	for (size_t i = 0; i < p->n_files; i++)
		total += p->files[i].size;
	qs_jobs jobs = {
	    .n_jobs = p->builder.n_parts,
	    .user = &pass,
	    .create = encode_create,
	    .destroy = encode_destroy,
	    .work = encode_work,
	    .commit = encode_commit,
	    .n_side = p->n_files,
	    .side = hash_file,
	    .cancel = p->options->work.cancel,
	};
	pack_phase(p, "encoding", total);
	qstore_status status = qs_pool_run(&jobs, p->options->work.threads, error);
	return !status ? finish_objects(p, error) : status;
}

/* The base: an earlier version of the model, or the one that it was made from. */
#include <stdlib.h>
#include <string.h>

#include "pack/pack.h"

qstore_status pack_base_read(const packer *p, uint32_t file, void *dst, size_t size, uint64_t offset,
                             qs_error *error)
{
	packer *own = (packer *)p; /* the decoder is shared, hence the lock */
	pthread_mutex_lock(&own->base_lock);
	qstore_status status = QSTORE_OK;
	if (!own->base_decoder && !(own->base_decoder = qs_decoder_create(p->base_archive, NULL, 0)))
		status = qs_no_memory(error);
	if (!status)
		status = qs_decoder_read_file(own->base_decoder, file, offset, dst, size, error);
	pthread_mutex_unlock(&own->base_lock);
	return status;
}

void pack_base_free(packer *p)
{
	for (size_t i = 0; i < p->n_bases; i++)
		free(p->bases[i].tensors);
	free(p->bases);
	qs_decoder_destroy(p->base_decoder);
	qstore_close(p->base_archive);
	qs_model_close(&p->base);
	if (p->options && p->options->base)
		pthread_mutex_destroy(&p->base_lock);
}

static qstore_status add_file(packer *p, const char *name, uint64_t size, size_t n_tensors,
                              pack_base_file **added, qs_error *error)
{
	pack_base_file *larger = realloc(p->bases, (p->n_bases + 1) * sizeof(*larger));
	if (!larger)
		return pack_no_memory(error);
	p->bases = larger;
	*added = &larger[p->n_bases++];
	**added = (pack_base_file){
	    .name = name, .size = size, .rank = size, .tensors = calloc(n_tensors + 1, sizeof(pack_tensor))};
	return !(*added)->tensors ? pack_no_memory(error) : QSTORE_OK;
}

static void add_tensor(packer *p, pack_base_file *file, pack_tensor tensor)
{
	tensor.key = tensor.full = tensor.name;
	tensor.source = file->source;
	tensor.source_offset = tensor.offset;
	tensor.base_file = (uint32_t)(p->n_bases - 1);
	tensor.base_rank = file->rank;
	tensor.role = PACK_BASE;
	tensor.object = QS_NONE;
	file->tensors[file->n_tensors++] = tensor;
}

static qstore_status take_model(packer *p, qs_error *error)
{
	for (size_t i = 0; i < p->base.n_files; i++) {
		const qs_model_file *input = &p->base.files[i];
		pack_base_file *file = NULL;
		if (!input->is_weights)
			continue;
		qstore_status status = add_file(p, input->name, input->size, input->weights.n_tensors, &file, error);
		if (!status)
			status = pack_add_source(p, input->path, input->size, &file->source, error);
		if (status)
			return status;
		for (size_t j = 0; j < input->weights.n_tensors; j++) {
			const qs_weight *t = &input->weights.tensors[j];
			add_tensor(p, file,
			           (pack_tensor){.name = t->name,
			                         .dtype = t->dtype,
			                         .n_dims = t->n_dims,
			                         .dims = t->dims,
			                         .offset = t->offset,
			                         .size = t->size});
		}
	}
	return QSTORE_OK;
}

static qstore_status take_archive(packer *p, qs_error *error)
{
	const qs_index *index = &p->base_archive->index;
	uint32_t next = 0;
	qs_tensor tensor;
	for (uint32_t i = 0; i < index->n_files; i++) {
		qs_file input;
		pack_base_file *file = NULL;
		uint32_t first = next;
		qs_index_file(index, i, &input);
		for (; next < index->n_tensors; next++) {
			qs_index_tensor(index, next, &tensor);
			if (tensor.file != i)
				break;
		}
		if (next == first)
			continue;
		qstore_status status = add_file(p, input.name, input.size, next - first, &file, error);
		if (!status)
			status = pack_add_base_source(p, i, input.size, &file->source, error);
		if (status)
			return status;
		memcpy(file->sha256, input.sha256, 32);
		file->rank = input.variants; /* the highest bit is the finest variant */
		for (uint32_t j = first; j < next; j++) {
			qs_index_tensor(index, j, &tensor);
			uint64_t *dims = malloc((tensor.n_dims + 1) * sizeof(*dims));
			if (!pack_keep(p, (char *)dims))
				return pack_no_memory(error);
			for (uint32_t d = 0; d < tensor.n_dims; d++)
				dims[d] = qs_index_dim(index, tensor.first_dim + d);
			add_tensor(p, file,
			           (pack_tensor){.name = tensor.name,
			                         .dtype = tensor.dtype,
			                         .n_dims = tensor.n_dims,
			                         .dims = dims,
			                         .offset = tensor.offset,
			                         .size = tensor.size});
		}
	}
	return QSTORE_OK;
}

/* By name; of equal ones that of the finest variant's file first, so that no other is needed. */
static int compare_tensors(const void *a, const void *b)
{
	const pack_tensor *x = *(pack_tensor *const *)a, *y = *(pack_tensor *const *)b;
	int order = strcmp(x->name, y->name);
	return order != 0 ? order : (x->base_rank < y->base_rank) - (x->base_rank > y->base_rank);
}

static int is_like(const pack_tensor *a, const pack_tensor *b)
{
	return a->dtype == b->dtype && a->size == b->size && pack_cols(a) == pack_cols(b);
}

typedef struct base_pairing {
	packer *p;
	uint8_t *buffer; /* 2 * QS_IO_BLOCK bytes */
	qs_encoder *encoder;
} base_pairing;

/* A tensor that is not coded from another of its own model: the same in the base, or a difference to that. */
static qstore_status pair_tensor(base_pairing *q, pack_tensor *t, pack_tensor *base, qs_error *error)
{
	packer *p = q->p;
	int same = 0, pays = 0;
	if (!is_like(t, base) || t->role == PACK_LITERAL || t->role == PACK_SHARED ||
	    qs_dtype_size(t->dtype) == 0)
		return QSTORE_OK;
	qstore_status status = pack_same_bytes(p, t, base, q->buffer, &same, error);
	if (status)
		return status;
	if (same && !t->codes && (t->role == PACK_PLAIN || t->role == PACK_DELTA || t->role == PACK_REFINE) &&
	    !t->is_needed) {
		t->role = PACK_SHARED;
		t->coarse = base;
		p->bases[base->base_file].used = 1;
		p->result.n_base_equal++;
		return QSTORE_OK;
	}
	if (t->role != PACK_PLAIN || t->is_needed || !qs_dtype_is_float(t->dtype))
		return QSTORE_OK;
	status = pack_delta_pays(p, q->encoder, t, base, &pays, error);
	if (!status && pays) {
		t->role = PACK_DELTA;
		t->coarse = base;
		p->bases[base->base_file].used = 1;
		p->result.n_base_delta++;
	}
	return status;
}

/* What other objects name as scales has to be plain. */
static void mark_needed(packer *p)
{
	for (size_t i = 0; i < p->n_parts + p->n_files; i++) {
		size_t n = i < p->n_parts ? 1 : p->files[i - p->n_parts].n_tensors;
		for (size_t j = 0; j < n; j++) {
			const pack_tensor *t =
			    i < p->n_parts ? pack_part_tensor(p, i) : &p->files[i - p->n_parts].tensors[j];
			pack_tensor *needed[] = {t->grid.scales, t->grid.zeros, t->grid.order};
			for (size_t k = 0; k < 3; k++)
				if (needed[k])
					pack_stored(needed[k])->is_needed = 1;
		}
	}
}

qstore_status pack_base(packer *p, qs_error *error)
{
	const char *path = p->options->base;
	pthread_mutex_init(&p->base_lock, NULL);
	qstore_status status = qstore_open(path, &p->base_archive, error);
	if (status == QSTORE_NOT_QSTORE || status == QSTORE_IO) {
		status = qs_model_open(&p->base, path, error);
		if (!status)
			status = take_model(p, error);
	} else if (!status) {
		status = qs_archive_check_base(p->base_archive, error);
		if (!status)
			status = take_archive(p, error);
	}
	if (status)
		return status;
	size_t n = 0, n_common = 0;
	for (size_t i = 0; i < p->n_bases; i++)
		n += p->bases[i].n_tensors;
	pack_map map = {.tensors = malloc((n + 1) * sizeof(*map.tensors))};
	base_pairing pairing = {p, malloc(2 * QS_IO_BLOCK), qs_encoder_create()};
	if (!map.tensors || !pairing.buffer || !pairing.encoder)
		status = pack_no_memory(error);
	for (size_t i = 0; i < p->n_bases && map.tensors; i++)
		for (size_t j = 0; j < p->bases[i].n_tensors; j++)
			map.tensors[map.n_tensors++] = &p->bases[i].tensors[j];
	if (n > 0 && map.tensors)
		qsort(map.tensors, n, sizeof(*map.tensors), compare_tensors);
	mark_needed(p);
	for (size_t i = 0; i < p->n_files && !status; i++)
		for (size_t j = 0; j < p->files[i].n_tensors && !status; j++) {
			pack_tensor *t = &p->files[i].tensors[j];
			for (size_t k = pack_map_first(&map, t->name);
			     k < n && strcmp(map.tensors[k]->name, t->name) == 0 && !status; k++) {
				n_common++;
				status = pair_tensor(&pairing, t, map.tensors[k], error);
			}
			if (pack_is_cancelled(p))
				status = qs_fail(error, QSTORE_CANCELLED, "cancelled");
		}
	if (!status && n_common == 0)
		status = qs_fail(error, QSTORE_MISMATCH, "%s is no base of %s: they have no tensor name in common",
		                 path, p->models[p->high_number].path);
	free(map.tensors);
	free(pairing.buffer);
	qs_encoder_destroy(pairing.encoder);
	return status;
}

/* Decoding of one chunk, with what it builds on. */
#include <stdlib.h>
#include <string.h>

#include "archive.h"
#include "io.h"

/* A refined chunk has at most 2^19 elements of 16 bits, each of them a row of its own at worst. */
#define SCALES_MAX (QS_CHUNK_SIZE_MAX / 2 * sizeof(float))

/* Differences, each in another layer, then what they begin with: floats, or a refinement and its codes. */
#define CHAIN_MAX (QS_VARIANTS_MAX + 2)

struct qs_decoder {
	uint8_t *coded, *data[2], *scales, *scales_chunk; /* data: of a chunk, and of the one that it builds on */
	void *work;
	size_t work_size;
	/* What scales_chunk holds: neighbours in a matrix need the same one. */
	const qstore_archive *cached_archive;
	uint32_t cached_object, cached_chunk, cached_size;
};

qs_decoder *qs_decoder_create(void)
{
	qs_decoder *decoder = calloc(1, sizeof(*decoder));
	if (decoder == NULL)
		return NULL;
	decoder->work_size = (qs_chunk_workspace_size() + 63) / 64 * 64;
	decoder->coded = malloc(QS_CHUNK_CODED_MAX);
	decoder->data[0] = aligned_alloc(64, QS_CHUNK_SIZE_MAX);
	decoder->data[1] = aligned_alloc(64, QS_CHUNK_SIZE_MAX);
	decoder->scales = malloc(SCALES_MAX);
	decoder->scales_chunk = malloc(QS_CHUNK_SIZE_MAX);
	decoder->work = aligned_alloc(64, decoder->work_size > 0 ? decoder->work_size : 64);
	if (decoder->coded == NULL || decoder->data[0] == NULL || decoder->data[1] == NULL ||
	    decoder->scales == NULL || decoder->scales_chunk == NULL || decoder->work == NULL) {
		qs_decoder_destroy(decoder);
		return NULL;
	}
	return decoder;
}

void qs_decoder_destroy(qs_decoder *decoder)
{
	if (decoder == NULL)
		return;
	free(decoder->coded);
	free(decoder->data[0]);
	free(decoder->data[1]);
	free(decoder->scales);
	free(decoder->scales_chunk);
	free(decoder->work);
	free(decoder);
}

static qstore_status chunk_error(const qstore_archive *archive, uint32_t number, uint32_t chunk,
                                 qstore_status status, const char *what, qs_error *error)
{
	const qs_index *index = &archive->index;
	qs_object object;
	qs_index_object(index, number, &object);
	for (uint32_t i = 0; i < index->n_tensors; i++) {
		qs_tensor tensor;
		qs_index_tensor(index, i, &tensor);
		if (tensor.object == number)
			return qs_fail(error, status, "%s: tensor %.400s: chunk %u of %u %s", archive->path, tensor.name,
			               chunk + 1, object.n_chunks, what);
	}
	for (uint32_t i = 0; i < index->n_files; i++) {
		qs_file file;
		qs_index_file(index, i, &file);
		for (uint32_t j = 0; j < file.n_extents; j++) {
			qs_extent extent;
			qs_index_extent(index, file.first_extent + j, &extent);
			if (extent.object == number)
				return qs_fail(error, status,
				               "%s: file %.400s: chunk %u of %u of the bytes outside its tensors %s",
				               archive->path, file.name, chunk + 1, object.n_chunks, what);
		}
	}
	return qs_fail(error, status, "%s: object %u: chunk %u of %u %s", archive->path, number, chunk + 1,
	               object.n_chunks, what);
}

/* Elements of a chunk. */
static uint32_t chunk_elems(const qs_object *object, uint32_t chunk)
{
	uint64_t left = object->n_elems - (uint64_t)chunk * object->chunk_elems;
	return left < object->chunk_elems ? (uint32_t)left : object->chunk_elems;
}

static qstore_status read_chunk(qs_decoder *decoder, const qstore_archive *archive, uint32_t number,
                                const qs_object *object, uint32_t chunk, size_t *coded_size, qs_error *error)
{
	uint32_t i = object->first_chunk + chunk;
	*coded_size = qs_index_chunk_size(&archive->index, i);
	uint64_t offset = archive->chunk_offsets[i];
	if (offset + *coded_size > archive->file_size)
		return chunk_error(archive, number, chunk, QSTORE_TRUNCATED, "is beyond the end of this file", error);
	qstore_status status =
	    qs_pread_all(archive->fd, decoder->coded, *coded_size, offset, archive->path, error);
	if (status != QSTORE_OK)
		return status;
	if (qs_checksum(decoder->coded, *coded_size) != qs_index_chunk_checksum(&archive->index, i))
		return chunk_error(archive, number, chunk, QSTORE_CORRUPT, "is damaged: its checksum differs", error);
	return QSTORE_OK;
}

/* Decodes a chunk, given what it builds on (desc's coarse and scales), into QS_CHUNK_SIZE_MAX bytes. */
static qstore_status decode_one(qs_decoder *decoder, const qstore_archive *archive, uint32_t number,
                                const qs_object *object, uint32_t chunk, const qs_chunk_desc *desc,
                                uint8_t *dst, uint32_t *dst_size, qs_error *error)
{
	size_t coded_size;
	qstore_status status = read_chunk(decoder, archive, number, object, chunk, &coded_size, error);
	if (status != QSTORE_OK)
		return status;
	*dst_size = desc->n_elems * qs_dtype_size(object->dtype);
	status =
	    qs_chunk_decode(desc, decoder->coded, coded_size, dst, *dst_size, decoder->work, decoder->work_size);
	if (status != QSTORE_OK)
		return chunk_error(archive, number, chunk, status, "is damaged: it does not decode", error);
	return QSTORE_OK;
}

static qs_chunk_desc describe(const qs_object *object, uint32_t chunk)
{
	return (qs_chunk_desc){
	    .kind = object->kind,
	    .dtype = object->dtype,
	    .rule = object->rule,
	    .n_elems = chunk_elems(object, chunk),
	    .cols = object->cols,
	    .first_elem = (uint64_t)chunk * object->chunk_elems,
	};
}

/* The scales of the rows that a chunk touches, or the only one, into decoder->scales. */
static qstore_status load_scales(qs_decoder *decoder, const qstore_archive *archive, uint32_t number,
                                 qs_chunk_desc *desc, qs_error *error)
{
	qs_object object;
	qs_index_object(&archive->index, number, &object);
	size_t filled = 0, elem_size = qs_dtype_size(object.dtype);
	uint64_t row = desc->first_elem / desc->cols,
	         n_rows = (desc->first_elem + desc->n_elems - 1) / desc->cols - row + 1;
	if (object.n_elems == 1) {
		row = 0;
		n_rows = 1;
	}
	while (n_rows > 0) {
		uint32_t chunk = (uint32_t)(row / object.chunk_elems), size = 0;
		uint32_t skip = (uint32_t)(row % object.chunk_elems);
		if (decoder->cached_archive != archive || decoder->cached_object != number ||
		    decoder->cached_chunk != chunk) {
			decoder->cached_archive = NULL;
			qs_chunk_desc own = describe(&object, chunk);
			qstore_status status = decode_one(decoder, archive, number, &object, chunk, &own,
			                                  decoder->scales_chunk, &size, error);
			if (status != QSTORE_OK)
				return status;
			decoder->cached_archive = archive;
			decoder->cached_object = number;
			decoder->cached_chunk = chunk;
			decoder->cached_size = size;
		}
		uint64_t n = decoder->cached_size / elem_size - skip;
		if (n > n_rows)
			n = n_rows;
		memcpy(decoder->scales + filled, decoder->scales_chunk + skip * elem_size, (size_t)n * elem_size);
		filled += (size_t)n * elem_size;
		row += n;
		n_rows -= n;
	}
	desc->scales = decoder->scales;
	desc->scales_size = filled;
	desc->scales_dtype = object.dtype;
	return QSTORE_OK;
}

/* What an object builds on has its chunks laid out alike: chunk by chunk from the coarsest on, in two
 * buffers. */
qstore_status qs_decoder_chunk(qs_decoder *decoder, const qstore_archive *archive, uint32_t number,
                               uint32_t chunk, const uint8_t **data, uint32_t *data_size, qs_error *error)
{
	uint32_t chain[CHAIN_MAX], n = 0, coarse_dtype = QS_BYTES;
	qs_object object;
	for (uint32_t next = number; next != QS_NONE; next = object.coarse) {
		if (n == CHAIN_MAX) /* not in a valid index */
			return chunk_error(archive, number, chunk, QSTORE_CORRUPT, "builds on too many others", error);
		chain[n++] = next;
		qs_index_object(&archive->index, next, &object);
	}
	*data = NULL;
	while (n-- > 0) {
		qs_index_object(&archive->index, chain[n], &object);
		qs_chunk_desc desc = describe(&object, chunk);
		desc.coarse = *data;
		desc.coarse_dtype = coarse_dtype;
		qstore_status status = QSTORE_OK;
		if (object.kind == QS_KIND_REFINE)
			status = load_scales(decoder, archive, object.scales, &desc, error);
		if (status == QSTORE_OK)
			status = decode_one(decoder, archive, chain[n], &object, chunk, &desc, decoder->data[n & 1],
			                    data_size, error);
		if (status != QSTORE_OK)
			return status;
		*data = decoder->data[n & 1];
		coarse_dtype = object.dtype;
	}
	return QSTORE_OK;
}

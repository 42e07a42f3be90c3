/* Decoding of one chunk, with what it builds on. */
#include <stdlib.h>
#include <string.h>

#include "archive.h"
#include "io.h"

/* A refined chunk has at most 2^19 elements of 16 bits, each of them a row of its own at worst. */
#define COARSE_MAX (QS_CHUNK_SIZE_MAX / 2)
#define SCALES_MAX (COARSE_MAX * sizeof(float))

struct qs_decoder {
	uint8_t *coded, *data, *coarse, *scales, *scales_chunk;
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
	decoder->data = aligned_alloc(64, QS_CHUNK_SIZE_MAX);
	decoder->coarse = aligned_alloc(64, COARSE_MAX);
	decoder->scales = malloc(SCALES_MAX);
	decoder->scales_chunk = malloc(QS_CHUNK_SIZE_MAX);
	decoder->work = aligned_alloc(64, decoder->work_size > 0 ? decoder->work_size : 64);
	if (decoder->coded == NULL || decoder->data == NULL || decoder->coarse == NULL ||
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
	free(decoder->data);
	free(decoder->coarse);
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

/* Decodes a chunk of an object that builds on no other. dst holds QS_CHUNK_SIZE_MAX bytes, or is `coarse`. */
static qstore_status decode_base(qs_decoder *decoder, const qstore_archive *archive, uint32_t number,
                                 const qs_object *object, uint32_t chunk, uint8_t *dst, uint32_t *dst_size,
                                 qs_error *error)
{
	size_t coded_size;
	qstore_status status = read_chunk(decoder, archive, number, object, chunk, &coded_size, error);
	if (status != QSTORE_OK)
		return status;
	qs_chunk_desc desc = {
	    .kind = object->kind,
	    .dtype = object->dtype,
	    .rule = object->rule,
	    .n_elems = chunk_elems(object, chunk),
	    .cols = object->cols,
	    .first_elem = (uint64_t)chunk * object->chunk_elems,
	};
	*dst_size = desc.n_elems * qs_dtype_size(object->dtype);
	status =
	    qs_chunk_decode(&desc, decoder->coded, coded_size, dst, *dst_size, decoder->work, decoder->work_size);
	if (status != QSTORE_OK)
		return chunk_error(archive, number, chunk, status, "is damaged: it does not decode", error);
	return QSTORE_OK;
}

/* The scales of rows first_row … first_row + n_rows - 1, into decoder->scales. */
static qstore_status load_scales(qs_decoder *decoder, const qstore_archive *archive, uint32_t number,
                                 uint64_t first_row, uint64_t n_rows, qs_error *error)
{
	qs_object object;
	qs_index_object(&archive->index, number, &object);
	size_t filled = 0;
	while (n_rows > 0) {
		uint32_t chunk = (uint32_t)(first_row / object.chunk_elems), size = 0;
		uint32_t skip = (uint32_t)(first_row % object.chunk_elems);
		if (decoder->cached_archive != archive || decoder->cached_object != number ||
		    decoder->cached_chunk != chunk) {
			decoder->cached_archive = NULL;
			qstore_status status =
			    decode_base(decoder, archive, number, &object, chunk, decoder->scales_chunk, &size, error);
			if (status != QSTORE_OK)
				return status;
			decoder->cached_archive = archive;
			decoder->cached_object = number;
			decoder->cached_chunk = chunk;
			decoder->cached_size = size;
		}
		uint64_t n = decoder->cached_size / sizeof(float) - skip;
		if (n > n_rows)
			n = n_rows;
		memcpy(decoder->scales + filled, decoder->scales_chunk + skip * sizeof(float),
		       (size_t)n * sizeof(float));
		filled += (size_t)n * sizeof(float);
		first_row += n;
		n_rows -= n;
	}
	return QSTORE_OK;
}

qstore_status qs_decoder_chunk(qs_decoder *decoder, const qstore_archive *archive, uint32_t number,
                               uint32_t chunk, const uint8_t **data, uint32_t *data_size, qs_error *error)
{
	qs_object object, coarse;
	qs_index_object(&archive->index, number, &object);
	*data = decoder->data;
	if (object.kind != QS_KIND_REFINE)
		return decode_base(decoder, archive, number, &object, chunk, decoder->data, data_size, error);

	qs_index_object(&archive->index, object.coarse, &coarse);
	qs_chunk_desc desc = {
	    .kind = object.kind,
	    .dtype = object.dtype,
	    .rule = object.rule,
	    .n_elems = chunk_elems(&object, chunk),
	    .cols = object.cols,
	    .first_elem = (uint64_t)chunk * object.chunk_elems,
	};
	uint32_t coarse_size;
	size_t coded_size;
	uint64_t first_row = desc.first_elem / desc.cols;
	uint64_t n_rows = (desc.first_elem + desc.n_elems - 1) / desc.cols - first_row + 1;
	qstore_status status =
	    decode_base(decoder, archive, object.coarse, &coarse, chunk, decoder->coarse, &coarse_size, error);
	if (status == QSTORE_OK)
		status = load_scales(decoder, archive, object.scales, first_row, n_rows, error);
	if (status == QSTORE_OK)
		status = read_chunk(decoder, archive, number, &object, chunk, &coded_size, error);
	if (status != QSTORE_OK)
		return status;
	desc.coarse = decoder->coarse;
	desc.scales = decoder->scales;
	desc.scales_size = (size_t)n_rows * sizeof(float);
	desc.scales_dtype = QS_F32;
	*data_size = desc.n_elems * qs_dtype_size(object.dtype);
	status = qs_chunk_decode(&desc, decoder->coded, coded_size, decoder->data, *data_size, decoder->work,
	                         decoder->work_size);
	if (status != QSTORE_OK)
		return chunk_error(archive, number, chunk, status, "is damaged: it does not decode", error);
	return QSTORE_OK;
}

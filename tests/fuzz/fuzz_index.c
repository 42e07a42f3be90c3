/* The index. Any bytes are refused, or can be read to the last field without a further check.
 * tests/fuzz/make-seeds.mjs writes the same layout: u8: bit 1, a body (u64 payload size, then the body), or else a header. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../native/src/core/bytes.h"
#include "../../native/src/core/chunk.h"
#include "../../native/src/core/index.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int good)
{
	if (!good)
		abort();
}

static void check_file(const qs_index *index, const qs_file *file)
{
	uint64_t size = 0;
	require(qs_path_is_safe(file->name));
	for (uint32_t i = 0; i < file->n_extents; i++) {
		qs_extent extent;
		qs_object object;
		qs_index_extent(index, file->first_extent + i, &extent);
		require(extent.object < index->n_objects);
		qs_index_object(index, extent.object, &object);
		require(extent.offset + extent.size <= object.n_elems * qs_dtype_size(object.dtype));
		size += extent.size;
	}
	if (file->kind == QS_FILE_ASSEMBLED)
		require(size == file->size);
	else
		require(file->offset + file->coded_size <= index->payload_size);
}

static void check_object(const qs_index *index, uint32_t number)
{
	qs_object object, other;
	qs_index_object(index, number, &object);
	uint64_t coded = 0, sum = 0;
	for (uint32_t i = 0; i < object.n_chunks; i++) {
		uint32_t size = qs_index_chunk_size(index, object.first_chunk + i);
		require(size >= 1 && size <= QS_CHUNK_CODED_MAX);
		coded += size;
		sum += qs_index_chunk_checksum(index, object.first_chunk + i);
	}
	volatile uint64_t used = sum;
	(void)used;
	require(coded == object.coded_size && object.offset + coded <= index->payload_size);
	require(object.variant < index->n_variants && object.cols >= 1);
	require((object.kind == QS_KIND_REFINE) == (object.coarse != QS_NONE));
	if (object.kind == QS_KIND_REFINE) {
		require(object.coarse < number && object.scales < number);
		qs_index_object(index, object.coarse, &other);
		require(other.kind == QS_KIND_CODES && other.n_elems == object.n_elems && other.chunk_elems == object.chunk_elems);
		qs_index_object(index, object.scales, &other);
		require(other.dtype == QS_F32 && other.kind == QS_KIND_PLAIN);
	}
}

static void check_body(const qs_index *index)
{
	size_t sum = 0;
	for (uint32_t i = 0; i < index->n_variants; i++) {
		qs_variant variant;
		qs_index_variant(index, i, &variant);
		require(variant.layer_offset + variant.layer_size <= index->payload_size);
		sum += strlen(variant.name);
	}
	for (uint32_t i = 0; i < index->n_files; i++) {
		qs_file file;
		qs_index_file(index, i, &file);
		check_file(index, &file);
		sum += file.sha256[31];
	}
	for (uint32_t i = 0; i < index->n_tensors; i++) {
		qs_tensor tensor;
		qs_index_tensor(index, i, &tensor);
		require(tensor.file < index->n_files && (tensor.object == QS_NONE || tensor.object < index->n_objects));
		sum += strlen(tensor.name);
		for (uint32_t d = 0; d < tensor.n_dims; d++)
			sum += (size_t)qs_index_dim(index, tensor.first_dim + d);
	}
	for (uint32_t i = 0; i < index->n_objects; i++)
		check_object(index, i);
	volatile size_t used = sum;
	(void)used;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	int is_body = data[0] & 2;
	data++, size--;
	if (is_body && size < 8)
		return 0;
	size_t skipped = is_body ? 8 : 0;
	/* A copy of exactly its size: the sanitizer sees any read beyond it. */
	uint8_t *copied = malloc(size - skipped + !(size - skipped));
	require(copied != NULL);
	memcpy(copied, data + skipped, size - skipped);
	if (is_body) {
		qs_index index;
		if (qs_index_open(&index, copied, size - skipped, qs_load64(data)) == QSTORE_OK)
			check_body(&index);
	} else {
		/* Damaged headers as they are, and with a checksum that fits. */
		qs_index_header header;
		for (int mended = 0; mended < 2; mended++) {
			if (qs_index_read_header(copied, size, &header) == QSTORE_OK) {
				require(header.body_size <= QS_INDEX_BODY_MAX);
				require(qs_index_payload_offset(&header) % 512 == 0);
			}
			if (size >= QS_INDEX_HEADER_SIZE)
				qs_store64(copied + 56, qs_checksum(copied, 56));
		}
	}
	free(copied);
	return 0;
}

/* Index bodies: any bytes are refused, or can be read to the end without a further check. */
#include <stdlib.h>
#include <string.h>

#include "../../native/src/core/index.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint64_t sink; /* so that reads are not optimised away */

static void read_all(const qs_index *index)
{
	uint64_t sum = 0;
	for (uint32_t i = 0; i < index->n_variants; i++) {
		qs_variant variant;
		qs_index_variant(index, i, &variant);
		sum += strlen(variant.name);
	}
	for (uint32_t i = 0; i < index->n_files; i++) {
		qs_file file;
		qs_index_file(index, i, &file);
		sum += strlen(file.name) + file.sha256[31];
		for (uint32_t j = 0; j < file.n_extents; j++) {
			qs_extent extent;
			qs_object object;
			qs_index_extent(index, file.first_extent + j, &extent);
			qs_index_object(index, extent.object, &object);
			if (extent.offset + extent.size > object.n_elems * qs_dtype_size(object.dtype))
				abort();
		}
	}
	for (uint32_t i = 0; i < index->n_tensors; i++) {
		qs_tensor tensor;
		qs_index_tensor(index, i, &tensor);
		sum += strlen(tensor.name);
		for (uint32_t j = 0; j < tensor.n_dims; j++)
			sum += qs_index_dim(index, tensor.first_dim + j);
	}
	for (uint32_t i = 0; i < index->n_objects; i++) {
		qs_object object, coarse;
		qs_index_object(index, i, &object);
		for (uint32_t j = 0; j < object.n_chunks; j++)
			sum += qs_index_chunk_size(index, object.first_chunk + j) +
			       qs_index_chunk_checksum(index, object.first_chunk + j);
		if (object.offset + object.coded_size > index->payload_size)
			abort();
		if (object.kind == QS_KIND_REFINE) {
			qs_index_object(index, object.coarse, &coarse);
			if (coarse.n_elems != object.n_elems || coarse.chunk_elems != object.chunk_elems)
				abort();
		}
	}
	sink = sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	qs_index_header header;
	qs_index index;
	if (size > 0)
		qs_index_read_header(data, size, &header);
	uint8_t *body = malloc(size > 0 ? size : 1);
	if (body == NULL)
		return 0;
	memcpy(body, data, size);
	if (qs_index_open(&index, body, size, 1 << 20) == QSTORE_OK)
		read_all(&index);
	free(body);
	return 0;
}

/* Index bodies: whatever passes qs_index_open() can be read to its last field. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/index.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	qs_index_header header;
	qs_index_read_header(data, size, &header);
	if (size < 8)
		return 0;
	/* A copy of its own, so that the sanitizer sees any read beyond it. */
	uint8_t *body = malloc(size - 8 + !(size - 8));
	if (!body)
		return 0;
	memcpy(body, data + 8, size - 8);
	qs_index index;
	if (qs_index_open(&index, body, size - 8, qs_load64(data)) == QSTORE_OK) {
		size_t sum = 0;
		for (uint32_t i = 0; i < index.n_variants; i++) {
			qs_variant variant;
			qs_index_variant(&index, i, &variant);
			sum += strlen(variant.name);
		}
		for (uint32_t i = 0; i < index.n_files; i++) {
			qs_file file;
			qs_index_file(&index, i, &file);
			if (!qs_path_is_safe(file.name))
				abort();
			sum += file.sha256[31];
		}
		for (uint32_t i = 0; i < index.n_extents; i++) {
			qs_extent extent;
			qs_index_extent(&index, i, &extent);
			if (extent.object >= index.n_objects)
				abort();
		}
		for (uint32_t i = 0; i < index.n_tensors; i++) {
			qs_tensor tensor;
			qs_index_tensor(&index, i, &tensor);
			sum += strlen(tensor.name);
			for (uint32_t d = 0; d < tensor.n_dims; d++)
				sum += (size_t)qs_index_dim(&index, tensor.first_dim + d);
		}
		for (uint32_t i = 0; i < index.n_objects; i++) {
			qs_object object;
			qs_index_object(&index, i, &object);
			if (object.coarse != QS_NONE && object.coarse >= i)
				abort();
			for (uint32_t c = 0; c < object.n_chunks; c++)
				sum += qs_index_chunk_size(&index, object.first_chunk + c) +
				       (size_t)qs_index_chunk_checksum(&index, object.first_chunk + c);
		}
		volatile size_t used = sum;
		(void)used;
	}
	free(body);
	return 0;
}

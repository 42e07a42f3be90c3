/* Building an index body: records in growable arrays, equal strings stored once (core/index.h is the reader).
 */
#ifndef QS_INDEX_BUILD_H
#define QS_INDEX_BUILD_H

#include "core/index.h"

typedef struct qs_index_builder {
	/* Names are pointers that qs_builder_name returned. Set fields of records in place, as they become known.
	 */
	qs_variant *variants;
	qs_file *files;        /* their .sha256 is not used, but: */
	uint8_t (*sha256)[32]; /* one for each file */
	qs_extent *extents;
	qs_tensor *tensors;
	qs_object *objects;
	uint64_t *checksums; /* one for each chunk, of its coded bytes */
	uint32_t *chunk_sizes;
	uint64_t *parts; /* checksums, one for each part, of its bytes */
	uint64_t *dims;
	size_t n_variants, n_files, n_extents, n_tensors, n_objects, n_chunks, n_parts, n_dims;
	struct qs_builder_strings *strings;
} qs_index_builder;

/* A zeroed builder is empty. This frees everything in it. */
void qs_builder_free(qs_index_builder *builder);

/* A copy of text that the builder keeps; equal texts have one copy. NULL when out of memory. */
const char *qs_builder_name(qs_index_builder *builder, const char *text);

/* These append a zeroed record and give its number. MEMORY, or LIMIT at 2^32 - 1 records. */
qstore_status qs_builder_add_variant(qs_index_builder *builder, uint32_t *number);
qstore_status qs_builder_add_file(qs_index_builder *builder, uint32_t *number);
qstore_status qs_builder_add_extent(qs_index_builder *builder, uint32_t *number);
qstore_status qs_builder_add_tensor(qs_index_builder *builder, uint32_t *number);
qstore_status qs_builder_add_object(qs_index_builder *builder, uint32_t *number);
qstore_status qs_builder_add_dim(qs_index_builder *builder, uint64_t dim);

/* These append n zeroed records; *first is the number of the first. MEMORY, LIMIT. */
qstore_status qs_builder_add_chunks(qs_index_builder *builder, uint64_t n, uint32_t *first);
qstore_status qs_builder_add_parts(qs_index_builder *builder, uint64_t n, uint32_t *first);

/* Makes the body; *body is malloc'd. LIMIT when it would be larger than QS_INDEX_BODY_MAX; MEMORY. */
qstore_status qs_builder_body(const qs_index_builder *builder, uint8_t **body, size_t *body_size);

#endif

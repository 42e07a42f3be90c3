/* Building an index body: records in growable arrays, equal strings stored once (core/index.h is the reader).
 */
#ifndef QS_INDEX_BUILD_H
#define QS_INDEX_BUILD_H

#include "core/index.h"

typedef struct qs_index_builder {
	/* Names are pointers that qs_builder_name returned. Set fields of records in place, as they become known.
	 */
	qs_variant *variants;
	qs_file *files;        /* .sha256 is ignored: see below */
	uint8_t (*sha256)[32]; /* one a file */
	qs_extent *extents;
	qs_tensor *tensors;
	qs_object *objects;
	uint64_t *checksums; /* one a chunk */
	uint32_t *chunk_sizes;
	uint64_t *parts; /* checksums, one a part */
	uint64_t *dims;
	size_t n_variants, n_files, n_extents, n_tensors, n_objects, n_chunks, n_parts, n_dims;
	struct qs_builder_strings *strings;
} qs_index_builder;

/* A zeroed builder is empty; this frees what it holds. */
void qs_builder_free(qs_index_builder *builder);

/* The builder's own copy of text, the same pointer for equal texts; NULL when out of memory. */
const char *qs_builder_name(qs_index_builder *builder, const char *text);

/* These append a zeroed record and give its number. MEMORY, or LIMIT at 2^32 - 1 records. */
qstore_status qs_builder_add_variant(qs_index_builder *builder, uint32_t *number);
qstore_status qs_builder_add_file(qs_index_builder *builder, uint32_t *number);
qstore_status qs_builder_add_extent(qs_index_builder *builder, uint32_t *number);
qstore_status qs_builder_add_tensor(qs_index_builder *builder, uint32_t *number);
qstore_status qs_builder_add_object(qs_index_builder *builder, uint32_t *number);
qstore_status qs_builder_add_dim(qs_index_builder *builder, uint64_t dim);

/* Append n zeroed ones; *first is the first one's number. */
qstore_status qs_builder_add_chunks(qs_index_builder *builder, uint64_t n, uint32_t *first);
qstore_status qs_builder_add_parts(qs_index_builder *builder, uint64_t n, uint32_t *first);

/* The body, malloc'd. LIMIT when it is larger than QS_INDEX_BODY_MAX. */
qstore_status qs_builder_body(const qs_index_builder *builder, uint8_t **body, size_t *body_size);

#endif

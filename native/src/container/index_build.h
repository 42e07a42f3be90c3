/* Building the body of an index from records in growable arrays; core/index.h reads it. Equal strings are
 * stored once. Functions have no error text: their callers know which archive it is. */
#ifndef QS_INDEX_BUILD_H
#define QS_INDEX_BUILD_H

#include "core/index.h"

typedef struct qs_index_builder {
	/* The caller sets the fields of records here, as they become known. Names must be pointers that
	 * qs_builder_name returned. */
	qs_variant *variants;
	qs_file *files;        /* their .sha256 is not used, but the next array */
	uint8_t (*sha256)[32]; /* one for each file */
	qs_extent *extents;
	qs_tensor *tensors;
	qs_object *objects;
	uint32_t *checksums; /* one for each chunk, of its coded bytes */
	uint32_t *chunk_sizes;
	uint8_t (*seals)[QS_SEAL_BYTES]; /* one for each stretch of chunks */
	uint64_t *parts;                 /* checksums, one for each part, of its bytes */
	uint64_t *dims;
	size_t n_variants, n_files, n_extents, n_tensors, n_objects, n_chunks, n_parts, n_seals, n_dims;
	struct qs_builder_strings *strings;
} qs_index_builder;

/* Frees everything in a builder, which is then zeroed. A zeroed builder is empty. */
void qs_builder_free(qs_index_builder *builder);

/* Returns a copy of text that the builder keeps; equal texts have one copy. Returns NULL if memory is out. */
const char *qs_builder_name(qs_index_builder *builder, const char *text);

/* Append a zeroed record and set *number to its number. They return MEMORY, or LIMIT at 2^32 - 1 records. */
qstore_status qs_builder_add_variant(qs_index_builder *builder, uint32_t *number);
qstore_status qs_builder_add_file(qs_index_builder *builder, uint32_t *number);
qstore_status qs_builder_add_extent(qs_index_builder *builder, uint32_t *number);
qstore_status qs_builder_add_tensor(qs_index_builder *builder, uint32_t *number);
qstore_status qs_builder_add_object(qs_index_builder *builder, uint32_t *number);
qstore_status qs_builder_add_dim(qs_index_builder *builder, uint64_t dim);

/* Append n zeroed records and set *first to the number of the first one. They return MEMORY or LIMIT. */
qstore_status qs_builder_add_chunks(qs_index_builder *builder, uint64_t n, uint32_t *first);
qstore_status qs_builder_add_parts(qs_index_builder *builder, uint64_t n, uint32_t *first);

/* Makes the body; the caller frees *body. Returns LIMIT if it would be larger than QS_INDEX_BODY_MAX bytes,
 * or MEMORY. */
qstore_status qs_builder_body(const qs_index_builder *builder, uint8_t **body, size_t *body_size);

/* Writes the columns of a body that qs_builder_body made; dst has size bytes too. */
void qs_index_to_columns(const uint8_t *body, size_t size, uint8_t *dst);

#endif

#include "index_build.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/chunk.h"
#include "core/index_columns.h"
#include "os/arena.h"
#include "os/array.h"

/* A text and its offset among all texts. Nodes do not move, so that records can point at the text, from which
 * name_offset finds the offset before it. */
typedef struct string_node {
	struct string_node *next; /* of the same bucket */
	uint32_t offset;          /* bytes */
	char text[];
} string_node;

struct qs_builder_strings {
	string_node **buckets;
	size_t n_buckets, n_nodes;
	string_node **order; /* all nodes, as they were added */
	uint32_t size;       /* bytes of all texts with their zero bytes */
	uint32_t repeated;   /* bytes of texts that later records share with earlier ones */
	qs_arena arena;      /* of the nodes */
};

static void strings_free(struct qs_builder_strings *strings)
{
	if (!strings)
		return;
	free(strings->order);
	free(strings->buckets);
	qs_arena_free(&strings->arena);
	free(strings);
}

void qs_builder_free(qs_index_builder *builder)
{
	free(builder->variants);
	free(builder->files);
	free(builder->sha256);
	free(builder->extents);
	free(builder->tensors);
	free(builder->objects);
	free(builder->checksums);
	free(builder->seals);
	free(builder->chunk_sizes);
	free(builder->parts);
	free(builder->dims);
	strings_free(builder->strings);
	memset(builder, 0, sizeof(*builder));
}

/* Doubles the number of buckets, or allocates the first ones. Returns 0 if memory is out. */
static int strings_grow(struct qs_builder_strings *strings)
{
	size_t n_buckets = strings->n_buckets == 0 ? 1024 : strings->n_buckets * 2;
	string_node **buckets = calloc(n_buckets, sizeof(*buckets));
	if (!buckets)
		return 0;
	for (size_t i = 0; i < strings->n_nodes; i++) {
		string_node *node = strings->order[i];
		string_node **bucket = &buckets[qs_checksum(node->text, strlen(node->text)) & (n_buckets - 1)];
		node->next = *bucket;
		*bucket = node;
	}
	free(strings->buckets);
	strings->buckets = buckets;
	strings->n_buckets = n_buckets;
	return 1;
}

const char *qs_builder_name(qs_index_builder *builder, const char *text)
{
	if (!builder->strings)
		builder->strings = calloc(1, sizeof(*builder->strings));
	struct qs_builder_strings *strings = builder->strings;
	if (!strings || (strings->n_nodes == strings->n_buckets && !strings_grow(strings)))
		return NULL;
	size_t size = strlen(text);
	string_node **bucket = &strings->buckets[qs_checksum(text, size) & (strings->n_buckets - 1)];
	for (string_node *node = *bucket; node; node = node->next) {
		/* Readers refuse more repetitions than these (FORMAT.md, 4.1): then the text is there twice. */
		if (strcmp(node->text, text) == 0 && size < QS_NAMES_FREE - strings->repeated) {
			strings->repeated += (uint32_t)size + 1;
			return node->text;
		}
	}
	if (size >= QS_INDEX_BODY_MAX - strings->size)
		return NULL;
	string_node *node = qs_arena_alloc(&strings->arena, sizeof(*node) + size + 1);
	string_node **added = node ? qs_array_add(&strings->order, &strings->n_nodes, sizeof(*added)) : NULL;
	if (!added)
		return NULL;
	*added = node;
	memcpy(node->text, text, size + 1);
	node->offset = strings->size;
	node->next = *bucket;
	*bucket = node;
	strings->size += (uint32_t)size + 1;
	return node->text;
}

static uint32_t name_offset(const char *name)
{
	uint32_t offset;
	memcpy(&offset, name - offsetof(string_node, text) + offsetof(string_node, offset), sizeof(offset));
	return offset;
}

#define DEFINE_ADD(what, array, count)                                                                       \
	qstore_status qs_builder_add_##what(qs_index_builder *builder, uint32_t *number)                         \
	{                                                                                                        \
		if (builder->count >= QS_NONE - 1)                                                                   \
			return QSTORE_LIMIT;                                                                             \
		if (!qs_array_add(&builder->array, &builder->count, sizeof(*builder->array)))                        \
			return QSTORE_MEMORY;                                                                            \
		*number = (uint32_t)builder->count - 1;                                                              \
		return QSTORE_OK;                                                                                    \
	}

DEFINE_ADD(variant, variants, n_variants)
DEFINE_ADD(extent, extents, n_extents)
DEFINE_ADD(tensor, tensors, n_tensors)
DEFINE_ADD(object, objects, n_objects)

qstore_status qs_builder_add_file(qs_index_builder *builder, uint32_t *number)
{
	if (builder->n_files >= QS_NONE - 1)
		return QSTORE_LIMIT;
	void *files = qs_array_grow(builder->files, builder->n_files, 1, sizeof(*builder->files));
	if (!files)
		return QSTORE_MEMORY;
	builder->files = files;
	void *sha256 = qs_array_grow(builder->sha256, builder->n_files, 1, sizeof(*builder->sha256));
	if (!sha256)
		return QSTORE_MEMORY;
	builder->sha256 = sha256;
	*number = (uint32_t)builder->n_files++;
	return QSTORE_OK;
}

qstore_status qs_builder_add_dim(qs_index_builder *builder, uint64_t dim)
{
	if (builder->n_dims >= QS_NONE - 1)
		return QSTORE_LIMIT;
	uint64_t *added = qs_array_add(&builder->dims, &builder->n_dims, sizeof(*added));
	if (!added)
		return QSTORE_MEMORY;
	*added = dim;
	return QSTORE_OK;
}

qstore_status qs_builder_add_chunks(qs_index_builder *builder, uint64_t n, uint32_t *first)
{
	if (n >= QS_NONE - builder->n_chunks)
		return QSTORE_LIMIT;
	void *checksums =
	    qs_array_grow(builder->checksums, builder->n_chunks, (size_t)n, sizeof(*builder->checksums));
	if (!checksums)
		return QSTORE_MEMORY;
	builder->checksums = checksums;
	void *sizes =
	    qs_array_grow(builder->chunk_sizes, builder->n_chunks, (size_t)n, sizeof(*builder->chunk_sizes));
	if (!sizes)
		return QSTORE_MEMORY;
	builder->chunk_sizes = sizes;
	*first = (uint32_t)builder->n_chunks;
	builder->n_chunks += (size_t)n;
	return QSTORE_OK;
}

qstore_status qs_builder_add_parts(qs_index_builder *builder, uint64_t n, uint32_t *first)
{
	if (n >= QS_NONE - builder->n_parts)
		return QSTORE_LIMIT;
	void *parts = qs_array_grow(builder->parts, builder->n_parts, (size_t)n, sizeof(*builder->parts));
	if (!parts)
		return QSTORE_MEMORY;
	builder->parts = parts;
	*first = (uint32_t)builder->n_parts;
	builder->n_parts += (size_t)n;
	return QSTORE_OK;
}

/* Writes the whole body and returns its end. */
static const uint8_t *write_records(const qs_index_builder *builder, uint8_t *p)
{
	qs_store32(p, (uint32_t)builder->n_variants);
	qs_store32(p + 4, (uint32_t)builder->n_files);
	qs_store32(p + 8, (uint32_t)builder->n_extents);
	qs_store32(p + 12, (uint32_t)builder->n_tensors);
	qs_store32(p + 16, (uint32_t)builder->n_objects);
	qs_store32(p + 20, (uint32_t)builder->n_chunks);
	qs_store32(p + 24, (uint32_t)builder->n_dims);
	qs_store32(p + 28, builder->strings->size);
	qs_store32(p + 32, (uint32_t)builder->n_parts);
	qs_store32(p + 36, (uint32_t)builder->n_seals);
	p += QS_COUNTS_SIZE;
	for (size_t i = 0; i < builder->n_variants; i++, p += QS_VARIANT_SIZE) {
		const qs_variant *variant = &builder->variants[i];
		qs_store32(p, name_offset(variant->name));
		qs_store32(p + 4, variant->dtype);
		qs_store32(p + 8, variant->coarser);
		qs_store64(p + 16, variant->layer_offset);
		qs_store64(p + 24, variant->layer_size);
		qs_store64(p + 32, variant->raw_size);
	}
	for (size_t i = 0; i < builder->n_files; i++, p += QS_FILE_SIZE) {
		const qs_file *file = &builder->files[i];
		qs_store32(p, name_offset(file->name));
		qs_store32(p + 4, file->variants);
		qs_store64(p + 8, file->size);
		memcpy(p + 16, builder->sha256[i], 32);
		qs_store32(p + 48, file->kind);
		qs_store32(p + 52, file->first_extent);
		qs_store32(p + 56, file->n_extents);
		qs_store64(p + 64, file->offset);
		qs_store64(p + 72, file->coded_size);
	}
	for (size_t i = 0; i < builder->n_extents; i++, p += QS_EXTENT_SIZE) {
		const qs_extent *extent = &builder->extents[i];
		qs_store32(p, extent->object);
		qs_store64(p + 8, extent->offset);
		qs_store64(p + 16, extent->size);
	}
	for (size_t i = 0; i < builder->n_tensors; i++, p += QS_TENSOR_SIZE) {
		const qs_tensor *tensor = &builder->tensors[i];
		qs_store32(p, name_offset(tensor->name));
		qs_store32(p + 4, tensor->file);
		qs_store64(p + 8, tensor->offset);
		qs_store64(p + 16, tensor->size);
		qs_store32(p + 24, tensor->dtype);
		qs_store32(p + 28, tensor->first_dim);
		qs_store32(p + 32, tensor->n_dims);
		qs_store32(p + 36, tensor->object);
	}
	for (size_t i = 0; i < builder->n_objects; i++, p += QS_OBJECT_SIZE) {
		const qs_object *object = &builder->objects[i];
		p[0] = (uint8_t)object->kind;
		p[1] = (uint8_t)object->dtype;
		p[2] = (uint8_t)object->variant;
		p[3] = (uint8_t)object->rule;
		qs_store32(p + 4, object->coarse);
		qs_store32(p + 8, object->scales);
		memcpy(p + 12, &object->error, 4);
		qs_store64(p + 16, object->n_elems);
		qs_store64(p + 24, object->cols);
		qs_store32(p + 32, object->chunk_elems);
		qs_store32(p + 36, object->first_chunk);
		qs_store32(p + 40, object->n_chunks);
		qs_store64(p + 48, object->offset);
		qs_store64(p + 56, object->coded_size);
		qs_store32(p + 44, object->zero_points);
		qs_store32(p + 64, object->order);
		qs_store32(p + 68, object->group);
		qs_store64(p + 72, object->row_stride);
		qs_store64(p + 80, object->group_stride);
		qs_store32(p + 88, (uint32_t)object->zero_offset);
		qs_store32(p + 92, object->first_part);
	}
	for (size_t i = 0; i < builder->n_parts; i++, p += 8)
		qs_store64(p, builder->parts[i]);
	for (size_t i = 0; i < builder->n_seals; i++, p += QS_SEAL_BYTES)
		memcpy(p, builder->seals[i], QS_SEAL_BYTES);
	for (size_t i = 0; i < builder->n_chunks; i++, p += 4)
		qs_store32(p, builder->checksums[i]);
	for (size_t i = 0; i < builder->n_chunks; i++, p += 4)
		qs_store32(p, builder->chunk_sizes[i]);
	for (size_t i = 0; i < builder->n_dims; i++, p += 8)
		qs_store64(p, builder->dims[i]);
	for (size_t i = 0; i < builder->strings->n_nodes; i++) {
		size_t size = strlen(builder->strings->order[i]->text) + 1;
		memcpy(p, builder->strings->order[i]->text, size);
		p += size;
	}
	return p;
}

qstore_status qs_builder_body(const qs_index_builder *builder, uint8_t **body, size_t *body_size)
{
	if (!builder->strings)
		return QSTORE_USAGE;
	/* Counts are below 2^32, so no term reaches 2^39. */
	uint64_t size =
	    QS_COUNTS_SIZE + (uint64_t)builder->n_variants * QS_VARIANT_SIZE +
	    (uint64_t)builder->n_files * QS_FILE_SIZE + (uint64_t)builder->n_extents * QS_EXTENT_SIZE +
	    (uint64_t)builder->n_tensors * QS_TENSOR_SIZE + (uint64_t)builder->n_objects * QS_OBJECT_SIZE +
	    (uint64_t)builder->n_chunks * 8 + (uint64_t)builder->n_parts * 8 +
	    (uint64_t)builder->n_seals * QS_SEAL_BYTES + (uint64_t)builder->n_dims * 8 + builder->strings->size;
	if (size > QS_INDEX_BODY_MAX)
		return QSTORE_LIMIT;
	*body = calloc(1, (size_t)size);
	if (!*body)
		return QSTORE_MEMORY;
	*body_size = (size_t)size;
	const uint8_t *end = write_records(builder, *body);
	assert(end == *body + size);
	(void)end;
	return QSTORE_OK;
}

static void array_to_columns(const uint8_t *src, const qs_index_array *array, uint8_t *dst)
{
	size_t n = array->n, record_size = array->record_size;
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < record_size; j++)
			dst[j * n + i] = src[i * record_size + j];
	for (size_t at = 0; at < record_size; at += 4) {
		uint32_t before = 0;
		if ((array->rising >> at / 4 & 1) == 0)
			continue;
		for (size_t i = 0; i < n; i++) {
			uint32_t value = qs_load32(src + i * record_size + at), difference = value - before;
			for (size_t j = 0; j < 4; j++)
				dst[(at + j) * n + i] = (uint8_t)(difference >> 8 * j);
			before = value;
		}
	}
}

void qs_index_to_columns(const uint8_t *body, size_t size, uint8_t *dst)
{
	qs_index_array arrays[QS_ARRAY_COUNT];
	int is_body = qs_index_arrays(body, size, arrays);
	assert(is_body);
	(void)is_body;
	memcpy(dst, body, QS_COUNTS_SIZE);
	for (const qs_index_array *array = arrays; array < arrays + QS_ARRAY_COUNT; array++) {
		if (array->has_columns)
			array_to_columns(body + array->at, array, dst + array->at);
		else
			memcpy(dst + array->at, body + array->at, array->n * array->record_size);
	}
}

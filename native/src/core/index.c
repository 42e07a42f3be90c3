#include "index.h"

#include <string.h>

#include "bytes.h"
#include "checksum.h"
#include "index_columns.h"
#include "zstd.h"

static const uint8_t index_magic[8] = {0x89, 'Q', 'S', 'T', 'O', 'R', 'E', '\n'};

/* Offsets in the header. */
enum {
	HEADER_MAJOR = 8,
	HEADER_MINOR = 10,
	HEADER_FLAGS = 12,
	HEADER_CODED_SIZE = 16,
	HEADER_BODY_SIZE = 24,
	HEADER_BODY_CHECKSUM = 32,
	HEADER_PAYLOAD_SIZE = 40,
	HEADER_DRAFT = 48,
	HEADER_RESERVED = 52,
	HEADER_CHECKSUM = 56
};

#define FLAG_ZSTD 1u

qstore_status qs_index_read_header(const uint8_t *src, size_t src_size, qs_index_header *out)
{
	size_t magic_size = src_size < sizeof(index_magic) ? src_size : sizeof(index_magic);
	if (memcmp(src, index_magic, magic_size) != 0)
		return QSTORE_NOT_QSTORE;
	if (src_size < HEADER_FLAGS)
		return QSTORE_TRUNCATED;
	if (qs_load16(src + HEADER_MAJOR) > QS_FORMAT_MAJOR)
		return QSTORE_NEWER;
	if (src_size < QS_INDEX_HEADER_SIZE)
		return QSTORE_TRUNCATED;
	if (qs_load64(src + HEADER_CHECKSUM) != qs_checksum(src, HEADER_CHECKSUM))
		return QSTORE_CORRUPT;
	if (qs_load16(src + HEADER_MAJOR) != QS_FORMAT_MAJOR)
		return QSTORE_CORRUPT;
	uint32_t flags = qs_load32(src + HEADER_FLAGS), draft = qs_load32(src + HEADER_DRAFT);
	if (draft != QS_FORMAT_DRAFT)
		return draft > QS_FORMAT_DRAFT ? QSTORE_NEWER : QSTORE_OLDER;
	if ((flags & ~FLAG_ZSTD) != 0 || qs_load32(src + HEADER_RESERVED) != 0)
		return qs_load16(src + HEADER_MINOR) > QS_FORMAT_MINOR ? QSTORE_NEWER : QSTORE_CORRUPT;
	out->zstd_body = flags & FLAG_ZSTD;
	out->body_coded_size = qs_load64(src + HEADER_CODED_SIZE);
	out->body_size = qs_load64(src + HEADER_BODY_SIZE);
	out->body_checksum = qs_load64(src + HEADER_BODY_CHECKSUM);
	out->payload_size = qs_load64(src + HEADER_PAYLOAD_SIZE);
	out->is_newer = qs_load16(src + HEADER_MINOR) > QS_FORMAT_MINOR;
	if (out->body_size > QS_INDEX_BODY_MAX || out->body_coded_size > QS_INDEX_BODY_MAX)
		return QSTORE_LIMIT;
	if (out->payload_size >= QS_SIZE_LIMIT)
		return QSTORE_LIMIT;
	if (out->zstd_body && !qs_frame_is_allowed(out->body_size, out->body_coded_size))
		return QSTORE_LIMIT;
	if (out->body_size < QS_COUNTS_SIZE || (!out->zstd_body && out->body_coded_size != out->body_size))
		return QSTORE_CORRUPT;
	return QSTORE_OK;
}

void qs_index_write_header(const qs_index_header *header, uint8_t dst[QS_INDEX_HEADER_SIZE])
{
	memset(dst, 0, QS_INDEX_HEADER_SIZE);
	memcpy(dst, index_magic, sizeof(index_magic));
	qs_store16(dst + HEADER_MAJOR, QS_FORMAT_MAJOR);
	qs_store16(dst + HEADER_MINOR, QS_FORMAT_MINOR);
	qs_store32(dst + HEADER_FLAGS, header->zstd_body ? FLAG_ZSTD : 0);
	qs_store32(dst + HEADER_DRAFT, QS_FORMAT_DRAFT);
	qs_store64(dst + HEADER_CODED_SIZE, header->body_coded_size);
	qs_store64(dst + HEADER_BODY_SIZE, header->body_size);
	qs_store64(dst + HEADER_BODY_CHECKSUM, header->body_checksum);
	qs_store64(dst + HEADER_PAYLOAD_SIZE, header->payload_size);
	qs_store64(dst + HEADER_CHECKSUM, qs_checksum(dst, HEADER_CHECKSUM));
}

uint64_t qs_index_payload_offset(const qs_index_header *header)
{
	return (QS_INDEX_OFFSET + QS_INDEX_HEADER_SIZE + header->body_coded_size + 511) / 512 * 512;
}

/* The body's checksum is right, so a newer version wrote what this one takes for damage. */
static qstore_status refusal(const qs_index_header *header, qstore_status status)
{
	return status == QSTORE_CORRUPT && header->is_newer ? QSTORE_NEWER : status;
}

qstore_status qs_index_decode_body(const qs_index_header *header, const uint8_t *src, size_t src_size,
                                   uint8_t *dst, size_t dst_size, uint8_t *columns, void *work,
                                   size_t work_size)
{
	if (dst_size != header->body_size)
		return QSTORE_USAGE;
	if (src_size < header->body_coded_size)
		return QSTORE_TRUNCATED;
	src_size = (size_t)header->body_coded_size;
	if (qs_checksum(src, src_size) != header->body_checksum)
		return QSTORE_CORRUPT;
	if (!header->zstd_body) {
		memcpy(dst, src, dst_size);
		return QSTORE_OK;
	}
	qstore_status status = qs_zstd_decode(src, src_size, columns, dst_size, work, work_size);
	return status ? status : refusal(header, qs_index_from_columns(columns, dst_size, dst));
}

qstore_status qs_index_open_body(qs_index *index, const qs_index_header *header, const uint8_t *body)
{
	return refusal(header, qs_index_open(index, body, (size_t)header->body_size, header->payload_size));
}

static const char *string_at(const qs_index *index, uint32_t offset)
{
	return (const char *)(index->body + index->strings + offset);
}

void qs_index_variant(const qs_index *index, uint32_t i, qs_variant *out)
{
	const uint8_t *p = qs_index_record(index, index->variants, i, QS_VARIANT_SIZE);
	out->name = string_at(index, qs_load32(p));
	out->dtype = qs_load32(p + 4);
	out->coarser = qs_load32(p + 8);
	out->layer_offset = qs_load64(p + 16);
	out->layer_size = qs_load64(p + 24);
	out->raw_size = qs_load64(p + 32);
}

void qs_index_file(const qs_index *index, uint32_t i, qs_file *out)
{
	const uint8_t *p = qs_index_record(index, index->files, i, QS_FILE_SIZE);
	out->name = string_at(index, qs_load32(p));
	out->variants = qs_load32(p + 4);
	out->size = qs_load64(p + 8);
	out->sha256 = p + 16;
	out->kind = qs_load32(p + 48);
	out->first_extent = qs_load32(p + 52);
	out->n_extents = qs_load32(p + 56);
	out->offset = qs_load64(p + 64);
	out->coded_size = qs_load64(p + 72);
}

void qs_index_extent(const qs_index *index, uint32_t i, qs_extent *out)
{
	const uint8_t *p = qs_index_record(index, index->extents, i, QS_EXTENT_SIZE);
	out->object = qs_load32(p);
	out->offset = qs_load64(p + 8);
	out->size = qs_load64(p + 16);
}

void qs_index_tensor(const qs_index *index, uint32_t i, qs_tensor *out)
{
	const uint8_t *p = qs_index_record(index, index->tensors, i, QS_TENSOR_SIZE);
	out->name = string_at(index, qs_load32(p));
	out->file = qs_load32(p + 4);
	out->offset = qs_load64(p + 8);
	out->size = qs_load64(p + 16);
	out->dtype = qs_load32(p + 24);
	out->first_dim = qs_load32(p + 28);
	out->n_dims = qs_load32(p + 32);
	out->object = qs_load32(p + 36);
}

void qs_index_object(const qs_index *index, uint32_t i, qs_object *out)
{
	const uint8_t *p = qs_index_record(index, index->objects, i, QS_OBJECT_SIZE);
	out->kind = p[0];
	out->dtype = p[1];
	out->variant = p[2];
	out->rule = p[3];
	out->coarse = qs_load32(p + 4);
	out->scales = qs_load32(p + 8);
	out->error = qs_load_f32(p + 12);
	out->n_elems = qs_load64(p + 16);
	out->cols = qs_load64(p + 24);
	out->chunk_elems = qs_load32(p + 32);
	out->first_chunk = qs_load32(p + 36);
	out->n_chunks = qs_load32(p + 40);
	out->zero_points = qs_load32(p + 44);
	out->offset = qs_load64(p + 48);
	out->coded_size = qs_load64(p + 56);
	out->order = qs_load32(p + 64);
	out->group = qs_load32(p + 68);
	out->row_stride = qs_load64(p + 72);
	out->group_stride = qs_load64(p + 80);
	out->zero_offset = (int32_t)qs_load32(p + 88);
	out->first_part = qs_load32(p + 92);
}

uint64_t qs_object_bytes(const qs_object *object)
{
	return object->n_elems / qs_block_elems(object->dtype) * qs_block_size(object->dtype);
}

uint64_t qs_part_bytes(const qs_object *object)
{
	return (uint64_t)object->chunk_elems / qs_block_elems(object->dtype) * qs_block_size(object->dtype);
}

uint64_t qs_index_dim(const qs_index *index, uint32_t i)
{
	return qs_load64(qs_index_record(index, index->dims, i, 8));
}

uint32_t qs_index_chunk_size(const qs_index *index, uint32_t i)
{
	return qs_load32(qs_index_record(index, index->sizes, i, 4));
}

uint32_t qs_index_chunk_checksum(const qs_index *index, uint32_t i)
{
	return qs_load32(qs_index_record(index, index->checksums, i, 4));
}

const uint8_t *qs_index_seal(const qs_index *index, uint32_t stretch)
{
	return qs_index_record(index, index->seals, stretch, QS_SEAL_BYTES);
}

uint64_t qs_index_part_checksum(const qs_index *index, uint32_t i)
{
	return qs_load64(qs_index_record(index, index->parts, i, 8));
}

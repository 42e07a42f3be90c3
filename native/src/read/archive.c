#include "archive.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/chunk.h"
#include "error.h"
#include "options.h"
#include "text.h"
#include "os/search.h"
#include "os/sha256.h"

const char *qstore_version(void)
{
	return QSTORE_VERSION_TEXT;
}

/* The message about an index that is refused because of what it describes (FORMAT.md, 4.1). */
static const char over_limit[] = "restoring it would take more memory or time than the format allows";

static qstore_status refuse_newer(const char *path, qstore_error *error)
{
	return qs_fail(error, QSTORE_NEWER, "%s: made by a newer qstore: this one reads format version %d.%d",
	               path, QS_FORMAT_MAJOR, QS_FORMAT_MINOR);
}

/* start: gets the header as it is in the archive. */
static qstore_status read_index_header(qstore_archive *archive, uint8_t start[QS_INDEX_HEADER_SIZE],
                                       qstore_error *error)
{
	const char *path = archive->path;
	size_t size = 0;
	if (archive->source.size > QS_INDEX_OFFSET) {
		uint64_t left = archive->source.size - QS_INDEX_OFFSET;
		size = left < QS_INDEX_HEADER_SIZE ? (size_t)left : QS_INDEX_HEADER_SIZE;
	}
	qstore_status status = qs_source_read(&archive->source, QS_INDEX_OFFSET, size, start, error);
	if (status)
		return status;
	status = size == 0 ? QSTORE_NOT_QSTORE : qs_index_read_header(start, size, &archive->header);
	switch (status) {
	case QSTORE_OK:
		archive->payload_offset = qs_index_payload_offset(&archive->header);
		return QSTORE_OK;
	case QSTORE_NEWER:
		return refuse_newer(path, error);
	case QSTORE_CORRUPT:
		return qs_fail(error, status, "%s: the index header is damaged", path);
	case QSTORE_TRUNCATED:
		return qs_fail(error, status, "%s: ends inside the index", path);
	case QSTORE_LIMIT:
		return qs_fail(error, status, "%s: %s", path, over_limit);
	default:
		return qs_fail(error, status, "%s: %s", path, qstore_status_message(status));
	}
}

static qstore_status hash_index(qstore_archive *archive, const uint8_t header[QS_INDEX_HEADER_SIZE],
                                const uint8_t *coded, qstore_error *error)
{
	qs_sha256 *sha256 = qs_sha256_create();
	int good = sha256 && qs_sha256_update(sha256, header, QS_INDEX_HEADER_SIZE) &&
	           qs_sha256_update(sha256, coded, (size_t)archive->header.body_coded_size) &&
	           qs_sha256_final(sha256, archive->digest);
	qs_sha256_destroy(sha256);
	return good ? QSTORE_OK : qs_no_memory(error);
}

static qstore_status read_index_body(qstore_archive *archive, const uint8_t start[QS_INDEX_HEADER_SIZE],
                                     qstore_error *error)
{
	const char *path = archive->path;
	const qs_index_header *header = &archive->header;
	uint64_t room = archive->source.size - QS_INDEX_OFFSET - QS_INDEX_HEADER_SIZE;
	if (header->body_coded_size > room)
		return qs_fail(
		    error, QSTORE_TRUNCATED, "%s: ends inside the index: %llu of %llu bytes", path,
		    (unsigned long long)archive->source.size,
		    (unsigned long long)(QS_INDEX_OFFSET + QS_INDEX_HEADER_SIZE + header->body_coded_size));
	size_t coded_size = (size_t)header->body_coded_size, body_size = (size_t)header->body_size;
	size_t work_size = qs_chunk_workspace_size();
	uint8_t *coded = malloc(coded_size > 0 ? coded_size : 1);
	uint8_t *columns = header->zstd_body ? malloc(body_size) : NULL;
	void *work = malloc(work_size);
	archive->body = malloc(body_size);
	qstore_status status =
	    coded && work && archive->body && (columns || !header->zstd_body) ? QSTORE_OK : qs_no_memory(error);
	if (!status)
		status = qs_source_read(&archive->source, QS_INDEX_OFFSET + QS_INDEX_HEADER_SIZE, coded_size, coded,
		                        error);
	if (!status) {
		status = qs_index_decode_body(header, coded, coded_size, archive->body, body_size, columns, work,
		                              work_size);
		if (!status)
			status = qs_index_open_body(&archive->index, header, archive->body);
		if (status == QSTORE_NEWER)
			refuse_newer(path, error);
		else if (status)
			qs_fail(error, status, "%s: %s", path,
			        status == QSTORE_LIMIT ? over_limit : "the index is damaged");
	}
	if (!status)
		status = hash_index(archive, start, coded, error);
	free(coded);
	free(columns);
	free(work);
	return status;
}

/* Finds the offset of each chunk. The index has only their sizes, since chunks of an object follow one
 * another. */
static qstore_status find_chunks(qstore_archive *archive, qstore_error *error)
{
	const qs_index *index = &archive->index;
	archive->chunk_offsets = malloc(((size_t)index->n_chunks + 1) * sizeof(*archive->chunk_offsets));
	if (!archive->chunk_offsets)
		return qs_no_memory(error);
	for (uint32_t i = 0; i < index->n_objects; i++) {
		qs_object object;
		qs_index_object(index, i, &object);
		uint64_t offset = archive->payload_offset + object.offset;
		for (uint32_t j = 0; j < object.n_chunks; j++) {
			archive->chunk_offsets[object.first_chunk + j] = offset;
			offset += qs_index_chunk_size(index, object.first_chunk + j);
		}
	}
	return QSTORE_OK;
}

/* The extents of a file follow one another in it, and the index has only their sizes. */
static qstore_status find_extents(qstore_archive *archive, qstore_error *error)
{
	const qs_index *index = &archive->index;
	archive->extent_offsets = malloc(((size_t)index->n_extents + 1) * sizeof(*archive->extent_offsets));
	if (!archive->extent_offsets)
		return qs_no_memory(error);
	for (uint32_t i = 0; i < index->n_files; i++) {
		qs_file file;
		uint64_t offset = 0;
		qs_index_file(index, i, &file);
		for (uint32_t j = 0; j < file.n_extents; j++) {
			qs_extent extent;
			qs_index_extent(index, file.first_extent + j, &extent);
			archive->extent_offsets[file.first_extent + j] = offset;
			offset += extent.size;
		}
	}
	return QSTORE_OK;
}

static int compare_offsets(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

uint32_t qs_archive_tensor_extents(const qstore_archive *archive, const qs_tensor *tensor, uint32_t *first)
{
	const uint64_t *offsets = archive->extent_offsets;
	uint64_t end = tensor->offset + tensor->size;
	qs_file file;
	qs_index_file(&archive->index, tensor->file, &file);
	if (tensor->object != QS_NONE || tensor->size == 0)
		return 0;
	uint32_t files_end = file.first_extent + file.n_extents,
	         low = file.first_extent + (uint32_t)qs_lower_bound(offsets + file.first_extent, file.n_extents,
	                                                            sizeof(*offsets), &tensor->offset,
	                                                            compare_offsets),
	         high = low;
	*first = low;
	while (high < files_end && offsets[high] < end)
		high++;
	uint64_t extents_end = high < files_end ? offsets[high] : file.size;
	if (low == high || offsets[low] != tensor->offset || extents_end != end)
		return 0;
	qs_extent extent;
	qs_object object;
	qs_index_extent(&archive->index, low, &extent);
	qs_index_object(&archive->index, extent.object, &object);
	return object.dtype == QS_BYTES ? 0 : high - low;
}

uint64_t qs_extent_coded_size(const qs_extent *extent, const qs_object *object)
{
	uint64_t size = qs_object_bytes(object);
	return extent->size == size
	           ? object->coded_size
	           : (uint64_t)((double)object->coded_size * (double)extent->size / (double)size);
}

static void count_files(qstore_archive *archive)
{
	const qs_index *index = &archive->index;
	qs_file file;
	qs_tensor tensor;
	for (uint32_t i = 0; i < index->n_files; i++) {
		qs_index_file(index, i, &file);
		for (uint32_t v = 0; v < index->n_variants; v++)
			archive->n_files[v] += file.variants >> v & 1;
	}
	for (uint32_t i = 0; i < index->n_tensors; i++) {
		qs_index_tensor(index, i, &tensor);
		qs_index_file(index, tensor.file, &file);
		for (uint32_t v = 0; v < index->n_variants; v++)
			archive->n_tensors[v] += file.variants >> v & 1;
	}
}

/* Opens the file at path, or the caller's source where that is not NULL; path is its name then. */
static qstore_status open_archive(const char *path, const qstore_source *source, qstore_archive **out,
                                  qstore_error *error)
{
	uint8_t start[QS_INDEX_HEADER_SIZE];
	*out = NULL;
	qstore_archive *archive = calloc(1, sizeof(*archive));
	if (!archive)
		return qs_no_memory(error);
	archive->source.fd = -1;
	archive->path = strdup(path);
	qstore_status status = archive->path ? QSTORE_OK : qs_no_memory(error);
	if (!status)
		status = source ? qs_source_open_caller(&archive->source, archive->path, source, error)
		                : qs_source_open_file(&archive->source, archive->path, error);
	if (!status)
		status = read_index_header(archive, start, error);
	if (!status)
		status = read_index_body(archive, start, error);
	if (!status)
		status = find_chunks(archive, error);
	if (!status)
		status = find_extents(archive, error);
	if (!status) {
		count_files(archive);
		archive->access = qs_access_create(archive);
		archive->names = qs_names_create(archive);
		status = archive->access && archive->names ? QSTORE_OK : qs_no_memory(error);
	}
	if (status)
		qstore_close(archive);
	else
		*out = archive;
	return status;
}

qstore_status qstore_open(const char *path, qstore_archive **archive, qstore_error *error)
{
	qs_error_clear(error);
	return open_archive(path, NULL, archive, error);
}

qstore_status qstore_open_source(const qstore_source *source, qstore_archive **archive, qstore_error *error)
{
	qstore_source own = {0};
	qs_error_clear(error);
	qs_take_options(&own, sizeof(own), source, source->struct_size);
	return open_archive(own.name ? own.name : "the archive", &own, archive, error);
}

void qs_base_close(qs_base *base)
{
	if (!base)
		return;
	for (uint32_t i = 0; i < base->n_files && base->files; i++)
		if (base->files[i].fd >= 0)
			close(base->files[i].fd);
	free(base->files);
	qstore_close(base->archive);
	free(base->path);
	free(base);
}

void qstore_close(qstore_archive *archive)
{
	if (!archive)
		return;
	qs_access_destroy(archive->access);
	qs_names_destroy(archive->names);
	qs_base_close(archive->base);
	qs_pin_destroy(archive->pin);
	qs_source_close(&archive->source);
	free(archive->extent_offsets);
	free(archive->chunk_offsets);
	free(archive->body);
	free(archive->path);
	free(archive);
}

uint32_t qs_archive_variant(const qstore_archive *archive, const char *name)
{
	const qs_index *index = &archive->index;
	for (uint32_t i = 0; i < index->n_variants; i++) {
		qs_variant variant;
		qs_index_variant(index, i, &variant);
		if (strcmp(variant.name, name) == 0)
			return i;
	}
	if (strcmp(name, "low") == 0)
		return 0;
	if (strcmp(name, "high") == 0)
		return index->n_variants - 1;
	return QS_NONE;
}

qstore_status qstore_find_variant(const qstore_archive *archive, const char *name, uint32_t *number,
                                  qstore_error *error)
{
	qs_error_clear(error);
	*number = qs_archive_variant(archive, name);
	if (*number != QS_NONE)
		return QSTORE_OK;
	char names[256] = "";
	for (uint32_t i = 0; i < archive->index.n_variants; i++) {
		qs_variant variant;
		qs_index_variant(&archive->index, i, &variant);
		qs_text_add(names, sizeof(names), ", ", "%s", variant.name);
	}
	return qs_fail(error, QSTORE_NOT_FOUND, "%s: has no precision \"%s\", only %s", archive->path, name,
	               names);
}

uint64_t qs_archive_prefix_size(const qstore_archive *archive, uint32_t number)
{
	qs_variant variant;
	qs_index_variant(&archive->index, number, &variant);
	return archive->payload_offset + variant.layer_offset + variant.layer_size;
}

qstore_status qs_archive_check_base(const qstore_archive *archive, qstore_error *error)
{
	const qs_index *index = &archive->index;
	for (uint32_t i = 0; i < index->n_files && !archive->base; i++) {
		qs_file file;
		qs_index_file(index, i, &file);
		if (file.kind == QS_FILE_BASE) {
			char digits[9];
			qs_hex(file.sha256, 4, digits);
			return qs_fail(error, QSTORE_NOT_FOUND,
			               "%s: is a difference to another model, its base, which has %s (SHA-256 %s…): give "
			               "the base too",
			               archive->path, file.name, digits);
		}
	}
	return QSTORE_OK;
}

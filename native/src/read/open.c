#include "archive.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base.h"
#include "os/file.h"

qstore_status qs_public_error(qstore_error *to, const qs_error *from, qstore_status status)
{
	if (!to)
		return status;
	memset(to, 0, sizeof(*to));
	to->status = status;
	if (status)
		memcpy(to->text, from->text,
		       sizeof(to->text) < sizeof(from->text) ? sizeof(to->text) : sizeof(from->text));
	return status;
}

const char *qstore_version(void)
{
	return QSTORE_VERSION_TEXT;
}

static qstore_status open_index(qstore_archive *archive, qs_error *error)
{
	const char *path = archive->path;
	qstore_status status = qs_open_read(&archive->fd, path, error);
	if (status)
		return status;
	struct stat info;
	if (fstat(archive->fd, &info) != 0 || !S_ISREG(info.st_mode))
		return qs_fail(error, QSTORE_NOT_QSTORE, "%s: not a qstore archive: not a regular file", path);
	archive->file_size = (uint64_t)info.st_size;

	uint8_t start[QS_INDEX_HEADER_SIZE];
	size_t start_size = 0;
	if (archive->file_size > QS_INDEX_OFFSET) {
		uint64_t left = archive->file_size - QS_INDEX_OFFSET;
		start_size = left < sizeof(start) ? (size_t)left : sizeof(start);
	}
	status = qs_pread_all(archive->fd, start, start_size, QS_INDEX_OFFSET, path, error);
	if (status)
		return status;
	status = start_size == 0 ? QSTORE_NOT_QSTORE : qs_index_read_header(start, start_size, &archive->header);
	if (status == QSTORE_NEWER)
		return qs_fail(error, status, "%s: made by a newer qstore: this one reads format version %d", path,
		               QS_FORMAT_MAJOR);
	if (status == QSTORE_CORRUPT)
		return qs_fail(error, status, "%s: the index header is damaged", path);
	if (status == QSTORE_TRUNCATED)
		return qs_fail(error, status, "%s: ends inside the index", path);
	if (status)
		return qs_fail(error, status, "%s: %s", path, qstore_status_message(status));

	const qs_index_header *header = &archive->header;
	archive->payload_offset = qs_index_payload_offset(header);
	uint64_t room = archive->file_size - QS_INDEX_OFFSET - QS_INDEX_HEADER_SIZE;
	if (header->body_coded_size > room)
		return qs_fail(
		    error, QSTORE_TRUNCATED, "%s: ends inside the index: %llu of %llu bytes", path,
		    (unsigned long long)archive->file_size,
		    (unsigned long long)(QS_INDEX_OFFSET + QS_INDEX_HEADER_SIZE + header->body_coded_size));

	size_t coded_size = (size_t)header->body_coded_size, body_size = (size_t)header->body_size;
	size_t work_size = qs_chunk_workspace_size();
	uint8_t *coded = malloc(coded_size > 0 ? coded_size : 1);
	void *work = malloc(work_size);
	archive->body = malloc(body_size);
	if (!coded || !work || !archive->body)
		status = qs_no_memory(error);
	else
		status =
		    qs_pread_all(archive->fd, coded, coded_size, QS_INDEX_OFFSET + QS_INDEX_HEADER_SIZE, path, error);
	if (!status) {
		status = qs_index_decode_body(header, coded, coded_size, archive->body, body_size, work, work_size);
		if (!status)
			status = qs_index_open(&archive->index, archive->body, body_size, header->payload_size);
		if (status)
			qs_fail(error, status, "%s: the index is damaged", path);
	}
	free(coded);
	free(work);
	if (status)
		return status;

	archive->chunk_offsets = malloc(((size_t)archive->index.n_chunks + 1) * sizeof(*archive->chunk_offsets));
	if (!archive->chunk_offsets)
		return qs_no_memory(error);
	for (uint32_t i = 0; i < archive->index.n_objects; i++) {
		qs_object object;
		qs_index_object(&archive->index, i, &object);
		uint64_t offset = archive->payload_offset + object.offset;
		for (uint32_t j = 0; j < object.n_chunks; j++) {
			archive->chunk_offsets[object.first_chunk + j] = offset;
			offset += qs_index_chunk_size(&archive->index, object.first_chunk + j);
		}
	}
	return QSTORE_OK;
}

qstore_status qs_archive_open(const char *path, qstore_archive **out, qs_error *error)
{
	qstore_archive *archive = calloc(1, sizeof(*archive));
	*out = NULL;
	if (!archive)
		return qs_no_memory(error);
	archive->fd = -1;
	archive->path = strdup(path);
	qstore_status status = archive->path ? open_index(archive, error) : qs_no_memory(error);
	if (status) {
		qstore_close(archive);
		return status;
	}
	*out = archive;
	return QSTORE_OK;
}

qstore_status qstore_open(const char *path, qstore_archive **archive, qstore_error *error)
{
	qs_error own = {QSTORE_OK, ""};
	return qs_public_error(error, &own, qs_archive_open(path, archive, &own));
}

void qstore_close(qstore_archive *archive)
{
	if (!archive)
		return;
	if (archive->fd >= 0)
		close(archive->fd);
	qs_base_close(archive->base);
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
	qs_error own = {QSTORE_OK, ""};
	*number = qs_archive_variant(archive, name);
	if (*number != QS_NONE)
		return qs_public_error(error, &own, QSTORE_OK);
	char names[256] = "";
	for (uint32_t i = 0; i < archive->index.n_variants; i++) {
		qs_variant variant;
		qs_index_variant(&archive->index, i, &variant);
		if (strlen(names) + strlen(variant.name) + 3 < sizeof(names)) {
			if (i > 0)
				strcat(names, ", ");
			strcat(names, variant.name);
		}
	}
	qs_fail(&own, QSTORE_NOT_FOUND, "%s: has no precision \"%s\", only %s", archive->path, name, names);
	return qs_public_error(error, &own, QSTORE_NOT_FOUND);
}

uint64_t qs_archive_download_size(const qstore_archive *archive, uint32_t number)
{
	qs_variant variant;
	qs_index_variant(&archive->index, number, &variant);
	return archive->payload_offset + variant.layer_offset + variant.layer_size;
}

void qstore_get_info(const qstore_archive *archive, qstore_archive_info *info)
{
	info->file_size = archive->file_size;
	info->archive_size = archive->payload_offset + archive->header.payload_size;
	info->index_size = archive->payload_offset;
	info->n_variants = archive->index.n_variants;
	info->n_files = archive->index.n_files;
	info->n_tensors = archive->index.n_tensors;
}

void qstore_get_variant(const qstore_archive *archive, uint32_t number, qstore_variant_info *info)
{
	const qs_index *index = &archive->index;
	qs_variant variant, coarser;
	qs_index_variant(index, number, &variant);
	memset(info, 0, sizeof(*info));
	info->name = variant.name;
	info->dtype = qs_dtype_name(variant.dtype);
	if (variant.coarser != QS_NONE) {
		qs_index_variant(index, variant.coarser, &coarser);
		info->coarser = coarser.name;
	}
	info->raw_size = variant.raw_size;
	info->layer_size = variant.layer_size;
	info->download_size = qs_archive_download_size(archive, number);
	for (uint32_t i = 0; i < index->n_files; i++) {
		qs_file file;
		qs_index_file(index, i, &file);
		info->n_files += file.variants >> number & 1;
	}
	for (uint32_t i = 0; i < index->n_tensors; i++) {
		qs_tensor tensor;
		qs_file file;
		qs_index_tensor(index, i, &tensor);
		qs_index_file(index, tensor.file, &file);
		info->n_tensors += file.variants >> number & 1;
	}
}

void qstore_get_file(const qstore_archive *archive, uint32_t number, qstore_file_info *info)
{
	static const char *const kinds[] = {"stored", "zstd", "assembled", "base"};
	qs_file file;
	qs_index_file(&archive->index, number, &file);
	info->name = file.name;
	info->variants = file.variants;
	info->size = file.size;
	info->sha256 = file.sha256;
	info->kind = kinds[file.kind];
	info->coded_size = file.coded_size;
}

qstore_status qs_archive_check_base(const qstore_archive *archive, qs_error *error)
{
	const qs_index *index = &archive->index;
	for (uint32_t i = 0; i < index->n_files && !archive->base; i++) {
		qs_file file;
		qs_index_file(index, i, &file);
		if (file.kind == QS_FILE_BASE)
			return qs_fail(
			    error, QSTORE_NOT_FOUND,
			    "%s: is a difference to another model, its base, which has %s (SHA-256 %02x%02x%02x%02x…): "
			    "give the base too",
			    archive->path, file.name, file.sha256[0], file.sha256[1], file.sha256[2], file.sha256[3]);
	}
	return QSTORE_OK;
}

qstore_status qstore_set_base(qstore_archive *archive, const char *path, qstore_error *error)
{
	qs_error own = {QSTORE_OK, ""};
	struct qs_base *base;
	qstore_status status = qs_base_open(archive, path, &base, &own);
	if (!status) {
		qs_base_close(archive->base);
		archive->base = base;
	}
	return qs_public_error(error, &own, status);
}

/* The rule that codes were made by; and what a format's bytes are made of. */
static void fill_rule(const qs_index *index, const qs_object *object, qstore_tensor_info *info)
{
	qs_object codes = *object, other;
	if (object->kind == QS_KIND_LAYOUT) {
		qs_index_object(index, object->coarse, &codes);
		info->coded_size += codes.coded_size;
		if (object->scales != QS_NONE) {
			qs_index_object(index, object->scales, &other);
			info->coded_size += other.coded_size;
		}
	} else if (object->kind == QS_KIND_REFINE) {
		qs_index_object(index, object->coarse, &codes);
	} else if (object->kind == QS_KIND_DELTA) {
		/* Singles given codes: their 16-bit cast is an object that no file shows. */
		qs_index_object(index, object->coarse, &other);
		if (other.kind == QS_KIND_REFINE && other.variant == object->variant) {
			info->kind = "refine";
			info->coded_size += other.coded_size;
			info->error = (double)other.error;
			qs_index_object(index, other.coarse, &codes);
		}
	}
	info->rule = codes.kind == QS_KIND_CODES ? qs_rule_name(codes.rule) : NULL;
}

void qstore_get_tensor(const qstore_archive *archive, uint32_t number, qstore_tensor_info *info)
{
	const qs_index *index = &archive->index;
	qs_tensor tensor;
	qs_file file;
	qs_index_tensor(index, number, &tensor);
	qs_index_file(index, tensor.file, &file);
	memset(info, 0, sizeof(*info));
	info->name = tensor.name;
	info->file = tensor.file;
	info->variants = file.variants;
	info->dtype = qs_dtype_name(tensor.dtype);
	info->n_dims = tensor.n_dims;
	info->size = tensor.size;
	info->n_elems = tensor.size / qs_block_size(tensor.dtype) * qs_block_elems(tensor.dtype);
	info->kind = "literal";
	if (tensor.object != QS_NONE) {
		qs_object object;
		qs_index_object(index, tensor.object, &object);
		if (object.kind == QS_KIND_LAYOUT && qs_dtype_is_float(object.dtype))
			qs_index_object(index, object.coarse, &object); /* the same, its rows as columns */
		info->kind = qs_kind_name(object.kind);
		info->coded_size = object.coded_size;
		fill_rule(index, &object, info);
		if (object.kind == QS_KIND_REFINE)
			info->error = (double)object.error;
		/* A coarser variant's layer holds it, though this file is a finer one's. */
		info->shared = (file.variants >> object.variant & 1) == 0;
	}
}

uint64_t qstore_get_tensor_dim(const qstore_archive *archive, uint32_t number, uint32_t dim)
{
	qs_tensor tensor;
	qs_index_tensor(&archive->index, number, &tensor);
	return qs_index_dim(&archive->index, tensor.first_dim + dim);
}

int qs_wildcard_match(const char *pattern, const char *name)
{
	/* Back to the last star, one byte further on, when what follows it does not fit: linear in practice,
	 * never exponential. */
	const char *star = NULL, *from = name;
	while (*name != 0) {
		if (*pattern == '*') {
			star = pattern++;
			from = name;
		} else if (*pattern == *name) {
			pattern++;
			name++;
		} else if (star) {
			pattern = star + 1;
			name = ++from;
		} else {
			return 0;
		}
	}
	while (*pattern == '*')
		pattern++;
	return *pattern == 0;
}

#include "base.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "formats/model.h"
#include "os/file.h"

typedef struct base_file {
	int fd;          /* −1: none */
	uint32_t number; /* of the base archive's file, or QS_NONE */
} base_file;

struct qs_base {
	char *path;
	uint32_t n_files;
	base_file *files; /* for each file of the archive that has this base */
	qstore_archive *archive;
};

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

static qstore_status hash_file(int fd, uint64_t size, const char *path, uint8_t digest[32], qs_error *error)
{
	uint8_t *block = malloc(QS_IO_BLOCK);
	qs_sha256 *sha256 = qs_sha256_create();
	qstore_status status = !block || !sha256 ? qs_no_memory(error) : QSTORE_OK;
	if (!status && !qs_sha256_reset(sha256))
		status = qs_no_memory(error);
	for (uint64_t at = 0; at < size && !status;) {
		size_t n = size - at < QS_IO_BLOCK ? (size_t)(size - at) : QS_IO_BLOCK;
		status = qs_pread_all(fd, block, n, at, path, error);
		if (!status && !qs_sha256_update(sha256, block, n))
			status = qs_no_memory(error);
		at += n;
	}
	if (!status && !qs_sha256_final(sha256, digest))
		status = qs_no_memory(error);
	qs_sha256_destroy(sha256);
	free(block);
	return status;
}

static void write_digest(const uint8_t digest[32], char text[65])
{
	static const char digits[] = "0123456789abcdef";
	for (int i = 0; i < 32; i++) {
		text[2 * i] = digits[digest[i] >> 4];
		text[2 * i + 1] = digits[digest[i] & 15];
	}
	text[64] = 0;
}

static qstore_status missing(const qstore_archive *archive, const qs_file *file, const char *path,
                             qs_error *error)
{
	char digest[65];
	write_digest(file->sha256, digest);
	return qs_fail(error, QSTORE_NOT_FOUND,
	               "%s: %s is not its base: no file there has %s's %llu bytes and SHA-256 %s", archive->path,
	               path, file->name, (unsigned long long)file->size, digest);
}

/* Files of a folder whose size is right are read as a whole. */
static qstore_status find_in_model(const qstore_archive *archive, qs_base *base, const qs_model *model,
                                   uint32_t number, qs_error *error)
{
	qs_file file;
	qs_index_file(&archive->index, number, &file);
	for (size_t i = 0; i < model->n_files; i++) {
		uint8_t digest[32];
		int fd;
		if (model->files[i].size != file.size)
			continue;
		qstore_status status = qs_open_read(&fd, model->files[i].path, error);
		if (!status) {
			status = hash_file(fd, file.size, model->files[i].path, digest, error);
			if (!status && memcmp(digest, file.sha256, 32) == 0) {
				base->files[number].fd = fd;
				return QSTORE_OK;
			}
			close(fd);
		}
		if (status)
			return status;
	}
	return missing(archive, &file, base->path, error);
}

static qstore_status find_in_archive(const qstore_archive *archive, qs_base *base, uint32_t number,
                                     qs_error *error)
{
	qs_file file, other;
	qs_index_file(&archive->index, number, &file);
	for (uint32_t i = 0; i < base->archive->index.n_files; i++) {
		qs_index_file(&base->archive->index, i, &other);
		if (other.kind == QS_FILE_ASSEMBLED && other.size == file.size &&
		    memcmp(other.sha256, file.sha256, 32) == 0) {
			base->files[number].number = i;
			return QSTORE_OK;
		}
	}
	return missing(archive, &file, base->path, error);
}

qstore_status qs_base_open(const qstore_archive *archive, const char *path, qs_base **opened, qs_error *error)
{
	*opened = NULL;
	qs_base *base = calloc(1, sizeof(*base));
	if (!base || !(base->path = strdup(path)) ||
	    !(base->files = calloc((size_t)archive->index.n_files + 1, sizeof(*base->files)))) {
		qs_base_close(base);
		return qs_no_memory(error);
	}
	base->n_files = archive->index.n_files;
	for (uint32_t i = 0; i < base->n_files; i++)
		base->files[i] = (base_file){-1, QS_NONE};
	qs_model model = {0};
	qstore_status status = qs_archive_open(path, &base->archive, error);
	if (status == QSTORE_NOT_QSTORE || status == QSTORE_IO)
		status = qs_model_open(&model, path, error);
	for (uint32_t i = 0; i < base->n_files && !status; i++) {
		qs_file file;
		qs_index_file(&archive->index, i, &file);
		if (file.kind == QS_FILE_BASE)
			status = base->archive ? find_in_archive(archive, base, i, error)
			                       : find_in_model(archive, base, &model, i, error);
	}
	qs_model_close(&model);
	if (!status)
		*opened = base;
	else
		qs_base_close(base);
	return status;
}

qstore_status qs_archive_read(const qstore_archive *archive, uint32_t number, uint64_t offset, size_t size,
                              uint8_t *dst, qs_decoder **decoder, qs_error *error)
{
	const qs_index *index = &archive->index;
	qs_file file;
	uint64_t at = 0;
	qs_index_file(index, number, &file);
	if (!*decoder && !(*decoder = qs_decoder_create(NULL, 0)))
		return qs_no_memory(error);
	for (uint32_t i = 0; i < file.n_extents && size > 0; i++) {
		qs_extent extent;
		qs_object object;
		qs_index_extent(index, file.first_extent + i, &extent);
		at += extent.size;
		if (offset >= at)
			continue;
		qs_index_object(index, extent.object, &object);
		uint64_t chunk_bytes = qs_part_bytes(&object);
		while (size > 0 && offset < at) {
			uint64_t from = extent.offset + extent.size - (at - offset), left = at - offset;
			uint64_t skip = from % chunk_bytes, n = chunk_bytes - skip < left ? chunk_bytes - skip : left;
			n = n < size ? n : size;
			qstore_status status =
			    qs_decoder_read(*decoder, archive, extent.object, (uint32_t)(from / chunk_bytes),
			                    (uint32_t)skip, (uint32_t)n, dst, error);
			if (status)
				return status;
			dst += n;
			offset += n;
			size -= n;
		}
	}
	return QSTORE_OK;
}

qstore_status qs_base_read(const qs_base *base, uint32_t file, uint64_t offset, size_t size, uint8_t *dst,
                           qs_decoder **decoder, qs_error *error)
{
	const base_file *found = &base->files[file];
	if (found->fd >= 0)
		return qs_pread_all(found->fd, dst, size, offset, base->path, error);
	return qs_archive_read(base->archive, found->number, offset, size, dst, decoder, error);
}

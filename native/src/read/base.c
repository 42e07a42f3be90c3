/* Finding the base of an archive: the other model that it builds on, as a folder, a file or an archive. */
#include "archive.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"
#include "formats/model.h"
#include "os/array.h"
#include "os/file.h"
#include "os/sha256.h"
#include "restore.h"

static qstore_status hash_file(int fd, uint64_t size, const char *path, uint8_t digest[32],
                               qstore_error *error)
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

static qstore_status fail_missing(const qstore_archive *archive, const qs_file *file, const char *path,
                                  qstore_error *error)
{
	char digest[65];
	qs_hex(file->sha256, 32, digest);
	return qs_fail(error, QSTORE_NOT_FOUND,
	               "%s: %s is not its base: no file there has %s's %llu bytes and SHA-256 %s; give the model "
	               "that it was packed with",
	               archive->path, path, file->name, (unsigned long long)file->size, digest);
}

/* Finds the archive's file `number` in the model: reads files that have its size, until one has its
 * SHA-256. */
static qstore_status find_in_model(const qstore_archive *archive, qs_base *base, const qs_model *model,
                                   uint32_t number, qstore_error *error)
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
	return fail_missing(archive, &file, base->path, error);
}

/* Looks for the archive's file `number` in the index of the base, which is an archive. */
static qstore_status find_in_archive(const qstore_archive *archive, qs_base *base, uint32_t number,
                                     qstore_error *error)
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
	return fail_missing(archive, &file, base->path, error);
}

/* Proves the files of a base that is an archive: all that is read of them later is proved by its seals, and
 * its index is trusted when whole files have the SHA-256 that the other archive's index has. */
static qstore_status prove_base(const qstore_archive *archive, const qs_base *base, qstore_error *error)
{
	qs_output *outputs = NULL;
	size_t n_outputs = 0;
	qstore_status status = qs_pin_archive(base->archive, error);
	for (uint32_t i = 0; i < base->n_files && !status; i++) {
		qs_file file;
		if (base->files[i].number == QS_NONE)
			continue;
		qs_index_file(&archive->index, i, &file);
		qs_output *output = qs_array_add(&outputs, &n_outputs, sizeof(*output));
		if (!output || !(output->name = strdup(file.name))) {
			status = qs_no_memory(error);
			break;
		}
		output->file = base->files[i].number;
		output->size = file.size;
	}
	if (!status)
		status = qs_restore(base->archive, outputs, n_outputs,
		                    &(qs_restore_options){.sha256 = 1, .phase = "proving the base"}, error);
	qs_outputs_free(outputs, n_outputs);
	return status;
}

/* Opens the model at path and finds in it, by size and SHA-256, each file that the archive's index lists as a
 * file of the base. *opened is NULL after a failure. */
static qstore_status open_base(const qstore_archive *archive, const char *path, qs_base **opened,
                               qstore_error *error)
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
		base->files[i] = (qs_base_file){-1, QS_NONE};
	qs_model model = {0};
	qstore_status status = qstore_open(path, &base->archive, error);
	if (status == QSTORE_NOT_QSTORE || status == QSTORE_IO) {
		qs_error_clear(error);
		status = qs_model_open_with(&model, path, &(qs_model_options){.takes_pickles = 1}, error);
	}
	for (uint32_t i = 0; i < base->n_files && !status; i++) {
		qs_file file;
		qs_index_file(&archive->index, i, &file);
		if (file.kind == QS_FILE_BASE)
			status = base->archive ? find_in_archive(archive, base, i, error)
			                       : find_in_model(archive, base, &model, i, error);
	}
	qs_model_close(&model);
	if (!status && archive->pin && base->archive)
		status = prove_base(archive, base, error);
	if (!status)
		*opened = base;
	else
		qs_base_close(base);
	return status;
}

int qs_archive_reads(const qstore_archive *archive, const struct stat *info)
{
	const qs_base *base = archive->base;
	if (qs_is_same_file(archive->source.fd, info) ||
	    (base && base->archive && qs_archive_reads(base->archive, info)))
		return 1;
	for (uint32_t i = 0; base && i < base->n_files; i++) {
		if (qs_is_same_file(base->files[i].fd, info))
			return 1;
	}
	return 0;
}

qstore_status qstore_set_base(qstore_archive *archive, const char *path, qstore_error *error)
{
	qs_base *base;
	qs_error_clear(error);
	qstore_status status = open_base(archive, path, &base, error);
	if (status)
		return status;
	qs_access_reset(archive->access);
	qs_base_close(archive->base);
	archive->base = base;
	return QSTORE_OK;
}

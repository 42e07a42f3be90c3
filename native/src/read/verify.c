#include "verify.h"

#include <string.h>

#include "container/tar.h"
#include "error.h"
#include "os/array.h"

typedef struct member_check {
	const qstore_archive *archive;
	uint64_t n_members;
	uint32_t n_layers;
	uint32_t n_files; /* members that the index calls files */
} member_check;

static qstore_status check_against_index(void *user, const char *name, uint64_t size, uint64_t data_offset,
                                         qstore_error *error)
{
	member_check *check = user;
	const qstore_archive *archive = check->archive;
	const qs_index *index = &archive->index;
	if (check->n_members++ == 0) {
		if (strcmp(name, "qstore/index") != 0 || data_offset != QS_INDEX_OFFSET ||
		    size != QS_INDEX_HEADER_SIZE + archive->header.body_coded_size)
			return qs_fail(error, QSTORE_CORRUPT, "%s: the first member, %.400s, is not the index",
			               archive->path, name);
		return QSTORE_OK;
	}
	if (strncmp(name, "qstore/layer-", 13) == 0 && check->n_layers < index->n_variants) {
		qs_variant variant;
		qs_index_variant(index, check->n_layers, &variant);
		if (strcmp(name + 13, variant.name) == 0 && size == variant.layer_size &&
		    data_offset == archive->payload_offset + variant.layer_offset) {
			check->n_layers++;
			return QSTORE_OK;
		}
	}
	for (uint32_t i = 0; i < index->n_files; i++) {
		qs_file file;
		qs_index_file(index, i, &file);
		if (qs_file_is_member(&file) && file.coded_size == size &&
		    data_offset == archive->payload_offset + file.offset) {
			check->n_files++;
			return QSTORE_OK;
		}
	}
	return qs_fail(error, QSTORE_CORRUPT, "%s: member %.400s is not in the index", archive->path, name);
}

static qstore_status read_archive(void *user, uint64_t offset, size_t size, void *dst, qstore_error *error)
{
	const member_check *check = user;
	return qs_source_read(&check->archive->source, offset, size, dst, error);
}

static qstore_status check_members(const qstore_archive *archive, qstore_error *error)
{
	member_check check = {.archive = archive};
	uint32_t n_files = 0;
	qstore_status status = qs_tar_list(archive->path, archive->source.size, read_archive, &check,
	                                   check_against_index, &check, error);
	if (status)
		return status;
	for (uint32_t i = 0; i < archive->index.n_files; i++) {
		qs_file file;
		qs_index_file(&archive->index, i, &file);
		n_files += qs_file_is_member(&file);
	}
	if (check.n_files != n_files || check.n_layers != archive->index.n_variants)
		return qs_fail(error, QSTORE_CORRUPT, "%s: has %u files and %u layers, its index says %u and %u",
		               archive->path, check.n_files, check.n_layers, n_files, archive->index.n_variants);
	return QSTORE_OK;
}

/* Checks that the file has exactly the archive's bytes. */
static qstore_status check_file_size(const qstore_archive *archive, qstore_error *error)
{
	uint64_t size = archive->payload_offset + archive->header.payload_size;
	if (archive->source.size < size)
		return qs_fail(error, QSTORE_TRUNCATED, "%s: has %llu of %llu bytes", archive->path,
		               (unsigned long long)archive->source.size, (unsigned long long)size);
	if (archive->source.size > size)
		return qs_fail(error, QSTORE_CORRUPT, "%s: %llu bytes follow its end", archive->path,
		               (unsigned long long)(archive->source.size - size));
	return QSTORE_OK;
}

/* Lists one output for each file that is not a file of the base. */
static qstore_status list_outputs(const qstore_archive *archive, qs_output **outputs, size_t *n_outputs,
                                  qstore_error *error)
{
	for (uint32_t i = 0; i < archive->index.n_files; i++) {
		qs_file file;
		qs_index_file(&archive->index, i, &file);
		if (file.kind == QS_FILE_BASE)
			continue;
		qs_output *output = qs_array_add(outputs, n_outputs, sizeof(*output));
		if (!output || !(output->name = strdup(file.name)))
			return qs_no_memory(error);
		output->file = i;
		output->size = file.size;
	}
	return QSTORE_OK;
}

qstore_status qs_archive_verify(const qstore_archive *archive, const qstore_work *work, qs_piece_check *check,
                                void *user, qstore_error *error)
{
	qs_restore_options options = {
	    .sha256 = !check, .check = check, .check_user = user, .phase = "verifying", .work = work};
	qs_output *outputs = NULL;
	size_t n_outputs = 0;
	qstore_status status = check_file_size(archive, error);
	if (!status)
		status = check_members(archive, error);
	if (!status)
		status = qs_archive_check_base(archive, error);
	if (!status)
		status = list_outputs(archive, &outputs, &n_outputs, error);
	if (!status)
		status = qs_restore(archive, outputs, n_outputs, &options, error);
	qs_outputs_free(outputs, n_outputs);
	return status;
}

qstore_status qstore_verify(qstore_archive *archive, const qstore_work *work, qstore_error *error)
{
	qs_error_clear(error);
	return qs_archive_verify(archive, work, NULL, NULL, error);
}

#include "verify.h"

#include <string.h>

#include "error.h"
#include "framing.h"
#include "os/array.h"

/* Ends the check at the first gap that is wrong. */
static qstore_status take_gap(void *user, const qs_gap *gap, qstore_status status, qstore_error *error)
{
	(void)user;
	(void)gap;
	(void)error;
	return status;
}

qstore_status qs_archive_check_size(const qstore_archive *archive, qstore_error *error)
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
	qstore_status status = qs_archive_check_size(archive, error);
	if (!status)
		status = qs_framing_check(archive, take_gap, NULL, error);
	if (!status)
		status = qs_archive_check_base(archive, error);
	if (!status)
		status = list_outputs(archive, &outputs, &n_outputs, error);
	if (!status)
		status = qs_restore(archive, outputs, n_outputs, &options, error);
	if (!status)
		status = qs_pin_check(archive, work, NULL, NULL, error);
	qs_outputs_free(outputs, n_outputs);
	return status;
}

qstore_status qstore_verify(qstore_archive *archive, const qstore_work *work, qstore_error *error)
{
	qs_error_clear(error);
	return qs_archive_verify(archive, work, NULL, NULL, error);
}

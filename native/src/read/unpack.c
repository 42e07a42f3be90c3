/* qstore_unpack, which restores outputs in a folder of their own, and moves them from there when all are
 * complete. */
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "escape.h"
#include "options.h"
#include "os/temp.h"
#include "restore.h"
#include "unpack_place.h"
#include "unpack_plan.h"

/* Restores the outputs in a folder below the output folder, and moves them from there. Names that the system
 * does not allow are escaped. */
static qstore_status restore_staged(const qstore_archive *archive, const qstore_unpack_options *options,
                                    const qs_targets *targets, qstore_error *error)
{
	int changed = 0;
	qs_restore_options restore = {.sha256 = options->sha256, .phase = "restoring", .work = &options->work};
	char *staging;
	qs_temp_sweep(options->output);
	qstore_status status = qs_temp_create_folder(&staging, options->output, error);
	if (status)
		return status;
	restore.folder = staging;
	status = qs_escape_outputs(archive, targets->outputs, targets->n_outputs, staging, &options->work,
	                           &changed, error);
	if (!status && changed)
		status = qs_targets_check(targets, error);
	if (!status)
		status = qs_restore(archive, targets->outputs, targets->n_outputs, &restore, error);
	if (!status)
		status = qs_targets_place(targets, staging, error);
	qs_temp_remove_folder(staging);
	free(staging);
	return status;
}

qstore_status qstore_unpack(qstore_archive *archive, const qstore_unpack_options *given,
                            qstore_unpack_result *result, qstore_error *error)
{
	qstore_unpack_options own = {0};
	const qstore_unpack_options *options = &own;
	qs_output *outputs = NULL;
	size_t n_outputs = 0;
	qs_error_clear(error);
	qs_take_options(&own, sizeof(own), given, given->struct_size);
	if (!options->output || options->output[0] == 0)
		return qs_fail(error, QSTORE_USAGE, "no output folder");
	qstore_status status = qs_unpack_plan(archive, options, &outputs, &n_outputs, error);
	qs_targets targets = {archive, options->output, options->force, outputs, n_outputs};
	if (!status)
		status = qs_targets_check(&targets, error);
	if (!status) {
		size_t made_size = qs_folder_missing(options->output);
		status = qs_folder_make(options->output, error);
		if (!status)
			status = restore_staged(archive, options, &targets, error);
		if (status)
			qs_folder_remove(options->output, made_size);
	}
	if (!status && result) {
		*result = (qstore_unpack_result){.n_files = n_outputs};
		for (size_t i = 0; i < n_outputs; i++)
			result->size += outputs[i].size;
	}
	qs_outputs_free(outputs, n_outputs);
	return status;
}

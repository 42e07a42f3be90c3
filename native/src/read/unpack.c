/* qstore_unpack, which restores outputs in a folder of their own, and moves them from there when all are
 * complete. */
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "escape.h"
#include "options.h"
#include "os/file.h"
#include "os/temp.h"
#include "restore.h"
#include "stream.h"
#include "unpack_damage.h"
#include "unpack_place.h"
#include "unpack_plan.h"
#include "unpack_tensors.h"

/* Restores the outputs in a folder below the output folder, and moves them from there. Names that the system
 * does not allow are escaped. */
static qstore_status restore_staged(const qstore_archive *archive, const qstore_unpack_options *options,
                                    const qs_targets *targets, qs_damages *damages, qstore_error *error)
{
	int changed = 0;
	qs_restore_options restore = {.sha256 = options->sha256,
	                              .damages = options->keep_going ? damages : NULL,
	                              .phase = "restoring",
	                              .work = &options->work};
	const char *folder = targets->folder[0] ? targets->folder : ".";
	char *staging;
	qs_temp_sweep(folder);
	qstore_status status = qs_temp_create_folder(&staging, folder, error);
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
		status = qs_settle_damage(targets, damages, error);
	if (!status)
		status = qs_targets_place(targets, staging, error);
	qs_temp_remove_folder(staging);
	free(staging);
	return status;
}

/* Returns the folder that the outputs are in: the option's, or the one above a file that the option names (""
 * for the current one). malloc'd; NULL if memory is out. */
static char *target_folder(const qstore_unpack_options *options)
{
	const char *output = options->output, *slash = strrchr(output, '/');
	if (qs_unpack_form(options) == QS_FORM_FOLDER)
		return strdup(output);
	return strndup(output, slash == output ? 1 : slash ? (size_t)(slash - output) : 0);
}

/* Tells the caller which files are bytes of a tensor without a header. */
static void tell_raw(const qstore_unpack_options *options, const qs_targets *targets)
{
	for (size_t i = 0; i < targets->n_outputs && options->on_raw; i++) {
		const qs_output *output = &targets->outputs[i];
		char *path = output->tensor == QS_NONE || output->is_lost || output->damaged_name
		                 ? NULL
		                 : qs_path_join(options->write ? "" : targets->folder, output->name);
		if (path)
			options->on_raw(options->user, path, output->tensor);
		free(path);
	}
}

/* Counts the outputs. */
static qstore_unpack_result count_outputs(const qs_targets *targets)
{
	qstore_unpack_result result = {.n_files = targets->n_outputs};
	for (size_t i = 0; i < targets->n_outputs; i++) {
		const qs_output *output = &targets->outputs[i];
		result.size += output->size;
		result.n_damaged += output->is_lost || output->damaged_name;
	}
	return result;
}

static qstore_status restore_all(const qstore_archive *archive, const qstore_unpack_options *options,
                                 const qs_targets *targets, qs_damages *damages, qstore_error *error)
{
	size_t made_size = qs_folder_missing(targets->folder);
	qstore_status status = targets->folder[0] ? qs_folder_make(targets->folder, error) : QSTORE_OK;
	if (!status)
		status = restore_staged(archive, options, targets, damages, error);
	/* A folder that has something stays. */
	if (status || damages->n > 0)
		qs_folder_remove(targets->folder, made_size);
	return status;
}

/* Gives the one output to the caller's function. */
static qstore_status write_stream(const qstore_archive *archive, const qstore_unpack_options *options,
                                  const qs_targets *targets, qstore_error *error)
{
	const qs_output *outputs = targets->outputs;
	int is_one = targets->n_outputs > 0;
	/* A file that several variants share is one. */
	for (size_t i = 1; i < targets->n_outputs; i++)
		is_one &= outputs[i].file != QS_NONE && outputs[i].file == outputs[0].file;
	if (!is_one)
		return qs_fail(error, QSTORE_USAGE, "%s: a stream takes one file, and %zu are selected",
		               archive->path, targets->n_outputs);
	return qs_stream(archive, targets->outputs, options->sha256, options->write, options->user,
	                 &options->work, error);
}

qstore_status qstore_unpack(qstore_archive *archive, const qstore_unpack_options *given,
                            qstore_unpack_result *result, qstore_error *error)
{
	qstore_unpack_options own = {0};
	const qstore_unpack_options *options = &own;
	qs_targets targets = {.archive = archive};
	qs_damages damages = {0};
	char *folder = NULL;
	qs_error_clear(error);
	qs_take_options(&own, sizeof(own), given, given->struct_size);
	if (!options->write && (!options->output || options->output[0] == 0))
		return qs_fail(error, QSTORE_USAGE, "no output folder");
	if (options->write && options->keep_going)
		return qs_fail(error, QSTORE_USAGE,
		               "a stream ends where the archive is damaged: keep going into a folder");
	qstore_status status = qs_unpack_plan(archive, options, &targets.outputs, &targets.n_outputs, error);
	if (!status && options->write) {
		status = write_stream(archive, options, &targets, error);
	} else if (!status) {
		targets.force = options->force;
		targets.keep_going = options->keep_going;
		targets.folder = folder = target_folder(options);
		status = folder ? qs_targets_check(&targets, error) : qs_no_memory(error);
		if (!status)
			status = restore_all(archive, options, &targets, &damages, error);
	}
	if (!status) {
		tell_raw(options, &targets);
		qs_tell_damage(options, &targets, &damages);
		if (result)
			*result = count_outputs(&targets);
	}
	qs_outputs_free(targets.outputs, targets.n_outputs);
	qs_damages_free(&damages);
	free(folder);
	return status;
}

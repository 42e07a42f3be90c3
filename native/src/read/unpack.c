/* qstore_unpack: outputs are restored in a folder of their own, and moved from there when all are complete.
 */
#include "unpack.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "os/file.h"

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *walk)
{
	(void)info;
	(void)type;
	(void)walk;
	remove(path);
	return 0;
}

static qstore_status unpack(qstore_archive *archive, const qstore_unpack_options *options,
                            qstore_unpack_result *result, qs_error *error)
{
	unpacker u = {.archive = archive, .options = options};
	char *staging = NULL;
	size_t made_size = 0;
	int staged = 0;
	if (!options->output || options->output[0] == 0)
		return qs_fail(error, QSTORE_USAGE, "no output folder");
	qstore_status status = unpack_plan(&u, error);
	if (!status)
		status = unpack_check_targets(&u, error);
	if (!status) {
		made_size = unpack_missing_folder(options->output);
		status = unpack_make_folder(options->output, error);
	}
	if (!status) {
		staging = qs_path_join(options->output, ".qstore-XXXXXX");
		if (!staging)
			status = qs_no_memory(error);
		else if (!mkdtemp(staging))
			status = qs_fail(error, QSTORE_IO, "%s: cannot create files in it: %s", options->output,
			                 strerror(errno));
		else
			staged = 1;
	}
	if (!status)
		status = qs_restore(
		    archive, u.outputs, u.n_outputs,
		    &(qs_restore_options){
		        .folder = staging, .sha256 = options->sha256, .phase = "restoring", .work = &options->work},
		    error);
	if (!status)
		status = unpack_place(&u, staging, error);
	if (staged)
		nftw(staging, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	if (status)
		unpack_remove_folders(options->output, made_size);
	if (!status && result) {
		memset(result, 0, sizeof(*result));
		result->n_files = u.n_outputs;
		for (size_t i = 0; i < u.n_outputs; i++)
			result->size += u.outputs[i].size;
	}
	free(staging);
	free(u.files_used);
	free(u.tensors_used);
	qs_outputs_free(u.outputs, u.n_outputs);
	return status;
}

qstore_status qstore_unpack(qstore_archive *archive, const qstore_unpack_options *options,
                            qstore_unpack_result *result, qstore_error *error)
{
	qs_error own = {QSTORE_OK, ""};
	return qs_public_error(error, &own, unpack(archive, options, result, &own));
}

/* The output folder of qstore_unpack: it is made, outputs are moved into it, and it goes again after an
 * error.
 */
#ifndef QS_UNPACK_PLACE_H
#define QS_UNPACK_PLACE_H

#include "restore.h"

/* The names that outputs get. */
typedef struct qs_targets {
	const char *folder;
	int force; /* replace existing files */
	const qs_output *outputs;
	size_t n_outputs;
} qs_targets;

/* Fails with EXISTS when an output cannot get its name. */
qstore_status qs_targets_check(const qs_targets *targets, qstore_error *error);

/* Moves all outputs from the folder `staging` to their places. After an error without force, outputs that
 * were moved already are removed. */
qstore_status qs_targets_place(const qs_targets *targets, const char *staging, qstore_error *error);

/* Makes a folder and those above it. EXISTS when path is something else; IO. */
qstore_status qs_folder_make(const char *path, qstore_error *error);

/* Bytes of the prefix of path that names the uppermost folder that does not exist yet; 0: all exist. */
size_t qs_folder_missing(const char *path);

/* Removes folders that were made for the output, from path up to the one of made_size bytes. A folder stays
 * when somebody has put something into it. */
void qs_folder_remove(const char *path, size_t made_size);

#endif

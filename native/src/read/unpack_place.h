/* The output folder of qstore_unpack: making it, moving outputs into it, and removing it again after an
 * error. */
#ifndef QS_UNPACK_PLACE_H
#define QS_UNPACK_PLACE_H

#include "restore.h"

/* The end of the name of a file that lacks bytes. */
#define QS_DAMAGED_SUFFIX ".damaged"

/* The names that outputs get. */
typedef struct qs_targets {
	const qstore_archive *archive; /* what the outputs are restored from, and must not replace */
	const char *folder;
	int force;      /* replace existing files */
	int keep_going; /* outputs may get their name with QS_DAMAGED_SUFFIX instead */
	qs_output *outputs;
	size_t n_outputs;
} qs_targets;

/* Fails with EXISTS if an output cannot get its name, with USAGE if it would replace a file that the archive
 * is read from. */
qstore_status qs_targets_check(const qs_targets *targets, qstore_error *error);

/* Moves all outputs that are not lost from the folder `staging` to their places, and flushes the folders that
 * they are in, so that their names survive a power cut. After an error without force, outputs that were moved
 * already are removed. */
qstore_status qs_targets_place(const qs_targets *targets, const char *staging, qstore_error *error);

/* Makes a folder and the folders above it. Fails with EXISTS if path is something else, or with IO. */
qstore_status qs_folder_make(const char *path, qstore_error *error);

/* Returns the length of the beginning of path that names the uppermost folder that does not exist yet; 0 if
 * all exist. */
size_t qs_folder_missing(const char *path);

/* Removes the folders that were made for the output: path and the folders above it, up to the one whose name
 * is the first made_size bytes of path. A folder into which somebody has put something stays. */
void qs_folder_remove(const char *path, size_t made_size);

#endif

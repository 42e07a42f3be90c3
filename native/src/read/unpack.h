/* The steps of qstore_unpack. */
#ifndef QS_UNPACK_H
#define QS_UNPACK_H

#include "restore.h"

typedef struct unpacker {
	const qstore_archive *archive;
	const qstore_unpack_options *options;
	qs_output *outputs;
	size_t n_outputs;
	/* Which patterns matched something in any variant. */
	unsigned char *files_used, *tensors_used;
} unpacker;

/* unpack_plan.c: the outputs, by what the options ask for. */
qstore_status unpack_plan(unpacker *u, qs_error *error);

/* unpack_place.c. EXISTS when an output cannot get its name. */
qstore_status unpack_check_targets(const unpacker *u, qs_error *error);
qstore_status unpack_make_folder(const char *path, qs_error *error);
/* The size of the uppermost folder of a path that does not exist yet; 0 when all exist. */
size_t unpack_missing_folder(const char *path);
/* Moves what is complete and checked to its place. */
qstore_status unpack_place(const unpacker *u, const char *staging, qs_error *error);
/* Removes folders that were made for the output, from the innermost up to the one of made_size bytes; they
 * stay when somebody has put something into them. */
void unpack_remove_folders(const char *path, size_t made_size);

#endif

/* Restoring a list of outputs in order: each is bytes of its own, then ranges of the archive's files. */
#ifndef QS_RESTORE_H
#define QS_RESTORE_H

#include "archive.h"

typedef struct qs_range {
	uint32_t file;
	uint64_t offset, size;
} qs_range;

typedef struct qs_output {
	char *name;      /* below the target folder; owned */
	uint32_t file;   /* the whole of this file, or QS_NONE: header and ranges */
	uint8_t *header; /* owned, or NULL */
	size_t header_size;
	qs_range *ranges; /* owned; of assembled files, in order of (file, offset) */
	size_t n_ranges;
	uint64_t size;
} qs_output;

/* Appends a zeroed output; 0 when out of memory. */
int qs_outputs_add(qs_output **outputs, size_t *n_outputs, qs_output **added);
void qs_outputs_free(qs_output *outputs, size_t n_outputs);

/* Restores all outputs below `folder` (made as needed), or nowhere when it is NULL; whole files are checked
 * against their SHA-256. phase: for progress. */
qstore_status qs_restore(const qstore_archive *archive, const qs_output *outputs, size_t n_outputs,
                         const char *folder, const qstore_work *work, const char *phase, qs_error *error);

#endif

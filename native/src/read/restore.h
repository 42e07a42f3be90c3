/* Restoring a list of outputs: each is bytes of its own, then ranges of the archive's files. */
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

/* What outputs are made of: bytes [skip, skip + size) of a part of an object, which stand at `offset` of the
 * output. QS_NONE as object: what comes of no object, which is a file that is a member, or a header, or
 * nothing in an empty file. */
typedef struct qs_piece {
	uint32_t output, object, part, skip, size;
	uint64_t offset;
} qs_piece;

/* All pieces of the outputs, in order; each output has at least one. *pieces is malloc'd. 0: out of memory.
 */
int qs_restore_plan(const qs_index *index, const qs_output *outputs, size_t n_outputs, qs_piece **pieces,
                    size_t *n_pieces);

typedef qstore_status qs_piece_check(void *user, const qs_output *output, const qs_piece *piece,
                                     const uint8_t *data, qs_error *error);

typedef struct qs_restore_options {
	const char *folder; /* made as needed; NULL: everything is restored to nowhere */
	int sha256;         /* check whole files against their SHA-256 too, and chunks before they are decoded */
	/* Or NULL: called with each piece of an object, by any thread. Chunks are checked before they are decoded
	 * then, too. */
	qs_piece_check *check;
	void *check_user;
	const char *phase;       /* for progress */
	const qstore_work *work; /* or NULL */
} qs_restore_options;

/* Restores all outputs. All parts of objects are checked against their checksums, members against their
 * SHA-256. */
qstore_status qs_restore(const qstore_archive *archive, const qs_output *outputs, size_t n_outputs,
                         const qs_restore_options *options, qs_error *error);

/* Checks the members, then restores everything to nowhere: compared by `check`, or by SHA-256 when it is
 * NULL. */
qstore_status qs_archive_verify(qstore_archive *archive, const qstore_work *work, qs_piece_check *check,
                                void *user, qs_error *error);

#endif

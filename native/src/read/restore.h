/* Restoring a list of outputs. An output is a header of its own, or none, and then a whole file of the
 * archive or ranges of such files. */
#ifndef QS_RESTORE_H
#define QS_RESTORE_H

#include "archive.h"
#include "decode.h"

/* Bytes of a file of the archive. */
typedef struct qs_range {
	uint32_t file;
	uint32_t dtype; /* elements of this dtype are made singles; QS_BYTES: the bytes stay as they are */
	uint64_t offset, size;
} qs_range;

/* Returns the bytes that the range gives: more than its size if its elements are made singles. */
uint64_t qs_range_size(const qs_range *range);

typedef struct qs_output {
	char *name;      /* below the target folder; owned */
	uint32_t file;   /* the output is all of this file; QS_NONE: it is header and ranges */
	uint8_t *header; /* owned, or NULL */
	size_t header_size;
	qs_range *ranges; /* owned; of assembled files, in order of (file, offset) */
	size_t n_ranges;
	uint64_t size;      /* bytes */
	uint32_t tensor;    /* the output is the bytes of this tensor, without a header; QS_NONE: it is not */
	char *damaged_name; /* its name when it lacks bytes (unpack_damage.h); owned; NULL: it is whole */
	int is_lost;        /* it lacks all its bytes, and gets no name */
} qs_output;

void qs_outputs_free(qs_output *outputs, size_t n_outputs);

/* Bytes of an output that come from one part of an object. They are at byte `offset` of the output. If
 * from.object is QS_NONE they come from no object: the output is a small file, or only a header, or empty; or
 * they are a whole range whose elements are made singles. */
typedef struct qs_piece {
	uint32_t output;
	qs_part_range from;
	uint64_t offset;
	const qs_range *converted; /* of the output's ranges; NULL: none */
} qs_piece;

/* Lists all pieces of the outputs, in order; each output has at least one. The caller frees *pieces. Fails
 * with LIMIT or MEMORY. */
qstore_status qs_restore_plan(const qstore_archive *archive, const qs_output *outputs, size_t n_outputs,
                              qs_piece **pieces, size_t *n_pieces, qstore_error *error);

/* A function that compares the decoded bytes of a piece, from->size of them at `data`, with the bytes that it
 * should have. */
typedef qstore_status qs_piece_check(void *user, const qs_output *output, const qs_piece *piece,
                                     const uint8_t *data, qstore_error *error);

/* Bytes of an output that could not be restored. */
typedef struct qs_damage {
	uint32_t output;
	uint32_t tensor;       /* that has them; QS_NONE: they are outside the tensors, or of several */
	uint64_t offset, size; /* in the output */
	char *reason;          /* the line of the error; owned */
} qs_damage;

/* A list of such bytes, in the order of the outputs. */
typedef struct qs_damages {
	qs_damage *items;
	size_t n;
} qs_damages;

void qs_damages_free(qs_damages *damages); /* damage.c */

/* Sorts the list, finds the tensor of each entry, and joins those of one tensor that follow one another. */
void qs_damages_join(const qstore_archive *archive, const qs_output *outputs, qs_damages *damages);

typedef struct qs_restore_options {
	const char *folder; /* made as needed; NULL: everything is restored to nowhere */
	int sha256;         /* compare whole files with their SHA-256 as well */
	/* Called with each piece of an object, by any thread; or NULL. With `check` or `sha256` the coded bytes
	 * of chunks are compared with their checksums too. */
	qs_piece_check *check;
	void *check_user;
	/* Bytes that are damaged are listed here, and are zero in their outputs, instead of ending the work.
	 * Neighbours in one tensor are listed as one. NULL: they end the work. */
	qs_damages *damages;
	const char *phase;       /* for progress */
	const qstore_work *work; /* or NULL */
} qs_restore_options;

/* Restores all outputs. All parts of objects are compared with their checksums, members with their SHA-256.
 * With options->damages, outputs may have bytes that are zero, and members that are not what they should be.
 */
qstore_status qs_restore(const qstore_archive *archive, const qs_output *outputs, size_t n_outputs,
                         const qs_restore_options *options, qstore_error *error);

#endif

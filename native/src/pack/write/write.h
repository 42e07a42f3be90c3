/* The last stage: the archive. Its steps, in order: small files become members, the plan, all chunks are
 * coded, the archive is written, all files are restored from it and compared.
 *
 * write/ depends on input/ and match/, on container/ for the index and the tar, on encode/, and on read/ to
 * check the finished archive. In this folder, restored.h is below encode.c and archive.c. */
#ifndef QS_PACK_WRITE_H
#define QS_PACK_WRITE_H

#include "container/index_build.h"
#include "pack/input/input.h"
#include "pack/match/base.h"
#include "pack/match/sums.h"

/* ---- Small files (members.c) ---- */

/* A small file as it is stored in the archive. */
typedef struct pack_member {
	const pack_small *small;
	const char *name; /* in the tar */
	uint32_t kind;    /* QS_FILE_STORED or QS_FILE_ZSTD */
	uint64_t spool_offset, coded_size;
	uint8_t sha256[32];
} pack_member;

typedef struct pack_members {
	pack_spool spool;
	pack_member *items; /* by the small files' names, then coarse to fine */
	size_t n;
	uint64_t zstd_size[QS_VARIANTS_MAX]; /* of each variant's other files under zstd alone, when asked for */
} pack_members;

/* Puts small files into the spool, compressed where that helps, and computes their SHA-256. compare: finds
 * zstd_size too. */
qstore_status pack_make_members(pack_members *members, const pack_input *input, int compare,
                                pack_progress *progress, qstore_error *error);

/* ---- The plan (plan.c) ---- */

/* An object, as the packer sees it. */
typedef struct pack_object {
	pack_tensor *tensor; /* or NULL: literal bytes, which are these ranges of the plan: */
	size_t first_range, n_ranges;
	/* Readers hold its elements: all of them for any part of a transposed layout, or a window for a part of
	 * codes. So they may have this many bytes, and others only in proportion to the coded bytes (FORMAT.md,
	 * 4.1). UINT64_MAX: readers hold one part at a time. */
	uint64_t free_size;
	/* Found as its chunks are coded: */
	uint64_t size;  /* decoded bytes of its chunks so far */
	pack_sums sums; /* REFINE */
	uint64_t n_exceptions;
} pack_object;

/* Bytes of a file that are restored at once, with the checksum of those that were read. */
typedef struct pack_piece {
	uint64_t offset, checksum;
	uint32_t size;
} pack_piece;

/* A file that is made of objects, in the plan. */
typedef struct pack_planned_file {
	const pack_file *file;
	uint32_t literal;   /* object of its literal bytes, or QS_NONE */
	uint32_t number;    /* of its record in the index */
	pack_piece *pieces; /* in order; made as the file is hashed */
	size_t n_pieces;
} pack_planned_file;

typedef struct pack_plan {
	const char *output; /* path of the archive, for messages */
	qs_index_builder builder;
	pack_object *objects; /* one for each of the builder's */
	size_t n_objects;
	pack_range *ranges;
	size_t n_ranges;
	pack_planned_file *files; /* by their coarsest variant, then by name */
	size_t n_files;
} pack_plan;

/* Decides which bytes are which object's, and makes the index but for the sizes, offsets and checksums of
 * chunks. */
qstore_status pack_make_plan(pack_plan *plan, const pack_input *input, const pack_derived *derived,
                             const pack_base *base, const pack_members *members, qstore_error *error);
void pack_free_plan(pack_plan *plan);

/* ---- Chunks (encode.c) ---- */

/* Codes every chunk into the spool of layers, object by object, without gaps; computes the checksums of
 * chunks, parts and pieces, and the SHA-256 of all files that are made of objects. Fills the counts of
 * *result. */
qstore_status pack_encode(pack_plan *plan, pack_spool *layers, pack_progress *progress,
                          qstore_pack_result *result, qstore_error *error);

/* Bytes of the chunks that a tensor is coded in; not those that it builds on, unless no file has these. */
uint64_t pack_coded_size(const pack_plan *plan, pack_tensor *tensor);

/* ---- The archive (archive.c) ---- */

/* Writes the archive into fd, from the spools. Fills the sizes of *result. */
qstore_status pack_write_archive(pack_plan *plan, const pack_members *members, const pack_spool *layers,
                                 int fd, pack_progress *progress, qstore_pack_result *result,
                                 qstore_error *error);

/* Restores all files from the archive at path, which is open as fd, and compares them with those that were
 * read. Returns when the archive is on the disk. base: path of the base, or NULL. Fills the digest of
 * *result. */
qstore_status pack_check_archive(const pack_plan *plan, const pack_sources *sources, const char *base, int fd,
                                 const char *path, const pack_progress *progress, qstore_pack_result *result,
                                 qstore_error *error);

#endif

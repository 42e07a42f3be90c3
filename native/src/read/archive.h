/* An open archive: its index, and where its chunks are. */
#ifndef QS_ARCHIVE_H
#define QS_ARCHIVE_H

#include <qstore.h>

#include "access.h"
#include "core/index.h"
#include "names.h"
#include "pin.h"
#include "source.h"

struct stat;

/* A file of the base, as base.c has found it. */
typedef struct qs_base_file {
	int fd;          /* the file, open for reading; −1 where the base is an archive */
	uint32_t number; /* the file's number in the base's archive; QS_NONE where the base is no archive */
} qs_base_file;

/* The other model that an archive builds on. */
typedef struct qs_base {
	char *path;
	uint32_t n_files;
	qs_base_file *files;     /* one for each file of the archive that has this base */
	qstore_archive *archive; /* the base, if it is an archive; else NULL */
} qs_base;

struct qstore_archive {
	char *path;              /* or the name of the caller's source, for messages */
	qs_source source;        /* the archive's bytes; a prefix of an archive has fewer than the archive */
	uint64_t payload_offset; /* bytes, in the source */
	qs_index_header header;
	uint8_t *body; /* of the index; `index` points into it */
	qs_index index;
	uint64_t *chunk_offsets;  /* byte offset in the source of each chunk of the index */
	uint64_t *extent_offsets; /* byte offset in its file of each extent of the index */
	uint32_t n_files[QS_VARIANTS_MAX], n_tensors[QS_VARIANTS_MAX]; /* of each variant */
	uint8_t digest[32]; /* SHA-256 of the index's header and coded body */
	qs_pin *pin;        /* chunks are proved by their seals; NULL: they are not */
	qs_base *base;      /* NULL until qstore_set_base */
	qs_access *access;  /* what random access needs (access.c) */
	qs_names *names;    /* files and tensors by name */
};

/* Returns the number of the extents of its file that a tensor without an object of its own is made of, from
 * *first on; 0 for one that has an object, or that is among the literal bytes of its file. Each extent is all
 * of an object, or, of small tensors, a share of one. */
uint32_t qs_archive_tensor_extents(const qstore_archive *archive, const qs_tensor *tensor, uint32_t *first);

/* Returns the coded bytes of an extent: those of its object, or its share of them. */
uint64_t qs_extent_coded_size(const qs_extent *extent, const qs_object *object);

/* Frees the base and closes what it has open; NULL is allowed. */
void qs_base_close(qs_base *base);

/* Fails with NOT_FOUND if the archive needs a base and has none yet. The error names a file of the base. */
qstore_status qs_archive_check_base(const qstore_archive *archive, qstore_error *error);

/* Is the file that `info` describes one that the archive is read from: its own, or one of its base? */
int qs_archive_reads(const qstore_archive *archive, const struct stat *info);

/* Returns the number of the variant of this name; QS_NONE if there is none. */
uint32_t qs_archive_variant(const qstore_archive *archive, const char *name);

/* Returns the bytes of the archive up to the end of a variant's layer. */
uint64_t qs_archive_prefix_size(const qstore_archive *archive, uint32_t variant);

#endif

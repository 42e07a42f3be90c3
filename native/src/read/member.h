/* Reading of small files: each is one member of the archive, stored or as one zstd frame. */
#ifndef QS_MEMBER_H
#define QS_MEMBER_H

#include "archive.h"

/* A function that takes the next bytes of a file, at most QS_IO_BLOCK at once. */
typedef qstore_status qs_member_take(void *user, const uint8_t *data, size_t size, qstore_error *error);

/* Reads a file that has no objects: a small file, or an empty one. Gives all its bytes to `take`, in order,
 * then checks its size and its SHA-256. Fails with CORRUPT, TRUNCATED, IO, MEMORY, and as `take` fails. */
qstore_status qs_member_read(const qstore_archive *archive, const qs_file *file, qs_member_take *take,
                             void *user, qstore_error *error);

/* Fails with CORRUPT unless `sha256` is the digest that the index has for the file. */
qstore_status qs_file_check_sha256(const qstore_archive *archive, const qs_file *file,
                                   const uint8_t digest[32], qstore_error *error);

#endif

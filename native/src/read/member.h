/* Files that are one member of the archive, stored or as one zstd frame. */
#ifndef QS_MEMBER_H
#define QS_MEMBER_H

#include "archive.h"

/* Takes the next bytes of a file, at most QS_IO_BLOCK at once. */
typedef qstore_status qs_member_take(void *user, const uint8_t *data, size_t size, qstore_error *error);

/* Reads a file that no object is part of: a member, or an empty file. All its bytes go to `take`, in order,
 * then its size and its SHA-256 are checked. CORRUPT, TRUNCATED, IO, MEMORY, and what `take` returns. */
qstore_status qs_member_read(const qstore_archive *archive, const qs_file *file, qs_member_take *take,
                             void *user, qstore_error *error);

/* Fails with CORRUPT when the digest of all of a file's bytes is not the one that the index has. */
qstore_status qs_file_check_sha256(const qstore_archive *archive, const qs_file *file,
                                   const uint8_t digest[32], qstore_error *error);

#endif

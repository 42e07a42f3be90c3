/* Checking a whole archive. */
#ifndef QS_VERIFY_H
#define QS_VERIFY_H

#include "restore.h"

/* Fails with TRUNCATED or CORRUPT unless the source has exactly the archive's bytes. */
qstore_status qs_archive_check_size(const qstore_archive *archive, qstore_error *error);

/* Checks that the archive's members are those of its index, restores everything to nowhere, then compares
 * all chunks with their seals. `check` compares the pieces; if it is NULL, files are compared with their
 * SHA-256. */
qstore_status qs_archive_verify(const qstore_archive *archive, const qstore_work *work, qs_piece_check *check,
                                void *user, qstore_error *error);

#endif

/* The tar framing of an archive: the headers of its members, and the zeros that pad them. */
#ifndef QS_FRAMING_H
#define QS_FRAMING_H

#include "archive.h"

/* Bytes between two members' data. */
typedef struct qs_gap {
	uint64_t offset, size; /* in the archive */
} qs_gap;

/* A function that is told whether a gap is as the index says: *error says what is wrong if status is not
 * QSTORE_OK. It returns a status that is not QSTORE_OK to end the check. */
typedef qstore_status qs_gap_take(void *user, const qs_gap *gap, qstore_status status, qstore_error *error);

/* Compares the headers of all members with the index, and checks that they are padded with zeros. Calls
 * `take` for each gap, in order. */
qstore_status qs_framing_check(const qstore_archive *archive, qs_gap_take *take, void *user,
                               qstore_error *error);

#endif

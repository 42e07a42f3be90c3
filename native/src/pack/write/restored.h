/* Files as they will be restored: their SHA-256, and the pieces that the finished archive is compared with.
 */
#ifndef QS_PACK_RESTORED_H
#define QS_PACK_RESTORED_H

#include "read/restore.h"
#include "write.h"

/* Computes the SHA-256 of the plan's file `number`, for the index, and the checksums of its pieces. buffer:
 * QS_CHUNK_SIZE_MAX bytes. */
qstore_status pack_hash_file(pack_plan *plan, size_t number, uint8_t *buffer, uint8_t *scratch,
                             pack_progress *progress, qstore_error *error);

/* Is a piece of a restored file as it was read? user: the plan, when all of its files are hashed. */
qs_piece_check pack_check_piece;

#endif

/* Names for messages: the tensor or the file that bytes of an archive belong to. */
#ifndef QS_DESCRIBE_H
#define QS_DESCRIBE_H

#include "part.h"

/* Returns the number of the tensor that has the byte at `offset` of a file; QS_NONE: it is outside the
 * tensors. */
uint32_t qs_archive_tensor_at(const qstore_archive *archive, uint32_t file, uint64_t offset);

/* Fills *error with a line that names the archive, the tensor or file that the part belongs to, and the part;
 * `what` is the end of the line ("is damaged: …"). Returns status. */
qstore_status qs_part_fail(const qs_part *part, qstore_status status, const char *what, qstore_error *error);

#endif

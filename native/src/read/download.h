/* The bytes of an archive that restoring a variant takes. */
#ifndef QS_DOWNLOAD_H
#define QS_DOWNLOAD_H

#include "core/index.h"
#include "error.h"

/* *size: bytes that a reader fetches who restores all files of a variant over HTTP: the archive up to its
 * payload, and the chunks and members that the variant needs, with the short gaps between them. */
qstore_status qs_download_size(const qs_index *index, uint64_t payload_offset, uint32_t variant,
                               uint64_t *size, qstore_error *error);

#endif

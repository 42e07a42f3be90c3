/* The base of an archive: the model that parts of it are differences to, as a folder, a file or an archive.
 */
#ifndef QS_BASE_H
#define QS_BASE_H

#include "archive.h"

typedef struct qs_base qs_base;

/* Opens the base at path and finds in it each file that the archive names, by size and SHA-256. NOT_FOUND
 * when one is missing; INPUT, IO … *base is NULL after a failure. */
qstore_status qs_base_open(const qstore_archive *archive, const char *path, qs_base **base, qs_error *error);
void qs_base_close(qs_base *base); /* NULL is allowed */

/* Bytes [offset, offset + size) of the archive's file `file`, a base file. decoder: for a base that is an
 * archive itself; created when it is NULL, the caller destroys it. Any number of threads, each with its own
 * decoder. */
qstore_status qs_base_read(const qs_base *base, uint32_t file, uint64_t offset, size_t size, uint8_t *dst,
                           qs_decoder **decoder, qs_error *error);

/* The same of an assembled file of an archive. */
qstore_status qs_archive_read(const qstore_archive *archive, uint32_t file, uint64_t offset, size_t size,
                              uint8_t *dst, qs_decoder **decoder, qs_error *error);

#endif

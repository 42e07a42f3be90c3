/* Random access to an open archive: the state that its threads share for it. */
#ifndef QS_ACCESS_H
#define QS_ACCESS_H

#include <qstore.h>

typedef struct qs_access qs_access;

/* Returns NULL if memory is out. The archive's index must be open, and the archive must outlive this. */
qs_access *qs_access_create(const qstore_archive *archive);
void qs_access_destroy(qs_access *access); /* NULL is allowed */

/* Returns the bytes that reading all of a variant fetches (download.h). They are counted when they are first
 * asked for. */
uint64_t qs_access_download_size(qs_access *access, uint32_t variant);

/* Forgets all decoded parts and all decoders, because the archive has another base now. */
void qs_access_reset(qs_access *access);

#endif

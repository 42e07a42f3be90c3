/* Random access to an open archive: what its threads share for it. */
#ifndef QS_ACCESS_H
#define QS_ACCESS_H

#include <qstore.h>

typedef struct qs_access qs_access;

/* For an archive whose index is open, and which must outlive it. NULL: out of memory. */
qs_access *qs_access_create(const qstore_archive *archive);
void qs_access_destroy(qs_access *access); /* NULL is allowed */

/* Forgets all that was decoded and all decoders: the archive has another base now. */
void qs_access_reset(qs_access *access);

#endif

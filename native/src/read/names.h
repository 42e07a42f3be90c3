/* Finding files and tensors of an archive by name. */
#ifndef QS_NAMES_H
#define QS_NAMES_H

#include <pthread.h>
#include <qstore.h>

typedef struct qs_names qs_names;

/* Returns NULL if memory is out. Tables are made when they are first needed. The archive must outlive
 * them. */
qs_names *qs_names_create(const qstore_archive *archive);
void qs_names_destroy(qs_names *names); /* NULL is allowed */

#endif

/* Matrices that readers need all of, since a file has them transposed: each is decoded once for all threads
 * of a job, which share the work. */
#ifndef QS_WHOLE_H
#define QS_WHOLE_H

#include "part.h"

/* The matrices of one archive that its threads share. */
typedef struct qs_wholes qs_wholes;

/* NULL: out of memory. The archive must outlive it; destroy it after all that was got from it is put back. */
qs_wholes *qs_wholes_create(const qstore_archive *archive);
void qs_wholes_destroy(qs_wholes *wholes); /* NULL is allowed */

typedef struct qs_whole {
	uint32_t object;
	uint8_t *data; /* all of the object */
	/* The rest is qs_wholes' own: chunks that are taken, and done; threads that use it. */
	uint32_t n_chunks, next, n_done, users;
	qstore_status status; /* the first that is not OK */
	qstore_error error;
} qs_whole;

/* Decodes a part of a matrix into dst. */
typedef qstore_status qs_whole_decode(void *user, const qs_part *part, uint8_t *dst, qstore_error *error);

/* All of an object, decoded by this thread and by those that ask for the same one meanwhile. Put it back when
 * it is no longer needed. *whole is NULL after an error, which all threads get that asked for it. */
qstore_status qs_wholes_get(qs_wholes *wholes, uint32_t object, qs_whole_decode *decode, void *user,
                            qs_whole **whole, qstore_error *error);
void qs_wholes_put(qs_wholes *wholes, qs_whole *whole); /* NULL is allowed */

#endif

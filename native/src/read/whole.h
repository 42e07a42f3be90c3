/* Whole matrices: a file that has a matrix transposed needs all of it for each of its parts. So each such
 * matrix is decoded once for all threads of a job, which share the work. */
#ifndef QS_WHOLE_H
#define QS_WHOLE_H

#include "part.h"

/* The matrices of one archive that its threads share. */
typedef struct qs_wholes qs_wholes;

/* Returns NULL if memory is out. The archive must outlive the wholes. Destroy them after all matrices were
 * put back. */
qs_wholes *qs_wholes_create(const qstore_archive *archive);
void qs_wholes_destroy(qs_wholes *wholes); /* NULL is allowed */

typedef struct qs_whole {
	uint32_t object;
	uint8_t *data; /* all of the object */
	/* The other fields are whole.c's own. next: the first chunk that no thread has taken; n_done: chunks that
	 * are decoded; users: threads that use the matrix. */
	uint32_t n_chunks, next, n_done, users;
	qstore_status status; /* the first that is not OK */
	qstore_error error;
} qs_whole;

/* A function that decodes a part of a matrix into dst. */
typedef qstore_status qs_whole_decode(void *user, const qs_part *part, uint8_t *dst, qstore_error *error);

/* Gets a whole object, decoded by this thread and by all others that ask for it meanwhile. Put it back when
 * it is no longer needed. After an error, *whole is NULL, and all threads that asked for the object get that
 * error. */
qstore_status qs_wholes_get(qs_wholes *wholes, uint32_t object, qs_whole_decode *decode, void *user,
                            qs_whole **whole, qstore_error *error);
void qs_wholes_put(qs_wholes *wholes, qs_whole *whole); /* NULL is allowed */

#endif

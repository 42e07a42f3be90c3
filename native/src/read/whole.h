/* Matrices that readers need all of, since they stand transposed in a file: decoded once for all threads,
 * which share the work. */
#ifndef QS_WHOLE_H
#define QS_WHOLE_H

#include "archive.h"

typedef struct qs_wholes qs_wholes;

/* NULL: out of memory. Destroy it after all that was got from it is put back. */
qs_wholes *qs_wholes_create(void);
void qs_wholes_destroy(qs_wholes *wholes);

typedef struct qs_whole {
	const qstore_archive *archive;
	uint32_t object;
	uint8_t *data;
	/* The rest is qs_wholes' own. */
	uint32_t n_chunks, next, n_done, users;
	qstore_status status; /* the first that is not OK */
	qs_error error;
} qs_whole;

/* Decodes one chunk of a matrix to its place. */
typedef qstore_status qs_whole_decode(void *user, uint32_t chunk, uint8_t *data, qs_error *error);

/* All of an object of the archive, decoded by this thread and by those that ask for the same meanwhile. Put
 * it back when it is no longer needed. After an error *whole is NULL. */
qstore_status qs_wholes_get(qs_wholes *wholes, const qstore_archive *archive, uint32_t object,
                            qs_whole_decode *decode, void *user, qs_whole **whole, qs_error *error);
void qs_wholes_put(qs_wholes *wholes, qs_whole *whole); /* NULL: nothing */

#endif

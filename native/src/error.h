/* A status with one line of text for a person: what file, what tensor, what is wrong. */
#ifndef QS_ERROR_H
#define QS_ERROR_H

#include "core/status.h"

typedef struct qs_error {
	qstore_status status;
	char text[1024];
} qs_error;

/* Fills *error (which may be NULL) and returns status, so that callers write `return qs_fail(…)`. The text is
 * cut, never overrun; control characters in it are replaced by '?', for it may hold names from hostile files.
 */
qstore_status qs_fail(qs_error *error, qstore_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif

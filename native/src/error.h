/* The library's one error: a status with one line of text for a person, which says what is wrong with which
 * file and tensor, and what to do. */
#ifndef QS_ERROR_H
#define QS_ERROR_H

#include <qstore.h>

#include "core/status.h"

/* Fills *error (which may be NULL) and returns status, so that callers write `return qs_fail(…)`. The text is
 * cut, never overrun; control characters in it are replaced by '?', for it may hold names from hostile files.
 */
qstore_status qs_fail(qstore_error *error, qstore_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Makes *error (which may be NULL) say that nothing is wrong: public functions begin with it. */
void qs_error_clear(qstore_error *error);

/* Fills *error (which may be NULL) and returns QSTORE_MEMORY. */
qstore_status qs_no_memory(qstore_error *error);

/* Fills *error (which may be NULL) and returns QSTORE_CANCELLED. */
qstore_status qs_cancelled(qstore_error *error);

#endif

/* The library's one error: a status with one line of text for a person, which says what is wrong with which
 * file and tensor, and what to do. */
#ifndef QS_ERROR_H
#define QS_ERROR_H

#include <qstore.h>

#include "core/status.h"

/* Fills *error (which may be NULL). The text is cut, never overrun; control characters in it are replaced by
 * '?', for it may hold names from hostile files. */
void qs_error_set(qstore_error *error, qstore_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Fills *error and yields status, so that callers write `return qs_fail(…)`. A macro, so that compilers and
 * `make lint` see in the caller that the status is the one given: not QSTORE_OK. It evaluates status twice.
 */
#define qs_fail(error, status, ...) (qs_error_set(error, status, __VA_ARGS__), (qstore_status)(status))

/* Calls the work's on_warning, if it has one, with a text that is cut and cleaned as that of qs_fail. */
void qs_warn(const qstore_work *work, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Makes *error (which may be NULL) say that nothing is wrong: public functions begin with it. */
void qs_error_clear(qstore_error *error);

static inline qstore_status qs_no_memory(qstore_error *error)
{
	return qs_fail(error, QSTORE_MEMORY, "out of memory; fewer threads need less of it");
}

/* True once the caller wants to stop (qstore_work.cancel, which may be NULL). A callback or another thread
 * may set the flag while many threads read it, so it is read atomically. */
static inline int qs_is_cancelled(const volatile sig_atomic_t *cancel)
{
	return cancel && __atomic_load_n(cancel, __ATOMIC_RELAXED);
}

static inline qstore_status qs_cancelled(qstore_error *error)
{
	return qs_fail(error, QSTORE_CANCELLED, "cancelled");
}

#endif

/* Where the bytes of an archive come from: a file, or the caller's callback. */
#ifndef QS_READ_SOURCE_H
#define QS_READ_SOURCE_H

#include <pthread.h>
#include <qstore.h>

typedef struct qs_source {
	const char *name; /* for messages; not owned */
	uint64_t size;    /* bytes */
	int fd;           /* the open file; −1: bytes come from `caller` */
	qstore_source caller;
	pthread_mutex_t *lock; /* of a serial source: held during its callbacks; else NULL */
} qs_source;

/* Opens the file at path, which must outlive the source. Close the source even after a failure. Fails with
 * NOT_QSTORE if it is no regular file, or with IO. */
qstore_status qs_source_open_file(qs_source *source, const char *path, qstore_error *error);

/* Takes over the caller's source. name must outlive it. Close it even after a failure. Fails with USAGE or
 * MEMORY. */
qstore_status qs_source_open_caller(qs_source *source, const char *name, const qstore_source *caller,
                                    qstore_error *error);

/* Closes the file, or tells the caller that the source is no longer needed. */
void qs_source_close(qs_source *source);

/* Reads bytes [offset, offset + size) into dst. Any number of threads may call it at once. Fails with
 * TRUNCATED if the source ends before, or with IO. */
qstore_status qs_source_read(const qs_source *source, uint64_t offset, size_t size, void *dst,
                             qstore_error *error);

#endif

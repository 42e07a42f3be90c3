/* Reading an output from its beginning to its end, which pipes and converted tensors need. */
#ifndef QS_STREAM_H
#define QS_STREAM_H

#include "restore.h"

/* Takes the next bytes of an output. */
typedef qstore_status qs_stream_take(void *user, const void *data, size_t size, qstore_error *error);

/* Gives the bytes of a range to `take`, in order, and as singles if the range says so. work: its threads
 * decode; its progress is not called. Fails like qstore_read_file, or as `take` does. */
qstore_status qs_stream_range(const qstore_archive *archive, const qs_range *range, const qstore_work *work,
                              qs_stream_take *take, void *user, qstore_error *error);

/* Gives the bytes of an output to `take`, in order. Parts are compared with their checksums before they are
 * given, and files without objects with their SHA-256; with `sha256`, other files are compared with theirs at
 * their end. Progress is reported as "restoring". Fails like qs_restore, or as `take` does. */
qstore_status qs_stream(const qstore_archive *archive, const qs_output *output, int sha256,
                        qs_stream_take *take, void *user, const qstore_work *work, qstore_error *error);

#endif

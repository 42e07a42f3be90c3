/* Pickled weights, which are not read, since a pickle is a program. */
#ifndef QS_PICKLE_H
#define QS_PICKLE_H

#include "error.h"

/* True when a file of this name may be pickled weights: .bin, .pt, .pth, .ckpt, .pkl. */
int qs_is_pickle_name(const char *name);

/* True when the file at path has such a name and begins like a pickle or a zip.
 */
int qs_is_pickle(const char *path);

/* Fails with INPUT; the message says how to convert the file. */
qstore_status qs_refuse_pickle(const char *path, qstore_error *error);

#endif

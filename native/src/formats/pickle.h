/* Pickled weights, which are not read, since a pickle is a program. */
#ifndef QS_PICKLE_H
#define QS_PICKLE_H

#include "error.h"

/* True when the file at path has a name that pickles have (.bin, .pt, …) and begins like a pickle or a zip.
 */
int qs_is_pickle(const char *path);

/* Fails with INPUT; the message says how to convert the file. */
qstore_status qs_refuse_pickle(const char *path, qstore_error *error);

#endif

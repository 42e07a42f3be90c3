/* Files of a folder that are packed as they are, but probably should not be. */
#ifndef QS_MODEL_WARNINGS_H
#define QS_MODEL_WARNINGS_H

#include "model.h"

/* Adds warnings to the model, a line for each kind, which names the files: small files that are pointers of
 * Git LFS, downloads that did not end, archives, weights in formats that are not read, and folders that are
 * the hub's cache. Files must be sorted. MEMORY. */
qstore_status qs_model_warn_of_files(qs_model *model, qstore_error *error);

#endif

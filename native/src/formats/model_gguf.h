/* GGUF models of several files, called shards. */
#ifndef QS_MODEL_GGUF_H
#define QS_MODEL_GGUF_H

#include "model.h"

/* Appends the other shards of the GGUF file at path, the first of a model, as far as they are there. INPUT
 * when path is not the first; IO, MEMORY. */
qstore_status qs_model_add_shards(qs_model *model, const char *path, qstore_error *error);

/* Checks that of each GGUF file that is a shard, all other shards are there. Files must be sorted and open.
 */
qstore_status qs_model_check_gguf(const qs_model *model, qstore_error *error);

#endif

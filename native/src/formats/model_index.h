/* Indexes of safetensors shards (*.safetensors.index.json). */
#ifndef QS_MODEL_INDEX_H
#define QS_MODEL_INDEX_H

#include "model.h"

/* Compares an index with the weights of the model, whose files must be sorted and open. An index that cannot
 * be read, or that names shards or tensors that are not there, gets one of the model's warnings: nothing is
 * read by it, and it is a small file like others. MEMORY. */
qstore_status qs_model_check_index(qs_model *model, const qs_model_file *index, qstore_error *error);

#endif

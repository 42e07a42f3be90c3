/* Safetensors files: headers are read and checked, and made.
 * Layout: u64 header size N, N bytes of JSON, then the data. (github.com/huggingface/safetensors, README) */
#ifndef QS_SAFETENSORS_H
#define QS_SAFETENSORS_H

#include "weights.h"

/* Reads and checks the header of the file at path: its length against the file, shapes that multiply (without
 * overflow) to the sizes, ranges inside the data that do not overlap. Null and repeated names are taken as
 * the reference reader takes them: __metadata__ may be null, and the last value of a name counts, if all of a
 * tensor's are the same bytes. Tensors of dtypes that core/facts.h does not name (F4, F8_E4M3FNUZ, newer
 * ones) get QS_BYTES and one dimension; their size must be as many whole bits for each element. INPUT with a
 * line that names the file, the tensor and what is wrong; IO; MEMORY. Free with qs_weights_close, also after
 * errors. */
qstore_status qs_safetensors_open(qs_weights *file, const char *path, qstore_error *error);

/* Makes the first 8 + N bytes of a file of these tensors, one after the other in the order given. Their name,
 * dtype, dims and size are read; their offset, from the start of the file, is set. N is padded with spaces to
 * a multiple of 8. metadata: text of a JSON object such as {"format":"pt"}, or NULL. *header is malloc'd, the
 * caller frees it. USAGE, LIMIT, MEMORY. */
qstore_status qs_safetensors_header(qs_weight *tensors, size_t n_tensors, const char *metadata,
                                    uint8_t **header, size_t *header_size, qstore_error *error);

#endif

/* NumPy's files of one array (numpy/lib/format.py). */
#ifndef QS_NPY_H
#define QS_NPY_H

#include "weights.h"

/* Makes the bytes that are before the elements: magic, version 1.0, and a Python dict of type and shape,
 * padded to a multiple of 64 bytes. *header is malloc'd, the caller frees it. USAGE if NumPy has no such
 * dtype; LIMIT if it has no arrays of so many dimensions; MEMORY. */
qstore_status qs_npy_header(const qs_weight *tensor, uint8_t **header, size_t *header_size,
                            qstore_error *error);

#endif

/* Tensors that do not fit to their pairs: a user gave models that do not belong together. */
#ifndef QS_PACK_MISMATCH_H
#define QS_PACK_MISMATCH_H

#include <stdint.h>

#include "error.h"

/* Zeroed at first. */
typedef struct pack_mismatch {
	size_t n, n_shapes;    /* tensors; n_shapes: those whose shape differs */
	uint32_t fine, coarse; /* variants of the first one's pair */
	char named[600];       /* the first ones' names */
} pack_mismatch;

/* Notes that a tensor of variant `fine` differs in value from its pair in variant `coarse`, or in its shape.
 */
void pack_note_value(pack_mismatch *mismatch, const char *name, uint32_t fine, uint32_t coarse);
void pack_note_shape(pack_mismatch *mismatch, const char *name, uint32_t fine, uint32_t coarse);

/* MISMATCH, with the paths of both variants' models. */
qstore_status pack_fail_mismatch(const pack_mismatch *mismatch, const char *fine_path,
                                 const char *coarse_path, qstore_error *error);

#endif

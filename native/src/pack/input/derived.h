/* Derived tensors: tensors of the packer that are in no file. */
#ifndef QS_PACK_DERIVED_H
#define QS_PACK_DERIVED_H

#include "tensor.h"

typedef struct pack_derived {
	qs_arena *arena;   /* for these tensors, and for names that stages make */
	pack_spool *spool; /* for bytes that are in no input */
	pack_tensor **tensors;
	size_t n_tensors;
	int is_out_of_memory; /* a tensor could not be made where no error could be told */
} pack_derived;

void pack_derived_free(pack_derived *derived);

/* A view of `viewed` with rows × cols elements, plain until it gets another role. NULL when out of memory. */
pack_tensor *pack_derive(pack_derived *derived, const pack_tensor *viewed, pack_view view, uint32_t dtype,
                         uint64_t rows, uint64_t cols);
/* A tensor of the n elements at `elems`, of which a copy is kept. It belongs to `owner`, whose name it has.
 */
qstore_status pack_derive_copy(pack_derived *derived, const pack_tensor *owner, uint32_t dtype,
                               const uint8_t *elems, uint64_t n, pack_tensor **made, qstore_error *error);

#endif

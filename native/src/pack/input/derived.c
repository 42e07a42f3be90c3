#include "derived.h"

#include <stdlib.h>

#include "core/index.h"
#include "os/array.h"

void pack_derived_free(pack_derived *derived)
{
	free(derived->tensors);
	*derived = (pack_derived){0};
}

pack_tensor *pack_derive(pack_derived *derived, const pack_tensor *viewed, pack_view view, uint32_t dtype,
                         uint64_t rows, uint64_t cols)
{
	pack_tensor *tensor = qs_arena_alloc(derived->arena, sizeof(*tensor));
	uint64_t *dims = qs_arena_array(derived->arena, 2, sizeof(*dims));
	pack_tensor **slot =
	    tensor && dims ? qs_array_add(&derived->tensors, &derived->n_tensors, sizeof(*slot)) : NULL;
	if (!slot)
		return NULL;
	*slot = tensor;
	dims[0] = rows;
	dims[1] = cols;
	*tensor = (pack_tensor){
	    .name = viewed->name,
	    .full = viewed->full,
	    .key = viewed->key,
	    .dtype = dtype,
	    .n_dims = 2,
	    .dims = dims,
	    .size = rows * cols * qs_dtype_size(dtype),
	    .coding.role = PACK_PLAIN,
	    .owner = viewed->owner ? viewed->owner : viewed,
	    .view = view,
	    .viewed = viewed,
	    .chunk_rows = viewed->chunk_rows,
	    .object = QS_NONE,
	};
	return tensor;
}

qstore_status pack_derive_copy(pack_derived *derived, const pack_tensor *owner, uint32_t dtype,
                               const uint8_t *elems, uint64_t n, pack_tensor **made, qstore_error *error)
{
	pack_tensor *tensor = pack_derive(derived, owner, PACK_AS_IS, dtype, n, 1);
	if (!tensor)
		return qs_no_memory(error);
	tensor->viewed = NULL;
	tensor->chunk_rows = 0;
	tensor->source = &derived->spool->source;
	*made = tensor;
	return pack_spool_append(derived->spool, elems, (size_t)tensor->size, &tensor->source_offset, error);
}

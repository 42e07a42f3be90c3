/* The two halves of the plan: objects (plan.c), and the files and tensors of the index (plan_index.c). */
#ifndef QS_PACK_PLAN_H
#define QS_PACK_PLAN_H

#include "write.h"

/* The object that a tensor uses; QS_NONE for NULL and for a literal. */
static inline uint32_t pack_object_of(pack_tensor *t)
{
	return t ? pack_coded(t)->object : QS_NONE;
}

/* The records of all files, of their extents and their tensors; objects are planned by now. */
qstore_status pack_index_files(pack_plan *plan, const pack_base *base, const pack_members *members,
                               qstore_error *error);

/* Fills *error with a line that says why the index cannot be made, and returns status. */
qstore_status pack_fail_index(const pack_plan *plan, qstore_status status, qstore_error *error);

#endif

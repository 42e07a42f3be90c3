/* Helpers that index_check.c and index_objects.c share. */
#ifndef QS_INDEX_CHECK_H
#define QS_INDEX_CHECK_H

#include "index.h"

/* Does [offset, offset + size) lie inside [start, end)? */
static inline int qs_is_inside(uint64_t offset, uint64_t size, uint64_t start, uint64_t end)
{
	return offset >= start && offset <= end && size <= end - offset;
}

/* Returns 0 when anything is wrong with an object. Counts and variants must have been checked before. */
int qs_check_objects(const qs_index *index);

#endif

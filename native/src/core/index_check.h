/* What the parts of an index's check share. */
#ifndef QS_INDEX_CHECK_H
#define QS_INDEX_CHECK_H

#include "index.h"

/* [offset, offset + size) lies inside [start, end). */
static inline int qs_is_inside(uint64_t offset, uint64_t size, uint64_t start, uint64_t end)
{
	return offset >= start && offset <= end && size <= end - offset;
}

/* 0 when anything about an object is wrong. Counts and variants have been checked. */
int qs_check_objects(const qs_index *index);

#endif

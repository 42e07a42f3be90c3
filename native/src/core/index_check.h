/* Helpers that index_check.c and index_objects.c share. */
#ifndef QS_INDEX_CHECK_H
#define QS_INDEX_CHECK_H

#include "index.h"

/* Does [offset, offset + size) lie inside [start, end)? */
static inline int qs_is_inside(uint64_t offset, uint64_t size, uint64_t start, uint64_t end)
{
	return offset >= start && offset <= end && size <= end - offset;
}

/* Do the names that records have take few enough bytes, each counted as often as it is used? Counts must have
 * been checked before. */
int qs_names_are_allowed(const qs_index *index);

/* Does restoring all files take a bounded amount of memory and time? All fields must have been checked
 * before. */
int qs_objects_are_allowed(const qs_index *index);

/* Returns 0 when anything is wrong with an object. Counts and variants must have been checked before. */
int qs_check_objects(const qs_index *index);

#endif

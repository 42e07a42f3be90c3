/* Binary search in arrays that ascend. */
#ifndef QS_SEARCH_H
#define QS_SEARCH_H

#include <stddef.h>
#include <stdint.h>

/* Returns the number of the first of n elements of `size` bytes that is not below the key; n: all are below
 * it. compare returns less than 0 for an element below the key. */
static inline size_t qs_lower_bound(const void *elements, size_t n, size_t size, const void *key,
                                    int (*compare)(const void *element, const void *key))
{
	size_t low = 0, high = n;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (compare((const char *)elements + middle * size, key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Returns the number of the last of n elements that begins at or before `at`, or 0. first_of returns where an
 * element begins. */
static inline size_t qs_last_begun(const void *elements, size_t n, size_t size, uint64_t at,
                                   uint64_t (*first_of)(const void *element))
{
	size_t low = 0, high = n;
	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;
		if (first_of((const char *)elements + middle * size) <= at)
			low = middle;
		else
			high = middle;
	}
	return low;
}

#endif

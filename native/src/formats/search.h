/* Binary search. */
#ifndef QS_SEARCH_H
#define QS_SEARCH_H

#include <stddef.h>

/* The number of the first of n elements of `size` bytes, in ascending order, that is not below the key; n:
 * all are below it. compare returns less than 0 for an element below the key. */
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

#endif

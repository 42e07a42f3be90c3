#include "array.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Returns the capacity of an array of n elements. */
static size_t capacity_of(size_t n)
{
	size_t capacity = 16;
	while (capacity < n)
		capacity *= 2;
	return capacity;
}

void *qs_array_grow(void *array, size_t n, size_t more, size_t elem_size)
{
	assert(elem_size > 0);
	if (more > SIZE_MAX / 4 || n > SIZE_MAX / 4)
		return NULL;
	size_t capacity = capacity_of(n + more);
	if (capacity > SIZE_MAX / elem_size)
		return NULL;
	if (!array || capacity > capacity_of(n) || n == 0) {
		array = realloc(array, capacity * elem_size);
		if (!array)
			return NULL;
	}
	memset((char *)array + n * elem_size, 0, more * elem_size);
	return array;
}

void *qs_array_add(void *array, size_t *n, size_t elem_size)
{
	/* The pointer is copied by memcpy, because C forbids access to pointers of different types through one
	 * type. */
	void *elems;
	memcpy(&elems, array, sizeof(elems));
	elems = qs_array_grow(elems, *n, 1, elem_size);
	if (!elems)
		return NULL;
	memcpy(array, &elems, sizeof(elems));
	return (char *)elems + elem_size * (*n)++;
}

/* Arrays that grow: a pointer and a number of elements, both zero at first.
 *
 * The capacity is the smallest power of two that holds the elements, at least 16, so it needs no field. An
 * array that was grown by these functions must not be grown otherwise; free() frees it. */
#ifndef QS_ARRAY_H
#define QS_ARRAY_H

#include <stddef.h>

/* Makes room for `more` elements of elem_size bytes behind the n that the array has; they are zeroed. Returns
 * the array, which may have moved; NULL if memory is out, and the array is unchanged then. */
void *qs_array_grow(void *array, size_t n, size_t more, size_t elem_size);

/* Appends a zeroed element, counts it in *n and returns a pointer to it, which is valid until the array
 * grows; NULL if memory is out. array: the address of the pointer to the first element:
 *
 *     qs_weight *added = qs_array_add(&file->tensors, &file->n_tensors, sizeof(*added)); */
void *qs_array_add(void *array, size_t *n, size_t elem_size);

#endif

/* Option structs of the public header. Each begins with struct_size: the fields behind that many bytes are
 * not known to the caller. */
#ifndef QS_OPTIONS_H
#define QS_OPTIONS_H

#include <stddef.h>
#include <string.h>

/* Copies the options that the caller knows; those that its version of the header lacks get their defaults, 0.
 * own: zeroed, of own_size bytes. size: the caller's struct_size; 0: all fields of version 0.1, which is this
 * one. */
static inline void qs_take_options(void *own, size_t own_size, const void *given, size_t size)
{
	memcpy(own, given, size > 0 && size < own_size ? size : own_size);
}

#endif

/* Names. */
#ifndef QS_TEXT_H
#define QS_TEXT_H

#include <string.h>
#include <strings.h>

/* Does the name end so, in whatever case? */
static inline int qs_ends_in(const char *name, const char *suffix)
{
	size_t name_size = strlen(name), suffix_size = strlen(suffix);
	return name_size >= suffix_size && !strcasecmp(name + name_size - suffix_size, suffix);
}

#endif

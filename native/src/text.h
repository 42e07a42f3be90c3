/* Names and paths, as they are compared and shown. */
#ifndef QS_TEXT_H
#define QS_TEXT_H

#include <string.h>
#include <strings.h>

/* Messages cut long names, so that the text behind them always fits. */
#define QS_NAME_SHOWN "%.200s"

/* Bytes of a path that messages show at most. */
#define QS_PATH_SHOWN_MAX 300

/* The path as messages show it: its end says more than its beginning. */
static inline const char *qs_shown_path(const char *path)
{
	size_t size = strlen(path);
	return size > QS_PATH_SHOWN_MAX ? path + size - QS_PATH_SHOWN_MAX : path;
}

/* True when the name ends in the suffix, in upper or lower case. */
static inline int qs_ends_in(const char *name, const char *suffix)
{
	size_t name_size = strlen(name), suffix_size = strlen(suffix);
	return name_size >= suffix_size && !strcasecmp(name + name_size - suffix_size, suffix);
}

#endif

/* Names and paths, as they are compared and shown, and lists of them in messages. */
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

/* Returns the bytes of the character that the text begins with, if a terminal would obey it and not show it:
 * control characters (C0, DEL, C1), and those that end lines or change the direction of text. Else 0. */
static inline size_t qs_text_control(const char *text)
{
	const unsigned char *c = (const unsigned char *)text;
	if ((c[0] > 0 && c[0] < 0x20) || c[0] == 0x7f)
		return 1;
	if ((c[0] == 0xc2 && c[1] >= 0x80 && c[1] <= 0x9f) || (c[0] == 0xd8 && c[1] == 0x9c))
		return 2;
	return c[0] == 0xe2 &&
	               ((c[1] == 0x80 && (c[2] == 0x8e || c[2] == 0x8f || (c[2] >= 0xa8 && c[2] <= 0xae))) ||
	                (c[1] == 0x81 && c[2] >= 0xa6 && c[2] <= 0xa9))
	           ? 3
	           : 0;
}

/* Appends to a text, in text_size bytes, a line as printf makes it, with the separator before it unless the
 * text is empty. Where that does not fit, the text ends in " …", and later calls add nothing. */
void qs_text_add(char *text, size_t text_size, const char *separator, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* True when the name ends in the suffix, in upper or lower case. */
static inline int qs_ends_in(const char *name, const char *suffix)
{
	size_t name_size = strlen(name), suffix_size = strlen(suffix);
	return name_size >= suffix_size && !strcasecmp(name + name_size - suffix_size, suffix);
}

#endif

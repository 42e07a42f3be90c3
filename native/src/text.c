#include "text.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

/* A text that was cut ends in this, for which there is always room. */
#define CUT " …"

void qs_text_add(char *text, size_t text_size, const char *separator, const char *format, ...)
{
	size_t used = strlen(text);
	assert(used + sizeof(CUT) <= text_size);
	if (qs_ends_in(text, CUT))
		return;
	size_t before = used > 0 ? strlen(separator) : 0, room = text_size - used;
	int added = 0;
	if (before < room) {
		memcpy(text + used, separator, before);
		va_list arguments;
		va_start(arguments, format);
		added = vsnprintf(text + used + before, room - before, format, arguments);
		va_end(arguments);
	}
	if (added < 0 || before + (size_t)added + sizeof(CUT) > room)
		snprintf(text + used, room, "%s", CUT);
}

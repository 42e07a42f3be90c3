#include "error.h"

#include <stdarg.h>
#include <stdio.h>

void qs_error_set(qstore_error *error, qstore_status status, const char *format, ...)
{
	if (!error)
		return;
	va_list args;
	va_start(args, format);
	vsnprintf(error->text, sizeof error->text, format, args);
	va_end(args);
	for (char *c = error->text; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	error->status = status;
}

void qs_error_clear(qstore_error *error)
{
	if (error)
		*error = (qstore_error){.status = QSTORE_OK};
}

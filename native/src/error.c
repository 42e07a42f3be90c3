#include "error.h"

#include <stdarg.h>
#include <stdio.h>

qstore_status qs_fail(qs_error *error, qstore_status status, const char *format, ...)
{
	if (error) {
		va_list args;
		va_start(args, format);
		vsnprintf(error->text, sizeof error->text, format, args);
		va_end(args);
		for (char *c = error->text; *c; c++)
			if ((unsigned char)*c < 0x20 || *c == 0x7f)
				*c = '?';
		error->status = status;
	}
	return status;
}

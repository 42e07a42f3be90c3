#include "error.h"

#include <stdarg.h>
#include <stdio.h>

qstore_status qs_fail(qstore_error *error, qstore_status status, const char *format, ...)
{
	if (!error)
		return status;
	va_list args;
	va_start(args, format);
	vsnprintf(error->text, sizeof error->text, format, args);
	va_end(args);
	for (char *c = error->text; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	error->status = status;
	return status;
}

void qs_error_clear(qstore_error *error)
{
	if (error)
		*error = (qstore_error){.status = QSTORE_OK};
}

qstore_status qs_no_memory(qstore_error *error)
{
	return qs_fail(error, QSTORE_MEMORY, "out of memory; fewer threads need less of it");
}

qstore_status qs_cancelled(qstore_error *error)
{
	return qs_fail(error, QSTORE_CANCELLED, "cancelled");
}

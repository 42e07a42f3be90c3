#include "error.h"

#include <stdarg.h>
#include <stdio.h>

#include "text.h"

static void format_line(char *text, size_t text_size, const char *format, va_list args)
{
	vsnprintf(text, text_size, format, args);
	char *to = text;
	for (const char *c = text; *c;) {
		size_t size = qs_text_control(c);
		*to++ = size > 0 ? '?' : *c;
		c += size > 0 ? size : 1;
	}
	*to = 0;
}

void qs_error_set(qstore_error *error, qstore_status status, const char *format, ...)
{
	if (!error)
		return;
	va_list args;
	va_start(args, format);
	format_line(error->text, sizeof error->text, format, args);
	va_end(args);
	error->status = status;
}

void qs_warn(const qstore_work *work, const char *format, ...)
{
	qstore_error warning;
	if (!work || !work->on_warning)
		return;
	va_list args;
	va_start(args, format);
	format_line(warning.text, sizeof warning.text, format, args);
	va_end(args);
	work->on_warning(work->user, warning.text);
}

void qs_error_clear(qstore_error *error)
{
	if (error)
		*error = (qstore_error){.status = QSTORE_OK};
}

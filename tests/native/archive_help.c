#include "archive_help.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

void expect_text(const qstore_error *error, qstore_status got, qstore_status status, const char *text)
{
	if (got != status || error->status != status || strstr(error->text, text) == NULL ||
	    strpbrk(error->text, "\n\r") != NULL)
		fail_msg("status %d, \"%s\"; expected %d, \"%s\"", got, error->text, status, text);
}

void expect_pack_fails(qstore_pack_options options, qstore_status status, const char *text)
{
	qstore_error error = {0};
	options.work.threads = 2;
	qstore_status got = qstore_pack(&options, NULL, &error);
	expect_text(&error, got, status, text);
}

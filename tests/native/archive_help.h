/* What tests of archives share: errors of the library, as its users see them. */
#ifndef TESTS_ARCHIVE_HELP_H
#define TESTS_ARCHIVE_HELP_H

#include <qstore.h>

/* Fails the test unless a call returned this status, and one line that has this text in it. */
void expect_text(const qstore_error *error, qstore_status got, qstore_status status, const char *text);

/* The same of qstore_pack, on two threads. */
void expect_pack_fails(qstore_pack_options options, qstore_status status, const char *text);

#endif

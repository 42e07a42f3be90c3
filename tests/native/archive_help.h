/* Shared by tests of archives: calls of the public header, and folders and errors as a user sees them. */
#ifndef TESTS_ARCHIVE_HELP_H
#define TESTS_ARCHIVE_HELP_H

#include <stddef.h>
#include <stdint.h>

#include <qstore.h>

/* Fails the test unless a call returned this status, and one line that has this text in it. */
void expect_text(const qstore_error *error, qstore_status got, qstore_status status, const char *text);

/* Packs on two threads; fails the test unless that fails as expect_text says. */
void expect_pack_fails(qstore_pack_options options, qstore_status status, const char *text);

/* Opens the archive and unpacks all of it; fails the test unless either fails as expect_text says and there
 * is no output folder afterwards. */
void expect_unpack_fails(const char *path, const char *output, qstore_status status, const char *text);

/* The calls of qstore.h on two threads; a failure fails the test. */
void archive_pack_with(qstore_pack_options options, qstore_pack_result *result);
void archive_pack(const char *high, const char *low, const char *output);
void archive_unpack(const char *archive_path, const char *precision, const char *output);
void archive_verify(const char *archive_path);

/* Makes a model pair in FOLDER/high and FOLDER/low, of two shards and some small files. */
void make_pair(void **state, uint32_t dtype);

void write_file(const char *path, const void *data, size_t size);
unsigned n_entries(const char *folder);

/* Fails the test unless both folders have the same files, with the same bytes. */
void expect_same_folder(const char *a, const char *b);

/* malloc'd */
char *copy_text(const char *text);

#endif

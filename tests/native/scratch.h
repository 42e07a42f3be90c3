/* A folder for a test's files, removed with all in it when the test is done. */
#ifndef TESTS_SCRATCH_H
#define TESTS_SCRATCH_H

#include <stddef.h>
#include <stdint.h>

/* cmocka set-up and tear-down: *state is the folder's path. */
int scratch_setup(void **state);
int scratch_teardown(void **state);

/* FOLDER/name; the folders of name are made. Valid until 16 calls later. */
const char *scratch_path(void **state, const char *name);

/* Makes a file, and returns its path as above. */
const char *scratch_write(void **state, const char *name, const void *data, size_t size);

/* Makes a safetensors file of this header (JSON text) and data_size bytes of data; returns its path as above.
 */
const char *scratch_safetensors(void **state, const char *name, const char *json, size_t data_size);

/* Any file's bytes, malloc'd; fails the test when it cannot be read. */
uint8_t *scratch_read(const char *path, size_t *size);

/* Is there anything at path, a dangling link included? */
int scratch_exists(const char *path);

void expect_same_file(const char *a, const char *b);

#endif

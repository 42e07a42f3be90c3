#include "scratch.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

int scratch_setup(void **state)
{
	const char *parent = getenv("TMPDIR");
	char *path = malloc(4096);
	if (!path)
		return -1;
	snprintf(path, 4096, "%s/qstore-test-XXXXXX", parent && *parent ? parent : "/tmp");
	*state = mkdtemp(path);
	if (!*state)
		free(path);
	return *state ? 0 : -1;
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *place)
{
	(void)info;
	(void)type;
	(void)place;
	return remove(path);
}

int scratch_teardown(void **state)
{
	int failed = nftw(*state, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	free(*state);
	*state = NULL;
	return failed;
}

const char *scratch_path(void **state, const char *name)
{
	static char paths[16][4096];
	static unsigned at;
	char *path = paths[at++ % 16];
	size_t start = (size_t)snprintf(path, sizeof paths[0], "%s/", (const char *)*state);
	snprintf(path + start, sizeof paths[0] - start, "%s", name);
	for (char *slash = strchr(path + start, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		mkdir(path, 0777);
		*slash = '/';
	}
	return path;
}

const char *scratch_write(void **state, const char *name, const void *data, size_t size)
{
	const char *path = scratch_path(state, name);
	FILE *stream = fopen(path, "wb");
	assert_non_null(stream);
	assert_int_equal(size ? fwrite(data, 1, size, stream) : 0, size);
	assert_int_equal(fclose(stream), 0);
	return path;
}

const char *scratch_safetensors(void **state, const char *name, const char *json, size_t data_size)
{
	size_t json_size = strlen(json);
	uint8_t *file = calloc(8 + json_size + data_size, 1);
	assert_non_null(file);
	for (size_t i = 0; i < 8; i++)
		file[i] = (uint8_t)((uint64_t)json_size >> 8 * i);
	memcpy(file + 8, json, json_size);
	for (size_t i = 0; i < data_size; i++)
		file[8 + json_size + i] = (uint8_t)(i * 31);
	const char *path = scratch_write(state, name, file, 8 + json_size + data_size);
	free(file);
	return path;
}

uint8_t *scratch_read(const char *path, size_t *size)
{
	FILE *file = fopen(path, "rb");
	if (!file)
		fail_msg("%s: cannot open", path);
	fseek(file, 0, SEEK_END);
	*size = (size_t)ftell(file);
	rewind(file);
	uint8_t *data = malloc(*size + 1);
	assert_non_null(data);
	assert_int_equal(fread(data, 1, *size, file), *size);
	fclose(file);
	return data;
}

int scratch_exists(const char *path)
{
	struct stat info;
	return lstat(path, &info) == 0;
}

void expect_same_file(const char *a, const char *b)
{
	size_t a_size, b_size;
	uint8_t *a_data = scratch_read(a, &a_size), *b_data = scratch_read(b, &b_size);
	if (a_size != b_size || memcmp(a_data, b_data, a_size) != 0)
		fail_msg("%s and %s differ", a, b);
	free(a_data);
	free(b_data);
}

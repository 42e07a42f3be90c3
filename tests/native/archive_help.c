#include "archive_help.h"

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "../generate/llama.h"
#include "scratch.h"

void write_file(const char *path, const void *data, size_t size)
{
	FILE *file = fopen(path, "wb");
	assert_non_null(file);
	assert_int_equal(fwrite(data, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
}

unsigned n_entries(const char *folder)
{
	unsigned n = 0;
	DIR *dir = opendir(folder);
	assert_non_null(dir);
	for (struct dirent *entry; (entry = readdir(dir));)
		n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
	closedir(dir);
	return n;
}

void expect_same_folder(const char *a, const char *b)
{
	DIR *dir = opendir(a);
	if (!dir)
		fail_msg("%s: %s", a, strerror(errno));
	assert_int_equal(n_entries(a), n_entries(b));
	for (struct dirent *entry; (entry = readdir(dir));) {
		char from[1024], to[1024];
		struct stat info;
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		snprintf(from, sizeof(from), "%s/%s", a, entry->d_name);
		snprintf(to, sizeof(to), "%s/%s", b, entry->d_name);
		assert_int_equal(stat(from, &info), 0);
		if (S_ISDIR(info.st_mode))
			expect_same_folder(from, to);
		else
			expect_same_file(from, to);
	}
	closedir(dir);
}

char *copy_text(const char *text)
{
	char *copy = strdup(text);
	assert_non_null(copy);
	return copy;
}

void archive_pack_with(qstore_pack_options options, qstore_pack_result *result)
{
	qstore_error error;
	if (qstore_pack(&options, result, &error))
		fail_msg("pack: %s", error.text);
}

void archive_pack(const char *high, const char *low, const char *output)
{
	archive_pack_with(
	    (qstore_pack_options){.high = high, .low = low, .output = output, .force = 1, .work = {.threads = 2}},
	    NULL);
}

void archive_unpack(const char *archive_path, const char *precision, const char *output)
{
	qstore_archive *archive;
	qstore_error error;
	const qstore_unpack_options options = {.precision = precision, .output = output, .work = {.threads = 2}};
	if (qstore_open(archive_path, &archive, &error))
		fail_msg("open: %s", error.text);
	if (qstore_unpack(archive, &options, NULL, &error))
		fail_msg("unpack: %s", error.text);
	qstore_close(archive);
}

void archive_verify(const char *archive_path)
{
	qstore_archive *archive;
	qstore_error error;
	const qstore_work work = {.threads = 2};
	if (qstore_open(archive_path, &archive, &error))
		fail_msg("open: %s", error.text);
	if (qstore_verify(archive, &work, &error))
		fail_msg("verify: %s", error.text);
	qstore_close(archive);
}

void expect_unpack_fails(const char *path, const char *output, qstore_status status, const char *text)
{
	qstore_archive *archive;
	qstore_error error = {0};
	const qstore_unpack_options options = {.precision = "all", .output = output, .work = {.threads = 2}};
	qstore_status got = qstore_open(path, &archive, &error);
	if (!got) {
		got = qstore_unpack(archive, &options, NULL, &error);
		qstore_close(archive);
	} else {
		assert_null(archive);
	}
	expect_text(&error, got, status, text);
	assert_false(scratch_exists(output));
}

void make_pair(void **state, uint32_t dtype)
{
	char *high = copy_text(scratch_path(state, "high")), *low = copy_text(scratch_path(state, "low"));
	generate_llama(&(llama_options){.dtype = dtype,
	                                .seed = 5,
	                                .layers = 2,
	                                .hidden = 96,
	                                .intermediate = 256,
	                                .vocab = 500,
	                                .shards = 2,
	                                .high = high,
	                                .low = low});
	free(high);
	free(low);
}

void expect_text(const qstore_error *error, qstore_status got, qstore_status status, const char *text)
{
	if (got != status || error->status != status || !strstr(error->text, text) ||
	    strpbrk(error->text, "\n\r"))
		fail_msg("status %d, \"%s\"; expected %d, \"%s\"", got, error->text, status, text);
}

void expect_pack_fails(qstore_pack_options options, qstore_status status, const char *text)
{
	qstore_error error = {0};
	options.work.threads = 2;
	qstore_status got = qstore_pack(&options, NULL, &error);
	expect_text(&error, got, status, text);
}

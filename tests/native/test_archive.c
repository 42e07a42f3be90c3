/* The library as its users see it: what is packed comes back, and what is wrong is said in one line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <dirent.h>
#include <unistd.h>

#include <cmocka.h>
#include <qstore.h>

#include "core/bytes.h"
#include "core/chunk.h"
#include "core/index.h"
#include "../generate/fixtures.h"
#include "../generate/llama.h"
#include "archive_help.h"
#include "scratch.h"

/* ---- Helpers ---- */

static void write_file(const char *path, const void *data, size_t size)
{
	FILE *file = fopen(path, "wb");
	assert_non_null(file);
	assert_int_equal(fwrite(data, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
}

static unsigned n_entries(const char *folder)
{
	unsigned n = 0;
	DIR *dir = opendir(folder);
	assert_non_null(dir);
	for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
		n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
	closedir(dir);
	return n;
}

/* Two folders of the same files; nothing more, nothing less. */
static void expect_same_folder(const char *a, const char *b)
{
	DIR *dir = opendir(a);
	if (dir == NULL)
		fail_msg("%s: %s", a, strerror(errno));
	assert_int_equal(n_entries(a), n_entries(b));
	for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
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

static char *copy_text(const char *text)
{
	char *copy = strdup(text);
	assert_non_null(copy);
	return copy;
}

static void pack_with(qstore_pack_options options, qstore_pack_result *result)
{
	qstore_error error;
	if (qstore_pack(&options, result, &error) != QSTORE_OK)
		fail_msg("pack: %s", error.text);
}

static void pack(const char *high, const char *low, const char *output)
{
	pack_with(
	    (qstore_pack_options){.high = high, .low = low, .output = output, .force = 1, .work = {.threads = 2}},
	    NULL);
}

static void unpack(const char *archive_path, const char *precision, const char *output)
{
	qstore_archive *archive;
	qstore_error error;
	const qstore_unpack_options options = {.precision = precision, .output = output, .work = {.threads = 2}};
	if (qstore_open(archive_path, &archive, &error) != QSTORE_OK)
		fail_msg("open: %s", error.text);
	if (qstore_unpack(archive, &options, NULL, &error) != QSTORE_OK)
		fail_msg("unpack: %s", error.text);
	qstore_close(archive);
}

static void verify(const char *archive_path)
{
	qstore_archive *archive;
	qstore_error error;
	const qstore_work work = {.threads = 2};
	if (qstore_open(archive_path, &archive, &error) != QSTORE_OK)
		fail_msg("open: %s", error.text);
	if (qstore_verify(archive, &work, &error) != QSTORE_OK)
		fail_msg("verify: %s", error.text);
	qstore_close(archive);
}

/* Unpacks all; whatever fails must leave no output folder. */
static void expect_unpack_fails(const char *path, const char *output, qstore_status status, const char *text)
{
	qstore_archive *archive;
	qstore_error error = {0};
	const qstore_unpack_options options = {.precision = "all", .output = output, .work = {.threads = 2}};
	qstore_status got = qstore_open(path, &archive, &error);
	if (got == QSTORE_OK) {
		got = qstore_unpack(archive, &options, NULL, &error);
		qstore_close(archive);
	} else {
		assert_null(archive);
	}
	expect_text(&error, got, status, text);
	assert_false(scratch_exists(output));
}

/* A model pair in FOLDER/high and FOLDER/low, of two shards and some small files. */
static void make_pair(void **state, uint32_t dtype)
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

/* ---- Round trips ---- */

static void round_trip(void **state, const char *high, const char *low, const char *high_name)
{
	char *archive = copy_text(scratch_path(state, "a.qstore")), *out = copy_text(scratch_path(state, "out"));
	char path[1024];
	pack(high, low, archive);
	verify(archive);
	unpack(archive, "all", out);
	snprintf(path, sizeof(path), "%s/%s", out, high_name);
	expect_same_folder(path, high);
	if (low != NULL) {
		snprintf(path, sizeof(path), "%s/int8", out);
		expect_same_folder(path, low);
	}
	free(archive);
	free(out);
}

static void restores_pairs(void **state)
{
	make_pair(state, QS_BF16);
	round_trip(state, scratch_path(state, "high"), scratch_path(state, "low"), "bf16");
}

static void restores_fp16_pairs(void **state)
{
	make_pair(state, QS_F16);
	round_trip(state, scratch_path(state, "high"), scratch_path(state, "low"), "fp16");
}

static void restores_what_it_quantized(void **state)
{
	make_pair(state, QS_BF16);
	round_trip(state, scratch_path(state, "high"), NULL, "bf16");
	/* The generator's twin was made by the same rule: same codes, in another order. */
	qstore_archive *archive;
	assert_int_equal(qstore_open(scratch_path(state, "a.qstore"), &archive, NULL), QSTORE_OK);
	const char *all[] = {"*.SCB", "*proj.weight", NULL};
	qstore_unpack_options options = {
	    .precision = "low", .output = scratch_path(state, "made"), .tensors = all};
	assert_int_equal(qstore_unpack(archive, &options, NULL, NULL), QSTORE_OK);
	qstore_close(archive);
	assert_true(scratch_exists(scratch_path(state, "out/int8/config.json")));
	assert_false(scratch_exists(scratch_path(state, "out/int8/model.safetensors.index.json")));
	size_t size;
	char *config = (char *)scratch_read(scratch_path(state, "out/int8/config.json"), &size);
	config[size] = 0;
	assert_non_null(strstr(config, "\"quant_method\": \"bitsandbytes\""));
	assert_non_null(strstr(config, "\"load_in_8bit\": true"));
	free(config);
}

static void restores_fixtures(void **state)
{
	const char *name;
	for (unsigned i = 0; (name = fixture_name(i, NULL)) != NULL; i++) {
		char high[64], low[64];
		snprintf(high, sizeof(high), "%s/high", name);
		snprintf(low, sizeof(low), "%s/low", name);
		char *high_path = copy_text(scratch_path(state, high)),
		     *low_path = copy_text(scratch_path(state, low));
		char *archive = copy_text(scratch_path(state, "f.qstore"));
		int has_low = strcmp(name, "gaps") != 0;
		assert_true(generate_fixture(name, 3, high_path, has_low ? low_path : NULL));
		for (int mode = 0; mode < 3; mode++) {
			if (mode == 1 && !has_low)
				continue;
			qstore_pack_result result;
			pack_with(
			    (qstore_pack_options){.high = high_path,
			                          .low = mode == 1 ? low_path : NULL,
			                          .quantize = mode == 2 ? QSTORE_QUANTIZE_NONE : QSTORE_QUANTIZE_LLM_INT8,
			                          .output = archive,
			                          .force = 1},
			    &result);
			char out[128];
			snprintf(out, sizeof(out), "%s/out%d", name, mode);
			char *out_path = copy_text(scratch_path(state, out));
			unpack(archive, "high", out_path);
			expect_same_folder(out_path, high_path);
			free(out_path);
			if (mode != 1)
				continue;
			snprintf(out, sizeof(out), "%s/outlow", name);
			out_path = copy_text(scratch_path(state, out));
			unpack(archive, "low", out_path);
			expect_same_folder(out_path, low_path);
			free(out_path);
		}
		free(high_path);
		free(low_path);
		free(archive);
	}
}

static void same_bytes_for_any_number_of_threads(void **state)
{
	static const unsigned threads[] = {1, 2, 5};
	make_pair(state, QS_BF16);
	for (int with_low = 0; with_low < 2; with_low++) {
		for (size_t i = 0; i < 3; i++) {
			pack_with((qstore_pack_options){.high = scratch_path(state, "high"),
			                                .low = with_low ? scratch_path(state, "low") : NULL,
			                                .output = scratch_path(state, i == 0 ? "1.qstore" : "n.qstore"),
			                                .compare = i == 1,
			                                .force = 1,
			                                .work = {.threads = threads[i]}},
			          NULL);
			if (i > 0)
				expect_same_file(scratch_path(state, "1.qstore"), scratch_path(state, "n.qstore"));
		}
	}
}

static void restores_odd_names(void **state)
{
	static const char *const names[] = {
	    "high/config.json",
	    "high/config.json.zst",
	    "high/qstore/index",
	    "high/_qstore/index",
	    "high/empty",
	    "high/mod\xc3\xa8le/\xe5\x90\x8d.txt",
	    "high/a b",
	    "high/sub/sub/x",
	    "high/n123456789/n123456789/n123456789/n123456789/n123456789/n123456789/n123456789/n123456789/"
	    "n123456789/n12345/long",
	};
	make_pair(state, QS_BF16);
	char *text = calloc(1, 40000);
	assert_non_null(text);
	memset(text, 'x', 40000);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		scratch_write(state, names[i], text, i == 4 ? 0 : i == 0 ? 40000 : 10 * i);
	/* Different from HIGH's, the same, and one that only LOW has. */
	scratch_write(state, "low/a b", "low", 3);
	scratch_write(state, "low/sub/sub/x", text, 70);
	scratch_write(state, "low/only", "1", 1);
	free(text);
	round_trip(state, scratch_path(state, "high"), scratch_path(state, "low"), "bf16");
}

static void restores_single_files(void **state)
{
	char high[1024], low[1024];
	make_pair(state, QS_BF16);
	snprintf(high, sizeof(high), "%s", scratch_path(state, "high/model-00001-of-00002.safetensors"));
	snprintf(low, sizeof(low), "%s", scratch_path(state, "low/model-00001-of-00002.safetensors"));
	pack(high, low, scratch_path(state, "one.qstore"));
	unpack(scratch_path(state, "one.qstore"), "all", scratch_path(state, "out"));
	expect_same_file(scratch_path(state, "out/bf16/model-00001-of-00002.safetensors"), high);
	expect_same_file(scratch_path(state, "out/int8/model-00001-of-00002.safetensors"), low);
}

/* ---- Parts of an archive ---- */

static void prefix_holds_the_coarse_variant(void **state)
{
	make_pair(state, QS_BF16);
	char *path = copy_text(scratch_path(state, "a.qstore")),
	     *prefix = copy_text(scratch_path(state, "prefix"));
	pack(scratch_path(state, "high"), scratch_path(state, "low"), path);
	qstore_archive *archive;
	qstore_variant_info low;
	assert_int_equal(qstore_open(path, &archive, NULL), QSTORE_OK);
	qstore_get_variant(archive, 0, &low);
	size_t size, download_size = (size_t)low.download_size;
	qstore_close(archive);
	uint8_t *data = scratch_read(path, &size);
	assert_true(download_size < size);
	write_file(prefix, data, download_size);
	unpack(prefix, "low", scratch_path(state, "out"));
	expect_same_folder(scratch_path(state, "out"), scratch_path(state, "low"));
	expect_unpack_fails(prefix, scratch_path(state, "out2"), QSTORE_TRUNCATED, "int8 is complete");
	write_file(prefix, data, download_size - 1);
	expect_unpack_fails(prefix, scratch_path(state, "out3"), QSTORE_TRUNCATED, "prefix: ends too early");
	free(data);
	free(path);
	free(prefix);
}

static void restores_tensors(void **state)
{
	static const char json[] =
	    "{\"b\\\"\\u00e9\":{\"dtype\":\"BF16\",\"shape\":[2,3],\"data_offsets\":[1,13]},"
	    "\"a\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]}}";
	uint8_t model[8 + sizeof(json) + 13];
	qs_store64(model, sizeof(json) - 1);
	memcpy(model + 8, json, sizeof(json) - 1);
	memcpy(model + 8 + sizeof(json) - 1, "abcdefghijklm", 13);
	scratch_write(state, "tiny/model.safetensors", model, sizeof(model) - 1);
	pack(scratch_path(state, "tiny"), NULL, scratch_path(state, "tiny.qstore"));
	qstore_archive *archive;
	qstore_error error;
	const char *names[] = {"b*", "a", NULL}, *files[] = {"*nothing", NULL};
	qstore_unpack_options options = {.output = scratch_path(state, "out"), .tensors = names};
	qstore_unpack_result result;
	assert_int_equal(qstore_open(scratch_path(state, "tiny.qstore"), &archive, NULL), QSTORE_OK);
	if (qstore_unpack(archive, &options, &result, &error) != QSTORE_OK)
		fail_msg("%s", error.text);
	assert_int_equal(result.n_files, 1);
	static const char header[] =
	    "{\"a\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]},"
	    "\"b\\\"\xc3\xa9\":{\"dtype\":\"BF16\",\"shape\":[2,3],\"data_offsets\":[1,13]}}";
	size_t size, header_size = (sizeof(header) - 1 + 7) / 8 * 8;
	uint8_t *data = scratch_read(scratch_path(state, "out/tensors.safetensors"), &size);
	assert_int_equal(qs_load64(data), header_size);
	assert_int_equal(size, 8 + header_size + 13);
	assert_memory_equal(data + 8, header, sizeof(header) - 1);
	for (size_t i = sizeof(header) - 1; i < header_size; i++)
		assert_int_equal(data[8 + i], ' ');
	assert_memory_equal(data + 8 + header_size, "abcdefghijklm", 13);
	free(data);
	/* What matches nothing is an error, and so is what exists. */
	qstore_status got = qstore_unpack(archive, &options, NULL, &error);
	expect_text(&error, got, QSTORE_EXISTS, "tensors.safetensors: exists already");
	options.output = scratch_path(state, "out2");
	options.files = files;
	got = qstore_unpack(archive, &options, NULL, &error);
	expect_text(&error, got, QSTORE_NOT_FOUND, "*nothing");
	options.files = NULL;
	names[1] = "c";
	got = qstore_unpack(archive, &options, NULL, &error);
	expect_text(&error, got, QSTORE_NOT_FOUND, "no tensor c");
	options.tensors = NULL;
	options.precision = "int4";
	got = qstore_unpack(archive, &options, NULL, &error);
	expect_text(&error, got, QSTORE_NOT_FOUND, "int4");
	assert_false(scratch_exists(scratch_path(state, "out2")));
	qstore_close(archive);
}

static void restores_one_file(void **state)
{
	make_pair(state, QS_BF16);
	pack(scratch_path(state, "high"), NULL, scratch_path(state, "a.qstore"));
	qstore_archive *archive;
	const char *files[] = {"config.json", "*-00002-*", NULL};
	qstore_unpack_options options = {.output = scratch_path(state, "out"), .files = files};
	qstore_unpack_result result;
	assert_int_equal(qstore_open(scratch_path(state, "a.qstore"), &archive, NULL), QSTORE_OK);
	assert_int_equal(qstore_unpack(archive, &options, &result, NULL), QSTORE_OK);
	qstore_close(archive);
	assert_int_equal(result.n_files, 2);
	assert_int_equal(n_entries(scratch_path(state, "out")), 2);
	expect_same_file(scratch_path(state, "out/model-00002-of-00002.safetensors"),
	                 scratch_path(state, "high/model-00002-of-00002.safetensors"));
}

/* ---- Errors ---- */

static void refuses_foreign_low(void **state)
{
	generate_llama(&(llama_options){.dtype = QS_BF16,
	                                .seed = 1,
	                                .layers = 1,
	                                .hidden = 64,
	                                .intermediate = 128,
	                                .vocab = 100,
	                                .shards = 1,
	                                .high = scratch_path(state, "high"),
	                                .low = scratch_path(state, "low")});
	generate_llama(&(llama_options){.dtype = QS_BF16,
	                                .seed = 2,
	                                .layers = 1,
	                                .hidden = 64,
	                                .intermediate = 128,
	                                .vocab = 100,
	                                .shards = 1,
	                                .high = scratch_path(state, "high2"),
	                                .low = scratch_path(state, "low2")});
	generate_llama(&(llama_options){.dtype = QS_BF16,
	                                .seed = 1,
	                                .layers = 1,
	                                .hidden = 128,
	                                .intermediate = 128,
	                                .vocab = 100,
	                                .shards = 1,
	                                .high = scratch_path(state, "high3"),
	                                .low = scratch_path(state, "low3")});
	scratch_safetensors(state, "low4/model.safetensors",
	                    "{\"other\":{\"dtype\":\"I8\",\"shape\":[9],\"data_offsets\":[0,9]}}", 9);
	char *output = copy_text(scratch_path(state, "a.qstore"));
	qstore_pack_options options = {.high = scratch_path(state, "high"), .output = output};
	options.low = scratch_path(state, "low2");
	expect_pack_fails(options, QSTORE_MISMATCH, "7 tensors differ in value: model.layers.0.");
	options.low = scratch_path(state, "low3");
	expect_pack_fails(options, QSTORE_MISMATCH, "differ in shape: ");
	options.low = scratch_path(state, "low4");
	expect_pack_fails(options, QSTORE_MISMATCH, "no tensor name in common");
	options.low = scratch_path(state, "high");
	expect_pack_fails(options, QSTORE_MISMATCH, "are both bf16");
	options.high = scratch_path(state, "low");
	expect_pack_fails(options, QSTORE_MISMATCH, "swapped");
	assert_false(scratch_exists(output));
	free(output);
}

static void refuses_bad_outputs(void **state)
{
	generate_fixture("clean", 1, scratch_path(state, "high"), NULL);
	qstore_pack_options options = {.high = scratch_path(state, "high")};
	options.output = scratch_path(state, "none/a.qstore");
	rmdir(scratch_path(state, "none"));
	expect_pack_fails(options, QSTORE_IO, "none/a.qstore: cannot create: No such file");
	options.output = "/dev/null";
	expect_pack_fails(options, QSTORE_IO, "/dev/null: cannot create");
	options.output = scratch_path(state, "high");
	expect_pack_fails(options, QSTORE_IO, "not a regular file");
	options.output = scratch_write(state, "a.qstore", "x", 1);
	expect_pack_fails(options, QSTORE_EXISTS, "a.qstore: exists already");
	options.force = 1;
	options.output = scratch_path(state, "high/model.safetensors");
	expect_pack_fails(options, QSTORE_USAGE, "one of the files to be packed");
	options.output = "";
	expect_pack_fails(options, QSTORE_USAGE, "output");
	options.output = scratch_path(state, "b.qstore");
	options.high = scratch_path(state, "nowhere");
	expect_pack_fails(options, QSTORE_IO, "nowhere");
	assert_false(scratch_exists(options.output));
	if (geteuid() != 0) {
		assert_int_equal(mkdir(scratch_path(state, "closed"), 0500), 0);
		options.high = scratch_path(state, "high");
		options.output = scratch_path(state, "closed/a.qstore");
		expect_pack_fails(options, QSTORE_IO, "Permission denied");
	}
}

/* A full disk, as far as a test can have one: no file may grow beyond a limit. */
static void leaves_nothing_on_a_full_disk(void **state)
{
	make_pair(state, QS_BF16);
	pack(scratch_path(state, "high"), NULL, scratch_path(state, "good.qstore"));
	char *folder = copy_text(scratch_path(state, "full"));
	assert_int_equal(mkdir(folder, 0700), 0);
	for (rlim_t limit = 1000; limit < 1000000; limit *= 4) {
		pid_t child = fork();
		assert_true(child >= 0);
		if (child == 0) {
			struct rlimit most = {limit, limit};
			qstore_error error = {0};
			qstore_archive *archive;
			signal(SIGXFSZ, SIG_IGN);
			setrlimit(RLIMIT_FSIZE, &most);
			qstore_pack_options options = {.high = scratch_path(state, "high"),
			                               .output = scratch_path(state, "full/a.qstore")};
			if (qstore_pack(&options, NULL, &error) != QSTORE_IO ||
			    strstr(error.text, "File too large") == NULL)
				_exit(1);
			qstore_unpack_options restore = {.output = scratch_path(state, "full/out")};
			if (qstore_open(scratch_path(state, "good.qstore"), &archive, NULL) != QSTORE_OK)
				_exit(2);
			if (qstore_unpack(archive, &restore, NULL, &error) != QSTORE_IO ||
			    strstr(error.text, "File too large") == NULL)
				_exit(3);
			qstore_close(archive);
			_exit(0);
		}
		int result;
		assert_int_equal(waitpid(child, &result, 0), child);
		if (!WIFEXITED(result) || WEXITSTATUS(result) != 0)
			fail_msg("limit %lu: %d", (unsigned long)limit, result);
		assert_int_equal(n_entries(folder), 0);
	}
	free(folder);
}

static volatile sig_atomic_t cancel_flag;

typedef struct countdown {
	unsigned left;
} countdown;

static void count_down(void *user, const qstore_progress *progress)
{
	countdown *c = user;
	assert_true(progress->done <= progress->total);
	if (c->left > 0 && --c->left == 0)
		cancel_flag = 1;
}

static void leaves_nothing_when_cancelled(void **state)
{
	make_pair(state, QS_BF16);
	pack(scratch_path(state, "high"), NULL, scratch_path(state, "good.qstore"));
	char *folder = copy_text(scratch_path(state, "cancelled"));
	assert_int_equal(mkdir(folder, 0700), 0);
	unsigned n_cancelled = 0;
	for (unsigned at = 1; at < 400; at += 1 + at / 4) {
		countdown c = {at};
		qstore_error error = {0};
		const qstore_work work = {
		    .threads = 2, .on_progress = count_down, .user = &c, .cancel = &cancel_flag};
		qstore_pack_options options = {.high = scratch_path(state, "high"),
		                               .output = scratch_path(state, "cancelled/a.qstore"),
		                               .work = work};
		cancel_flag = 0;
		qstore_status status = qstore_pack(&options, NULL, &error);
		assert_true(status == QSTORE_OK || status == QSTORE_CANCELLED);
		n_cancelled += status == QSTORE_CANCELLED;
		if (status == QSTORE_OK)
			unlink(options.output);
		assert_int_equal(n_entries(folder), 0);
		if (status == QSTORE_OK)
			break;
	}
	assert_true(n_cancelled > 5);
	countdown c = {2};
	qstore_archive *archive;
	qstore_unpack_options options = {
	    .output = scratch_path(state, "cancelled/out"),
	    .work = {.threads = 2, .on_progress = count_down, .user = &c, .cancel = &cancel_flag}};
	cancel_flag = 0;
	assert_int_equal(qstore_open(scratch_path(state, "good.qstore"), &archive, NULL), QSTORE_OK);
	assert_int_equal(qstore_unpack(archive, &options, NULL, NULL), QSTORE_CANCELLED);
	qstore_close(archive);
	assert_int_equal(n_entries(folder), 0);
	free(folder);
}

typedef struct meddler {
	char *path;
	int keep_time, is_done;
} meddler;

/* Changes bytes of a file's second half once chunks are being coded. */
static void meddle(void *user, const qstore_progress *progress)
{
	meddler *m = user;
	struct stat info;
	uint8_t byte;
	if (m->is_done || strcmp(progress->phase, "encoding") != 0 || progress->done < progress->total / 3)
		return;
	m->is_done = 1;
	int fd = open(m->path, O_RDWR);
	assert_true(fd >= 0 && fstat(fd, &info) == 0);
	for (off_t at = info.st_size / 2; at < info.st_size; at += 1000) {
		assert_int_equal(pread(fd, &byte, 1, at), 1);
		byte ^= 1;
		assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	}
	if (m->keep_time)
		assert_int_equal(futimens(fd, (struct timespec[2]){info.st_atim, info.st_mtim}), 0);
	close(fd);
}

/* One thread codes first and hashes then: what it codes and what it hashes are not the same. */
static void refuses_inputs_that_change(void **state)
{
	make_pair(state, QS_BF16);
	char *path = copy_text(scratch_path(state, "changing"));
	assert_int_equal(mkdir(path, 0700), 0);
	free(path);
	for (int keep_time = 0; keep_time < 2; keep_time++) {
		meddler m = {.path = copy_text(scratch_path(state, "high/model-00001-of-00002.safetensors")),
		             .keep_time = keep_time};
		qstore_error error = {0};
		qstore_pack_options options = {.high = scratch_path(state, "high"),
		                               .output = scratch_path(state, "changing/a.qstore"),
		                               .work = {.threads = 1, .on_progress = meddle, .user = &m}};
		qstore_status status = qstore_pack(&options, NULL, &error);
		if (!m.is_done)
			fail_msg("nothing was changed: %s", error.text);
		expect_text(&error, status, keep_time ? QSTORE_CORRUPT : QSTORE_INPUT,
		            keep_time ? "is not restored as it was" : "changed while it was read");
		assert_int_equal(n_entries(scratch_path(state, "changing")), 0);
		free(m.path);
	}
}

static void refuses_what_is_no_archive(void **state)
{
	char *out = copy_text(scratch_path(state, "out"));
	char zeros[2000] = "";
	expect_unpack_fails(scratch_path(state, "nowhere"), out, QSTORE_IO, "nowhere: cannot open: No such file");
	expect_unpack_fails(scratch_write(state, "empty", "", 0), out, QSTORE_NOT_QSTORE,
	                    "empty: not a qstore archive");
	expect_unpack_fails(scratch_write(state, "short", "abc", 3), out, QSTORE_NOT_QSTORE,
	                    "not a qstore archive");
	expect_unpack_fails(scratch_write(state, "zeros", zeros, sizeof(zeros)), out, QSTORE_NOT_QSTORE,
	                    "not a qstore archive");
	expect_unpack_fails("/dev/null", out, QSTORE_NOT_QSTORE, "/dev/null: not a qstore archive");
	expect_unpack_fails("/", out, QSTORE_NOT_QSTORE, "not a qstore archive");
	free(out);
}

static void refuses_newer_versions(void **state)
{
	size_t size;
	generate_fixture("clean", 1, scratch_path(state, "high"), NULL);
	pack(scratch_path(state, "high"), NULL, scratch_path(state, "a.qstore"));
	uint8_t *data = scratch_read(scratch_path(state, "a.qstore"), &size);
	qs_store16(data + 512 + 8, 2);
	qs_store64(data + 512 + 56, qs_checksum(data + 512, 56));
	expect_unpack_fails(scratch_write(state, "b.qstore", data, size), scratch_path(state, "out"),
	                    QSTORE_NEWER, "b.qstore: made by a newer qstore");
	free(data);
}

/* One byte changed in the middle of each tensor's chunks, and in each small file. */
static void names_the_damaged_tensor(void **state)
{
	size_t size;
	make_pair(state, QS_BF16);
	char *text = calloc(1, 40000);
	assert_non_null(text);
	scratch_write(state, "high/tokenizer.json", text, 40000);
	free(text);
	pack(scratch_path(state, "high"), scratch_path(state, "low"), scratch_path(state, "a.qstore"));
	uint8_t *data = scratch_read(scratch_path(state, "a.qstore"), &size);
	char *damaged = copy_text(scratch_path(state, "damaged.qstore")),
	     *out = copy_text(scratch_path(state, "out"));
	qs_index_header header;
	assert_int_equal(qs_index_read_header(data + 512, size - 512, &header), QSTORE_OK);
	uint8_t *body = malloc((size_t)header.body_size);
	size_t work_size = qs_chunk_workspace_size();
	void *work = malloc(work_size);
	qs_index index;
	assert_int_equal(qs_index_decode_body(&header, data + 576, size - 576, body, (size_t)header.body_size,
	                                      work, work_size),
	                 QSTORE_OK);
	assert_int_equal(qs_index_open(&index, body, (size_t)header.body_size, header.payload_size), QSTORE_OK);
	uint64_t payload = qs_index_payload_offset(&header);
	for (uint32_t i = 0; i < index.n_tensors; i++) {
		qs_tensor tensor;
		qs_object object;
		qs_index_tensor(&index, i, &tensor);
		if (tensor.object == QS_NONE)
			continue;
		qs_index_object(&index, tensor.object, &object);
		uint64_t at = payload + object.offset + object.coded_size / 2;
		data[at] ^= 0x10;
		write_file(damaged, data, size);
		data[at] ^= 0x10;
		char expected[300];
		snprintf(expected, sizeof(expected), "damaged.qstore: tensor %s: chunk 1 of 1 is damaged",
		         tensor.name);
		expect_unpack_fails(damaged, out, QSTORE_CORRUPT, expected);
	}
	for (uint32_t i = 0; i < index.n_files; i++) {
		qs_file file;
		qs_index_file(&index, i, &file);
		if (file.coded_size == 0)
			continue;
		data[payload + file.offset + file.coded_size / 2] ^= 0x10;
		write_file(damaged, data, size);
		data[payload + file.offset + file.coded_size / 2] ^= 0x10;
		expect_unpack_fails(damaged, out, QSTORE_CORRUPT, file.name);
	}
	/* Cut anywhere. */
	for (size_t cut = 0; cut < size; cut += 1 + size / 40) {
		qstore_archive *archive;
		qstore_error error = {0};
		write_file(damaged, data, cut);
		qstore_status status = qstore_open(damaged, &archive, &error);
		if (status == QSTORE_OK) {
			status = qstore_verify(archive, NULL, &error);
			qstore_close(archive);
		}
		if (cut <= 512)
			assert_int_equal(status, QSTORE_NOT_QSTORE);
		else
			assert_int_equal(status, QSTORE_TRUNCATED);
	}
	free(body);
	free(work);
	free(data);
	free(damaged);
	free(out);
}

/* Hostile archives that are valid but for a name that leaves the output folder: refused when opened. */
static void refuses_escaping_names(void **state)
{
	static const char *const names[] = {"../../escape", "/tmp/escaped", "aa/../../bbb", "./././././",
	                                    "aaaa\\bbbbbb"};
	size_t size;
	make_pair(state, QS_BF16);
	scratch_write(state, "high/harmless.txt", "x", 1);
	pack(scratch_path(state, "high"), NULL, scratch_path(state, "a.qstore"));
	uint8_t *data = scratch_read(scratch_path(state, "a.qstore"), &size);
	qs_index_header header;
	assert_int_equal(qs_index_read_header(data + 512, size - 512, &header), QSTORE_OK);
	size_t body_size = (size_t)header.body_size, work_size = qs_chunk_workspace_size();
	uint8_t *body = malloc(body_size + 512), *work = malloc(work_size);
	assert_int_equal(qs_index_decode_body(&header, data + 576, size - 576, body, body_size, work, work_size),
	                 QSTORE_OK);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		for (size_t at = 0; at + 13 < body_size; at++) {
			if (memcmp(body + at, "harmless.txt", 13) == 0 ||
			    (i > 0 && strcmp((char *)body + at, names[i - 1]) == 0))
				memcpy(body + at, names[i], strlen(names[i]) + 1);
		}
		/* The body is stored as it is this time. The payload is out of place, but nobody comes so far. */
		qs_index_header plain = {0, body_size, body_size, qs_checksum(body, body_size), header.payload_size};
		uint8_t *hostile = calloc(1, 576 + body_size);
		assert_non_null(hostile);
		qs_index_write_header(&plain, hostile + 512);
		memcpy(hostile + 576, body, body_size);
		expect_unpack_fails(scratch_write(state, "hostile.qstore", hostile, 576 + body_size),
		                    scratch_path(state, "out"), QSTORE_CORRUPT,
		                    "hostile.qstore: the index is damaged");
		free(hostile);
	}
	free(body);
	free(work);
	free(data);
}

/* Small numbers that depend on the seed alone (xorshift64). */
static uint64_t next_random(uint64_t *r)
{
	*r ^= *r << 13;
	*r ^= *r >> 7;
	*r ^= *r << 17;
	return *r;
}

/* Hostile archives: bytes changed anywhere, and then all checksums set right. Whatever is said of them,
 * nothing may be read or written out of bounds. QSTORE_ROUNDS in the environment asks for more of them. */
static void survives_hostile_archives(void **state)
{
	const char *rounds = getenv("QSTORE_ROUNDS");
	unsigned n_rounds = rounds != NULL ? (unsigned)strtoul(rounds, NULL, 10) : 300, n_opened = 0, n_good = 0;
	uint64_t r = 88172645463325252;
	generate_llama(&(llama_options){.dtype = QS_BF16,
	                                .seed = 7,
	                                .layers = 1,
	                                .hidden = 32,
	                                .intermediate = 64,
	                                .vocab = 40,
	                                .shards = 1,
	                                .high = scratch_path(state, "high"),
	                                .low = scratch_path(state, "low")});
	pack(scratch_path(state, "high"), scratch_path(state, "low"), scratch_path(state, "a.qstore"));
	size_t size, work_size = qs_chunk_workspace_size();
	uint8_t *data = scratch_read(scratch_path(state, "a.qstore"), &size), *work = malloc(work_size);
	qs_index_header header;
	assert_int_equal(qs_index_read_header(data + 512, size - 512, &header), QSTORE_OK);
	size_t body_size = (size_t)header.body_size, payload_at = (size_t)qs_index_payload_offset(&header);
	size_t payload_size = (size_t)header.payload_size;
	uint8_t *body = malloc(body_size);
	assert_int_equal(qs_index_decode_body(&header, data + 576, size - 576, body, body_size, work, work_size),
	                 QSTORE_OK);
	header = (qs_index_header){0, body_size, body_size, 0, payload_size};
	size_t hostile_at = (size_t)qs_index_payload_offset(&header);
	uint8_t *hostile = calloc(1, hostile_at + payload_size);
	char *path = copy_text(scratch_path(state, "hostile.qstore"));
	assert_non_null(hostile);
	for (unsigned round = 0; round < n_rounds; round++) {
		uint8_t *b = hostile + 576, *p = hostile + hostile_at;
		memcpy(b, body, body_size);
		memcpy(p, data + payload_at, payload_size);
		for (unsigned n = 1 + (unsigned)(next_random(&r) % 3); n > 0; n--) {
			uint8_t value = (uint8_t)next_random(&r);
			/* Records more than strings, and low bits of fields more than high ones. */
			if (next_random(&r) % 2 == 0)
				b[64 + next_random(&r) % (body_size - 64) / 4 * 4 % (body_size - 64)] = value;
			else
				p[next_random(&r) % payload_size] = value;
		}
		qs_index index;
		if (qs_index_open(&index, b, body_size, payload_size) == QSTORE_OK) {
			n_opened++;
			for (uint32_t i = 0; i < index.n_objects; i++) {
				qs_object object;
				qs_index_object(&index, i, &object);
				uint64_t at = object.offset;
				for (uint32_t j = object.first_chunk; j < object.first_chunk + object.n_chunks; j++) {
					uint32_t chunk_size = qs_index_chunk_size(&index, j);
					qs_store64(b + index.checksums + 8 * (size_t)j, qs_checksum(p + at, chunk_size));
					at += chunk_size;
				}
			}
		}
		header.body_checksum = qs_checksum(b, body_size);
		qs_index_write_header(&header, hostile + 512);
		write_file(path, hostile, hostile_at + payload_size);
		qstore_archive *archive;
		qstore_error error = {0};
		if (qstore_open(path, &archive, &error) != QSTORE_OK) {
			assert_int_equal(error.status, QSTORE_CORRUPT);
			continue;
		}
		const char *all[] = {"*", NULL};
		qstore_unpack_options options = {.output = scratch_path(state, "out"), .tensors = all, .force = 1};
		options.work.threads = 1;
		qstore_status status = qstore_unpack(archive, &options, NULL, &error);
		assert_true(status == QSTORE_OK || status == QSTORE_CORRUPT);
		options.tensors = NULL;
		status = qstore_unpack(archive, &options, NULL, &error);
		assert_true(status == QSTORE_OK || status == QSTORE_CORRUPT || status == QSTORE_IO ||
		            status == QSTORE_EXISTS);
		n_good += status == QSTORE_OK;
		qstore_close(archive);
	}
	/* Most damage is noticed by the index's checks, or by a file's SHA-256. */
	assert_true(n_opened > n_rounds / 4 && n_good < n_opened);
	free(path);
	free(hostile);
	free(body);
	free(work);
	free(data);
}

static void replaces_only_when_forced(void **state)
{
	generate_fixture("clean", 1, scratch_path(state, "high"), NULL);
	pack(scratch_path(state, "high"), NULL, scratch_path(state, "a.qstore"));
	qstore_archive *archive;
	qstore_error error;
	qstore_unpack_options options = {.output = scratch_path(state, "out")};
	assert_int_equal(qstore_open(scratch_path(state, "a.qstore"), &archive, NULL), QSTORE_OK);
	scratch_write(state, "out/mine.txt", "mine", 4);
	scratch_write(state, "out/model.safetensors", "old", 3);
	qstore_status got = qstore_unpack(archive, &options, NULL, &error);
	expect_text(&error, got, QSTORE_EXISTS, "out/model.safetensors: exists already");
	size_t size;
	free(scratch_read(scratch_path(state, "out/model.safetensors"), &size));
	assert_int_equal(size, 3);
	assert_int_equal(n_entries(scratch_path(state, "out")), 2);
	options.force = 1;
	assert_int_equal(qstore_unpack(archive, &options, NULL, NULL), QSTORE_OK);
	expect_same_file(scratch_path(state, "out/model.safetensors"),
	                 scratch_path(state, "high/model.safetensors"));
	assert_true(scratch_exists(scratch_path(state, "out/mine.txt")));
	options.output = scratch_write(state, "file", "", 0);
	got = qstore_unpack(archive, &options, NULL, &error);
	expect_text(&error, got, QSTORE_EXISTS, "file: exists and is not a folder");
	qstore_close(archive);
}

static void tells_what_is_inside(void **state)
{
	make_pair(state, QS_BF16);
	qstore_pack_result result;
	pack_with((qstore_pack_options){.high = scratch_path(state, "high"),
	                                .low = scratch_path(state, "low"),
	                                .output = scratch_path(state, "a.qstore"),
	                                .compare = 1},
	          &result);
	qstore_archive *archive;
	qstore_archive_info info;
	qstore_variant_info low, high;
	uint32_t number;
	qstore_error error;
	assert_int_equal(qstore_open(scratch_path(state, "a.qstore"), &archive, NULL), QSTORE_OK);
	qstore_get_info(archive, &info);
	qstore_get_variant(archive, 0, &low);
	qstore_get_variant(archive, 1, &high);
	assert_string_equal(low.name, "int8");
	assert_string_equal(high.name, "bf16");
	assert_null(low.coarser);
	assert_string_equal(high.coarser, "int8");
	assert_int_equal(result.archive_size, info.archive_size);
	assert_int_equal(info.archive_size, info.file_size);
	assert_int_equal(result.variants[0].download_size, low.download_size);
	assert_int_equal(result.variants[1].raw_size, high.raw_size);
	assert_true(result.variants[0].zstd_size > low.download_size);
	assert_true(result.n_paired == 14 && result.n_equal > 0 && result.n_exceptions == 0);
	assert_true(result.paired_size * 8 < result.paired_weights * 11);
	assert_int_equal(qstore_find_variant(archive, "low", &number, NULL), QSTORE_OK);
	assert_int_equal(number, 0);
	assert_int_equal(qstore_find_variant(archive, "high", &number, NULL), QSTORE_OK);
	assert_int_equal(number, 1);
	assert_int_equal(qstore_find_variant(archive, "fp16", &number, &error), QSTORE_NOT_FOUND);
	assert_non_null(strstr(error.text, "only int8, bf16"));
	unsigned n_refined = 0;
	for (uint32_t i = 0; i < info.n_tensors; i++) {
		qstore_tensor_info tensor;
		qstore_get_tensor(archive, i, &tensor);
		if (strcmp(tensor.kind, "refine") != 0)
			continue;
		n_refined++;
		/* Eight bits of a row's range: about 48 dB. */
		assert_true(tensor.error > 1e-6 && tensor.error < 1e-3);
		assert_int_equal(tensor.n_dims, 2);
		assert_int_equal(qstore_get_tensor_dim(archive, i, 0) * qstore_get_tensor_dim(archive, i, 1),
		                 tensor.n_elems);
	}
	assert_int_equal(n_refined, 14);
	qstore_close(archive);
	qstore_close(NULL);
	assert_string_equal(qstore_version(), QSTORE_VERSION_TEXT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)
	    TEST(restores_pairs),
	    TEST(restores_fp16_pairs),
	    TEST(restores_what_it_quantized),
	    TEST(restores_fixtures),
	    TEST(same_bytes_for_any_number_of_threads),
	    TEST(restores_odd_names),
	    TEST(restores_single_files),
	    TEST(prefix_holds_the_coarse_variant),
	    TEST(restores_tensors),
	    TEST(restores_one_file),
	    TEST(refuses_foreign_low),
	    TEST(refuses_bad_outputs),
	    TEST(leaves_nothing_on_a_full_disk),
	    TEST(leaves_nothing_when_cancelled),
	    TEST(refuses_inputs_that_change),
	    TEST(refuses_what_is_no_archive),
	    TEST(refuses_newer_versions),
	    TEST(names_the_damaged_tensor),
	    TEST(refuses_escaping_names),
	    TEST(survives_hostile_archives),
	    TEST(replaces_only_when_forced),
	    TEST(tells_what_is_inside),
	};
	return cmocka_run_group_tests_name("archive", tests, NULL, NULL);
}

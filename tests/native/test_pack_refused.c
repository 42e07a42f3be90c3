/* Packing that has to fail: bad inputs and outputs, a full disk, cancelling. One line says why, and nothing
 * is left behind. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <qstore.h>

#include "core/index.h"
#include "../generate/fixtures.h"
#include "../generate/llama.h"
#include "archive_help.h"
#include "scratch.h"

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
	                                .seed = 3,
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
	expect_pack_fails(options, QSTORE_MISMATCH, "differ in shape or value: ");
	options.low = scratch_path(state, "low3");
	expect_pack_fails(options, QSTORE_MISMATCH, "differ in shape or value: ");
	options.low = scratch_path(state, "low4");
	expect_pack_fails(options, QSTORE_MISMATCH, "no tensor name in common");
	options.low = scratch_path(state, "high");
	expect_pack_fails(options, QSTORE_MISMATCH, "is given twice");
	options.high = scratch_path(state, "low");
	expect_pack_fails(options, QSTORE_MISMATCH, "swapped? Give them from fine to coarse, or pack");
	/* A coarser variant to code from is named, and there is none. */
	options.low = NULL;
	options.from = "int8";
	expect_pack_fails(options, QSTORE_USAGE, "give that with --low");
	assert_false(scratch_exists(output));
	free(output);
}

static void refuses_bad_outputs(void **state)
{
	generate_fixture("clean", 1, scratch_path(state, "high"), NULL);
	qstore_pack_options options = {.high = scratch_path(state, "high")};
	options.output = scratch_path(state, "none/a.qstore");
	rmdir(scratch_path(state, "none"));
	expect_pack_fails(options, QSTORE_IO, "none/a.qstore: cannot create: there is no folder ");
	options.output = "/dev/null";
	expect_pack_fails(options, QSTORE_IO, "/dev/null: cannot create");
	options.output = scratch_path(state, "high");
	expect_pack_fails(options, QSTORE_IO, "not a regular file");
	options.output = scratch_write(state, "a.qstore", "x", 1);
	expect_pack_fails(options, QSTORE_EXISTS,
	                  "a.qstore: exists already: choose another output, or replace it with --force");
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
	archive_pack(scratch_path(state, "high"), NULL, scratch_path(state, "good.qstore"));
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
			if (qstore_pack(&options, NULL, &error) != QSTORE_IO || !strstr(error.text, "File too large"))
				_exit(1);
			qstore_unpack_options restore = {.output = scratch_path(state, "full/out")};
			if (qstore_open(scratch_path(state, "good.qstore"), &archive, NULL))
				_exit(2);
			if (qstore_unpack(archive, &restore, NULL, &error) != QSTORE_IO ||
			    !strstr(error.text, "File too large"))
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
		__atomic_store_n(&cancel_flag, 1, __ATOMIC_RELAXED); /* the other threads of the pool read it */
}

static void leaves_nothing_when_cancelled(void **state)
{
	make_pair(state, QS_BF16);
	archive_pack(scratch_path(state, "high"), NULL, scratch_path(state, "good.qstore"));
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
		assert_true(!status || status == QSTORE_CANCELLED);
		n_cancelled += status == QSTORE_CANCELLED;
		if (!status)
			unlink(options.output);
		assert_int_equal(n_entries(folder), 0);
		if (!status)
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

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)
	    TEST(refuses_foreign_low),           TEST(refuses_bad_outputs),
	    TEST(leaves_nothing_on_a_full_disk), TEST(leaves_nothing_when_cancelled),
	    TEST(refuses_inputs_that_change),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

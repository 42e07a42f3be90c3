/* Archives that are differences to another model, their base: a finetune, a later checkpoint. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <dirent.h>
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <qstore.h>

#include "core/index.h"
#include "../generate/llama.h"
#include "../generate/quantize.h"
#include "archive_help.h"
#include "scratch.h"

/* Locks that the library made and has not destroyed; locks that it destroyed without having made them. The
 * linker takes the functions below instead of the C library's. */
enum { LOCKS_MAX = 256 };
static pthread_mutex_t *locks[LOCKS_MAX];
static size_t n_locks, n_strange;
static pthread_mutex_t locks_lock = PTHREAD_MUTEX_INITIALIZER;

typedef int init_lock(pthread_mutex_t *lock, const pthread_mutexattr_t *attributes);
typedef int destroy_lock(pthread_mutex_t *lock);

int pthread_mutex_init(pthread_mutex_t *lock, const pthread_mutexattr_t *attributes)
{
	init_lock *next = (init_lock *)dlsym(RTLD_NEXT, "pthread_mutex_init");
	pthread_mutex_lock(&locks_lock);
	if (n_locks < LOCKS_MAX)
		locks[n_locks++] = lock;
	pthread_mutex_unlock(&locks_lock);
	return next(lock, attributes);
}

int pthread_mutex_destroy(pthread_mutex_t *lock)
{
	destroy_lock *next = (destroy_lock *)dlsym(RTLD_NEXT, "pthread_mutex_destroy");
	size_t i = 0;
	pthread_mutex_lock(&locks_lock);
	while (i < n_locks && locks[i] != lock)
		i++;
	if (i == n_locks)
		n_strange++;
	else
		locks[i] = locks[--n_locks];
	pthread_mutex_unlock(&locks_lock);
	return next(lock);
}

/* Paths of a test's models, fixed for its time: scratch_path's own do not last. */
typedef struct models {
	char old[512], new[512], other[512], old_archive[512], archive[512], out[512];
} models;

static void set_paths(void **state, models *m)
{
	snprintf(m->old, sizeof(m->old), "%s", scratch_path(state, "old"));
	snprintf(m->new, sizeof(m->new), "%s", scratch_path(state, "new"));
	snprintf(m->other, sizeof(m->other), "%s", scratch_path(state, "other"));
	snprintf(m->old_archive, sizeof(m->old_archive), "%s", scratch_path(state, "old.qstore"));
	snprintf(m->archive, sizeof(m->archive), "%s", scratch_path(state, "new.qstore"));
	snprintf(m->out, sizeof(m->out), "%s", scratch_path(state, "out"));
}

static void make_model(const char *path, uint32_t dtype, uint64_t seed, uint64_t shards)
{
	generate_llama(&(llama_options){.dtype = dtype,
	                                .seed = seed,
	                                .layers = 2,
	                                .hidden = 96,
	                                .intermediate = 256,
	                                .vocab = 500,
	                                .shards = shards,
	                                .high = path});
}

/* A model, and one that was made from it: half of its tensors are a little different. */
static void make_finetune(void **state, models *m, uint32_t dtype, uint64_t shards)
{
	set_paths(state, m);
	make_model(m->old, dtype, 5, shards);
	generate_quantized(&(quantize_options){
	    .model = m->old, .output = m->new, .rule = QUANTIZE_FINETUNE, .seed = 3, .part = 0.5, .step = 0.001});
}

static uint64_t pack_with(qstore_pack_options options, qstore_pack_result *result)
{
	qstore_pack_result own;
	qstore_error error;
	options.force = 1;
	if (options.work.threads == 0)
		options.work.threads = 2;
	result = result ? result : &own;
	if (qstore_pack(&options, result, &error))
		fail_msg("pack: %s", error.text);
	return result->archive_size;
}

static qstore_archive *open_with(const char *path, const char *base)
{
	qstore_archive *archive;
	qstore_error error;
	if (qstore_open(path, &archive, &error) || (base && qstore_set_base(archive, base, &error)))
		fail_msg("open: %s", error.text);
	return archive;
}

/* All files of `expected`, and nothing more. */
static void expect_folder(const char *got, const char *expected)
{
	unsigned n = 0;
	DIR *dir = opendir(expected);
	assert_non_null(dir);
	for (struct dirent *entry; (entry = readdir(dir));) {
		char a[1024], b[1024];
		if (entry->d_name[0] == '.')
			continue;
		snprintf(a, sizeof(a), "%s/%s", got, entry->d_name);
		snprintf(b, sizeof(b), "%s/%s", expected, entry->d_name);
		expect_same_file(a, b);
		n++;
	}
	closedir(dir);
	assert_non_null(dir = opendir(got));
	for (struct dirent *entry; (entry = readdir(dir));)
		n -= entry->d_name[0] != '.';
	closedir(dir);
	assert_int_equal(n, 0);
}

/* Verifies with the base, and unpacks a precision of it into a folder that is like `expected`. */
static void expect_restores(const models *m, const char *base, const char *precision, const char *expected)
{
	qstore_error error;
	const qstore_unpack_options options = {
	    .precision = precision, .output = m->out, .force = 1, .work = {.threads = 2}};
	qstore_archive *archive = open_with(m->archive, base);
	if (qstore_verify(archive, &options.work, &error))
		fail_msg("verify: %s", error.text);
	if (qstore_unpack(archive, &options, NULL, &error))
		fail_msg("unpack: %s", error.text);
	qstore_close(archive);
	expect_folder(m->out, expected);
}

/* A folder and archives, given in any form to pack and in any form to restore: the same bytes. */
static void restores_finetunes(void **state, uint32_t dtype, uint64_t shards)
{
	models m;
	qstore_pack_result result;
	make_finetune(state, &m, dtype, shards);
	pack_with((qstore_pack_options){.high = m.old, .output = m.old_archive}, NULL);
	uint64_t alone = pack_with(
	    (qstore_pack_options){.high = m.new, .output = m.archive, .quantize = QSTORE_QUANTIZE_NONE}, NULL);
	const char *bases[] = {m.old, m.old_archive};
	for (size_t i = 0; i < 2; i++) {
		uint64_t size =
		    pack_with((qstore_pack_options){.high = m.new, .output = m.archive, .base = bases[i]}, &result);
		assert_int_equal(result.n_variants, 1);
		assert_true(result.n_base_equal > 5 && result.n_base_delta > 5);
		/* Differences of a thousandth take a few bits of sixteen. */
		assert_true(size < alone / 2);
		for (size_t j = 0; j < 2; j++)
			expect_restores(&m, bases[j], "high", m.new);
	}
}

static void restores_finetunes_of_bf16(void **state)
{
	restores_finetunes(state, QS_BF16, 1);
}

static void restores_finetunes_of_f16_in_shards(void **state)
{
	restores_finetunes(state, QS_F16, 2);
}

static void restores_finetunes_of_f32(void **state)
{
	restores_finetunes(state, QS_F32, 2);
}

static void restores_single_files(void **state)
{
	models m;
	char base[600], file[600], name[700];
	make_finetune(state, &m, QS_BF16, 1);
	snprintf(base, sizeof(base), "%s/model.safetensors", m.old);
	snprintf(file, sizeof(file), "%s/model.safetensors", m.new);
	pack_with((qstore_pack_options){.high = file, .output = m.archive, .base = base}, NULL);
	qstore_archive *archive = open_with(m.archive, base);
	qstore_error error;
	if (qstore_unpack(archive, &(qstore_unpack_options){.output = m.out}, NULL, &error))
		fail_msg("unpack: %s", error.text);
	qstore_close(archive);
	snprintf(name, sizeof(name), "%s/model.safetensors", m.out);
	expect_same_file(name, file);
	/* Its name does not matter. */
	char renamed[700];
	snprintf(renamed, sizeof(renamed), "%s/renamed.safetensors", m.old);
	assert_int_equal(rename(base, renamed), 0);
	archive = open_with(m.archive, renamed);
	assert_int_equal(qstore_verify(archive, &(qstore_work){.threads = 1}, NULL), QSTORE_OK);
	qstore_close(archive);
}

/* The same weights again cost an index, and no chunk but that of the file's header. */
static void stores_nothing_of_equal_tensors(void **state)
{
	models m;
	qstore_pack_result result;
	set_paths(state, &m);
	make_model(m.old, QS_BF16, 5, 2);
	uint64_t size =
	    pack_with((qstore_pack_options){.high = m.old, .output = m.archive, .base = m.old}, &result);
	assert_int_equal(result.n_base_delta, 0);
	assert_true(size < 32768 && result.variants[0].raw_size > 20 * size);
	qstore_archive *archive = open_with(m.archive, NULL);
	qstore_archive_info info;
	unsigned n_files = 0;
	qstore_get_info(archive, &info);
	assert_int_equal(result.n_base_equal, info.n_tensors);
	for (uint32_t i = 0; i < info.n_tensors; i++) {
		qstore_tensor_info tensor;
		qstore_get_tensor(archive, i, &tensor);
		assert_string_equal(tensor.kind, "base");
		assert_int_equal(tensor.coded_size, 0);
	}
	for (uint32_t i = 0; i < info.n_files; i++) {
		qstore_file_info file;
		qstore_get_file(archive, i, &file);
		assert_int_equal(strcmp(file.kind, "base") == 0, file.variants == 0);
		n_files += file.variants == 0;
	}
	assert_int_equal(n_files, 2);
	qstore_close(archive);
	expect_restores(&m, m.old, "high", m.old);
}

/* An archive of several precisions that is a base: the finest one is referred to, so that a folder of it will
 * do. */
static void refers_to_the_finest_variant(void **state)
{
	models m;
	make_finetune(state, &m, QS_BF16, 2);
	pack_with((qstore_pack_options){.high = m.old, .output = m.old_archive}, NULL);
	pack_with((qstore_pack_options){.high = m.new, .output = m.archive, .base = m.old_archive}, NULL);
	expect_restores(&m, m.old, "high", m.new);
}

/* A quantized variant beside: what it shares with the base is not stored either. */
static void restores_chains(void **state)
{
	models m;
	qstore_pack_result result;
	char low[600];
	make_finetune(state, &m, QS_BF16, 1);
	snprintf(low, sizeof(low), "%s-low", m.new);
	generate_quantized(&(quantize_options){
	    .model = m.new, .output = low, .rule = QUANTIZE_COMPRESSED_TENSORS, .seed = 1, .bits = 8});
	uint64_t alone = pack_with((qstore_pack_options){.high = m.new, .low = low, .output = m.archive}, NULL);
	uint64_t size = pack_with(
	    (qstore_pack_options){.high = m.new, .low = low, .output = m.archive, .base = m.old}, &result);
	assert_int_equal(result.n_variants, 2);
	assert_true(result.n_base_equal > 0 && size < alone);
	expect_restores(&m, m.old, "high", m.new);
	snprintf(m.out, sizeof(m.out), "%s", scratch_path(state, "out-low"));
	expect_restores(&m, m.old, "low", low);
}

static void same_bytes_for_any_number_of_threads(void **state)
{
	models m;
	char second[600];
	make_finetune(state, &m, QS_BF16, 2);
	pack_with((qstore_pack_options){.high = m.old, .output = m.old_archive}, NULL);
	snprintf(second, sizeof(second), "%s-2", m.archive);
	const char *bases[] = {m.old, m.old_archive};
	for (size_t i = 0; i < 2; i++) {
		pack_with(
		    (qstore_pack_options){
		        .high = m.new, .output = m.archive, .base = bases[i], .work = {.threads = 1}},
		    NULL);
		pack_with(
		    (qstore_pack_options){.high = m.new, .output = second, .base = bases[i], .work = {.threads = 2}},
		    NULL);
		expect_same_file(m.archive, second);
	}
}

/* ---- Refusals ---- */

static void needs_the_base(void **state)
{
	models m;
	make_finetune(state, &m, QS_BF16, 1);
	pack_with((qstore_pack_options){.high = m.new, .output = m.archive, .base = m.old}, NULL);
	qstore_archive *archive = open_with(m.archive, NULL);
	qstore_error error = {0};
	qstore_status status = qstore_unpack(archive, &(qstore_unpack_options){.output = m.out}, NULL, &error);
	expect_text(&error, status, QSTORE_NOT_FOUND, "its base, which has model.safetensors (SHA-256 ");
	assert_false(scratch_exists(m.out));
	status = qstore_verify(archive, &(qstore_work){.threads = 2}, &error);
	expect_text(&error, status, QSTORE_NOT_FOUND, "give the base too");
	/* Files that do not build on the base are restored without it. */
	static const char *const files[] = {"config.json", NULL};
	assert_int_equal(
	    qstore_unpack(archive, &(qstore_unpack_options){.output = m.out, .files = files}, NULL, &error),
	    QSTORE_OK);
	qstore_close(archive);
}

static void refuses_other_bases(void **state)
{
	models m;
	char file[600];
	make_finetune(state, &m, QS_BF16, 1);
	make_model(m.other, QS_BF16, 6, 1);
	pack_with((qstore_pack_options){.high = m.old, .output = m.old_archive}, NULL);
	pack_with((qstore_pack_options){.high = m.new, .output = m.archive, .base = m.old}, NULL);
	qstore_archive *archive = open_with(m.archive, NULL);
	qstore_error error = {0};
	expect_text(&error, qstore_set_base(archive, m.other, &error), QSTORE_NOT_FOUND,
	            "other is not its base: no file there has model.safetensors's ");
	expect_text(&error, qstore_set_base(archive, m.archive, &error), QSTORE_NOT_FOUND, "is not its base");
	expect_text(&error, qstore_set_base(archive, "/nowhere", &error), QSTORE_IO, "/nowhere: ");

	/* Cut short and damaged archives. */
	size_t size;
	uint8_t *bytes = scratch_read(m.old_archive, &size);
	const char *cut = scratch_write(state, "cut.qstore", bytes, 700);
	expect_text(&error, qstore_set_base(archive, cut, &error), QSTORE_TRUNCATED, "cut.qstore");
	const char *half = scratch_write(state, "half.qstore", bytes, size - 20000);
	assert_int_equal(qstore_set_base(archive, half, &error), QSTORE_OK);
	qstore_status status = qstore_unpack(archive, &(qstore_unpack_options){.output = m.out}, NULL, &error);
	expect_text(&error, status, QSTORE_TRUNCATED, "half.qstore");
	assert_false(scratch_exists(m.out));
	for (size_t at = size / 3; at < size - 2000; at += 1000)
		bytes[at] ^= 4;
	const char *damaged = scratch_write(state, "damaged.qstore", bytes, size);
	assert_int_equal(qstore_set_base(archive, damaged, &error), QSTORE_OK);
	status = qstore_unpack(archive, &(qstore_unpack_options){.output = m.out}, NULL, &error);
	expect_text(&error, status, QSTORE_CORRUPT, "damaged.qstore");
	assert_false(scratch_exists(m.out));
	free(bytes);

	/* The same size, one other bit. */
	snprintf(file, sizeof(file), "%s/model.safetensors", m.old);
	bytes = scratch_read(file, &size);
	bytes[size - 1] ^= 1;
	const char *same_size = scratch_write(state, "flipped/model.safetensors", bytes, size);
	expect_text(&error, qstore_set_base(archive, same_size, &error), QSTORE_NOT_FOUND, "SHA-256 ");
	free(bytes);
	qstore_close(archive);
}

static void refuses_to_pack_with_what_is_no_base(void **state)
{
	models m;
	make_finetune(state, &m, QS_BF16, 1);
	pack_with((qstore_pack_options){.high = m.new, .output = m.archive, .base = m.old}, NULL);
	char *second = strdup(scratch_path(state, "second.qstore"));
	qstore_pack_options options = {.high = m.new, .output = second, .base = "/nowhere"};
	expect_pack_fails(options, QSTORE_IO, "/nowhere: ");
	/* A base with a base of its own would need both. */
	options.base = m.archive;
	expect_pack_fails(options, QSTORE_NOT_FOUND, "give the base too");
	static const char json[] = "{\"alone\":{\"dtype\":\"F32\",\"shape\":[16],\"data_offsets\":[0,64]}}";
	options.base = scratch_safetensors(state, "foreign.safetensors", json, 64);
	expect_pack_fails(options, QSTORE_MISMATCH, "no tensor name in common");
	free(second);
}

/* The lock of the base was destroyed even when packing failed before the base was opened. */
static void destroys_only_locks_that_it_made(void **state)
{
	models m;
	make_finetune(state, &m, QS_BF16, 1);
	n_locks = n_strange = 0;
	expect_pack_fails((qstore_pack_options){.high = "/nowhere", .output = m.archive, .base = m.old},
	                  QSTORE_IO, "/nowhere: ");
	expect_pack_fails((qstore_pack_options){.high = m.new, .output = m.archive, .base = "/nowhere"},
	                  QSTORE_IO, "/nowhere: ");
	assert_int_equal(n_locks, 0);
	assert_int_equal(n_strange, 0);
	pack_with((qstore_pack_options){.high = m.new, .output = m.archive, .base = m.old}, NULL);
	assert_int_equal(n_locks, 0);
	assert_int_equal(n_strange, 0);
}

/* The tensors that a made variant shares with HIGH may be those of the base: this once read through a null
 * pointer. */
static void quantizes_beside_a_base(void **state)
{
	models m;
	qstore_pack_result result;
	set_paths(state, &m);
	make_model(m.old, QS_BF16, 5, 1);
	/* Half of the tensors are as in the base, the others have little to do with it. */
	generate_quantized(&(quantize_options){
	    .model = m.old, .output = m.new, .rule = QUANTIZE_FINETUNE, .seed = 3, .part = 0.5, .step = 1});
	pack_with((qstore_pack_options){.high = m.old, .output = m.old_archive, .quantize = QSTORE_QUANTIZE_NONE},
	          NULL);
	pack_with(
	    (qstore_pack_options){
	        .high = m.new, .output = m.archive, .base = m.old_archive, .quantize = QSTORE_QUANTIZE_LLM_INT8},
	    &result);
	assert_int_equal(result.n_variants, 2);
	assert_true(result.n_base_equal > 5);
	assert_true(result.n_paired > 2);
	expect_restores(&m, m.old_archive, "bf16", m.new);
}

static volatile sig_atomic_t cancel_flag;

static void count_down(void *user, const qstore_progress *progress)
{
	unsigned *left = user;
	assert_true(progress->done <= progress->total);
	if (*left > 0 && --*left == 0)
		__atomic_store_n(&cancel_flag, 1, __ATOMIC_RELAXED); /* the other threads of the pool read it */
}

static void leaves_nothing_when_cancelled(void **state)
{
	models m;
	unsigned n_cancelled = 0;
	make_finetune(state, &m, QS_BF16, 1);
	for (unsigned at = 1; at < 400; at += 1 + at / 3) {
		unsigned left = at;
		cancel_flag = 0;
		const qstore_pack_options options = {
		    .high = m.new,
		    .output = m.archive,
		    .base = m.old,
		    .work = {.threads = 2, .on_progress = count_down, .user = &left, .cancel = &cancel_flag}};
		qstore_status status = qstore_pack(&options, NULL, NULL);
		if (!status)
			break;
		assert_int_equal(status, QSTORE_CANCELLED);
		assert_false(scratch_exists(m.archive));
		n_cancelled++;
	}
	assert_true(n_cancelled > 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)
	    TEST(restores_finetunes_of_bf16),
	    TEST(restores_finetunes_of_f16_in_shards),
	    TEST(restores_finetunes_of_f32),
	    TEST(restores_single_files),
	    TEST(stores_nothing_of_equal_tensors),
	    TEST(refers_to_the_finest_variant),
	    TEST(restores_chains),
	    TEST(same_bytes_for_any_number_of_threads),
	    TEST(needs_the_base),
	    TEST(refuses_other_bases),
	    TEST(refuses_to_pack_with_what_is_no_base),
	    TEST(destroys_only_locks_that_it_made),
	    TEST(quantizes_beside_a_base),
	    TEST(leaves_nothing_when_cancelled),
	};
	return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}

/* Random access to archives: qstore_open_source, qstore_read_file, qstore_read_tensor, names, upgrades. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <dirent.h>
#include <pthread.h>

#include <qstore.h>

#include "archive_help.h"
#include "model_help.h"
#include "read/archive.h"
#include "os/sha256.h"
#include "../generate/llama.h"
#include "../generate/random.h"
#include "scratch.h"

/* ---- An archive in memory, as a source that counts ---- */

typedef struct memory_source {
	uint8_t *data;
	size_t size;
	pthread_mutex_t lock; /* of the counts */
	unsigned n_reads, n_inside, n_inside_max, n_closed;
	uint64_t n_bytes;
	int fails; /* each read, while it is set */
} memory_source;

static qstore_status read_memory(void *user, uint64_t offset, size_t size, void *dst, qstore_error *error)
{
	memory_source *m = user;
	pthread_mutex_lock(&m->lock);
	m->n_reads++;
	m->n_bytes += size;
	m->n_inside++;
	m->n_inside_max = m->n_inside > m->n_inside_max ? m->n_inside : m->n_inside_max;
	int fails = m->fails;
	pthread_mutex_unlock(&m->lock);
	assert_true(offset <= m->size && size <= m->size - offset);
	memcpy(dst, m->data + offset, size);
	pthread_mutex_lock(&m->lock);
	m->n_inside--;
	pthread_mutex_unlock(&m->lock);
	if (fails)
		snprintf(error->text, sizeof(error->text), "the cable\nis out");
	return fails ? QSTORE_IO : QSTORE_OK;
}

static void close_memory(void *user)
{
	((memory_source *)user)->n_closed++;
}

static qstore_archive *open_memory(memory_source *m, const char *path, int is_serial)
{
	qstore_archive *archive;
	qstore_error error;
	*m = (memory_source){.data = NULL};
	pthread_mutex_init(&m->lock, NULL);
	m->data = scratch_read(path, &m->size);
	const qstore_source source = {.struct_size = sizeof(source),
	                              .name = "a memory",
	                              .size = m->size,
	                              .read = read_memory,
	                              .close = close_memory,
	                              .user = m,
	                              .is_serial = is_serial};
	if (qstore_open_source(&source, &archive, &error))
		fail_msg("%s", error.text);
	return archive;
}

static void free_memory(memory_source *m)
{
	assert_int_equal(m->n_closed, 1);
	pthread_mutex_destroy(&m->lock);
	free(m->data);
}

/* ---- Reading everything ---- */

static uint8_t *read_whole(const qstore_archive *archive, uint32_t number, const qstore_work *work)
{
	qstore_file_info info;
	qstore_error error;
	qstore_get_file(archive, number, &info);
	uint8_t *data = malloc((size_t)info.size + 1);
	assert_non_null(data);
	data[info.size] = 0xa5;
	if (qstore_read_file(archive, number, 0, (size_t)info.size, data, work, &error))
		fail_msg("%s", error.text);
	assert_int_equal(data[info.size], 0xa5);
	return data;
}

static void expect_sha256(const uint8_t *data, const qstore_file_info *info)
{
	uint8_t digest[32];
	qs_sha256 *sha256 = qs_sha256_create();
	assert_true(sha256 && qs_sha256_reset(sha256) && qs_sha256_update(sha256, data, (size_t)info->size) &&
	            qs_sha256_final(sha256, digest));
	qs_sha256_destroy(sha256);
	assert_memory_equal(digest, info->sha256, 32);
}

/* Reads ranges of a file whose bytes are known. */
typedef struct range_reader {
	const qstore_archive *archive;
	uint32_t number;
	const uint8_t *data;
	uint64_t size, seed;
	unsigned n_wrong;
} range_reader;

static void *read_ranges(void *user)
{
	range_reader *r = user;
	rng g;
	uint8_t *bytes = malloc((size_t)r->size + 1);
	rng_seed(&g, r->seed, "ranges", r->number);
	for (unsigned i = 0; i < 12; i++) {
		uint64_t offset = rng_below(&g, r->size + 1), most = r->size - offset;
		uint64_t size = rng_below(&g, (i & 1 ? most : most / 16) + 1);
		if (qstore_read_file(r->archive, r->number, offset, (size_t)size, bytes, NULL, NULL) ||
		    memcmp(bytes, r->data + offset, (size_t)size) != 0)
			r->n_wrong++;
	}
	free(bytes);
	return NULL;
}

enum { N_READERS = 3 };

static void read_ranges_at_once(const qstore_archive *archive, uint32_t number, const uint8_t *data)
{
	pthread_t threads[N_READERS];
	range_reader readers[N_READERS];
	qstore_file_info info;
	qstore_get_file(archive, number, &info);
	for (unsigned i = 0; i < N_READERS; i++) {
		readers[i] = (range_reader){
		    .archive = archive, .number = number, .data = data, .size = info.size, .seed = number * 7 + i};
		assert_int_equal(pthread_create(&threads[i], NULL, read_ranges, &readers[i]), 0);
	}
	for (unsigned i = 0; i < N_READERS; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(readers[i].n_wrong, 0);
	}
}

/* Tensors are the bytes of their files that the index says. */
static void expect_tensors(const qstore_archive *archive, uint32_t file, const uint8_t *data)
{
	qstore_archive_info info;
	const qs_index *index = &archive->index;
	qstore_get_info(archive, &info);
	for (uint32_t i = 0; i < info.n_tensors; i++) {
		qs_tensor tensor;
		qs_index_tensor(index, i, &tensor);
		if (tensor.file != file)
			continue;
		uint8_t *bytes = malloc((size_t)tensor.size + 1);
		uint64_t skip = tensor.size / 3;
		assert_int_equal(qstore_read_tensor(archive, i, 0, (size_t)tensor.size, bytes, NULL, NULL),
		                 QSTORE_OK);
		assert_memory_equal(bytes, data + tensor.offset, tensor.size);
		assert_int_equal(
		    qstore_read_tensor(archive, i, skip, (size_t)(tensor.size - skip), bytes, NULL, NULL), QSTORE_OK);
		assert_memory_equal(bytes, data + tensor.offset + skip, tensor.size - skip);
		free(bytes);
	}
}

static void expect_all(qstore_archive *archive)
{
	static const size_t bounds[] = {0, 1 << 16, 32 << 20};
	qstore_archive_info info;
	qstore_get_info(archive, &info);
	for (uint32_t i = 0; i < info.n_files; i++) {
		qstore_file_info file;
		qstore_get_file(archive, i, &file);
		if (strcmp(file.kind, "base") == 0) {
			uint8_t byte;
			assert_int_equal(qstore_read_file(archive, i, 0, 1, &byte, NULL, NULL), QSTORE_USAGE);
			continue;
		}
		qstore_set_cache(archive, bounds[i % 3]);
		uint8_t *data = read_whole(archive, i, NULL);
		expect_sha256(data, &file);
		uint8_t *again = read_whole(archive, i, &(qstore_work){.threads = 3});
		assert_memory_equal(data, again, file.size);
		read_ranges_at_once(archive, i, data);
		expect_tensors(archive, i, data);
		free(again);
		free(data);
	}
}

/* All files, tensors and many ranges of the golden archives, which have every kind of object. */
static void test_golden_archives(void **state)
{
	(void)state;
	const char *golden = getenv("QSTORE_GOLDEN") ? getenv("QSTORE_GOLDEN") : "tests/golden";
	char folder[1024];
	unsigned n = 0;
	snprintf(folder, sizeof(folder), "%s/good", golden);
	DIR *dir = opendir(folder);
	if (!dir)
		fail_msg("%s: not there", folder);
	for (struct dirent *entry; (entry = readdir(dir));) {
		char path[2048], base[2048];
		const char *ending = strrchr(entry->d_name, '.'), *on = strstr(entry->d_name, ".on-");
		memory_source m;
		if (!ending || strcmp(ending, ".qstore") != 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		qstore_archive *archive = open_memory(&m, path, n & 1);
		if (on) {
			snprintf(base, sizeof(base), "%s/%s", folder, on + 4);
			assert_int_equal(qstore_set_base(archive, base, NULL), QSTORE_OK);
		}
		expect_all(archive);
		assert_true(m.n_inside_max <= 1 || !(n & 1));
		assert_int_equal(qstore_verify(archive, &(qstore_work){.threads = 2}, NULL), QSTORE_OK);
		qstore_close(archive);
		free_memory(&m);
		n++;
	}
	closedir(dir);
	assert_true(n > 20);
}

/* A model whose tensors have several chunks. */
static const char *pack_large(void **state)
{
	char *high = copy_text(scratch_path(state, "high")), *low = copy_text(scratch_path(state, "low"));
	generate_llama(&(llama_options){.dtype = QS_BF16,
	                                .seed = 9,
	                                .layers = 1,
	                                .hidden = 512,
	                                .intermediate = 1536,
	                                .vocab = 2000,
	                                .shards = 2,
	                                .high = high,
	                                .low = low});
	archive_pack(high, low, scratch_path(state, "large.qstore"));
	free(high);
	free(low);
	return scratch_path(state, "large.qstore");
}

static void test_large_archive(void **state)
{
	qstore_archive *archive;
	assert_int_equal(qstore_open(pack_large(state), &archive, NULL), QSTORE_OK);
	expect_all(archive);
	qstore_close(archive);
}

/* ---- Reads that are counted ---- */

static uint32_t find_tensor(const qstore_archive *archive, uint32_t variant, const char *name)
{
	uint32_t number;
	qstore_error error;
	if (qstore_find_tensor(archive, variant, NULL, name, &number, &error))
		fail_msg("%s", error.text);
	return number;
}

static void test_small_reads_take_one_chunk(void **state)
{
	memory_source m;
	qstore_archive *archive = open_memory(&m, pack_large(state), 0);
	uint32_t codes = find_tensor(archive, 0, "model.layers.0.mlp.up_proj.weight");
	uint32_t fine = find_tensor(archive, 1, "model.layers.0.mlp.up_proj.weight");
	uint8_t bytes[16 << 10];
	m.n_reads = 0;
	assert_int_equal(qstore_read_tensor(archive, codes, 70000, sizeof(bytes), bytes, NULL, NULL), QSTORE_OK);
	assert_int_equal(m.n_reads, 1);
	/* The next bytes of the same chunk are there already. */
	assert_int_equal(qstore_read_tensor(archive, codes, 90000, sizeof(bytes), bytes, NULL, NULL), QSTORE_OK);
	assert_int_equal(m.n_reads, 1);
	/* A refinement takes its chunk, that of its codes, and that of their scales. */
	m.n_reads = 0;
	assert_int_equal(qstore_read_tensor(archive, fine, 0, sizeof(bytes), bytes, NULL, NULL), QSTORE_OK);
	assert_int_equal(m.n_reads, 3);
	/* Without a cache each read decodes anew, but the result is the same. */
	uint8_t same[sizeof(bytes)];
	qstore_set_cache(archive, 0);
	m.n_reads = 0;
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(qstore_read_tensor(archive, fine, 0, sizeof(same), same, NULL, NULL), QSTORE_OK);
	assert_true(m.n_reads >= 4);
	assert_memory_equal(bytes, same, sizeof(bytes));
	qstore_close(archive);
	free_memory(&m);
}

static void test_progress_and_cancel(void **state)
{
	qstore_archive *archive;
	qstore_file_info info;
	uint32_t number;
	volatile sig_atomic_t cancel = 1;
	assert_int_equal(qstore_open(pack_large(state), &archive, NULL), QSTORE_OK);
	assert_int_equal(qstore_find_file(archive, 1, "model-00001-of-00002.safetensors", &number, NULL),
	                 QSTORE_OK);
	qstore_get_file(archive, number, &info);
	uint8_t *data = malloc((size_t)info.size);
	const qstore_work work = {.threads = 2, .cancel = &cancel};
	assert_int_equal(qstore_read_file(archive, number, 0, (size_t)info.size, data, &work, NULL),
	                 QSTORE_CANCELLED);
	cancel = 0;
	assert_int_equal(qstore_read_file(archive, number, 0, (size_t)info.size, data, &work, NULL), QSTORE_OK);
	expect_sha256(data, &info);
	free(data);
	qstore_close(archive);
}

/* ---- Failures ---- */

static void test_failing_source(void **state)
{
	memory_source m;
	qstore_error error;
	uint8_t bytes[1000];
	qstore_archive *archive = open_memory(&m, pack_large(state), 0);
	uint32_t number = find_tensor(archive, 1, "model.layers.0.mlp.up_proj.weight");
	m.fails = 1;
	qstore_status status = qstore_read_tensor(archive, number, 5, sizeof(bytes), bytes, NULL, &error);
	expect_text(&error, status, QSTORE_IO, "a memory: cannot read");
	expect_text(&error, status, QSTORE_IO, "the cable?is out");
	/* A failure is not kept. */
	m.fails = 0;
	assert_int_equal(qstore_read_tensor(archive, number, 5, sizeof(bytes), bytes, NULL, NULL), QSTORE_OK);
	qstore_close(archive);
	free_memory(&m);

	const qstore_source nothing = {.struct_size = sizeof(nothing), .size = 10};
	status = qstore_open_source(&nothing, &archive, &error);
	expect_text(&error, status, QSTORE_USAGE, "the archive: the source has no read callback");
	assert_null(archive);
}

static void test_damage_costs_its_chunk(void **state)
{
	memory_source m;
	qstore_error error;
	qstore_archive *archive = open_memory(&m, pack_large(state), 0);
	uint32_t number = find_tensor(archive, 0, "model.layers.0.mlp.up_proj.weight");
	qs_tensor tensor;
	qs_object object;
	qs_index_tensor(&archive->index, number, &tensor);
	qs_index_object(&archive->index, tensor.object, &object);
	assert_true(object.n_chunks >= 2);
	m.data[archive->chunk_offsets[object.first_chunk + 1] + 100] ^= 1;
	uint64_t part_size = qs_part_bytes(&object);
	uint8_t *bytes = malloc((size_t)tensor.size);
	/* The first chunk is whole; the second is not, in whichever way it is read, and is named. */
	assert_int_equal(qstore_read_tensor(archive, number, 0, (size_t)part_size, bytes, NULL, NULL), QSTORE_OK);
	for (unsigned i = 0; i < 3; i++) {
		uint64_t offset = i == 0 ? part_size : i == 1 ? part_size + 7 : part_size - 1;
		qstore_status status =
		    qstore_read_tensor(archive, number, offset, 20 + (i == 2), bytes, NULL, &error);
		expect_text(&error, status, QSTORE_CORRUPT, "up_proj.weight: chunk 2 of");
	}
	qstore_status status = qstore_read_tensor(archive, number, 0, (size_t)tensor.size, bytes,
	                                          &(qstore_work){.threads = 2}, &error);
	expect_text(&error, status, QSTORE_CORRUPT, "up_proj.weight: chunk 2 of");
	free(bytes);
	qstore_close(archive);
	free_memory(&m);
}

static void test_wrong_arguments(void **state)
{
	qstore_archive *archive;
	qstore_error error;
	uint8_t bytes[4];
	uint32_t number;
	make_pair(state, QS_BF16);
	archive_pack(scratch_path(state, "high"), scratch_path(state, "low"), scratch_path(state, "a.qstore"));
	assert_int_equal(qstore_open(scratch_path(state, "a.qstore"), &archive, NULL), QSTORE_OK);
	expect_text(&error, qstore_read_file(archive, 1000, 0, 1, bytes, NULL, &error), QSTORE_USAGE, "1000");
	expect_text(&error, qstore_read_tensor(archive, 1000000, 0, 1, bytes, NULL, &error), QSTORE_USAGE,
	            "1000000");
	number = find_tensor(archive, 1, "model.norm.weight");
	expect_text(&error, qstore_read_tensor(archive, number, 190, 4, bytes, NULL, &error), QSTORE_USAGE,
	            "model.norm.weight has 192 bytes");
	expect_text(&error, qstore_read_tensor(archive, number, UINT64_MAX, 4, bytes, NULL, &error), QSTORE_USAGE,
	            "model.norm.weight has 192 bytes");
	assert_int_equal(qstore_read_tensor(archive, number, 192, 0, bytes, NULL, &error), QSTORE_OK);
	expect_text(&error, qstore_find_tensor(archive, 0, NULL, "nothing", &number, &error), QSTORE_NOT_FOUND,
	            "no tensor nothing in int8");
	expect_text(&error, qstore_find_file(archive, 1, "nothing", &number, &error), QSTORE_NOT_FOUND,
	            "no file nothing in bf16");
	expect_text(&error, qstore_find_file(archive, 2, "config.json", &number, &error), QSTORE_USAGE,
	            "number 2");
	expect_text(&error, qstore_find_tensor(archive, 1, "config.json", "model.norm.weight", &number, &error),
	            QSTORE_NOT_FOUND, "model.norm.weight");
	qstore_close(archive);
}

/* ---- Names and upgrades ---- */

static void test_names(void **state)
{
	qstore_archive *archive;
	qstore_archive_info info;
	make_pair(state, QS_BF16);
	archive_pack(scratch_path(state, "high"), scratch_path(state, "low"), scratch_path(state, "a.qstore"));
	assert_int_equal(qstore_open(scratch_path(state, "a.qstore"), &archive, NULL), QSTORE_OK);
	qstore_get_info(archive, &info);
	for (uint32_t v = 0; v < info.n_variants; v++) {
		for (uint32_t i = 0; i < info.n_tensors; i++) {
			qstore_tensor_info tensor;
			qstore_file_info file;
			uint32_t number;
			qstore_get_tensor(archive, i, &tensor);
			qstore_get_file(archive, tensor.file, &file);
			if (!(tensor.variants >> v & 1))
				continue;
			assert_int_equal(qstore_find_tensor(archive, v, NULL, tensor.name, &number, NULL), QSTORE_OK);
			assert_int_equal(number, i);
			assert_int_equal(qstore_find_tensor(archive, v, file.name, tensor.name, &number, NULL),
			                 QSTORE_OK);
			assert_int_equal(number, i);
		}
		for (uint32_t i = 0; i < info.n_files; i++) {
			qstore_file_info file;
			uint32_t number;
			qstore_get_file(archive, i, &file);
			if (!(file.variants >> v & 1))
				continue;
			assert_int_equal(qstore_find_file(archive, v, file.name, &number, NULL), QSTORE_OK);
			assert_int_equal(number, i);
		}
	}
	qstore_close(archive);
}

static void test_upgrades(void **state)
{
	memory_source m;
	qstore_error error;
	qstore_upgrade *by_file, *by_gain;
	size_t n, n_gain;
	uint64_t sum = 0;
	qstore_variant_info fine;
	qstore_archive *archive = open_memory(&m, pack_large(state), 0);
	qstore_get_variant(archive, 1, &fine);
	assert_int_equal(qstore_list_upgrades(archive, 1, 0, 0, &by_file, &n, NULL), QSTORE_OK);
	assert_int_equal(qstore_list_upgrades(archive, 1, 0, 1, &by_gain, &n_gain, NULL), QSTORE_OK);
	assert_int_equal(n, n_gain);
	assert_true(n > 3);
	for (size_t i = 0; i < n; i++) {
		sum += by_file[i].coded_size;
		assert_true(i == 0 || by_file[i - 1].tensor < by_file[i].tensor);
		if (i > 0)
			assert_true(by_gain[i - 1].gain / (double)(by_gain[i - 1].coded_size + 1) >=
			            by_gain[i].gain / (double)(by_gain[i].coded_size + 1));
	}
	/* Together they are the finer variant's layer, but for bytes that are in no tensor. */
	assert_true(sum <= fine.layer_size && sum > fine.layer_size * 9 / 10);
	/* The gain is Σ(coarse − fine)²: the tensor's relative error times the sum of its squares, within a
	 * tenth. */
	qstore_tensor_info info;
	qstore_get_tensor(archive, by_gain[0].tensor, &info);
	assert_string_equal(info.kind, "refine");
	uint8_t *bytes = malloc((size_t)info.size);
	double squares = 0;
	assert_int_equal(qstore_read_tensor(archive, by_gain[0].tensor, 0, (size_t)info.size, bytes, NULL, NULL),
	                 QSTORE_OK);
	for (uint64_t i = 0; i < info.n_elems; i++) {
		uint32_t bits = (uint32_t)(bytes[2 * i] | bytes[2 * i + 1] << 8) << 16;
		float value;
		memcpy(&value, &bits, 4);
		squares += (double)value * (double)value;
	}
	assert_true(by_gain[0].gain > 0.9 * info.error * squares && by_gain[0].gain < 1.1 * info.error * squares);
	free(bytes);
	qstore_free(by_file);
	qstore_free(by_gain);
	expect_text(&error, qstore_list_upgrades(archive, 0, 1, 0, &by_file, &n, &error), QSTORE_USAGE,
	            "precision 1 cannot be upgraded to 0");
	assert_null(by_file);
	qstore_close(archive);
	free_memory(&m);
}

/* Returns how much upgrading removes of the error of all weights. *n: tensors whose gain is known. */
static double sum_gains(const char *path, uint32_t variant, uint32_t from, size_t *n)
{
	qstore_archive *archive;
	qstore_upgrade *list;
	size_t n_list;
	double sum = 0;
	assert_int_equal(qstore_open(path, &archive, NULL), QSTORE_OK);
	assert_int_equal(qstore_list_upgrades(archive, variant, from, 1, &list, &n_list, NULL), QSTORE_OK);
	*n = 0;
	for (size_t i = 0; i < n_list; i++) {
		sum += list[i].gain;
		*n += list[i].gain > 0;
	}
	qstore_free(list);
	qstore_close(archive);
	return sum;
}

/* The gain is that of the codes which the caller has, however many precisions are skipped. */
static void test_upgrades_over_precisions(void **state)
{
	const char *codes = "tests/golden/good/k-quants.qstore", *floats = "tests/golden/good/chain.qstore";
	size_t n, n_all;
	double gain = sum_gains(codes, 3, 2, &n), middle = sum_gains(codes, 3, 1, &n),
	       all = sum_gains(codes, 3, 0, &n_all);
	assert_true(n == 1 && n_all == 1 && gain > 0 && middle > 2 * gain && all > 2 * middle);
	double step = sum_gains(codes, 1, 0, &n);
	assert_true(n == 1 && step > all / 2 && step <= all);
	/* Floats of 16 bits are cast, floats of 32 bits build on them. Who has those of 16 bits gains what is not
	 * known. */
	gain = sum_gains(floats, 1, 0, &n);
	assert_int_equal(n, 7);
	all = sum_gains(floats, 2, 0, &n);
	assert_int_equal(n, 7);
	assert_true(all > 0.99 * gain && all < 1.01 * gain && sum_gains(floats, 2, 1, &n) == 0);
	/* Nothing to list. */
	const char *high = write_tensors(state, "high.safetensors", "w F32 4,4"),
	           *low = write_tensors(state, "low/high.safetensors", "w F32 4,4"),
	           *packed = scratch_path(state, "same.qstore");
	archive_pack(high, low, packed);
	assert_true(sum_gains(packed, 1, 0, &n) == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_golden_archives),
	    cmocka_unit_test_setup_teardown(test_large_archive, scratch_setup, scratch_teardown),
	    cmocka_unit_test_setup_teardown(test_small_reads_take_one_chunk, scratch_setup, scratch_teardown),
	    cmocka_unit_test_setup_teardown(test_progress_and_cancel, scratch_setup, scratch_teardown),
	    cmocka_unit_test_setup_teardown(test_failing_source, scratch_setup, scratch_teardown),
	    cmocka_unit_test_setup_teardown(test_damage_costs_its_chunk, scratch_setup, scratch_teardown),
	    cmocka_unit_test_setup_teardown(test_wrong_arguments, scratch_setup, scratch_teardown),
	    cmocka_unit_test_setup_teardown(test_names, scratch_setup, scratch_teardown),
	    cmocka_unit_test_setup_teardown(test_upgrades, scratch_setup, scratch_teardown),
	    cmocka_unit_test_setup_teardown(test_upgrades_over_precisions, scratch_setup, scratch_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

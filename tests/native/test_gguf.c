/* GGUF files: what is read of them, which are refused with which words, and which make one model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "formats/gguf.h"
#include "formats/model.h"
#include "../generate/gguf_writer.h"
#include "model_help.h"
#include "scratch.h"

enum {
	TYPE_F32 = 0,
	TYPE_F16 = 1,
	TYPE_Q4_0 = 2,
	TYPE_Q8_0 = 8,
	TYPE_Q4_K = 12,
	TYPE_BF16 = 30,
	TYPE_NEW = 250
};

static const char *write_bytes(void **state, const char *name, gguf_bytes *bytes)
{
	const char *path = scratch_write(state, name, bytes->data, bytes->size);
	gguf_free(bytes);
	return path;
}

static void open_file(qs_weights *file, const char *path)
{
	qstore_error error;
	if (qs_gguf_open(file, path, &error))
		fail_msg("%s", error.text);
}

static void expect_weight(const qs_weights *file, const char *name, uint32_t dtype, uint32_t n_dims,
                          const uint64_t *dims, uint64_t offset, uint64_t size)
{
	const qs_weight *tensor = qs_weights_find(file, name);
	if (!tensor)
		fail_msg("no tensor \"%s\"", name);
	assert_int_equal(tensor->dtype, dtype);
	assert_int_equal(tensor->n_dims, n_dims);
	for (uint32_t i = 0; i < n_dims; i++)
		assert_int_equal(tensor->dims[i], dims[i]);
	assert_int_equal(tensor->offset, file->header_size + offset);
	assert_int_equal(tensor->size, size);
}

static void reads_files_of_both_versions(void **state)
{
	for (uint32_t version = 2; version <= 3; version++) {
		for (uint32_t alignment = 8; alignment <= 96; alignment += 88) {
			gguf_bytes b = {0};
			qs_weights file;
			qs_gguf_info info;
			qstore_error error;
			uint64_t step = alignment == 8 ? 136 : 192;
			gguf_put_start(&b, version, 5, GGUF_ALL_TYPES + 3);
			gguf_put_all_types(&b);
			gguf_put_key_text(&b, "general.architecture", "llama");
			gguf_put_key_u32(&b, "general.file_type", 7);
			gguf_put_key_u32(&b, "general.alignment", alignment);
			gguf_put_info(&b, "b", 2, (uint64_t[]){64, 2}, TYPE_Q8_0, step);
			gguf_put_info(&b, "a", 3, (uint64_t[]){2, 3, 5}, TYPE_F32, 0);
			gguf_put_info(&b, "scalar", 0, NULL, TYPE_F16, 2 * step);
			gguf_put_info(&b, "none", 2, (uint64_t[]){0, 7}, TYPE_Q4_K, 2 * step);
			gguf_put_info(&b, "new", 2, (uint64_t[]){7, 3}, TYPE_NEW, 3 * step);
			gguf_pad(&b, alignment);
			size_t header_size = b.size;
			for (size_t i = 0; i < 3 * step + 50; i++)
				gguf_put(&b, &i, 1);
			const char *path = write_bytes(state, "m.gguf", &b);
			open_file(&file, path);
			assert_int_equal(file.format, QS_FORMAT_GGUF);
			assert_int_equal(file.header_size, header_size);
			assert_int_equal(file.n_tensors, 5);
			expect_weight(&file, "a", QS_F32, 3, (uint64_t[]){5, 3, 2}, 0, 120);
			expect_weight(&file, "b", QS_Q8_0, 2, (uint64_t[]){2, 64}, step, 136);
			expect_weight(&file, "scalar", QS_F16, 0, NULL, 2 * step, 2);
			expect_weight(&file, "none", QS_Q4_K, 2, (uint64_t[]){7, 0}, 2 * step, 0);
			expect_weight(&file, "new", QS_BYTES, 1, (uint64_t[]){50}, 3 * step, 50);
			qs_weights_close(&file);

			assert_int_equal(qs_gguf_read_info(&info, path, &error), QSTORE_OK);
			assert_int_equal(info.version, version);
			assert_int_equal(info.alignment, alignment);
			assert_int_equal(info.n_entries, GGUF_ALL_TYPES + 3);
			assert_string_equal(info.architecture, "llama");
			assert_int_equal(info.file_type, 7);
			assert_true(info.split_no == QS_GGUF_NONE && info.split_count == QS_GGUF_NONE &&
			            info.split_tensors == QS_GGUF_NONE);
		}
	}
}

static void reads_files_without_tensors(void **state)
{
	gguf_bytes b = {0};
	qs_weights file;
	gguf_put_start(&b, 3, 0, 1);
	gguf_put_key_text(&b, "k", "v");
	size_t size = b.size;
	open_file(&file, write_bytes(state, "vocabulary.gguf", &b));
	assert_int_equal(file.n_tensors, 0);
	assert_int_equal(file.header_size, size);
	qs_weights_close(&file);
}

/* A header of some size with a name at every place of the buffer's border. */
static void reads_headers_larger_than_its_buffer(void **state)
{
	for (size_t length = 65300; length < 65600; length += 7) {
		gguf_bytes b = {0};
		qs_weights file;
		char *text = malloc(length + 1);
		memset(text, 'x', length);
		text[length] = 0;
		gguf_put_start(&b, 3, 2, 2);
		gguf_put_key_text(&b, "long", text);
		gguf_put_array(&b, "longer", GGUF_U8, length);
		gguf_put(&b, text, length);
		gguf_put_info(&b, "first.weight", 1, (uint64_t[]){4}, TYPE_F32, 0);
		gguf_put_info(&b, "second.weight", 1, (uint64_t[]){4}, TYPE_F32, 32);
		gguf_pad(&b, 32);
		gguf_put(&b, text, 48);
		open_file(&file, write_bytes(state, "long.gguf", &b));
		expect_weight(&file, "second.weight", QS_F32, 1, (uint64_t[]){4}, 32, 16);
		qs_weights_close(&file);
		free(text);
	}
}

/* ---- Refusals ---- */

static void expect_refusal(void **state, gguf_bytes *b, const char *what)
{
	qs_weights file;
	qstore_error error = {0};
	qstore_status status = qs_gguf_open(&file, write_bytes(state, "bad.gguf", b), &error);
	qs_weights_close(&file);
	if (status != QSTORE_INPUT || !strstr(error.text, "bad.gguf") || !strstr(error.text, what))
		fail_msg("status %d, \"%s\", expected \"%s\"", status, error.text, what);
}

static void refuses_other_versions_and_formats(void **state)
{
	static const struct {
		const char *start, *what;
	} cases[] = {
	    {"GGUF\1\0\0\0", "version 1"}, {"GGUF\0\0\0\3", "big-endian"},      {"GGUF\0\0\0\2", "big-endian"},
	    {"GGUF\4\0\0\0", "version 4"}, {"GGML\3\0\0\0", "not a GGUF file"}, {"version ", "Git LFS"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		gguf_bytes b = {0};
		gguf_put(&b, cases[i].start, 8);
		gguf_put(&b, "0123456789abcdef", 16);
		expect_refusal(state, &b, cases[i].what);
	}
	gguf_bytes b = {0};
	gguf_put(&b, "GGUF\3\0\0\0", 8);
	expect_refusal(state, &b, "truncated");
}

static void refuses_bad_metadata(void **state)
{
	gguf_bytes b = {0};
	gguf_put_start(&b, 3, 0, UINT64_C(1) << 60);
	gguf_put_key_text(&b, "k", "v");
	expect_refusal(state, &b, "beyond the end");
	gguf_put_start(&b, 3, 0, 1);
	gguf_put_u64(&b, 0);
	gguf_put(&b, "12345678901234567890", 20);
	expect_refusal(state, &b, "a key");
	gguf_put_start(&b, 3, 0, 1);
	gguf_put_u64(&b, UINT64_MAX);
	expect_refusal(state, &b, "a key");
	gguf_put_start(&b, 3, 0, 1);
	gguf_put_u64(&b, 3);
	gguf_put(&b, "a\0b\0\0\0\0\0", 8);
	expect_refusal(state, &b, "zero byte");
	gguf_put_start(&b, 3, 0, 1);
	gguf_put_key(&b, "k", 13);
	gguf_put_u64(&b, 0);
	expect_refusal(state, &b, "\"k\": unknown type 13");
	gguf_put_start(&b, 3, 0, 1);
	gguf_put_key(&b, "k", GGUF_STRING);
	gguf_put_u64(&b, UINT64_MAX - 3);
	gguf_put_u64(&b, 0);
	expect_refusal(state, &b, "beyond the end");
	for (uint32_t type = 0; type < 13; type++) {
		gguf_put_start(&b, 3, 0, 1);
		gguf_put_array(&b, "k", type, (UINT64_C(1) << 61) + 1);
		gguf_put_u64(&b, 1);
		expect_refusal(state, &b, type == GGUF_ARRAY ? "goes beyond the end" : "beyond the end");
	}
	gguf_put_start(&b, 3, 0, 1);
	gguf_put_array(&b, "k", 99, 0);
	expect_refusal(state, &b, "\"k\": unknown type 99");
	gguf_put_start(&b, 3, 0, 1);
	gguf_put_array(&b, "deep", GGUF_ARRAY, 1);
	for (int i = 0; i < 100; i++) {
		gguf_put_u32(&b, GGUF_ARRAY);
		gguf_put_u64(&b, 1);
	}
	expect_refusal(state, &b, "\"deep\": arrays are nested");
	static const uint32_t alignments[] = {0, 3, 12, 33};
	for (size_t i = 0; i < sizeof alignments / sizeof *alignments; i++) {
		gguf_put_start(&b, 3, 0, 1);
		gguf_put_key_u32(&b, "general.alignment", alignments[i]);
		expect_refusal(state, &b, "neither a multiple of 8");
	}
	gguf_put_start(&b, 3, 0, 2);
	gguf_put_key_u32(&b, "general.alignment", 8);
	gguf_put_key_u32(&b, "general.alignment", 32);
	expect_refusal(state, &b, "\"general.alignment\": the key is there twice");
	gguf_put_start(&b, 3, 0, 1);
	gguf_put_key_text(&b, "split.count", "2");
	expect_refusal(state, &b, "\"split.count\": not a count");
	gguf_put_start(&b, 3, 0, 1);
	gguf_put_key(&b, "split.no", GGUF_I8);
	gguf_put(&b, "\377", 1);
	expect_refusal(state, &b, "\"split.no\": not a count");
}

typedef struct bad_tensor {
	const char *name;
	uint32_t n_dims;
	uint64_t dims[5];
	uint32_t type;
	uint64_t offset;
	const char *what;
} bad_tensor;

/* After a good tensor of 40 bytes, and before 96 bytes of data. */
static void refuses_bad_tensors(void **state)
{
	const uint64_t half = UINT64_C(1) << 32;
	const bad_tensor cases[] = {
	    {"good", 1, {8}, TYPE_F32, 64, "\"good\": the name is in the header twice"},
	    {"a", 5, {1, 1, 1, 1, 1}, TYPE_F32, 64, "\"a\": 5 dimensions, more than 4"},
	    {"a", UINT32_MAX, {0}, TYPE_F32, 64, "dimensions, more than 4"},
	    {"a", 2, {half, half}, TYPE_F32, 64, "2^64"},
	    {"a", 4, {half, half, half, 0}, TYPE_F32, 64, "2^64"},
	    {"a", 1, {UINT64_MAX}, TYPE_F16, 64, "2^64"},
	    {"a", 1, {UINT64_C(1) << 60}, TYPE_F32, 64, "truncated file or wrong offset"},
	    {"a", 2, {2, 32}, TYPE_Q8_0, 64, "rows of 2 elements are not a multiple of Q8_0's blocks of 32"},
	    {"a", 1, {32}, TYPE_Q4_K, 64, "blocks of 256"},
	    {"a", 0, {0}, TYPE_Q4_0, 64, "blocks of 32"},
	    {"a", 1, {9}, TYPE_F32, 64, "36 bytes at 64 of the data, which has 96"},
	    {"a", 1, {8}, TYPE_F32, 96, "truncated file or wrong offset"},
	    {"a", 1, {8}, TYPE_F32, UINT64_MAX - 31, "truncated file or wrong offset"},
	    {"a", 1, {8}, TYPE_F32, 40, "offset 40 is not a multiple of the alignment, 32"},
	    {"a", 1, {8}, TYPE_F32, 32, "\"a\": overlaps tensor \"good\""},
	    {"a", 1, {8}, TYPE_NEW, 32, "\"a\": overlaps tensor \"good\""},
	    {"a", 1, {8}, TYPE_NEW, 128, "truncated file or wrong offset"},
	    {"", 1, {8}, TYPE_F32, 64, "a tensor's name"},
	    {"\377", 1, {8}, TYPE_F32, 64, "not UTF-8"},
	};
	gguf_bytes b = {0};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const bad_tensor *bad = &cases[i];
		gguf_put_start(&b, 3, 2, 0);
		gguf_put_info(&b, "good", 1, (uint64_t[]){10}, TYPE_F32, 0);
		gguf_put_info(&b, bad->name, bad->n_dims < 5 ? bad->n_dims : 5, bad->dims, bad->type, bad->offset);
		memcpy(b.data + 24 + 36 + 8 + strlen(bad->name), &bad->n_dims, 4);
		gguf_pad(&b, 32);
		size_t header_size = b.size;
		gguf_put(&b, (uint8_t[96]){0}, 96);
		assert_int_equal(b.size, header_size + 96);
		expect_refusal(state, &b, bad->what);
	}
	gguf_put_start(&b, 3, UINT64_C(1) << 60, 0);
	gguf_put_info(&b, "good", 1, (uint64_t[]){10}, TYPE_F32, 0);
	expect_refusal(state, &b, "beyond the end");
	char *name = malloc(5001);
	memset(name, 'n', 5000);
	name[5000] = 0;
	gguf_put_start(&b, 3, 1, 0);
	gguf_put_info(&b, name, 1, (uint64_t[]){10}, TYPE_F32, 0);
	expect_refusal(state, &b, "5000 bytes");
	free(name);
}

/* A cut anywhere in the header is told, and never read over. */
static void refuses_every_cut(void **state)
{
	gguf_bytes b = {0};
	gguf_put_start(&b, 3, 1, GGUF_ALL_TYPES);
	gguf_put_all_types(&b);
	gguf_put_info(&b, "a", 2, (uint64_t[]){3, 2}, TYPE_F32, 0);
	gguf_pad(&b, 32);
	gguf_put(&b, (uint8_t[24]){0}, 24);
	for (size_t size = 0; size < b.size; size++) {
		qs_weights file;
		qstore_error error = {0};
		qstore_status status = qs_gguf_open(&file, scratch_write(state, "cut.gguf", b.data, size), &error);
		qs_weights_close(&file);
		assert_int_equal(status, QSTORE_INPUT);
		assert_true(error.text[0]);
	}
	qs_weights file;
	open_file(&file, write_bytes(state, "whole.gguf", &b));
	qs_weights_close(&file);
}

/* ---- Models ---- */

static void expect_model(const char *path, size_t n_files, const char *precision, uint32_t dtype)
{
	qs_model model;
	qstore_error error;
	if (qs_model_open(&model, path, &error))
		fail_msg("%s", error.text);
	assert_int_equal(model.n_files, n_files);
	assert_int_equal(model.n_precisions, 1);
	assert_string_equal(model.precisions[0].name, precision);
	assert_int_equal(model.precisions[0].dtype, dtype);
	qs_model_close(&model);
}

static void expect_no_model(const char *path, const char *what)
{
	qs_model model;
	qstore_error error = {0};
	qstore_status status = qs_model_open(&model, path, &error);
	qs_model_close(&model);
	if (status != QSTORE_INPUT || !strstr(error.text, what))
		fail_msg("status %d, \"%s\", expected \"%s\"", status, error.text, what);
}

static void opens_one_file(void **state)
{
	write_gguf(state, "m/other.gguf", "x", TYPE_BF16, 0, 0, 0);
	expect_model(write_gguf(state, "m/one.gguf", "x", TYPE_Q4_K, 0, 0, 0), 1, "q4_k", QS_Q4_K);
	expect_model(write_gguf(state, "m/blob", "x", TYPE_Q8_0, 0, 0, 0), 1, "q8_0", QS_Q8_0);
	expect_model(write_gguf(state, "m/two.GGUF", "x", TYPE_BF16, 0, 0, 0), 1, "bf16", QS_BF16);
	expect_no_model(scratch_write(state, "text.gguf", "what is this and why is it here", 31),
	                "not a GGUF file");
}

static void opens_folders(void **state)
{
	write_gguf(state, "f/one.gguf", "x", TYPE_Q4_0, 0, 1, 1);
	scratch_write(state, "f/README.md", "#", 1);
	expect_model(scratch_path(state, "f"), 2, "q4_0", QS_Q4_0);
	write_gguf(state, "f/mmproj.gguf", "y", TYPE_BF16, 0, 0, 0); /* part of the same model */
	expect_model(scratch_path(state, "f"), 3, "q4_0", QS_Q4_0);
}

static void opens_all_shards(void **state)
{
	for (int in_folder = 0; in_folder < 2; in_folder++) {
		const char *first = write_gguf(state, "s/m-00001-of-00003.gguf", "a", TYPE_Q4_0, 0, 3, 3);
		const char *path = in_folder ? scratch_path(state, "s") : first;
		write_gguf(state, "s/m-00003-of-00003.gguf", "c", TYPE_Q4_0, 2, 3, 3);
		remove(scratch_path(state, "s/m-00002-of-00003.gguf"));
		expect_no_model(path, "\"m-00002-of-00003.gguf\" is missing, shard 2 of 3");
		write_gguf(state, "s/m-00002-of-00003.gguf", "b", TYPE_Q4_0, 1, 3, 3);
		expect_model(path, 3, "q4_0", QS_Q4_0);
		write_gguf(state, "s/m-00002-of-00003.gguf", "b", TYPE_Q4_0, 2, 3, 3);
		expect_no_model(path, "its metadata says otherwise");
		write_gguf(state, "s/m-00002-of-00003.gguf", "b", TYPE_Q4_0, 1, 3, 3);
		write_gguf(state, "s/m-00001-of-00003.gguf", "a", TYPE_Q4_0, 0, 3, 4);
		expect_no_model(path, "should have 4 tensors, and have 3");
	}
	expect_no_model(scratch_path(state, "s/m-00002-of-00003.gguf"), "shard 2 of 3: give the first");
	expect_no_model(write_gguf(state, "t/m.gguf", "a", TYPE_Q4_0, 0, 3, 3), "not named");
}

/* Embeddings and an output in another type do not name the model. */
static void names_a_model_by_most_blocks(void **state)
{
	gguf_bytes b = {0};
	gguf_put_start(&b, 3, 3, 0);
	gguf_put_info(&b, "embeddings", 2, (uint64_t[]){256, 4}, TYPE_F16, 0);
	gguf_put_info(&b, "some", 2, (uint64_t[]){256, 2}, TYPE_Q4_K, 2048);
	gguf_put_info(&b, "less", 2, (uint64_t[]){256, 1}, TYPE_Q8_0, 2336);
	gguf_pad(&b, 32);
	gguf_put(&b, (uint8_t[2608]){0}, 2608);
	expect_model(write_bytes(state, "m.gguf", &b), 1, "q4_k", QS_Q4_K);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(reads_files_of_both_versions, scratch_setup, scratch_teardown),
	    cmocka_unit_test_setup_teardown(reads_files_without_tensors, scratch_setup, scratch_teardown),
	    cmocka_unit_test_setup_teardown(reads_headers_larger_than_its_buffer, scratch_setup,
	                                    scratch_teardown),
	    cmocka_unit_test_setup_teardown(refuses_other_versions_and_formats, scratch_setup, scratch_teardown),
	    cmocka_unit_test_setup_teardown(refuses_bad_metadata, scratch_setup, scratch_teardown),
	    cmocka_unit_test_setup_teardown(refuses_bad_tensors, scratch_setup, scratch_teardown),
	    cmocka_unit_test_setup_teardown(refuses_every_cut, scratch_setup, scratch_teardown),
	    cmocka_unit_test_setup_teardown(opens_one_file, scratch_setup, scratch_teardown),
	    cmocka_unit_test_setup_teardown(opens_folders, scratch_setup, scratch_teardown),
	    cmocka_unit_test_setup_teardown(opens_all_shards, scratch_setup, scratch_teardown),
	    cmocka_unit_test_setup_teardown(names_a_model_by_most_blocks, scratch_setup, scratch_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

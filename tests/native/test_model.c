/* Model folders: which files belong, which are refused with which words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "formats/model.h"
#include "scratch.h"

#define TENSOR(name) "{\"" name "\":{\"dtype\":\"BF16\",\"shape\":[2,5],\"data_offsets\":[0,20]}}"

static void expect(const char *path, qstore_status expected, const char *file, const char *what)
{
	qs_model model;
	qstore_error error = {0};
	qstore_status status = qs_model_open(&model, path, &error);
	qs_model_close(&model);
	if (status != expected || !strstr(error.text, file) || !strstr(error.text, what))
		fail_msg("status %d, \"%s\", expected %d, \"%s\" and \"%s\"", status, error.text, expected, file,
		         what);
}

static void open_model(qs_model *model, const char *path)
{
	qstore_error error;
	if (qs_model_open(model, path, &error))
		fail_msg("%s", error.text);
}

static void expect_files(const qs_model *model, const char *const *names, size_t n)
{
	assert_int_equal(model->n_files, n);
	for (size_t i = 0; i < n; i++)
		assert_string_equal(model->files[i].name, names[i]);
}

static void finds_files_of_a_folder(void **state)
{
	static const char *const names[] = {"LICENSE",     "a-dir/b.txt",       "a.txt",
	                                    "config.json", "model.safetensors", "z/model.safetensors"};
	qs_model model;
	const qs_model_file *file = NULL;
	scratch_safetensors(state, "m/model.safetensors", TENSOR("one.weight"), 20);
	scratch_safetensors(state, "m/z/model.safetensors", TENSOR("two.weight"), 20);
	scratch_write(state, "m/config.json", "{}", 2);
	scratch_write(state, "m/LICENSE", "", 0);
	scratch_write(state, "m/a.txt", "a", 1);
	scratch_write(state, "m/a-dir/b.txt", "bb", 2);
	scratch_write(state, "m/.gitattributes", "x", 1);
	scratch_write(state, "m/.git/model.safetensors", "x", 1);
	scratch_write(state, "m/.cache/huggingface/download/model.bin", "x", 1);
	scratch_path(state, "m/empty/none");
	open_model(&model, scratch_path(state, "m"));
	expect_files(&model, names, 6);
	assert_int_equal(model.files[1].size, 2);
	assert_false(model.files[3].is_weights);
	assert_true(model.files[4].is_weights);
	assert_int_equal(model.files[4].size, model.files[4].weights.file_size);
	const qs_weight *tensor = qs_model_find(&model, "two.weight", &file);
	assert_non_null(tensor);
	assert_ptr_equal(file, &model.files[5]);
	assert_non_null(qs_model_find(&model, "one.weight", NULL));
	assert_null(qs_model_find(&model, "three.weight", NULL));
	qs_model_close(&model);

	open_model(&model, scratch_path(state, "m/")); /* a slash at the end changes nothing */
	expect_files(&model, names, 6);
	qs_model_close(&model);
}

static void opens_a_single_file(void **state)
{
	qs_model model;
	uint32_t dtype;
	scratch_write(state, "config.json", "{}", 2);
	open_model(&model, scratch_safetensors(state, "only.safetensors", TENSOR("one.weight"), 20));
	assert_int_equal(model.n_files, 1);
	assert_string_equal(model.files[0].name, "only.safetensors");
	assert_string_equal(qs_model_precision(&model, &dtype), "bf16");
	assert_int_equal(dtype, QS_BF16);
	qs_model_close(&model);
	open_model(&model, scratch_safetensors(state, "another name", TENSOR("one.weight"), 20));
	assert_true(model.files[0].is_weights);
	qs_model_close(&model);
	expect(scratch_path(state, "missing.safetensors"), QSTORE_IO, "missing.safetensors", "cannot open");
	expect(scratch_path(state, "config.json"), QSTORE_INPUT, "config.json", "truncated");
	expect(scratch_write(state, "x.bin", "PK\3\4.................", 20), QSTORE_INPUT, "x.bin", "pickle");
	expect(scratch_write(state, "x.gguf", "GGUF.................", 20), QSTORE_INPUT, "x.gguf", "GGUF");
}

/* Hub caches: snapshots/REVISION/NAME is a link to ../../blobs/HASH. */
static void follows_links_to_files_only(void **state)
{
	static const char *const names[] = {"config.json", "model.safetensors"};
	qs_model model;
	scratch_safetensors(state, "blobs/0123", TENSOR("one.weight"), 20);
	scratch_write(state, "blobs/4567", "{}", 2);
	scratch_write(state, "outside/secret.txt", "x", 1);
	assert_int_equal(symlink("../../blobs/0123", scratch_path(state, "snapshots/r/model.safetensors")), 0);
	assert_int_equal(symlink("../../blobs/4567", scratch_path(state, "snapshots/r/config.json")), 0);
	assert_int_equal(symlink("../../outside", scratch_path(state, "snapshots/r/folder")), 0);
	assert_int_equal(symlink(".", scratch_path(state, "snapshots/r/loop")), 0);
	open_model(&model, scratch_path(state, "snapshots/r"));
	expect_files(&model, names, 2);
	assert_int_equal(model.files[0].size, 2);
	qs_model_close(&model);
	assert_int_equal(symlink("../../blobs/89ab", scratch_path(state, "snapshots/r/tokenizer.json")), 0);
	expect(scratch_path(state, "snapshots/r"), QSTORE_INPUT, "tokenizer.json", "missing file");
}

static void refuses_folders_without_weights(void **state)
{
	scratch_write(state, "m/config.json", "{}", 2);
	expect(scratch_path(state, "m"), QSTORE_INPUT, "m", "no .safetensors, .gguf or .onnx file");
	scratch_write(state, "m/pytorch_model.bin", "PK\3\4............", 16);
	expect(scratch_path(state, "m"), QSTORE_INPUT, "pytorch_model.bin", "safe_serialization");
	scratch_path(state, "none/x");
	expect(scratch_path(state, "none"), QSTORE_INPUT, "none", "no .safetensors, .gguf or .onnx file");
}

static void refuses_large_pickles_and_keeps_small_ones(void **state)
{
	static const char *const names[] = {"model.safetensors", "other.bin", "training_args.bin"};
	size_t size = 65536;
	char *pickle = calloc(size, 1);
	qs_model model;
	assert_non_null(pickle);
	scratch_safetensors(state, "m/model.safetensors", TENSOR("one.weight"), 20);
	scratch_write(state, "m/other.bin", pickle, size); /* no pickle, whatever its name */
	memcpy(pickle, "\200\2}q", 4);
	scratch_write(state, "m/training_args.bin", pickle, size - 1);
	open_model(&model, scratch_path(state, "m"));
	expect_files(&model, names, 3);
	assert_false(model.files[2].is_weights);
	qs_model_close(&model);
	scratch_write(state, "m/optimizer.pt", pickle, size);
	expect(scratch_path(state, "m"), QSTORE_INPUT, "optimizer.pt", "pickle");
	free(pickle);
}

static void refuses_a_tensor_in_two_shards(void **state)
{
	scratch_safetensors(state, "m/model-00001-of-00002.safetensors", TENSOR("my.weight"), 20);
	scratch_safetensors(state, "m/model-00002-of-00002.safetensors", TENSOR("my.weight"), 20);
	expect(scratch_path(state, "m"), QSTORE_INPUT, "model-00002-of-00002.safetensors: tensor \"my.weight\"",
	       "model-00001-of-00002.safetensors");
}

/* The model opens, with one warning, which holds both. */
static void expect_warning(const char *path, const char *file, const char *what)
{
	qs_model model;
	open_model(&model, path);
	if (model.n_warnings != 1 || !strstr(model.warnings[0], file) || !strstr(model.warnings[0], what))
		fail_msg("%zu warnings, \"%s\", expected \"%s\" and \"%s\"", model.n_warnings,
		         model.n_warnings ? model.warnings[0] : "", file, what);
	qs_model_close(&model);
}

static void warns_of_a_wrong_index(void **state)
{
	qs_model model;
	static const char *const good[] = {
	    "{\"metadata\":{\"total_size\":40},\"weight_map\":{\"a.w\":\"s1.safetensors\",\"b.w\":\"s2."
	    "safetensors\"}}",
	    "{\"weight_map\":{\"a.w\":\"s2.safetensors\",\"a.w\":\"s1.safetensors\"}}", /* the last one counts */
	};
	static const char *const bad[][3] = {
	    {"{\"weight_map\":{\"a.w\":\"s3.safetensors\"}}", "1 of 1 tensors that it names",
	     "\"a.w\" should be in \"s3.safetensors\", which is missing"},
	    {"{\"weight_map\":{\"b.w\":\"s2.safetensors\",\"a.w\":\"s2.safetensors\",\"c.w\":\"s2.safetensors\"}"
	     "}",
	     "2 of 3 tensors that it names", "\"a.w\" should be in \"s2.safetensors\", which has no such tensor"},
	    {"{\"weight_map\":{\"a.w\":\"model.safetensors.index.json\"}}", "\"a.w\"", "which is missing"},
	    {"{\"weight_map\":{\"a.w\":\"../m/s1.safetensors\"}}", "\"a.w\"", "which is missing"},
	    {"{\"weight_map\":{\"a.w\":1}}", "\"a.w\" should be in \"\"", "which is missing"},
	    {"{\"weight_map\":[]}", "", "no weight_map"},
	    {"[]", "", "no weight_map"},
	    {"", "", "not valid JSON"},
	    {"{\"weight_map\":{}", "", "not valid JSON"},
	    {"\xef\xbb\xbf{\"weight_map\":{\"a.w\":\"s1.safetensors\"}}", "", "byte order mark"},
	};
	scratch_safetensors(state, "m/s1.safetensors", TENSOR("a.w"), 20);
	scratch_safetensors(state, "m/s2.safetensors", TENSOR("b.w"), 20);
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		scratch_write(state, "m/model.safetensors.index.json", good[i], strlen(good[i]));
		open_model(&model, scratch_path(state, "m"));
		assert_int_equal(model.n_warnings, 0);
		qs_model_close(&model);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		scratch_write(state, "m/model.safetensors.index.json", bad[i][0], strlen(bad[i][0]));
		expect_warning(scratch_path(state, "m"), "model.safetensors.index.json", bad[i][2]);
		expect_warning(scratch_path(state, "m"), bad[i][1], bad[i][2]);
	}
}

static void an_index_speaks_of_its_own_folder(void **state)
{
	qs_model model;
	static const char *const index = "{\"weight_map\":{\"a.w\":\"s1.safetensors\"}}";
	scratch_safetensors(state, "m/unet/s1.safetensors", TENSOR("a.w"), 20);
	scratch_safetensors(state, "m/vae/s1.safetensors", TENSOR("b.w"), 20);
	scratch_write(state, "m/unet/diffusion.safetensors.index.json", index, strlen(index));
	open_model(&model, scratch_path(state, "m"));
	qs_model_close(&model);
}

/* Every name that a folder can have, but for those that are not UTF-8. */
static void takes_any_utf8_name(void **state)
{
	static const char *const names[] = {"a\\b.txt", "c:d.txt", "e\nf.txt", "nul", "end.", "*?\"<>|", "\x7f"};
	char name[40];
	qs_model model;
	scratch_safetensors(state, "m/model.safetensors", TENSOR("one.weight"), 20);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		snprintf(name, sizeof name, "m/%s", names[i]);
		const char *path = scratch_path(state, name);
		FILE *stream = fopen(path, "wb");
		if (!stream) /* some file systems cannot hold them */
			continue;
		fclose(stream);
		open_model(&model, scratch_path(state, "m"));
		assert_int_equal(model.n_files, 2);
		assert_string_equal(model.files[strcmp(names[i], "model") > 0].name, names[i]);
		qs_model_close(&model);
		assert_int_equal(remove(path), 0);
	}
	FILE *stream = fopen(scratch_path(state, "m/g\xff.txt"), "wb");
	if (stream) {
		fclose(stream);
		expect(scratch_path(state, "m"), QSTORE_INPUT, "g\xff.txt", "not UTF-8");
	}
}

static void refuses_names_that_are_too_long(void **state)
{
	char name[1100] = "m";
	scratch_safetensors(state, "m/model.safetensors", TENSOR("one.weight"), 20);
	for (int i = 0; i < 5; i++) {
		size_t at = strlen(name);
		name[at] = '/';
		memset(name + at + 1, 'a', 210);
		name[at + 211] = 0;
	}
	scratch_write(state, name, "x", 1);
	expect(scratch_path(state, "m"), QSTORE_INPUT, "aaaa", "more than 1023 bytes");
}

static void a_broken_shard_is_named(void **state)
{
	scratch_safetensors(state, "m/s1.safetensors", TENSOR("a.w"), 20);
	scratch_safetensors(state, "m/s2.safetensors", TENSOR("b.w"), 19);
	expect(scratch_path(state, "m"), QSTORE_INPUT, "s2.safetensors: tensor \"b.w\"", "truncated");
	assert_int_equal(mkfifo(scratch_path(state, "m/pipe"), 0600), 0);
	expect(scratch_path(state, "m"), QSTORE_INPUT, "m/pipe", "neither a file nor a folder");
}

static void names_the_precision(void **state)
{
	static const char *const cases[][2] = {
	    {"{\"a\":{\"dtype\":\"F16\",\"shape\":[10],\"data_offsets\":[0,20]},\"b\":{\"dtype\":\"F32\","
	     "\"shape\":[4],\"data_offsets\":[20,36]}}",
	     "fp16"},
	    {"{\"a\":{\"dtype\":\"F16\",\"shape\":[7],\"data_offsets\":[0,14]},\"b\":{\"dtype\":\"F32\","
	     "\"shape\":[4],\"data_offsets\":[14,30]}}",
	     "fp32"},
	    {"{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[7],\"data_offsets\":[0,7]}}", "fp8"},
	    {"{\"a\":{\"dtype\":\"C64\",\"shape\":[7],\"data_offsets\":[0,56]}}", "other"},
	    /* embeddings outweigh the codes */
	    {"{\"embed.weight\":{\"dtype\":\"BF16\",\"shape\":[10],\"data_offsets\":[0,20]},\"q.weight\":{"
	     "\"dtype\":\"I8\",\"shape\":[2,2],"
	     "\"data_offsets\":[20,24]},\"q.SCB\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[24,32]}}",
	     "int8"},
	    {"{}", "other"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		qs_model model;
		open_model(&model, scratch_safetensors(state, "model.safetensors", cases[i][0], 64));
		assert_string_equal(qs_model_precision(&model, NULL), cases[i][1]);
		qs_model_close(&model);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(finds_files_of_a_folder),
	    TEST(opens_a_single_file),
	    TEST(follows_links_to_files_only),
	    TEST(refuses_folders_without_weights),
	    TEST(refuses_large_pickles_and_keeps_small_ones),
	    TEST(refuses_a_tensor_in_two_shards),
	    TEST(warns_of_a_wrong_index),
	    TEST(an_index_speaks_of_its_own_folder),
	    TEST(takes_any_utf8_name),
	    TEST(refuses_names_that_are_too_long),
	    TEST(a_broken_shard_is_named),
	    TEST(names_the_precision),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

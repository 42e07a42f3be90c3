/* qstore_unpack of selected tensors: of every type, into files of every format, made F32, and into a stream.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <qstore.h>

#include "core/bytes.h"
#include "../generate/gguf_blocks.h"
#include "../generate/gguf_writer.h"
#include "../generate/random.h"
#include "archive_help.h"
#include "scratch.h"

/* A GGUF model of one tensor in F32, and one in each of these types. The first is so large that it has
 * several chunks, which end within blocks. */
static const struct {
	const char *name;
	uint32_t type, dtype, rows; /* type: ggml's number */
} blocks[] = {{"large/q6_k", 14, QS_Q6_K, 6000}, {"q8_0", 8, QS_Q8_0, 3}, {"iq2%xxs", 16, QS_IQ2_XXS, 2}};
enum { N_BLOCKS = sizeof blocks / sizeof *blocks, COLS = 256 };

static size_t block_bytes(size_t i)
{
	return (size_t)blocks[i].rows * COLS / qs_block_elems(blocks[i].dtype) * qs_block_size(blocks[i].dtype);
}

/* The bytes of a tensor; malloc'd. FP16 scales are finite. */
static uint8_t *make_blocks(size_t i)
{
	size_t size = block_bytes(i), block = qs_block_size(blocks[i].dtype);
	size_t scale = blocks[i].dtype == QS_Q6_K ? 208 : 0;
	uint8_t *bytes = calloc(1, size);
	rng r;
	assert_true(bytes && size > 0 && size % block == 0);
	rng_seed(&r, 3, blocks[i].name, 0);
	for (size_t k = 0; k < size; k++)
		bytes[k] = (uint8_t)(rng_next(&r) >> 9);
	for (size_t at = 0; at < size; at += block)
		bytes[at + scale + 1] &= 0xbb;
	return bytes;
}

static qstore_archive *open_model(void **state)
{
	gguf_bytes b = {0}, infos = {0}, data = {0};
	gguf_put_info(&infos, "floats", 1, (uint64_t[]){3}, 0, 0);
	gguf_put(&data, (float[]){1, -2, 0.5F}, 12);
	gguf_pad(&data, 32);
	for (size_t i = 0; i < N_BLOCKS; i++) {
		uint8_t *bytes = make_blocks(i);
		gguf_put_info(&infos, blocks[i].name, 2, (uint64_t[]){COLS, blocks[i].rows}, blocks[i].type,
		              data.size);
		gguf_put(&data, bytes, block_bytes(i));
		gguf_pad(&data, 32);
		free(bytes);
	}
	gguf_put_start(&b, 3, N_BLOCKS + 1, 1);
	gguf_put_key_text(&b, "general.architecture", "odd");
	gguf_put(&b, infos.data, infos.size);
	gguf_pad(&b, 32);
	gguf_put(&b, data.data, data.size);
	scratch_write(state, "m.gguf", b.data, b.size);
	gguf_free(&b);
	gguf_free(&infos);
	gguf_free(&data);
	qstore_pack_options pack = {.struct_size = sizeof(pack),
	                            .high = scratch_path(state, "m.gguf"),
	                            .output = scratch_path(state, "m.qstore"),
	                            .quantize = QSTORE_QUANTIZE_NONE};
	archive_pack_with(pack, NULL);
	qstore_archive *archive;
	assert_int_equal(qstore_open(scratch_path(state, "m.qstore"), &archive, NULL), QSTORE_OK);
	return archive;
}

static void expect_bytes(const char *path, size_t skip, const void *expected, size_t size)
{
	size_t got;
	uint8_t *data = scratch_read(path, &got);
	assert_int_equal(got, skip + size);
	assert_memory_equal(data + skip, expected, size);
	free(data);
}

static qstore_unpack_options options_for(const char *const *names, const char *output)
{
	return (qstore_unpack_options){.struct_size = sizeof(qstore_unpack_options),
	                               .tensors = names,
	                               .output = output,
	                               .work = {.threads = 2}};
}

/* The paths that on_raw was called with. */
typedef struct raw_files {
	unsigned n;
	char paths[N_BLOCKS][300];
} raw_files;

static void take_raw(void *user, const char *path, uint32_t tensor)
{
	raw_files *raw = user;
	(void)tensor;
	assert_in_range(raw->n, 0, N_BLOCKS - 1);
	snprintf(raw->paths[raw->n++], sizeof(raw->paths[0]), "%s", path);
}

static void blocks_become_files_of_their_own(void **state)
{
	const char *all[] = {"*", NULL};
	raw_files raw = {0};
	qstore_archive *archive = open_model(state);
	qstore_unpack_options options = options_for(all, scratch_path(state, "out"));
	qstore_unpack_result result;
	options.on_raw = take_raw;
	options.user = &raw;
	assert_int_equal(qstore_unpack(archive, &options, &result, NULL), QSTORE_OK);
	assert_int_equal(result.n_files, N_BLOCKS + 1);
	assert_int_equal(raw.n, N_BLOCKS);
	assert_string_equal(raw.paths[0], scratch_path(state, "out/large%2Fq6_k.bin"));
	assert_string_equal(raw.paths[2], scratch_path(state, "out/iq2%25xxs.bin"));
	for (size_t i = 0; i < N_BLOCKS; i++) {
		uint8_t *bytes = make_blocks(i);
		expect_bytes(raw.paths[i], 0, bytes, block_bytes(i));
		free(bytes);
	}
	static const char header[] = "{\"floats\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,12]}} ";
	size_t padded = (sizeof(header) + 6) / 8 * 8;
	expect_bytes(scratch_path(state, "out/tensors.safetensors"), 8 + padded, (float[]){1, -2, 0.5F}, 12);
	qstore_close(archive);
}

static void blocks_become_f32(void **state)
{
	const char *names[] = {"large*", NULL};
	qstore_archive *archive = open_model(state);
	uint8_t *bytes = make_blocks(0);
	size_t n = (size_t)blocks[0].rows * COLS, size;
	float *expected = malloc(n * sizeof(float));
	assert_non_null(expected);
	gguf_dequantize(QS_Q6_K, bytes, n / 256, expected);
	qstore_unpack_options options = options_for(names, scratch_path(state, "sub/x.npy"));
	options.as = "f32";
	assert_int_equal(qstore_unpack(archive, &options, NULL, NULL), QSTORE_OK);
	static const char header[] =
	    "\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (6000, 256), }";
	uint8_t *npy = scratch_read(options.output, &size);
	assert_int_equal(size, 128 + n * sizeof(float));
	assert_memory_equal(npy, header, sizeof(header) - 1);
	assert_int_equal(npy[127], '\n');
	assert_memory_equal(npy + 128, expected, n * sizeof(float));
	free(npy);
	options.output = scratch_path(state, "x.safetensors");
	assert_int_equal(qstore_unpack(archive, &options, NULL, NULL), QSTORE_OK);
	uint8_t *file = scratch_read(options.output, &size);
	expect_bytes(options.output, 8 + qs_load64(file), expected, n * sizeof(float));
	free(file);
	free(expected);
	free(bytes);
	qstore_close(archive);
}

static void expect_refused(qstore_archive *archive, const qstore_unpack_options *options,
                           qstore_status status, const char *text)
{
	qstore_error error;
	expect_text(&error, qstore_unpack(archive, options, NULL, &error), status, text);
	assert_false(options->output && scratch_exists(options->output));
}

static void says_what_a_format_cannot_have(void **state)
{
	const char *all[] = {"*", NULL}, *q8[] = {"q8_0", NULL}, *iq2[] = {"iq2*", NULL},
	           *none[] = {"none", NULL};
	qstore_archive *archive = open_model(state);
	qstore_unpack_options options = options_for(q8, scratch_path(state, "x.safetensors"));
	expect_refused(archive, &options, QSTORE_USAGE, "tensor q8_0 is Q8_0, which safetensors does not have");
	options.output = scratch_path(state, "x.npy");
	expect_refused(archive, &options, QSTORE_USAGE, "tensor q8_0 is Q8_0, which NumPy does not have");
	options.files = all;
	expect_refused(archive, &options, QSTORE_USAGE, "files beside the tensors need a folder");
	options.files = NULL;
	options.precision = "all";
	expect_refused(archive, &options, QSTORE_USAGE, "all precisions need a folder");
	options.precision = NULL;
	options.tensors = none;
	expect_refused(archive, &options, QSTORE_NOT_FOUND, "no tensor none");
	options.tensors = all;
	expect_refused(archive, &options, QSTORE_USAGE, "x.npy: holds one tensor, and 4 are selected");
	options.tensors = iq2;
	options.as = "f32";
	expect_refused(archive, &options, QSTORE_USAGE, "tensor iq2%xxs is IQ2_XXS, which cannot be made f32");
	options.as = "f16";
	expect_refused(archive, &options, QSTORE_USAGE, "tensors can be made f32, not f16");
	options.as = "f32";
	options.tensors = NULL;
	expect_refused(archive, &options, QSTORE_USAGE, "only selected tensors can be made f32");
	qstore_close(archive);
}

/* Takes the bytes of a stream, up to a limit. */
typedef struct taken {
	uint8_t *data;
	size_t size, limit;
} taken;

static qstore_status take(void *user, const void *data, size_t size, qstore_error *error)
{
	taken *t = user;
	if (t->size + size > t->limit) {
		snprintf(error->text, sizeof(error->text), "full");
		return QSTORE_IO;
	}
	t->data = realloc(t->data, t->size + size + 1);
	assert_non_null(t->data);
	memcpy(t->data + t->size, data, size);
	t->size += size;
	return QSTORE_OK;
}

static void writes_one_file_to_a_stream(void **state)
{
	const char *files[] = {"m.gguf", NULL}, *names[] = {"large*", NULL}, *two[] = {"q8_0", "floats", NULL};
	qstore_archive *archive = open_model(state);
	qstore_error error;
	size_t size;
	uint8_t *model = scratch_read(scratch_path(state, "m.gguf"), &size), *bytes = make_blocks(0);
	for (unsigned threads = 1; threads < 4; threads++) {
		taken t = {.limit = SIZE_MAX};
		qstore_unpack_options options = {.struct_size = sizeof(options),
		                                 .files = files,
		                                 .sha256 = 1,
		                                 .write = take,
		                                 .user = &t,
		                                 .work = {.threads = threads}};
		assert_int_equal(qstore_unpack(archive, &options, NULL, NULL), QSTORE_OK);
		assert_int_equal(t.size, size);
		assert_memory_equal(t.data, model, size);
		t.size = 0;
		options.files = NULL;
		options.tensors = names;
		assert_int_equal(qstore_unpack(archive, &options, NULL, NULL), QSTORE_OK);
		assert_int_equal(t.size, block_bytes(0));
		assert_memory_equal(t.data, bytes, t.size);
		t.size = 0;
		options.tensors = two;
		expect_refused(archive, &options, QSTORE_USAGE,
		               "m.qstore: a stream takes one file, and 2 are selected");
		options.tensors = NULL;
		t.limit = 100000;
		expect_text(&error, qstore_unpack(archive, &options, NULL, &error), QSTORE_IO, "full");
		free(t.data);
	}
	free(model);
	free(bytes);
	qstore_close(archive);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(blocks_become_files_of_their_own, scratch_setup, scratch_teardown),
	    cmocka_unit_test_setup_teardown(blocks_become_f32, scratch_setup, scratch_teardown),
	    cmocka_unit_test_setup_teardown(says_what_a_format_cannot_have, scratch_setup, scratch_teardown),
	    cmocka_unit_test_setup_teardown(writes_one_file_to_a_stream, scratch_setup, scratch_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

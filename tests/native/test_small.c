/* The coarse variant of small and odd models takes no more than zstd -19 does for its file, but for the
 * index. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <qstore.h>
#include <zstd.h>

#include "core/bytes.h"
#include "core/index.h"
#include "../generate/tensors.h"
#include "pair_help.h"
#include "scratch.h"
#include "../generate/random.h"

/* Writes elements [0, rows × cols) of a kind of tensor. */
typedef void fill(rng *r, uint8_t *dst, size_t rows, size_t cols);

static void put_f32(uint8_t *dst, size_t i, double value)
{
	float single = (float)value;
	memcpy(dst + 4 * i, &single, 4);
}

static double normal(rng *r)
{
	double sum = 0;
	for (int i = 0; i < 12; i++)
		sum += (double)rng_below(r, 65536) / 65536;
	return sum - 6;
}

static void put_code(uint8_t *dst, size_t i, double value)
{
	dst[i] = (uint8_t)(int)rint(fmax(-127, fmin(127, value)));
}

static double sine(size_t i, size_t cols)
{
	size_t row = i / cols;
	return sin((double)row / pow(10000, (double)(i % cols) / (double)cols));
}

static void sines_f32(rng *r, uint8_t *dst, size_t rows, size_t cols)
{
	(void)r;
	for (size_t i = 0; i < rows * cols; i++)
		put_f32(dst, i, sine(i, cols));
}

static void sines_bf16(rng *r, uint8_t *dst, size_t rows, size_t cols)
{
	(void)r;
	for (size_t i = 0; i < rows * cols; i++) {
		uint8_t wide[4];
		put_f32(wide, 0, sine(i, cols));
		memcpy(dst + 2 * i, wide + 2, 2);
	}
}

/* FP16 values that were made F32. */
static void sines_half(rng *r, uint8_t *dst, size_t rows, size_t cols)
{
	(void)r;
	for (size_t i = 0; i < rows * cols; i++) {
		double value = sine(i, cols);
		int exponent;
		double mantissa = frexp(value, &exponent);
		put_f32(dst, i, ldexp(rint(ldexp(mantissa, 11)), exponent - 11));
	}
}

/* Codes whose spread changes along the rows. */
static void long_rows(rng *r, uint8_t *dst, size_t rows, size_t cols)
{
	for (size_t i = 0; i < rows * cols; i++)
		put_code(dst, i, normal(r) * (2 << i % cols / 1500 % 5));
}

/* Codes of which the last quarter of the rows is one row. */
static void equal_rows(rng *r, uint8_t *dst, size_t rows, size_t cols)
{
	size_t different = 3 * rows / 4 * cols;
	for (size_t i = 0; i < rows * cols; i++)
		if (i < different)
			put_code(dst, i, normal(r) * 35);
		else
			dst[i] = dst[i % cols];
}

/* Weights of 16 values. */
static void few_values(rng *r, uint8_t *dst, size_t rows, size_t cols)
{
	for (size_t i = 0; i < rows * cols; i++)
		put_f32(dst, i, sin(1 + (double)rng_below(r, 16)));
}

static void fourier(rng *r, uint8_t *dst, size_t rows, size_t cols)
{
	(void)r;
	for (size_t row = 0; row < rows; row++)
		for (size_t col = 0; col < cols; col++)
			put_f32(dst, row * cols + col, cos(6.283185307179586 * (double)(row * col) / (double)rows));
}

static void causal_mask(rng *r, uint8_t *dst, size_t rows, size_t cols)
{
	(void)r;
	for (size_t i = 0; i < rows * cols; i++)
		dst[i] = i % cols <= i / cols;
}

static void codes(rng *r, uint8_t *dst, size_t rows, size_t cols)
{
	for (size_t i = 0; i < rows * cols; i++)
		put_code(dst, i, normal(r) * 35);
}

static void normal_bf16(rng *r, uint8_t *dst, size_t rows, size_t cols)
{
	for (size_t i = 0; i < rows * cols; i++) {
		uint8_t wide[4];
		put_f32(wide, 0, normal(r));
		memcpy(dst + 2 * i, wide + 2, 2);
	}
}

/* The model's file: n_tensors tensors of one size, and how large it is under zstd. *size: of the file. */
static uint8_t *make_file(const char *name, const char *dtype, fill *write, size_t elem_size, size_t rows,
                          size_t cols, size_t n_tensors, size_t *size, size_t *zstd_size)
{
	size_t data_size = rows * cols * elem_size, header_size = 0, room = 200 * n_tensors + 200;
	char *header = malloc(room);
	assert_non_null(header);
	for (size_t i = 0; i < n_tensors; i++)
		header_size += (size_t)snprintf(
		    header + header_size, room - header_size,
		    "%s\"layers.%zu.w%zu\":{\"dtype\":\"%s\",\"shape\":[%zu,%zu],\"data_offsets\":[%zu,%zu]}",
		    i == 0 ? "{" : ",", i / 10, i % 10, dtype, rows, cols, i * data_size, (i + 1) * data_size);
	header_size += (size_t)snprintf(header + header_size, room - header_size, "}");
	*size = 8 + header_size + n_tensors * data_size;
	uint8_t *file = malloc(*size), *coded = malloc(ZSTD_compressBound(*size));
	assert_true(file && coded);
	qs_store64(file, header_size);
	memcpy(file + 8, header, header_size);
	rng r;
	rng_seed(&r, 1, name, 0);
	write(&r, file + 8 + header_size, n_tensors * rows, cols);
	*zstd_size = ZSTD_compress(coded, ZSTD_compressBound(*size), file, *size, 19);
	free(coded);
	free(header);
	return file;
}

static void takes_no_more_than_zstd(void **state)
{
	static const struct {
		const char *name, *dtype;
		fill *fill;
		size_t elem_size, rows, cols, n_tensors;
		double most; /* of the size under zstd */
	} models[] = {
	    {"sines", "F32", sines_f32, 4, 1500, 96, 1, 1},
	    {"sines16", "BF16", sines_bf16, 2, 1500, 384, 1, 1.012},
	    {"sines-half", "F32", sines_half, 4, 448, 512, 1, 1},
	    {"one-row", "I8", long_rows, 1, 1, 200000, 1, 1},
	    {"few-rows", "I8", long_rows, 1, 4, 70000, 1, 1},
	    {"equal-rows", "I8", equal_rows, 1, 2000, 64, 1, 1},
	    {"few-values", "F32", few_values, 4, 256, 256, 1, 1.001},
	    {"fourier", "F32", fourier, 4, 400, 201, 1, 1},
	    {"mask", "BOOL", causal_mask, 1, 512, 512, 1, 1},
	    {"codes", "I8", codes, 1, 128, 128, 1, 1},
	    {"tiny", "I8", codes, 1, 16, 16, 1, 1},
	    {"many", "BF16", normal_bf16, 2, 4, 8, 1000, 1},
	};
	for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
		char path[1100], name[100];
		size_t size, zstd_size;
		uint8_t *file = make_file(models[i].name, models[i].dtype, models[i].fill, models[i].elem_size,
		                          models[i].rows, models[i].cols, models[i].n_tensors, &size, &zstd_size);
		snprintf(name, sizeof name, "%s.safetensors", models[i].name);
		snprintf(path, sizeof path, "%s", scratch_write(state, name, file, size));
		qstore_pack_result result;
		qstore_error error;
		const qstore_pack_options options = {.high = path,
		                                     .output = scratch_path(state, "a.qstore"),
		                                     .quantize = QSTORE_QUANTIZE_NONE,
		                                     .force = 1};
		if (qstore_pack(&options, &result, &error))
			fail_msg("%s: %s", models[i].name, error.text);
		uint64_t without_index = result.variants[0].download_size - result.index_size;
		print_message("%s: %zu bytes, zstd %zu, without the index %llu\n", models[i].name, size, zstd_size,
		              (unsigned long long)without_index);
		free(file);
		/* A tar header comes on top. All that a reader of many tensors downloads is smaller than zstd's file.
		 */
		assert_true((double)without_index <= models[i].most * (double)zstd_size + 512);
		if (models[i].n_tensors > 1)
			assert_true(result.variants[0].download_size <= zstd_size);
	}
}

/* Records of so many small pairs in the index take more than the pairs save: the coarse variant of a model of
 * nothing else was 1.5 times as large as under zstd. */
static void pairs_no_tiny_matrices(void **state)
{
	enum { N = 500, ROWS = 8, COLS = 10 };
	gen_tensors high = {0}, low = {0};
	for (unsigned i = 0; i < N; i++) {
		char name[40];
		gen_matrix m = gen_weights(i, QS_BF16, ROWS, COLS);
		snprintf(name, sizeof name, "layers.%u", i);
		gen_add_int8(&low, name, &m, GEN_SCHEME_LLM_INT8);
		snprintf(name, sizeof name, "layers.%u.weight", i);
		gen_add_matrix(&high, name, &m);
		gen_matrix_free(&m);
	}
	pair_outcome outcome = pack_pair(state, &high, &low, (qstore_pack_options){.strict = 1});
	assert_int_equal(outcome.n_warnings, 0);
	size_t size;
	uint8_t *file = scratch_read(scratch_path(state, "low/model.safetensors"), &size);
	uint8_t *coded = malloc(ZSTD_compressBound(size));
	assert_non_null(coded);
	size_t zstd_size = ZSTD_compress(coded, ZSTD_compressBound(size), file, size, 19);
	print_message("tiny: %zu bytes, zstd %zu, INT8 %llu, all %llu\n", size, zstd_size,
	              (unsigned long long)outcome.result.variants[0].download_size,
	              (unsigned long long)outcome.result.archive_size);
	assert_true((double)outcome.result.variants[0].download_size < 1.1 * (double)zstd_size);
	free(coded);
	free(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(takes_no_more_than_zstd, scratch_setup, scratch_teardown),
	    cmocka_unit_test_setup_teardown(pairs_no_tiny_matrices, scratch_setup, scratch_teardown),
	};
	return cmocka_run_group_tests_name("small", tests, NULL, NULL);
}

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
	return sin((double)(i / cols) / pow(10000, (double)(i % cols) / (double)cols));
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
	for (size_t i = 0; i < rows * cols; i++)
		put_f32(dst, i, cos(6.283185307179586 * (double)(i / cols * (i % cols)) / (double)rows));
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

static void takes_no_more_than_zstd(void **state)
{
	static const struct {
		const char *name, *dtype;
		fill *fill;
		size_t elem_size, rows, cols;
	} models[] = {
	    {"sines", "F32", sines_f32, 4, 1500, 96},      {"sines16", "BF16", sines_bf16, 2, 1500, 384},
	    {"one-row", "I8", long_rows, 1, 1, 200000},    {"few-rows", "I8", long_rows, 1, 4, 70000},
	    {"equal-rows", "I8", equal_rows, 1, 2000, 64}, {"few-values", "F32", few_values, 4, 256, 256},
	    {"fourier", "F32", fourier, 4, 400, 201},      {"mask", "BOOL", causal_mask, 1, 512, 512},
	    {"codes", "I8", codes, 1, 128, 128},           {"tiny", "I8", codes, 1, 16, 16},
	};
	for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
		rng r;
		char header[200], path[1100], name[100];
		size_t data_size = models[i].rows * models[i].cols * models[i].elem_size;
		int length = snprintf(header + 8, sizeof header - 8,
		                      "{\"w\":{\"dtype\":\"%s\",\"shape\":[%zu,%zu],\"data_offsets\":[0,%zu]}}",
		                      models[i].dtype, models[i].rows, models[i].cols, data_size);
		size_t size = 8 + (size_t)length + data_size;
		uint8_t *file = malloc(size), *coded = malloc(ZSTD_compressBound(size));
		assert_true(file && coded);
		qs_store64((uint8_t *)header, (uint64_t)length);
		memcpy(file, header, 8 + (size_t)length);
		rng_seed(&r, 1, models[i].name, 0);
		models[i].fill(&r, file + 8 + length, models[i].rows, models[i].cols);
		size_t zstd_size = ZSTD_compress(coded, ZSTD_compressBound(size), file, size, 19);
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
		free(coded);
		/* One tar header, and three hundredths: zstd finds what repeats across chunks, of which each is coded
		 * on its own. */
		assert_true((double)without_index <= 1.03 * (double)zstd_size + 512 + 64);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(takes_no_more_than_zstd, scratch_setup, scratch_teardown),
	};
	return cmocka_run_group_tests_name("small", tests, NULL, NULL);
}

/* The tests' own GGUF models: blocks taken apart and put together, quantized as ggml does, files whole and in
 * shards. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "formats/model.h"
#include "../generate/gguf_blocks.h"
#include "../generate/gguf_model.h"
#include "../generate/llama.h"
#include "../generate/random.h"
#include "../generate/values.h"
#include "scratch.h"

#define DATA "../shared/data/tiny1m-llama/"

static const uint32_t dtypes[] = {QS_Q8_0, QS_Q4_0, QS_Q4_1, QS_Q5_0, QS_Q5_1, QS_Q4_K, QS_Q5_K, QS_Q6_K};
enum { N_DTYPES = sizeof dtypes / sizeof *dtypes };

static void takes_blocks_apart_and_puts_them_together(void **state)
{
	uint8_t bytes[256], again[256];
	gguf_block block;
	rng r;
	(void)state;
	rng_seed(&r, 1, "blocks", 0);
	for (int t = 0; t < N_DTYPES; t++) {
		for (int round = 0; round < 300; round++) {
			for (size_t i = 0; i < sizeof bytes; i++)
				bytes[i] = (uint8_t)rng_next(&r);
			gguf_block_load(dtypes[t], bytes, &block);
			gguf_block_store(dtypes[t], &block, again);
			assert_memory_equal(bytes, again, qs_block_size(dtypes[t]));
		}
	}
}

/* Places of bits in a block, by examples from ggml-common.h's comments. */
static void knows_where_bits_stand(void **state)
{
	uint8_t bytes[210] = {0};
	gguf_block block;
	(void)state;
	bytes[2] = 0x21; /* Q4_0: the first byte after d has elements 0 and 16 */
	gguf_block_load(QS_Q4_0, bytes, &block);
	assert_int_equal(block.codes[0], 1);
	assert_int_equal(block.codes[16], 2);
	gguf_block_load(QS_Q5_0, bytes, &block); /* there it has the fifth bits of elements 0 and 5 */
	assert_int_equal(block.codes[0], 16);
	assert_int_equal(block.codes[5], 16);
	memset(bytes, 0, sizeof bytes);
	bytes[16 + 32] = 0x21; /* Q4_K: byte 32 of the codes has elements 64 and 96 */
	gguf_block_load(QS_Q4_K, bytes, &block);
	assert_int_equal(block.codes[64], 1);
	assert_int_equal(block.codes[96], 2);
	memset(bytes, 0, sizeof bytes);
	bytes[16 + 3] = 0x84; /* Q5_K: bits 2 and 7 of byte 3 of the high bits are of elements 67 and 227 */
	gguf_block_load(QS_Q5_K, bytes, &block);
	assert_int_equal(block.codes[2 * 32 + 3], 16);
	assert_int_equal(block.codes[7 * 32 + 3], 16);
	memset(bytes, 0, sizeof bytes);
	bytes[64 + 5] = 0x21;       /* Q6_K: the second half's elements 5 and 69 */
	bytes[128 + 32 + 5] = 0xc8; /* their high bits, with those of elements 37 (2) and 101 (3) */
	gguf_block_load(QS_Q6_K, bytes, &block);
	assert_int_equal(block.codes[128 + 5], 1);
	assert_int_equal(block.codes[128 + 69], 2);
	assert_int_equal(block.codes[128 + 37], 32);
	assert_int_equal(block.codes[128 + 101], 48);
}

/* Numbers like weights, in blocks of different sizes of numbers; some blocks have zeros. */
static void make_values(float *x, size_t n, uint32_t dtype)
{
	normal_table table;
	rng r;
	normal_table_init(&table);
	rng_seed(&r, 7, "values", dtype);
	for (size_t i = 0; i < n; i++) {
		float size = ldexpf(1, -(int)(i / 1024 % 12));
		x[i] = i / 64 % 37 == 5 ? 0 : value_round(dtype, size * (float)normal_next(&table, &r));
	}
}

/* Each value comes back within half a step, but for what clamping and the rounding of scales add. */
static void quantizes_to_near_values(void **state)
{
	enum { N = 256 * 200 };
	static float x[N], y[N];
	uint8_t *blocks = malloc(N * 2);
	(void)state;
	make_values(x, N, QS_BF16);
	for (int t = 0; t < N_DTYPES; t++) {
		uint32_t n = qs_block_elems(dtypes[t]);
		double error = 0, size = 0;
		gguf_quantize(dtypes[t], x, N / n, NULL, 0, blocks);
		gguf_dequantize(dtypes[t], blocks, N / n, y);
		for (size_t i = 0; i < N; i++) {
			error += ((double)y[i] - x[i]) * ((double)y[i] - x[i]);
			size += (double)x[i] * x[i];
		}
		/* A code of b bits leaves an error of about 2^-b of a block's range, which is some 5 times its
		 * spread. */
		int bits = dtypes[t] == QS_Q8_0                    ? 8
		           : dtypes[t] == QS_Q6_K                  ? 6
		           : strchr(qs_dtype_name(dtypes[t]), '5') ? 5
		                                                   : 4;
		double relative = sqrt(error / size);
		if (!(relative < 1.6 * pow(2, -bits) && relative > 0.3 * pow(2, -bits)))
			fail_msg("%s: %g", qs_dtype_name(dtypes[t]), relative);
	}
	free(blocks);
}

static int nearest(float value)
{
	return (int)nearbyintf(value);
}

/* K types choose codes last, with the scales as they are stored; that is what makes them predictable. */
static void chooses_codes_by_stored_scales(void **state)
{
	enum { N = 256 * 200 };
	static float x[N];
	uint8_t *blocks = malloc(N * 2);
	(void)state;
	make_values(x, N, QS_BF16);
	for (int t = 0; t < N_DTYPES; t++) {
		uint32_t dtype = dtypes[t], parts = gguf_block_parts(dtype), part = 256 / parts;
		int zero = gguf_code_zero(dtype), top = dtype == QS_Q4_K ? 15 : dtype == QS_Q5_K ? 31 : 63;
		if (parts == 1)
			continue;
		gguf_quantize(dtype, x, N / 256, NULL, 0, blocks);
		for (size_t b = 0; b < N / 256; b++) {
			gguf_block block;
			gguf_block_load(dtype, blocks + b * qs_block_size(dtype), &block);
			for (uint32_t i = 0; i < 256; i++) {
				float scale = gguf_block_scale(dtype, &block, i / part);
				float offset = gguf_block_offset(dtype, &block, i / part);
				if (scale == 0)
					continue;
				int code = nearest((x[b * 256 + i] - offset) / scale) + zero;
				assert_int_equal(block.codes[i], code < 0 ? 0 : code > top ? top : code);
			}
		}
	}
	free(blocks);
}

static void open_model(qs_model *model, const char *path)
{
	qstore_error error;
	if (qs_model_open(model, path, &error))
		fail_msg("%s", error.text);
}

/* Against files of the same model by another implementation. */
static void expect_same_tensors(const char *made, const char *real)
{
	qs_model a, b;
	size_t size_a, size_b;
	open_model(&a, made);
	open_model(&b, real);
	uint8_t *bytes_a = scratch_read(made, &size_a), *bytes_b = scratch_read(real, &size_b);
	const qs_weights *x = &a.files[0].weights, *y = &b.files[0].weights;
	assert_int_equal(x->n_tensors, y->n_tensors);
	for (size_t i = 0; i < x->n_tensors; i++) {
		const qs_weight *tensor = &x->tensors[i], *other = qs_weights_find(y, tensor->name);
		assert_non_null(other);
		assert_int_equal(tensor->dtype, other->dtype);
		assert_int_equal(tensor->size, other->size);
		assert_memory_equal(bytes_a + tensor->offset, bytes_b + other->offset, (size_t)tensor->size);
	}
	free(bytes_a);
	free(bytes_b);
	qs_model_close(&a);
	qs_model_close(&b);
}

static void makes_a_real_models_files(void **state)
{
	gguf_options options = {.version = 3, .alignment = 32, .shards = 1, .pure = 1};
	const char *converted = scratch_path(state, "bf16.gguf"), *quantized = scratch_path(state, "q.gguf");
	if (!scratch_exists(DATA "tiny1m-q4_0.gguf")) {
		skip();
		return;
	}
	gguf_convert(DATA "model.safetensors", QS_BF16, &options, converted);
	expect_same_tensors(converted, DATA "tiny1m-bf16.gguf");
	assert_true(gguf_quantize_model(converted, "q8_0", &options, quantized));
	expect_same_tensors(quantized, DATA "tiny1m-q8_0.gguf");
	assert_true(gguf_quantize_model(converted, "q4_0", &options, quantized));
	expect_same_tensors(quantized, DATA "tiny1m-q4_0.gguf");
}

static void expect_dtype(const char *path, const char *name, uint32_t dtype)
{
	qs_model model;
	open_model(&model, path);
	const qs_weight *tensor = qs_model_find(&model, name, NULL);
	assert_non_null(tensor);
	if (tensor->dtype != dtype)
		fail_msg("%s is %s, not %s", name, qs_dtype_name(tensor->dtype), qs_dtype_name(dtype));
	qs_model_close(&model);
}

/* llama-quantize's choices: half of an "_M" file's values' and down matrices are finer, the output always. */
static void mixes_types_as_llama_quantize(void **state)
{
	gguf_options options = {.version = 2, .alignment = 64, .shards = 1};
	llama_options llama = {.dtype = QS_BF16,
	                       .seed = 3,
	                       .layers = 2,
	                       .hidden = 256,
	                       .intermediate = 288,
	                       .vocab = 64,
	                       .shards = 1,
	                       .high = scratch_path(state, "llama")};
	const char *source = scratch_path(state, "bf16.gguf"), *path = scratch_path(state, "q4_k_m.gguf");
	qs_model model;
	generate_llama(&llama);
	gguf_convert(llama.high, QS_BF16, &options, source);
	assert_true(gguf_quantize_model(source, "q4_k_m", &options, path));
	expect_dtype(path, "blk.0.attn_q.weight", QS_Q4_K);
	expect_dtype(path, "blk.1.attn_v.weight", QS_Q6_K);
	expect_dtype(path, "blk.0.ffn_up.weight", QS_Q4_K);
	expect_dtype(path, "blk.1.ffn_down.weight", QS_Q8_0); /* Q6_K, but for rows of 288 */
	expect_dtype(path, "blk.0.ffn_norm.weight", QS_F32);
	open_model(&model, path);
	assert_string_equal(model.precisions[0].name, "q4_k");
	qs_model_close(&model);
	assert_false(gguf_quantize_model(source, "q3_k", &options, path));

	options.shards = 3;
	assert_true(gguf_quantize_model(source, "q6_k", &options, scratch_path(state, "s/m.gguf")));
	open_model(&model, scratch_path(state, "s/m-00001-of-00003.gguf"));
	assert_int_equal(model.n_files, 3);
	assert_string_equal(model.precisions[0].name, "q6_k");
	qs_model_close(&model);
}

/* With an importance matrix elements of weight lose less, and the scale is the best for the codes. */
static void importance_chooses_scales(void **state)
{
	enum { N = 256 * 60 };
	static float x[N], importance[256], y[2][N];
	uint8_t *blocks = malloc(N * 2);
	(void)state;
	make_values(x, N, QS_BF16);
	for (int i = 0; i < 256; i++)
		importance[i] = i % 8 ? 0.01f : 10.0f;
	for (int t = 0; t < N_DTYPES; t++) {
		uint32_t dtype = dtypes[t], n = qs_block_elems(dtype);
		double errors[2] = {0};
		if (dtype == QS_Q8_0 || dtype == QS_Q4_1 || dtype == QS_Q5_1)
			continue; /* which have none */
		for (int with = 0; with < 2; with++) {
			gguf_quantize(dtype, x, N / n, with ? importance : NULL, 256, blocks);
			gguf_dequantize(dtype, blocks, N / n, y[with]);
			for (size_t i = 0; i < N; i += 8)
				errors[with] += ((double)y[with][i] - x[i]) * ((double)y[with][i] - x[i]);
		}
		assert_true(errors[1] < 0.9 * errors[0]);
	}
	free(blocks);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(takes_blocks_apart_and_puts_them_together),
	    cmocka_unit_test(knows_where_bits_stand),
	    cmocka_unit_test(quantizes_to_near_values),
	    cmocka_unit_test(chooses_codes_by_stored_scales),
	    cmocka_unit_test(importance_chooses_scales),
	    cmocka_unit_test_setup_teardown(makes_a_real_models_files, scratch_setup, scratch_teardown),
	    cmocka_unit_test_setup_teardown(mixes_types_as_llama_quantize, scratch_setup, scratch_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The ONNX folders that tests and benchmarks use: the quantizer's arithmetic, and that what is written is
 * what the reader finds. */
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
#include "../generate/llama.h"
#include "../generate/onnx_llama.h"
#include "../generate/onnx_rounding.h"
#include "../generate/values.h"
#include "scratch.h"

/* Worked out with numpy from the formulas that onnx_rounding.h names. */
static void rounds_as_onnxruntime(void **state)
{
	static const float both[] = {-1, 0.25f, 0.5f}, positive[] = {1, 3, 2}, none[] = {0, 0, 0},
	                   columns[] = {1, -8, 2, 4};
	(void)state;
	onnx_params p = onnx_find_params(both, 3, 1, 0, 0);
	assert_true(p.scale == (float)(1.5 / 255) && p.zero == 170);
	assert_int_equal(onnx_round(&p, 0, -1), 0);
	assert_int_equal(onnx_round(&p, 0, 0), 170);
	assert_int_equal(onnx_round(&p, 0, 0.25f), 212); /* 42.5: to even */
	assert_int_equal(onnx_round(&p, 0, 0.5f), 255);
	assert_int_equal(onnx_round(&p, 0, 9), 255);
	p = onnx_find_params(both, 3, 1, 0, 1);
	assert_true(p.scale == (float)(1.5 / 127) && p.zero == 85);
	p = onnx_find_params(both, 3, 1, 1, 0);
	assert_true(p.scale == (float)(2.0 / 254) && p.zero == 0);
	assert_int_equal((int8_t)onnx_round(&p, 1, -1), -127);
	assert_int_equal((int8_t)onnx_round(&p, 1, 0.25f), 32);
	assert_int_equal((int8_t)onnx_round(&p, 1, -9), -128);
	p = onnx_find_params(both, 3, 1, 1, 1);
	assert_true(p.scale == (float)(2.0 / 128) && p.zero == 0);
	p = onnx_find_params(positive, 3, 1, 0, 0);
	assert_true(p.scale == (float)(3.0 / 255) && p.zero == 0);
	p = onnx_find_params(none, 3, 1, 0, 0);
	assert_true(p.scale == 1 && p.zero == 0);
	p = onnx_find_params(columns + 1, 2, 2, 1, 0);
	assert_true(p.scale == (float)(16.0 / 254));

	assert_int_equal(onnx_to_f16(0), 0);
	assert_int_equal(onnx_to_f16(-0.0f), 0x8000);
	assert_int_equal(onnx_to_f16(5e-9f), 2); /* 1e-7 */
	assert_int_equal(onnx_to_f16(-5e-9f), 0x8002);
	assert_int_equal(onnx_to_f16(1), 0x3c00);
	assert_int_equal(onnx_to_f16(20000), 0x70e2); /* 1e4 */
	assert_int_equal(onnx_to_f16(-20000), 0xf0e2);
	assert_int_equal(onnx_to_f16(INFINITY), 0x7c00);
}

/* Blocks of MatMulNBits, likewise. */
static void rounds_blocks_as_onnxruntime(void **state)
{
	static const float both[] = {-1, 0.25f, 0.5f}, positive[] = {1, 3, 2}, none[] = {0, 0, 0};
	(void)state;
	onnx_params p = onnx_find_block(both, 3, 1, 0);
	assert_true(p.scale == 0.125f && p.zero == 8);
	assert_int_equal(onnx_round_block(&p, -1), 0);
	assert_int_equal(onnx_round_block(&p, 0.25f), 10);
	assert_int_equal(onnx_round_block(&p, 1), 15);       /* there is no 16 */
	assert_int_equal(onnx_round_block(&p, 0.0625f), 9);  /* 8.5: up */
	assert_int_equal(onnx_round_block(&p, -0.0625f), 8); /* 7.5: up */
	p = onnx_find_block(positive, 3, 1, 0);
	assert_true(p.scale == -0.375f && p.zero == 8);
	assert_int_equal(onnx_round_block(&p, 3), 0);
	assert_int_equal(onnx_round_block(&p, -3), 15);
	p = onnx_find_block(none, 3, 1, 0);
	assert_int_equal(onnx_round_block(&p, 0), 8);
	p = onnx_find_block(both, 3, 1, 1);
	assert_true(p.scale == (float)(1.5 / 15) && p.zero == 10);
	assert_int_equal(onnx_round_block(&p, -1), 0);
	assert_int_equal(onnx_round_block(&p, 0.25f), 13); /* 12.5: up */
	assert_int_equal(onnx_round_block(&p, 0.5f), 15);
	p = onnx_find_block(positive, 3, 1, 1);
	assert_true(p.scale == (float)(3.0 / 15) && p.zero == 0);
}

/* Paths that stay valid. */
typedef struct paths {
	char source[4096], made[4096];
} paths;

static void generate(void **state, paths *p, const onnx_options *options)
{
	static const int precisions[] = {ONNX_FP32, ONNX_FP16, ONNX_INT8, ONNX_UINT8};
	snprintf(p->source, sizeof p->source, "%s", scratch_path(state, "source"));
	snprintf(p->made, sizeof p->made, "%s", scratch_path(state, "made"));
	generate_llama(&(llama_options){.dtype = QS_F32,
	                                .seed = 7,
	                                .layers = 1,
	                                .hidden = 128,
	                                .intermediate = 64,
	                                .vocab = 320,
	                                .shards = 1,
	                                .high = p->source});
	onnx_options o = *options;
	o.model = p->source;
	o.output = p->made;
	o.base = "model";
	for (size_t i = 0; i < sizeof precisions / sizeof *precisions; i++) {
		o.precision = precisions[i];
		generate_onnx(&o);
	}
	generate_onnx_small_files(&o);
}

static void open_precision(qs_model *model, const char *path, const char *suffix)
{
	char file[5000];
	qstore_error error = {0};
	snprintf(file, sizeof file, "%s/onnx/model%s.onnx", path, suffix);
	if (qs_model_open(model, file, &error))
		fail_msg("%s", error.text);
}

static float *read_floats(const qs_model *model, const char *name, size_t *n, uint64_t *cols)
{
	const qs_model_file *file;
	const qs_weight *tensor = qs_model_find(model, name, &file);
	size_t size;
	if (!tensor)
		fail_msg("no tensor \"%s\"", name);
	uint8_t *bytes = scratch_read(file->path, &size);
	*n = (size_t)(tensor->size / qs_dtype_size(tensor->dtype));
	float *values = malloc(*n * sizeof *values);
	for (size_t i = 0; i < *n; i++)
		values[i] = tensor->dtype == QS_I8   ? (int8_t)bytes[tensor->offset + i]
		            : tensor->dtype == QS_U8 ? bytes[tensor->offset + i]
		                                     : value_load(bytes + tensor->offset, tensor->dtype, i);
	*cols = tensor->n_dims ? tensor->dims[tensor->n_dims - 1] : 1;
	free(bytes);
	return values;
}

/* Each code is the nearest to its value; each matrix uses its whole range. */
static void check_quant(const qs_model *fine, const qs_model *model, const qs_onnx_quant *quant, int reduced)
{
	char name[300];
	size_t n, n_fine, n_scales;
	uint64_t cols, ignored;
	float error = 0, most = 0;
	float *codes = read_floats(model, quant->weight, &n, &cols);
	snprintf(name, sizeof name, "%.*s", (int)(strlen(quant->weight) - strlen("_quantized")), quant->weight);
	float *values = read_floats(fine, name, &n_fine, &ignored);
	float *scales = read_floats(model, quant->scale, &n_scales, &ignored);
	assert_int_equal(n, n_fine);
	assert_int_equal(n_scales, quant->axis < 0 ? 1 : cols);
	assert_int_equal(quant->n_zero_points, n_scales);
	for (size_t i = 0; i < n; i++) {
		size_t at = quant->axis < 0 ? 0 : i % cols;
		float code = codes[i] - quant->zero_points[at];
		error = fmaxf(error, fabsf(values[i] / scales[at] - code));
		most = fmaxf(most, fabsf(code));
	}
	assert_true(error < 0.51f || quant->n_zero_points > 1); /* the zero point is rounded too */
	assert_true(error < 1.01f);
	assert_true(reduced ? most >= 63 : most >= 127);
	free(scales);
	free(values);
	free(codes);
}

static void check_codes(void **state, const onnx_options *options)
{
	static const char *const suffixes[] = {"_int8", "_uint8"};
	paths p;
	qs_model fine, model;
	generate(state, &p, options);
	open_precision(&fine, p.made, "");
	for (int s = 0; s < 2; s++) {
		size_t n_quants = 0;
		open_precision(&model, p.made, suffixes[s]);
		for (size_t f = 0; f < model.n_files; f++) {
			for (size_t i = 0; i < model.files[f].n_quants; i++) {
				const qs_onnx_quant *quant = &model.files[f].quants[i];
				int is_embedding = !!strstr(quant->weight, "embed_tokens");
				assert_string_equal(quant->op, is_embedding ? "" : "MatMulInteger");
				assert_int_equal(quant->axis, is_embedding || !options->per_channel ? -1 : 1);
				check_quant(&fine, &model, quant, options->reduced && !is_embedding);
				n_quants++;
			}
		}
		assert_int_equal(n_quants, 7 + !options->gemm + 1);
		qs_model_close(&model);
	}
	qs_model_close(&fine);
}

static void one_scale_a_matrix(void **state)
{
	check_codes(state, &(onnx_options){0});
}

static void one_scale_a_column(void **state)
{
	check_codes(state, &(onnx_options){.per_channel = 1, .reduced = 1, .external = 1, .gemm = 1});
}

/* Codes of blocks are stored along the inputs, which are the rows of the floats. */
static void blocks_of_4_bits(void **state)
{
	for (int asymmetric = 0; asymmetric < 2; asymmetric++) {
		paths p;
		qs_model fine, model;
		size_t n_quants = 0, block = asymmetric ? 16 : 32;
		generate(state, &p, &(onnx_options){0});
		onnx_options o = {.model = p.source,
		                  .output = p.made,
		                  .base = "model",
		                  .precision = ONNX_Q4,
		                  .block = (int)block,
		                  .asymmetric = asymmetric};
		generate_onnx(&o);
		open_precision(&fine, p.made, "");
		open_precision(&model, p.made, "_q4");
		for (size_t f = 0; f < model.n_files; f++)
			for (size_t i = 0; i < model.files[f].n_quants; i++) {
				const qs_onnx_quant *quant = &model.files[f].quants[i];
				size_t n_bytes, n, n_scales, n_zeros = 0;
				uint64_t cols, ignored;
				float *bytes = read_floats(&model, quant->weight, &n_bytes, &ignored), *zeros = NULL;
				float *values = read_floats(&fine, quant->original, &n, &cols);
				float *scales = read_floats(&model, quant->scale, &n_scales, &ignored);
				size_t rows = n / (size_t)cols, n_blocks = rows / block;
				if (asymmetric)
					zeros = read_floats(&model, quant->zero_point, &n_zeros, &ignored);
				assert_string_equal(quant->op, "MatMulNBits");
				assert_true(quant->bits == 4 && quant->block_size == block);
				assert_true(n_bytes == n / 2 && n_scales == n / block && (n_zeros != 0) == asymmetric);
				for (size_t r = 0; r < rows; r++)
					for (size_t c = 0; c < cols; c++) {
						size_t at = c * rows + r, of = at / block;
						int code = (int)bytes[at / 2] >> at % 2 * 4 & 15, zero = 8;
						if (asymmetric)
							zero = (int)zeros[c * ((n_blocks + 1) / 2) + r / block / 2] >> r / block % 2 * 4 &
							       15;
						float off = values[r * cols + c] - scales[of] * (float)(code - zero);
						assert_true(fabsf(off) <= 1.001f * fabsf(scales[of]));
					}
				free(bytes);
				free(values);
				free(scales);
				free(zeros);
				n_quants++;
			}
		assert_int_equal(n_quants, 8);
		qs_model_close(&model);
		qs_model_close(&fine);
	}
}

static void halves_are_the_same_names(void **state)
{
	paths p;
	qs_model fine, half;
	size_t n_tensors = 0;
	generate(state, &p, &(onnx_options){.external = 1});
	open_precision(&fine, p.made, "");
	open_precision(&half, p.made, "_fp16");
	for (size_t f = 0; f < fine.n_files; f++) {
		for (size_t t = 0; t < fine.files[f].weights.n_tensors; t++) {
			const qs_weight *tensor = &fine.files[f].weights.tensors[t];
			const qs_weight *other = qs_model_find(&half, tensor->name, NULL);
			size_t n, n_half;
			uint64_t cols;
			assert_non_null(other);
			if (tensor->dtype != QS_F32)
				continue;
			float *values = read_floats(&fine, tensor->name, &n, &cols);
			float *halves = read_floats(&half, tensor->name, &n_half, &cols);
			assert_int_equal(other->dtype, QS_F16);
			assert_int_equal(n, n_half);
			for (size_t i = 0; i < n; i++) {
				uint8_t bytes[2];
				store_bytes(bytes, onnx_to_f16(values[i]), 2);
				assert_true(value_load(bytes, QS_F16, 0) == halves[i]);
			}
			free(values);
			free(halves);
			n_tensors++;
		}
	}
	assert_int_equal(n_tensors, 7 + 2 + 3 + 5); /* layer, embedding and head, norms, constants */
	qs_model_close(&half);
	qs_model_close(&fine);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(rounds_as_onnxruntime), TEST(rounds_blocks_as_onnxruntime), TEST(blocks_of_4_bits),
	    TEST(one_scale_a_matrix),    TEST(one_scale_a_column),           TEST(halves_are_the_same_names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Models of ONNX files: their precisions, and files that several of them use. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "formats/model.h"
#include "archive_help.h"
#include "onnx_help.h"
#include "scratch.h"

static const uint8_t zeros[4096];

static void write_weight(void **state, const char *name, const char *tensor, const char *location)
{
	pb graph = {0};
	if (location)
		add_external(&graph, tensor, DIMS(4), location, 0, 16);
	else
		add_raw(&graph, tensor, ONNX_TYPE_FLOAT, DIMS(4), 16);
	write_graph(state, name, &graph);
}

static void write_folder(void **state)
{
	scratch_write(state, "m/config.json", "{}", 2);
	scratch_write(state, "m/onnx/encoder.onnx_data", zeros, 16);
	scratch_write(state, "m/onnx/encoder_fp16.onnx_data", zeros, 16);
	write_weight(state, "m/onnx/encoder.onnx", "w", "encoder.onnx_data");
	write_weight(state, "m/onnx/encoder_fp16.onnx", "w", "encoder_fp16.onnx_data");
	write_weight(state, "m/onnx/encoder_quantized.onnx", "w_quantized", NULL);
	write_weight(state, "m/onnx/decoder.onnx", "w", NULL);
	write_weight(state, "m/onnx/decoder_q4f16.onnx", "w_Q4", NULL);
}

static void expect_files(const qs_model *model, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n && i < model->n_files; i++)
		assert_string_equal(model->files[i].name, names[i]);
	assert_int_equal(model->n_files, n);
}

static void opens_all_precisions(void **state)
{
	static const struct {
		const char *name;
		uint32_t precisions;
	} files[] = {{"config.json", 15},
	             {"onnx/decoder.onnx", 1},
	             {"onnx/decoder_q4f16.onnx", 8},
	             {"onnx/encoder.onnx", 1},
	             {"onnx/encoder.onnx_data", 1},
	             {"onnx/encoder_fp16.onnx", 2},
	             {"onnx/encoder_fp16.onnx_data", 2},
	             {"onnx/encoder_quantized.onnx", 4},
	             {"other.safetensors", 1}};
	static const char *const precisions[] = {"fp32", "fp16", "q8", "q4f16"};
	qs_model model;
	qstore_error error = {0};
	write_folder(state);
	scratch_safetensors(state, "m/other.safetensors",
	                    "{\"w\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]}}", 3);
	assert_int_equal(qs_model_open(&model, scratch_path(state, "m"), &error), QSTORE_OK);
	assert_int_equal(model.n_files, sizeof files / sizeof *files);
	for (size_t i = 0; i < model.n_files; i++) {
		assert_string_equal(model.files[i].name, files[i].name);
		assert_int_equal(model.files[i].precisions, files[i].precisions);
	}
	assert_string_equal(model.files[1].component, "onnx/decoder.onnx");
	assert_string_equal(model.files[4].component, "onnx/encoder.onnx");
	assert_string_equal(model.files[6].component, "onnx/encoder.onnx");
	assert_true(model.files[4].is_weights && model.files[4].weights.n_tensors == 1);
	assert_int_equal(model.n_precisions, 4);
	for (int i = 0; i < 4; i++)
		assert_string_equal(model.precisions[i].name, precisions[i]);
	qs_model_close(&model);
}

static void opens_a_single_file(void **state)
{
	static const char *const names[] = {"encoder_fp16.onnx", "encoder_fp16.onnx_data"};
	qs_model model;
	qstore_error error = {0};
	const qs_model_file *file;
	write_folder(state);
	assert_int_equal(qs_model_open(&model, scratch_path(state, "m/onnx/encoder_fp16.onnx"), &error),
	                 QSTORE_OK);
	expect_files(&model, names, 2);
	/* Its weights are F32, whatever its name says. */
	assert_string_equal(model.precisions[0].name, "fp32");
	assert_int_equal(model.files[1].size, 16);
	assert_non_null(qs_model_find(&model, "w", &file));
	assert_ptr_equal(file, &model.files[1]);
	qs_model_close(&model);
}

static void files_may_share_external_data(void **state)
{
	qs_model model;
	qstore_error error = {0};
	pb graph = {0};
	scratch_write(state, "m/shared", zeros, 64);
	write_weight(state, "m/a.onnx", "w", "shared");
	add_external(&graph, "w", DIMS(4), "shared", 0, 16);
	add_external(&graph, "v", DIMS(4), "shared", 16, 16);
	write_graph(state, "m/b.onnx", &graph);
	assert_int_equal(qs_model_open(&model, scratch_path(state, "m"), &error), QSTORE_OK);
	assert_int_equal(model.n_files, 3);
	assert_int_equal(model.files[2].weights.n_tensors, 2);
	assert_string_equal(model.files[2].component, "a.onnx");
	qs_model_close(&model);

	add_external(&graph, "v", DIMS(4), "shared", 8, 16);
	write_graph(state, "m/b.onnx", &graph);
	assert_int_equal(qs_model_open(&model, scratch_path(state, "m"), &error), QSTORE_OK);
	assert_int_equal(model.files[2].weights.n_tensors, 1);
	assert_string_equal(model.files[2].weights.tensors[0].name, "w");
	qs_model_close(&model);

	write_weight(state, "m/b.onnx", "w", "a.onnx");
	assert_int_equal(qs_model_open(&model, scratch_path(state, "m"), &error), QSTORE_INPUT);
	assert_non_null(strstr(error.text, "is a file of weights"));
	qs_model_close(&model);

	scratch_write(state, "m/.hidden", zeros, 64);
	write_weight(state, "m/b.onnx", "w", ".hidden");
	assert_int_equal(qs_model_open(&model, scratch_path(state, "m"), &error), QSTORE_INPUT);
	assert_non_null(strstr(error.text, "put it beside the model"));
	qs_model_close(&model);
}

/* A matrix of no columns has no scales either; nothing may be divided by their number. */
static void packs_codes_without_elements(void **state)
{
	pb fine = {0}, coarse = {0};
	add_raw(&fine, "w", ONNX_TYPE_FLOAT, DIMS(2, 0), 0);
	add_raw(&fine, "v", ONNX_TYPE_FLOAT, DIMS(4, 4), 64);
	add_raw(&coarse, "w_quantized", ONNX_TYPE_INT8, DIMS(2, 0), 0);
	add_raw(&coarse, "w_scale", ONNX_TYPE_FLOAT, DIMS(0), 0);
	add_node(&coarse, "DequantizeLinear", "w_quantized w_scale", "y"); /* along axis 1 */
	add_raw(&coarse, "v", ONNX_TYPE_FLOAT, DIMS(4, 4), 64);
	const char *high = write_graph(state, "high/model.onnx", &fine),
	           *low = write_graph(state, "low/model.onnx", &coarse),
	           *packed = scratch_path(state, "a.qstore");
	archive_pack(high, low, packed);
	archive_verify(packed);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(opens_all_precisions),
	    TEST(opens_a_single_file),
	    TEST(files_may_share_external_data),
	    TEST(packs_codes_without_elements),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

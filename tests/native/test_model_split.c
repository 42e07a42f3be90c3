/* Folders with a model in several precisions: what names of files say, and which file belongs to which. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../generate/onnx_writer.h"
#include "formats/model.h"
#include "model_help.h"
#include "scratch.h"

enum { F32 = 0, F16 = 1, Q8_0 = 8, Q4_K = 12, BF16 = 30 }; /* ggml's numbers */

static void names_say_precisions(void **state)
{
	static const struct {
		const char *name, *label, *precision, *component;
	} cases[] = {
	    {"model.safetensors", "", "", "model.safetensors"},
	    {"model-00001-of-00003.safetensors", "", "", "model.safetensors"},
	    {"model.fp16.safetensors", "fp16", "fp16", "model.safetensors"},
	    {"unet/model.fp16-00001-of-00002.safetensors", "fp16", "fp16", "unet/model.safetensors"},
	    {"unet/model-00001-of-00002.fp16.safetensors", "fp16", "fp16", "unet/model.safetensors"},
	    {"t5xxl_fp8_e4m3fn.safetensors", "fp8_e4m3fn", "fp8", "t5xxl.safetensors"},
	    {"wan2.1_t2v_1.3B_bf16.safetensors", "bf16", "bf16", "wan2.1_t2v_1.3B.safetensors"},
	    {"onnx/model.onnx", "", "", "onnx/model.onnx"},
	    {"onnx/decoder_model_merged_q4f16.onnx", "q4f16", "q4f16", "onnx/decoder_model_merged.onnx"},
	    {"onnx/model_quantized.onnx", "q8", "q8", "onnx/model.onnx"},
	    {"model_int8_dynamic.onnx", "int8_dynamic", "int8", "model.onnx"},
	    {"onnx/model_qint8_avx512_vnni.onnx", "int8_avx512_vnni", "int8", "onnx/model.onnx"},
	    {"onnx/model_quint8_avx2.onnx", "uint8_avx2", "uint8", "onnx/model.onnx"},
	    {"onnx/model_O3.onnx", "o3", "", "onnx/model.onnx"},
	    {"encoder-epoch-99-avg-1.int8.onnx", "int8", "int8", "encoder-epoch-99-avg-1.onnx"},
	    {"fp16/model.onnx", "fp16", "fp16", "model.onnx"},
	    {"onnx-int8/model.onnx", "int8", "int8", "onnx/model.onnx"},
	    {"cpu_and_mobile/cpu-int4-rtn-block-32-acc-level-4/model.onnx", "int4_rtn_block_32_acc_level_4_cpu",
	     "int4", "model.onnx"},
	    {"cuda/cuda-fp16/model.onnx", "fp16_cuda", "fp16", "model.onnx"},
	    {"cuda/model.onnx", "", "", "cuda/model.onnx"},
	    {"Llama-3.2-1B-Instruct-Q4_K_M.gguf", "q4_k_m", "q4_k_m", "Llama-3.2-1B-Instruct.gguf"},
	    {"llama.Q8_0.gguf", "q8_0", "q8_0", "llama.gguf"},
	    {"llama.i1-IQ2_XXS.gguf", "iq2_xxs_i1", "iq2_xxs", "llama.gguf"},
	    {"llama-UD-Q4_K_XL.gguf", "q4_k_xl_ud", "q4_k_xl", "llama.gguf"},
	    {"BF16/llama-BF16-00001-of-00002.gguf", "bf16", "bf16", "llama.gguf"},
	    {"mmproj-llama-f16.gguf", "fp16", "fp16", "mmproj-llama.gguf"},
	    {"text_encoder_2/model.safetensors", "", "", "text_encoder_2/model.safetensors"},
	    {"checkpoint-500/model.safetensors", "", "", "checkpoint-500/model.safetensors"},
	    {"mlx/4bit/model.safetensors", "int4", "int4", "model.safetensors"},
	    {"mlx-4bit/model.safetensors", "int4_mlx", "int4", "model.safetensors"},
	    {"fp16.onnx", "fp16", "fp16", ".onnx"},
	    {"plain", "", "", "plain"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		qs_labelled_name parts;
		assert_true(qs_label_name(cases[i].name, &parts));
		if (strcmp(parts.label.text, cases[i].label) != 0 ||
		    strcmp(parts.label.precision, cases[i].precision) != 0 ||
		    strcmp(parts.component, cases[i].component) != 0)
			fail_msg("%s: \"%s\", \"%s\", \"%s\"", cases[i].name, parts.label.text, parts.label.precision,
			         parts.component);
		free(parts.component);
		free(parts.set);
	}
}

/* The precisions, fine to coarse, and the number of precisions that each file belongs to, in hexadecimal. */
static void expect_split(void **state, const char *folder, const char *precisions, const char *files)
{
	char text[1000] = "";
	qs_model model;
	qstore_error error = {0};
	if (qs_model_open(&model, scratch_path(state, folder), &error))
		fail_msg("%s", error.text);
	for (uint32_t p = 0; p < model.n_precisions; p++)
		snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", p ? " " : "",
		         model.precisions[p].name);
	assert_string_equal(text, precisions);
	text[0] = 0;
	for (size_t f = 0; f < model.n_files; f++)
		snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s %x", f ? ", " : "",
		         model.files[f].name, model.files[f].precisions);
	assert_string_equal(text, files);
	qs_model_close(&model);
}

static void pipelines_are_whole_in_each_precision(void **state)
{
	write_tensors(state, "m/unet/model.safetensors", "w F32 16,16");
	write_tensors(state, "m/unet/model.fp16.safetensors", "w F16 16,16");
	write_tensors(state, "m/text_encoder/model.safetensors", "w F32 16,16");
	write_tensors(state, "m/text_encoder_2/model.safetensors", "w F32 16,16");
	scratch_write(state, "m/model_index.json", "{}", 2);
	expect_split(state, "m", "fp32 fp16",
	             "model_index.json 3, text_encoder/model.safetensors 3, text_encoder_2/model.safetensors 3, "
	             "unet/model.fp16.safetensors 2, unet/model.safetensors 1");
}

static void a_gguf_repository_has_many_precisions(void **state)
{
	write_gguf(state, "m/x-Q4_K_M.gguf", "w", Q4_K, 0, 0, 0);
	write_gguf(state, "m/x-Q8_0.gguf", "w", Q8_0, 0, 0, 0);
	write_gguf(state, "m/BF16/x-BF16-00001-of-00002.gguf", "v", BF16, 0, 2, 2);
	write_gguf(state, "m/BF16/x-BF16-00002-of-00002.gguf", "w", BF16, 1, 2, 2);
	write_gguf(state, "m/mmproj-x-f16.gguf", "v", F16, 0, 0, 0);
	write_gguf(state, "m/mmproj-x-f32.gguf", "v", F32, 0, 0, 0);
	scratch_write(state, "m/BF16/README.md", "x", 1);
	scratch_write(state, "m/README.md", "x", 1);
	expect_split(state, "m", "bf16 q8_0 q4_k_m",
	             "BF16/README.md 1, BF16/x-BF16-00001-of-00002.gguf 1, BF16/x-BF16-00002-of-00002.gguf 1, "
	             "README.md 7, mmproj-x-f16.gguf 7, mmproj-x-f32.gguf 1, x-Q4_K_M.gguf 4, x-Q8_0.gguf 2");
}

static void a_projector_alone_has_precisions(void **state)
{
	write_gguf(state, "m/x-Q8_0.gguf", "w", Q8_0, 0, 0, 0);
	write_gguf(state, "m/mmproj-f16.gguf", "v", F16, 0, 0, 0);
	expect_split(state, "m", "q8_0", "mmproj-f16.gguf 1, x-Q8_0.gguf 1");
	write_gguf(state, "m/mmproj-f32.gguf", "v", F32, 0, 0, 0);
	expect_split(state, "m", "fp32 fp16", "mmproj-f16.gguf 2, mmproj-f32.gguf 1, x-Q8_0.gguf 3");
}

static void write_onnx(void **state, const char *name, int dtype, const char *location)
{
	pb graph = {0}, model = {0};
	size_t size = dtype == ONNX_TYPE_FLOAT ? 1024 : 512;
	static const uint8_t zeros[1024];
	pb tensor = onnx_tensor("w", dtype, (uint64_t[]){256}, 1);
	if (location)
		onnx_external(&tensor, location, -1, -1);
	else
		pb_bytes(&tensor, TENSOR_RAW_DATA, zeros, size);
	pb_message(&graph, GRAPH_INITIALIZER, &tensor);
	pb_message(&model, MODEL_GRAPH, &graph);
	scratch_write(state, name, model.data, model.size);
	pb_free(&model);
}

static void onnx_files_belong_to_their_own_precision(void **state)
{
	static const uint8_t zeros[1024];
	write_tensors(state, "m/model.safetensors", "w F32 16,16");
	write_onnx(state, "m/onnx/decoder.onnx", ONNX_TYPE_FLOAT, NULL);
	write_onnx(state, "m/onnx/model.onnx", ONNX_TYPE_FLOAT, "weights.bin");
	write_onnx(state, "m/onnx/model_O1.onnx", ONNX_TYPE_FLOAT, "weights.bin");
	write_onnx(state, "m/onnx/model_O4.onnx", ONNX_TYPE_FLOAT16, NULL);
	write_onnx(state, "m/onnx/model_int8_dynamic.onnx", ONNX_TYPE_FLOAT, NULL);
	write_onnx(state, "m/onnx/model_qint8_avx512.onnx", ONNX_TYPE_FLOAT, NULL);
	scratch_write(state, "m/onnx/weights.bin", zeros, 1024);
	expect_split(state, "m", "fp32 o1 fp16 int8_avx512 int8_dynamic",
	             "model.safetensors 1, onnx/decoder.onnx 1, onnx/model.onnx 1, onnx/model_O1.onnx 2, "
	             "onnx/model_O4.onnx 4, onnx/model_int8_dynamic.onnx 10, onnx/model_qint8_avx512.onnx 8, "
	             "onnx/weights.bin 3");
}

static void folders_may_be_precisions(void **state)
{
	write_onnx(state, "m/cpu/cpu-int4-rtn-block-32/model.onnx", ONNX_TYPE_FLOAT, NULL);
	write_onnx(state, "m/cuda/cuda-fp16/model.onnx", ONNX_TYPE_FLOAT16, NULL);
	scratch_write(state, "m/cpu/cpu-int4-rtn-block-32/genai_config.json", "{}", 2);
	scratch_write(state, "m/cuda/cuda-fp16/genai_config.json", "{}", 2);
	scratch_write(state, "m/cuda/LICENSE", "", 0);
	expect_split(state, "m", "fp16 int4",
	             "cpu/cpu-int4-rtn-block-32/genai_config.json 2, cpu/cpu-int4-rtn-block-32/model.onnx 2, "
	             "cuda/LICENSE 3, cuda/cuda-fp16/genai_config.json 1, cuda/cuda-fp16/model.onnx 1");
}

static void gguf_beside_safetensors_is_another_precision(void **state)
{
	write_tensors(state, "m/model.safetensors", "w BF16 16,16");
	write_gguf(state, "m/x.gguf", "w", Q4_K, 0, 0, 0);
	expect_split(state, "m", "bf16 q4_k", "model.safetensors 1, x.gguf 2");
	/* … as are safetensors beside several of GGUF. */
	write_gguf(state, "m/x-Q8_0.gguf", "w", Q8_0, 0, 0, 0);
	expect_split(state, "m", "bf16 q8_0 q4_k", "model.safetensors 1, x-Q8_0.gguf 2, x.gguf 4");
}

static void folders_of_mlx_are_precisions(void **state)
{
	write_tensors(state, "m/model.safetensors", "w.weight I8 16,64|w.SCB F32 16");
	write_tensors(state, "m/mlx/4bit/model.safetensors",
	              "w.weight U32 16,8|w.scales BF16 16,1|w.biases BF16 16,1");
	expect_split(state, "m", "int8 mlx-4bit", "mlx/4bit/model.safetensors 2, model.safetensors 1");
}

/* The words of names are no precisions where no part is there twice. */
static void one_of_each_is_one_precision(void **state)
{
	write_tensors(state, "m/flux-fp8.safetensors", "w F8_E4M3 64,64");
	write_tensors(state, "m/clip_fp16.safetensors", "v F16 16,16");
	expect_split(state, "m", "fp8", "clip_fp16.safetensors 1, flux-fp8.safetensors 1");
}

static void equal_names_get_numbers(void **state)
{
	write_tensors(state, "m/model.safetensors", "w F16 16,16");
	write_tensors(state, "m/model.fp16.safetensors", "w F16 16,16");
	expect_split(state, "m", "fp16 fp16-2", "model.fp16.safetensors 2, model.safetensors 1");
	/* Floats are called as they are, whatever the name promises. */
	write_tensors(state, "m/model.fp16.safetensors", "w F32 16,16");
	expect_split(state, "m", "fp32 fp16", "model.fp16.safetensors 1, model.safetensors 2");
}

static void warns_of_a_model_that_is_there_twice(void **state)
{
	qs_model model;
	qstore_error error;
	write_tensors(state, "m/model.safetensors", "w BF16 16,16|v BF16 16");
	write_tensors(state, "m/model-00001-of-00001.safetensors", "w BF16 16,16|v BF16 16");
	write_tensors(state, "m/sub/model.safetensors", "w BF16 16,16|v BF16 16");
	assert_int_equal(qs_model_open(&model, scratch_path(state, "m"), &error), QSTORE_OK);
	assert_int_equal(model.n_precisions, 1);
	assert_int_equal(model.n_warnings, 1);
	assert_non_null(strstr(model.warnings[0], "2 tensors of \"model-00001-of-00001.safetensors\" are in "
	                                          "\"model.safetensors\" too"));
	qs_model_close(&model);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(names_say_precisions),
	    TEST(pipelines_are_whole_in_each_precision),
	    TEST(a_gguf_repository_has_many_precisions),
	    TEST(a_projector_alone_has_precisions),
	    TEST(onnx_files_belong_to_their_own_precision),
	    TEST(folders_may_be_precisions),
	    TEST(gguf_beside_safetensors_is_another_precision),
	    TEST(folders_of_mlx_are_precisions),
	    TEST(one_of_each_is_one_precision),
	    TEST(equal_names_get_numbers),
	    TEST(warns_of_a_model_that_is_there_twice),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

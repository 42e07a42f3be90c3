/* Publishers' folders as they are, packed and unpacked: pipelines, several precisions in one folder, whole
 * repositories of GGUF. */
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
#include <qstore.h>

#include "../generate/gguf_model.h"
#include "../generate/llama.h"
#include "../generate/onnx_llama.h"
#include "archive_help.h"
#include "core/index.h"
#include "model_help.h"
#include "scratch.h"

static llama_options small_llama(uint32_t dtype, uint64_t seed)
{
	return (llama_options){.dtype = dtype,
	                       .seed = seed,
	                       .layers = 1,
	                       .hidden = 256,
	                       .intermediate = 256,
	                       .vocab = 64,
	                       .shards = 1};
}

/* Moves a file; the target's folders are made. */
static void move(void **state, const char *from, const char *to)
{
	assert_int_equal(rename(scratch_path(state, from), scratch_path(state, to)), 0);
}

static void copy(void **state, const char *from, const char *to)
{
	size_t size;
	uint8_t *data = scratch_read(scratch_path(state, from), &size);
	scratch_write(state, to, data, size);
	free(data);
}

/* Packs, verifies, and restores all variants into FOLDER/out/VARIANT. */
static void pack_and_restore(void **state, qstore_pack_options options, qstore_pack_result *result)
{
	char *output = copy_text(scratch_path(state, "a.qstore"));
	options.output = output;
	archive_pack_with(options, result);
	archive_verify(output);
	archive_unpack(output, "all", scratch_path(state, "out"));
	free(output);
}

static void expect_names(const qstore_pack_result *result, const char *names)
{
	char text[500] = "";
	for (uint32_t v = 0; v < result->n_variants; v++)
		snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", v ? " " : "",
		         result->variants[v].name);
	assert_string_equal(text, names);
}

static void expect_restored(void **state, const char *folder, const char *variant, const char *name)
{
	char from[300], to[300];
	snprintf(from, sizeof from, "%s/%s", folder, name);
	snprintf(to, sizeof to, "out/%s/%s", variant, name);
	expect_same_file(scratch_path(state, from), scratch_path(state, to));
}

/* Two models whose tensors have the same names, each in BF16 and INT8. */
static void pipelines_are_paired_part_by_part(void **state)
{
	qstore_pack_result result;
	llama_options one = small_llama(QS_BF16, 1), two = small_llama(QS_BF16, 2);
	one.high = scratch_path(state, "high/text_encoder");
	one.low = scratch_path(state, "low/text_encoder");
	generate_llama(&one);
	two.high = scratch_path(state, "high/text_encoder_2");
	two.low = scratch_path(state, "low/text_encoder_2");
	generate_llama(&two);
	pack_and_restore(
	    state, (qstore_pack_options){.high = scratch_path(state, "high"), .low = scratch_path(state, "low")},
	    &result);
	expect_names(&result, "int8 bf16");
	assert_int_equal(result.n_paired, 2 * 7);
	assert_int_equal(result.n_rules, 1);
	assert_int_equal(result.rules[0].n_exceptions, 0);
	expect_same_folder(scratch_path(state, "high"), scratch_path(state, "out/bf16"));
	expect_same_folder(scratch_path(state, "low"), scratch_path(state, "out/int8"));
}

static int n_warnings;

static void count_warning(void *user, const char *text)
{
	n_warnings++;
	if (!strstr(text, user))
		fail_msg("%s", text);
}

/* LLM.int8 makes one file, in which the names would be there twice. */
static void nothing_is_made_of_a_pipeline(void **state)
{
	qstore_pack_result result;
	llama_options one = small_llama(QS_BF16, 1), two = small_llama(QS_BF16, 2);
	one.high = scratch_path(state, "high/text_encoder");
	generate_llama(&one);
	two.high = scratch_path(state, "high/text_encoder_2");
	generate_llama(&two);
	qstore_pack_options options = {.high = scratch_path(state, "high"),
	                               .work = {.on_warning = count_warning, .user = "no 8-bit variant is made"}};
	n_warnings = 0;
	pack_and_restore(state, options, &result);
	assert_int_equal(n_warnings, 1);
	expect_names(&result, "bf16");
	options.quantize = QSTORE_QUANTIZE_LLM_INT8;
	options.output = scratch_path(state, "b.qstore");
	expect_pack_fails(options, QSTORE_USAGE, "has several models in it");
}

/* A pipeline of which one part has weights: its INT8 version has these in the part's folder, under the name
 * that they had, and the config.json beside them says so. */
static void quantize_part(void **state, const char *folder, const char *name)
{
	char path[100], made[100];
	qstore_pack_result result;
	llama_options o = small_llama(QS_BF16, 1);
	snprintf(path, sizeof path, "m/%s", folder);
	o.high = scratch_path(state, path);
	generate_llama(&o);
	snprintf(made, sizeof made, "m/%s/%s", folder, name);
	snprintf(path, sizeof path, "m/%s/model.safetensors", folder);
	move(state, path, made);
	scratch_write(state, "m/config.json", "{}", 2);
	pack_and_restore(state, (qstore_pack_options){.high = scratch_path(state, "m")}, &result);
	expect_names(&result, "int8 bf16");
	expect_same_folder(scratch_path(state, "m"), scratch_path(state, "out/bf16"));
	expect_restored(state, "m", "int8", "config.json");
	snprintf(made, sizeof made, "out/int8/%s/%s", folder, name);
	assert_true(scratch_exists(scratch_path(state, made)));
	snprintf(made, sizeof made, "out/int8/%s/config.json", folder);
	size_t size;
	uint8_t *text = scratch_read(scratch_path(state, made), &size);
	assert_non_null(memmem(text, size, "\"load_in_8bit\": true", 20));
	free(text);
}

static void quantizes_a_text_encoder_in_its_folder(void **state)
{
	quantize_part(state, "text_encoder", "model.safetensors");
}

static void quantizes_a_unet_in_its_folder(void **state)
{
	quantize_part(state, "unet", "diffusion_pytorch_model.safetensors");
}

static void precisions_side_by_side_are_variants(void **state)
{
	qstore_pack_result result;
	llama_options o = small_llama(QS_F32, 1), other = small_llama(QS_F32, 2);
	o.high = scratch_path(state, "f32");
	o.cast = scratch_path(state, "bf16");
	o.cast_dtype = QS_BF16;
	generate_llama(&o);
	other.high = scratch_path(state, "other");
	generate_llama(&other);
	move(state, "f32/model.safetensors", "m/model.safetensors");
	move(state, "bf16/model.safetensors", "m/model.bf16.safetensors");
	copy(state, "f32/config.json", "m/config.json");
	copy(state, "f32/config.json", "m/vae/config.json");
	copy(state, "other/model.safetensors", "m/vae/diffusion_pytorch_model.safetensors");
	pack_and_restore(state, (qstore_pack_options){.high = scratch_path(state, "m")}, &result);
	expect_names(&result, "bf16 fp32");
	assert_true(result.n_delta > 0);
	expect_restored(state, "m", "fp32", "model.safetensors");
	expect_restored(state, "m", "bf16", "model.bf16.safetensors");
	for (int v = 0; v < 2; v++) {
		const char *variant = v ? "fp32" : "bf16";
		expect_restored(state, "m", variant, "config.json");
		expect_restored(state, "m", variant, "vae/config.json");
		expect_restored(state, "m", variant, "vae/diffusion_pytorch_model.safetensors");
	}
	assert_false(scratch_exists(scratch_path(state, "out/bf16/model.safetensors")));
	expect_pack_fails((qstore_pack_options){.high = scratch_path(state, "m"),
	                                        .output = scratch_path(state, "b.qstore"),
	                                        .quantize = QSTORE_QUANTIZE_LLM_INT8},
	                  QSTORE_USAGE, "has 2 precisions already");
}

static void a_gguf_repository_is_one_archive(void **state)
{
	qstore_pack_result result;
	gguf_options options = {.version = 3, .alignment = 32, .shards = 1};
	llama_options o = small_llama(QS_BF16, 1);
	o.high = scratch_path(state, "llama");
	generate_llama(&o);
	const char *source = scratch_path(state, "m/BF16/x-BF16.gguf");
	options.shards = 2;
	gguf_convert(o.high, QS_BF16, &options, source);
	options.shards = 1;
	const char *whole = scratch_path(state, "whole.gguf");
	gguf_convert(o.high, QS_BF16, &options, whole);
	assert_true(gguf_quantize_model(whole, "q8_0", &options, scratch_path(state, "m/x-Q8_0.gguf")));
	assert_true(gguf_quantize_model(whole, "q4_k_m", &options, scratch_path(state, "m/x-Q4_K_M.gguf")));
	/* of another component, with the same names */
	gguf_convert(o.high, QS_F16, &options, scratch_path(state, "m/mmproj-x-f16.gguf"));
	scratch_write(state, "m/README.md", "x", 1);
	pack_and_restore(state, (qstore_pack_options){.high = scratch_path(state, "m")}, &result);
	expect_names(&result, "q4_k_m q8_0 bf16");
	assert_true(result.n_paired >= 7);
	expect_restored(state, "m", "q4_k_m", "x-Q4_K_M.gguf");
	expect_restored(state, "m", "q8_0", "x-Q8_0.gguf");
	expect_restored(state, "m", "bf16", "BF16/x-BF16-00001-of-00002.gguf");
	expect_restored(state, "m", "bf16", "BF16/x-BF16-00002-of-00002.gguf");
	for (uint32_t v = 0; v < 3; v++) {
		expect_restored(state, "m", result.variants[v].name, "mmproj-x-f16.gguf");
		expect_restored(state, "m", result.variants[v].name, "README.md");
	}

	/* One file of it, with what is beside it. */
	qstore_pack_options one = {.high = scratch_path(state, "m/x-Q8_0.gguf"),
	                           .low = scratch_path(state, "m/x-Q4_K_M.gguf"),
	                           .beside = 1,
	                           .output = scratch_path(state, "b.qstore")};
	archive_pack_with(one, &result);
	expect_names(&result, "q4_k q8_0");
	archive_unpack(scratch_path(state, "b.qstore"), "q8_0", scratch_path(state, "b"));
	assert_int_equal(n_entries(scratch_path(state, "b")), 2);
	expect_same_file(scratch_path(state, "m/README.md"), scratch_path(state, "b/README.md"));
}

static void onnx_of_any_naming_is_paired(void **state)
{
	qstore_pack_result result;
	llama_options o = small_llama(QS_F32, 1);
	o.high = scratch_path(state, "llama");
	generate_llama(&o);
	onnx_options onnx = {.model = o.high, .output = scratch_path(state, "onnx"), .base = "model"};
	generate_onnx(&onnx);
	onnx.precision = ONNX_INT8;
	generate_onnx(&onnx);
	copy(state, "onnx/onnx/model.onnx", "m/model.onnx");
	copy(state, "onnx/onnx/model_int8.onnx", "m/model_int8_dynamic.onnx");
	copy(state, "onnx/onnx/model_int8.onnx", "m/model_qint8_arm64.onnx");
	pack_and_restore(state, (qstore_pack_options){.high = scratch_path(state, "m")}, &result);
	expect_names(&result, "int8_dynamic int8_arm64 fp32");
	assert_true(result.n_paired >= 7);
	assert_true(result.n_equal >= 7);
	expect_restored(state, "m", "int8_arm64", "model_qint8_arm64.onnx");
	expect_restored(state, "m", "int8_dynamic", "model_int8_dynamic.onnx");
	expect_restored(state, "m", "fp32", "model.onnx");

	/* Both files in folders that are called by their precision, beside a LOW of its own. */
	copy(state, "onnx/onnx/model.onnx", "f/fp32/model.onnx");
	copy(state, "onnx/onnx/model_int8.onnx", "g/int8/model.onnx");
	qstore_pack_options two = {.high = scratch_path(state, "f"),
	                           .low = scratch_path(state, "g"),
	                           .output = scratch_path(state, "b.qstore")};
	archive_pack_with(two, &result);
	expect_names(&result, "int8 fp32");
	assert_true(result.n_paired >= 7);
}

/* HIGH has two precisions, and LOW is between them. */
static void paths_with_several_precisions_are_sorted(void **state)
{
	qstore_pack_result result;
	llama_options o = small_llama(QS_BF16, 1);
	o.high = scratch_path(state, "bf16");
	o.low = scratch_path(state, "int8");
	generate_llama(&o);
	gguf_options options = {.version = 3, .alignment = 32, .shards = 1};
	gguf_convert(o.high, QS_BF16, &options, scratch_path(state, "m/x-BF16.gguf"));
	assert_true(gguf_quantize_model(scratch_path(state, "m/x-BF16.gguf"), "q4_k_m", &options,
	                                scratch_path(state, "m/x-Q4_K_M.gguf")));
	assert_true(gguf_quantize_model(scratch_path(state, "m/x-BF16.gguf"), "q8_0", &options,
	                                scratch_path(state, "x-Q8_0.gguf")));
	pack_and_restore(
	    state,
	    (qstore_pack_options){.high = scratch_path(state, "m"), .low = scratch_path(state, "x-Q8_0.gguf")},
	    &result);
	expect_names(&result, "q4_k_m q8_0 bf16");
}

/* Words of codes have fewer columns than the floats: their common columns were tried, and stored for nothing.
 */
static void packed_words_cost_nothing_beside_themselves(void **state)
{
	static const char high[] = "q.weight BF16 256,256",
	                  low[] = "q.weight U32 256,32|q.scales BF16 256,4|q.biases BF16 256,4";
	qstore_pack_result result, alone;
	write_tensors(state, "high/model.safetensors", high);
	write_tensors(state, "low/model.safetensors", low);
	pack_and_restore(
	    state, (qstore_pack_options){.high = scratch_path(state, "high"), .low = scratch_path(state, "low")},
	    &result);
	expect_names(&result, "mlx-4bit bf16");
	qstore_pack_options options = {.high = scratch_path(state, "high"),
	                               .quantize = QSTORE_QUANTIZE_NONE,
	                               .output = scratch_path(state, "b.qstore")};
	archive_pack_with(options, &alone);
	uint64_t archive_size = alone.archive_size;
	options.high = scratch_path(state, "low");
	options.output = scratch_path(state, "c.qstore");
	archive_pack_with(options, &alone);
	assert_true(result.archive_size < archive_size + alone.archive_size);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(pipelines_are_paired_part_by_part),
	    TEST(nothing_is_made_of_a_pipeline),
	    TEST(quantizes_a_text_encoder_in_its_folder),
	    TEST(quantizes_a_unet_in_its_folder),
	    TEST(precisions_side_by_side_are_variants),
	    TEST(a_gguf_repository_is_one_archive),
	    TEST(onnx_of_any_naming_is_paired),
	    TEST(packed_words_cost_nothing_beside_themselves),
	    TEST(paths_with_several_precisions_are_sorted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

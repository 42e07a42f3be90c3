/* INT8 variants that the packer makes itself: of finetunes, and not of models that it would make wrongly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <qstore.h>

#include "core/index.h"
#include "../generate/tensors.h"
#include "archive_help.h"
#include "scratch.h"

static void write_model(const char *path, const char *name, const gen_matrix *m)
{
	gen_tensors model = {0};
	gen_add_matrix(&model, name, m);
	gen_write_tensors(&model, path);
}

/* Weights that are equal to the base's, or differences to them, are quantized all the same. */
static void quantizes_what_is_coded_from_the_base(void **state)
{
	for (int is_equal = 0; is_equal < 2; is_equal++) {
		gen_matrix m = gen_weights(1, QS_BF16, 96, 128), tuned = gen_noisy(&m, 2, is_equal ? 0 : 1e-5);
		qstore_pack_options options = {.high = scratch_path(state, "tuned/model.safetensors"),
		                               .base = scratch_path(state, "base/model.safetensors"),
		                               .output = scratch_path(state, "a.qstore"),
		                               .force = 1,
		                               .quantize = QSTORE_QUANTIZE_LLM_INT8};
		qstore_pack_result result;
		qstore_archive *archive;
		qstore_error error;
		write_model(options.base, "layers.0.up.weight", &m);
		write_model(options.high, "layers.0.up.weight", &tuned);
		archive_pack_with(options, &result);
		assert_int_equal(result.n_variants, 2);
		assert_string_equal(result.variants[0].name, "int8");
		assert_true(result.n_base_equal + result.n_base_delta > 0);
		assert_int_equal(qstore_open(options.output, &archive, &error), QSTORE_OK);
		assert_int_equal(qstore_set_base(archive, options.base, &error), QSTORE_OK);
		if (qstore_verify(archive, NULL, &error))
			fail_msg("verify: %s", error.text);
		qstore_close(archive);
		gen_matrix_free(&m);
		gen_matrix_free(&tuned);
	}
}

static void quantizes_no_conv1d(void **state)
{
	gen_matrix m = gen_weights(1, QS_BF16, 64, 192);
	qstore_pack_options options = {.high = scratch_path(state, "model.safetensors"),
	                               .output = scratch_path(state, "a.qstore"),
	                               .quantize = QSTORE_QUANTIZE_LLM_INT8};
	qstore_pack_result result;
	write_model(options.high, "h.0.attn.c_attn.weight", &m);
	expect_pack_fails(options, QSTORE_INPUT, "Conv1D");
	options.quantize = QSTORE_QUANTIZE_DEFAULT;
	archive_pack_with(options, &result);
	assert_true(result.nothing_quantized);
	gen_matrix_free(&m);
}

static void quantizes_no_adapters(void **state)
{
	gen_matrix m = gen_weights(1, QS_BF16, 16, 192);
	qstore_pack_options options = {.high = scratch_path(state, "model.safetensors"),
	                               .output = scratch_path(state, "a.qstore"),
	                               .force = 1};
	qstore_pack_result result;
	static const char *const names[] = {"base_model.model.layers.0.q_proj.lora_A.weight",
	                                    "unet.mid.attn1.processor.to_q_lora.down.weight",
	                                    "unet.mid.attn1.to_q.lora.up.weight"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		write_model(options.high, names[i], &m);
		archive_pack_with(options, &result);
		assert_true(result.nothing_quantized);
	}
	gen_matrix_free(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(quantizes_what_is_coded_from_the_base, scratch_setup,
	                                    scratch_teardown),
	    cmocka_unit_test_setup_teardown(quantizes_no_conv1d, scratch_setup, scratch_teardown),
	    cmocka_unit_test_setup_teardown(quantizes_no_adapters, scratch_setup, scratch_teardown),
	};
	return cmocka_run_group_tests_name("make", tests, NULL, NULL);
}

/* Pairs of which some tensors do not fit: these are stored apart, with a warning, and all files come back;
 * models that do not belong together are refused. */
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

#include "core/index.h"
#include "../generate/fixtures.h"
#include "../generate/tensors.h"
#include "pair_help.h"
#include "scratch.h"

enum { LAYERS = 4 };

/* Some layers that are paired, beside what a test is about. noise: of LOW's weights. */
static void add_layers(gen_tensors *high, gen_tensors *low, double noise)
{
	for (unsigned i = 0; i < LAYERS; i++) {
		char name[32];
		gen_matrix m = gen_weights(10 + i, QS_BF16, 96, 128), other = gen_noisy(&m, i, noise);
		snprintf(name, sizeof(name), "layers.%u", i);
		gen_add_int8(low, name, &other, GEN_SCHEME_LLM_INT8);
		snprintf(name, sizeof(name), "layers.%u.weight", i);
		gen_add_matrix(high, name, &m);
		gen_matrix_free(&m);
		gen_matrix_free(&other);
	}
}

static void add_other_values(gen_tensors *high, gen_tensors *low)
{
	gen_matrix a = gen_weights(1, QS_BF16, 64, 128), b = gen_weights(2, QS_BF16, 64, 128);
	gen_add_matrix(high, "score.weight", &a);
	gen_add_int8(low, "score", &b, GEN_SCHEME_LLM_INT8);
	gen_matrix_free(&a);
	gen_matrix_free(&b);
}

static void add_other_floats(gen_tensors *high, gen_tensors *low)
{
	gen_matrix a = gen_weights(1, QS_BF16, 64, 128), b = gen_weights(2, QS_BF16, 64, 128);
	gen_add_matrix(high, "score.weight", &a);
	gen_add_matrix(low, "score.weight", &b);
	gen_matrix_free(&a);
	gen_matrix_free(&b);
}

static void add_other_shape(gen_tensors *high, gen_tensors *low)
{
	gen_matrix a = gen_weights(1, QS_BF16, 64, 128), b = gen_weights(2, QS_BF16, 40, 64);
	gen_add_matrix(high, "score.weight", &a);
	gen_add_int8(low, "score", &b, GEN_SCHEME_LLM_INT8);
	gen_matrix_free(&a);
	gen_matrix_free(&b);
}

/* Two codes to a byte, in a way of their own, under the same name. */
static void add_packed(gen_tensors *high, gen_tensors *low)
{
	gen_matrix a = gen_weights(1, QS_BF16, 64, 128), b = gen_weights(2, QS_F32, 64, 16);
	gen_add_matrix(high, "score.weight", &a);
	gen_add(low, "score.weight", QS_U8, 2, (uint64_t[]){64 * 128 / 2, 1}, b.data);
	gen_add(low, "score.weight.absmax", QS_F32, 1, (uint64_t[]){64}, b.data);
	gen_matrix_free(&a);
	gen_matrix_free(&b);
}

/* … or under another name. */
static void add_packed_elsewhere(gen_tensors *high, gen_tensors *low)
{
	gen_matrix a = gen_weights(1, QS_BF16, 64, 128), b = gen_weights(2, QS_F32, 64, 8);
	gen_add_matrix(high, "score.weight", &a);
	gen_add(low, "score.q_weight", QS_I32, 2, (uint64_t[]){8, 64}, b.data);
	gen_matrix_free(&a);
	gen_matrix_free(&b);
}

/* Codes of a byte each under a name that is not known. */
static void add_renamed_codes(gen_tensors *high, gen_tensors *low)
{
	gen_matrix a = gen_weights(1, QS_BF16, 64, 128);
	int8_t codes[64 * 128];
	float scales[64];
	gen_int8_codes(&a, GEN_SCHEME_DIVIDE, codes, scales);
	gen_add_matrix(high, "score.weight", &a);
	gen_add(low, "score.weight_q", QS_I8, 2, (uint64_t[]){64, 128}, codes);
	gen_add(low, "score.weight_q_scale", QS_F32, 1, (uint64_t[]){64}, scales);
	gen_matrix_free(&a);
}

/* Codes whose scales are elsewhere. */
static void add_codes_without_scales(gen_tensors *high, gen_tensors *low)
{
	gen_matrix a = gen_weights(1, QS_BF16, 64, 128);
	int8_t codes[64 * 128];
	float scales[64];
	gen_int8_codes(&a, GEN_SCHEME_DIVIDE, codes, scales);
	gen_add_matrix(high, "score.weight", &a);
	gen_add(low, "score.weight", QS_I8, 2, (uint64_t[]){64, 128}, codes);
	gen_add(low, "scales.17", QS_F32, 1, (uint64_t[]){64}, scales);
	gen_matrix_free(&a);
}

/* Adds a matrix whose rows have another order in the coarse model, so that each row meets the scale of
 * another. */
static void add_permuted(gen_tensors *high, gen_tensors *low)
{
	gen_matrix a = gen_weights(1, QS_BF16, 64, 128), b = gen_weights(1, QS_BF16, 64, 128);
	for (uint64_t row = 0; row < 64; row++)
		memcpy(b.data + row * 256, a.data + (row * 29 + 7) % 64 * 256, 256);
	gen_add_matrix(high, "score.weight", &a);
	gen_add_int8(low, "score", &b, GEN_SCHEME_LLM_INT8);
	gen_matrix_free(&a);
	gen_matrix_free(&b);
}

/* Another name altogether. */
static void add_without_partner(gen_tensors *high, gen_tensors *low)
{
	gen_matrix a = gen_weights(1, QS_BF16, 64, 128);
	gen_add_matrix(high, "score.weight", &a);
	gen_add_int8(low, "classifier", &a, GEN_SCHEME_LLM_INT8);
	gen_matrix_free(&a);
}

/* The coarser matrix has the same number of codes, and another shape. */
static void add_another_order(gen_tensors *high, gen_tensors *low)
{
	gen_matrix a = gen_weights(1, QS_BF16, 64, 128);
	int8_t codes[64 * 128];
	float scales[64];
	gen_int8_codes(&a, GEN_SCHEME_DIVIDE, codes, scales);
	gen_add_matrix(high, "score.weight", &a);
	gen_add(low, "score.weight", QS_I8, 2, (uint64_t[]){32, 256}, codes);
	gen_add(low, "score.weight_scale", QS_F32, 1, (uint64_t[]){64}, scales);
	gen_matrix_free(&a);
}

/* Appends a matrix in E4M3, rounded down, with a scale for the tensor. */
static void add_fp8(gen_tensors *low, const char *name, const gen_matrix *m)
{
	gen_matrix f32 = gen_cast(m, QS_F32);
	size_t n = (size_t)(m->rows * m->cols);
	uint8_t *codes = malloc(n);
	char scale_name[64];
	const float scale = 1 / 512.0f;
	assert_non_null(codes);
	for (size_t i = 0; i < n; i++) {
		float value;
		uint8_t code = 0;
		memcpy(&value, f32.data + 4 * i, 4);
		/* Codes of positive values are in the order of the values: (8 + mantissa) × 2^(exponent − 10). */
		while (code < 0x7e && ldexpf(8 + ((code + 1) & 7), (code + 1) / 8 - 10) <= fabsf(value) / scale)
			code++;
		codes[i] = code | (value < 0 ? 0x80 : 0);
	}
	gen_add(low, name, QS_F8_E4M3, 2, (uint64_t[]){m->rows, m->cols}, codes);
	snprintf(scale_name, sizeof(scale_name), "%s_scale", name);
	gen_add(low, scale_name, QS_F32, 1, (uint64_t[]){1}, &scale);
	free(codes);
	gen_matrix_free(&f32);
}

static void add_same_in_fp8(gen_tensors *high, gen_tensors *low)
{
	gen_matrix a = gen_weights(1, QS_BF16, 64, 128);
	gen_add_matrix(high, "score.weight", &a);
	add_fp8(low, "score.weight", &a);
	gen_matrix_free(&a);
}

static void stores_apart_what_does_not_fit(void **state)
{
	static const struct {
		void (*add)(gen_tensors *high, gen_tensors *low);
		const char *why;
	} cases[] = {
	    {add_other_values, "other values"},
	    {add_other_floats, "other values"},
	    {add_other_shape, "another shape"},
	    {add_packed, "packed in another way"},
	    {add_packed_elsewhere, "packed in another way"},
	    {add_renamed_codes, "(codes under an unknown name)"},
	    {add_codes_without_scales, "(no scales fit its codes)"},
	    {add_permuted, "other values"},
	    {add_without_partner, "(nothing of its name there)"},
	    {add_another_order, "(as many codes in another shape)"},
	    {add_same_in_fp8, "(codes of a type that is not modelled)"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		gen_tensors high = {0}, low = {0};
		add_layers(&high, &low, 0);
		cases[i].add(&high, &low);
		pair_outcome outcome = pack_pair(state, &high, &low, (qstore_pack_options){.from = NULL});
		assert_int_equal(outcome.result.n_paired, LAYERS);
		assert_int_equal(outcome.result.n_apart, 1);
		assert_int_equal(outcome.result.apart_weights, 64 * 128);
		assert_true(outcome.result.apart_size > 8192 && outcome.result.apart_size < 16384);
		assert_int_equal(outcome.n_warnings, 1);
		assert_non_null(strstr(outcome.warning, "1 tensor of "));
		assert_non_null(strstr(outcome.warning, "score.weight"));
		assert_non_null(strstr(outcome.warning, cases[i].why));
	}
}

static void strict_refuses_what_does_not_fit(void **state)
{
	gen_tensors high = {0}, low = {0};
	add_layers(&high, &low, 0);
	add_other_values(&high, &low);
	expect_pair_fails(state, &high, &low, (qstore_pack_options){.strict = 1}, "1 tensor of ");
	add_layers(&high, &low, 0);
	pair_outcome outcome = pack_pair(state, &high, &low, (qstore_pack_options){.strict = 1});
	assert_int_equal(outcome.n_warnings, 0);
}

/* The noise is a third of a code's step: a quarter of the codes differ. */
static void refuses_another_checkpoint(void **state)
{
	gen_tensors high = {0}, low = {0};
	add_layers(&high, &low, 0.0002);
	expect_pair_fails(state, &high, &low, (qstore_pack_options){.from = NULL}, "--allow-mismatch");
	add_layers(&high, &low, 0.0002);
	pair_outcome outcome = pack_pair(state, &high, &low, (qstore_pack_options){.allow_mismatch = 1});
	print_message("another checkpoint: %.1f %% of the codes differ\n",
	              100.0 * (double)outcome.result.n_exceptions / (double)outcome.result.paired_weights);
}

/* FP8 and floats of other weights: of nothing alike, and of those after more training. */
static void refuses_other_checkpoints_of_any_kind(void **state)
{
	for (int is_fp8 = 0; is_fp8 < 2; is_fp8++)
		for (int is_finetune = 0; is_finetune < 2; is_finetune++) {
			gen_tensors high = {0}, low = {0};
			gen_matrix m = gen_weights(1, QS_BF16, 64, 128),
			           other = is_finetune ? gen_noisy(&m, 5, 0.02) : gen_weights(2, QS_F16, 64, 128),
			           half = gen_cast(&other, QS_F16);
			gen_add_matrix(&high, "up.weight", &m);
			if (is_fp8)
				add_fp8(&low, "up.weight", &other);
			else
				gen_add_matrix(&low, "up.weight", &half);
			expect_pair_fails(state, &high, &low, (qstore_pack_options){.from = NULL}, "--allow-mismatch");
			gen_matrix_free(&m);
			gen_matrix_free(&other);
			gen_matrix_free(&half);
		}
}

/* F64 is not coded from codes: an error with `strict`, else said. */
static void stores_doubles_beside_codes_apart(void **state)
{
	for (int strict = 0; strict < 2; strict++) {
		gen_tensors high = {0}, low = {0};
		gen_matrix m = gen_weights(1, QS_BF16, 64, 128), f32 = gen_cast(&m, QS_F32);
		double *wide = malloc(64 * 128 * sizeof(double));
		assert_non_null(wide);
		for (size_t i = 0; i < 64 * 128; i++) {
			float value;
			memcpy(&value, f32.data + 4 * i, 4);
			wide[i] = (double)value;
		}
		gen_add(&high, "up.weight", QS_F64, 2, (uint64_t[]){64, 128}, wide);
		gen_add_int8(&low, "up", &m, GEN_SCHEME_LLM_INT8);
		qstore_pack_options options = {.strict = strict};
		if (strict) {
			expect_pair_fails(state, &high, &low, options, "(of a type that is not coded from codes)");
		} else {
			pair_outcome outcome = pack_pair(state, &high, &low, options);
			assert_int_equal(outcome.result.n_apart, 1);
			assert_non_null(strstr(outcome.warning, "(of a type that is not coded from codes)"));
		}
		free(wide);
		gen_matrix_free(&m);
		gen_matrix_free(&f32);
	}
}

/* Codes in a tiled order, in all matrices. */
static void stores_tiled_codes_apart(void **state)
{
	enum { ROWS = 64, COLS = 128 };
	gen_tensors high = {0}, low = {0};
	gen_matrix m = gen_weights(3, QS_BF16, ROWS, COLS);
	int8_t codes[ROWS * COLS], tiled[ROWS * COLS];
	float scales[ROWS];
	gen_int8_codes(&m, GEN_SCHEME_LLM_INT8, codes, scales);
	for (unsigned i = 0; i < ROWS * COLS; i++)
		tiled[(i * 37 + 11) % (ROWS * COLS)] = codes[i];
	gen_add_matrix(&high, "up.weight", &m);
	gen_add(&low, "up.weight", QS_I8, 2, (uint64_t[]){ROWS, COLS}, tiled);
	gen_add(&low, "up.SCB", QS_F32, 1, (uint64_t[]){ROWS}, scales);
	pair_outcome outcome = pack_pair(state, &high, &low, (qstore_pack_options){.from = NULL});
	assert_int_equal(outcome.result.n_apart, 1);
	assert_non_null(strstr(outcome.warning, "packed in another way"));
	gen_matrix_free(&m);
}

/* Nothing in common. */
static void refuses_another_model(void **state)
{
	for (int allow = 0; allow < 2; allow++) {
		gen_tensors high = {0}, low = {0};
		gen_matrix m = gen_weights(1, QS_BF16, 64, 128), other = gen_weights(2, QS_BF16, 64, 128);
		gen_add_matrix(&high, "a.weight", &m);
		gen_add_int8(&low, "b", &other, GEN_SCHEME_LLM_INT8);
		qstore_pack_options options = {.allow_mismatch = allow};
		if (allow)
			assert_int_equal(pack_pair(state, &high, &low, options).result.n_paired, 0);
		else
			expect_pair_fails(state, &high, &low, options, "no tensor name in common");
		gen_matrix_free(&m);
		gen_matrix_free(&other);
	}
}

static void keep_warning(void *user, const char *text)
{
	snprintf(user, 300, "%s", text);
}

/* A pattern that leaves out nothing is probably misspelt. */
static void warns_of_a_skip_of_nothing(void **state)
{
	static const char *const bins[] = {"*.bin", NULL}, *const texts[] = {"*.txt", NULL};
	gen_tensors model = {0};
	gen_matrix m = gen_weights(1, QS_BF16, 8, 8);
	qstore_error error;
	char warning[300] = "";
	gen_add_matrix(&model, "up.weight", &m);
	gen_write_tensors(&model, scratch_path(state, "folder/model.safetensors"));
	gen_matrix_free(&m);
	scratch_write(state, "folder/more.safetensors.txt", "x", 1);
	qstore_pack_options options = {.high = scratch_path(state, "folder"),
	                               .output = scratch_path(state, "a.qstore"),
	                               .skip = bins,
	                               .force = 1,
	                               .work = {.on_warning = keep_warning, .user = warning}};
	assert_int_equal(qstore_pack(&options, NULL, &error), QSTORE_OK);
	assert_non_null(strstr(warning, "--skip '*.bin' leaves out nothing"));
	warning[0] = 0;
	options.skip = texts;
	assert_int_equal(qstore_pack(&options, NULL, &error), QSTORE_OK);
	assert_string_equal(warning, "");
}

/* Values that are zero in FP16 have codes of zeros and scales of zero, which fit them. */
static void zero_codes_fit(void **state)
{
	const char *high = scratch_path(state, "high"), *low = scratch_path(state, "low");
	qstore_pack_result result;
	qstore_error error;
	generate_fixture("constant", 1, high, low);
	const qstore_pack_options options = {
	    .high = high, .low = low, .output = scratch_path(state, "a.qstore"), .strict = 1};
	if (qstore_pack(&options, &result, &error))
		fail_msg("%s", error.text);
	assert_int_equal(result.n_apart, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(stores_apart_what_does_not_fit, scratch_setup, scratch_teardown),
	    cmocka_unit_test_setup_teardown(strict_refuses_what_does_not_fit, scratch_setup, scratch_teardown),
	    cmocka_unit_test_setup_teardown(refuses_another_checkpoint, scratch_setup, scratch_teardown),
	    cmocka_unit_test_setup_teardown(refuses_other_checkpoints_of_any_kind, scratch_setup,
	                                    scratch_teardown),
	    cmocka_unit_test_setup_teardown(stores_doubles_beside_codes_apart, scratch_setup, scratch_teardown),
	    cmocka_unit_test_setup_teardown(stores_tiled_codes_apart, scratch_setup, scratch_teardown),
	    cmocka_unit_test_setup_teardown(refuses_another_model, scratch_setup, scratch_teardown),
	    cmocka_unit_test_setup_teardown(warns_of_a_skip_of_nothing, scratch_setup, scratch_teardown),
	    cmocka_unit_test_setup_teardown(zero_codes_fit, scratch_setup, scratch_teardown),
	};
	return cmocka_run_group_tests_name("apart", tests, NULL, NULL);
}

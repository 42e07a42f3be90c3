/* Pairs whose tensors differ in shape, order or name although they are of the same weights: padded,
 * transposed, sliced, renamed; scales along any axis. */
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

#include "core/bytes.h"
#include "core/index.h"
#include "core/rules.h"
#include "../generate/tensors.h"
#include "pair_help.h"
#include "scratch.h"

/* Packs, and fails the test unless so many weights are paired without exceptions, and none is apart. */
static void expect_paired(void **state, gen_tensors *high, gen_tensors *low, uint64_t n_weights)
{
	pair_outcome outcome = pack_pair(state, high, low, (qstore_pack_options){.from = NULL});
	if (outcome.n_warnings > 0)
		fail_msg("warning: %s", outcome.warning);
	assert_int_equal(outcome.result.paired_weights, n_weights);
	assert_int_equal(outcome.result.n_exceptions, 0);
}

/* More rows, more columns, or both, in either model, of zeros or of other values, in all float types. */
static void pairs_the_common_part(void **state)
{
	static const uint32_t dtypes[] = {QS_BF16, QS_F16, QS_F32};
	for (unsigned i = 0; i < 3 * 3 * 2 * 2; i++) {
		unsigned more = 1 + i % 3, in_low = i / 9 % 2;
		uint32_t dtype = dtypes[i / 3 % 3];
		gen_tensors high = {0}, low = {0};
		gen_matrix bf16 = gen_weights(i, QS_BF16, 60, 128), m = gen_cast(&bf16, dtype),
		           larger = gen_resized(&m, more & 1 ? 75 : 60, more & 2 ? 150 : 128, i >= 18 ? 0.01f : 0);
		gen_add_matrix(&high, "up.weight", in_low ? &m : &larger);
		gen_add_int8(&low, "up", in_low ? &larger : &m, GEN_SCHEME_DIVIDE);
		expect_paired(state, &high, &low, 60 * 128);
		gen_matrix_free(&bf16);
		gen_matrix_free(&m);
		gen_matrix_free(&larger);
	}
}

/* Readers fetch the columns beside the common ones too. */
static void counts_other_columns_as_downloaded(void **state)
{
	gen_tensors high = {0}, low = {0};
	gen_matrix m = gen_weights(1, QS_BF16, 200, 500), narrow = gen_resized(&m, 200, 128, 0);
	gen_add_matrix(&high, "up.weight", &m);
	gen_add_int8(&low, "up", &narrow, GEN_SCHEME_DIVIDE);
	pair_outcome outcome = pack_pair(state, &high, &low, (qstore_pack_options){.from = NULL});
	assert_int_equal(outcome.result.paired_weights, 200 * 128);
	assert_int_equal(outcome.result.variants[1].download_size, outcome.result.variants[1].prefix_size);
	gen_matrix_free(&m);
	gen_matrix_free(&narrow);
}

/* More rows in one, more columns in the other. */
static void pairs_what_overlaps(void **state)
{
	gen_tensors high = {0}, low = {0};
	gen_matrix m = gen_weights(1, QS_BF16, 60, 128), a = gen_resized(&m, 70, 128, 0),
	           b = gen_resized(&m, 60, 140, 0);
	gen_add_matrix(&high, "up.weight", &a);
	gen_add_int8(&low, "up", &b, GEN_SCHEME_LLM_INT8);
	expect_paired(state, &high, &low, 60 * 128);
	gen_matrix_free(&m);
	gen_matrix_free(&a);
	gen_matrix_free(&b);
}

/* Embeddings with rows more cost these rows. */
static void shares_equal_rows(void **state)
{
	for (int in_low = 0; in_low < 2; in_low++) {
		gen_tensors high = {0}, low = {0};
		gen_matrix m = gen_weights(1, QS_BF16, 500, 64), more = gen_resized(&m, 510, 64, 0),
		           up = gen_weights(2, QS_BF16, 64, 64);
		gen_add_matrix(&high, "embed.weight", in_low ? &m : &more);
		gen_add_matrix(&low, "embed.weight", in_low ? &more : &m);
		gen_add_matrix(&high, "up.weight", &up);
		gen_add_int8(&low, "up", &up, GEN_SCHEME_LLM_INT8);
		pair_outcome outcome = pack_pair(state, &high, &low, (qstore_pack_options){.from = NULL});
		assert_int_equal(outcome.n_warnings, 0);
		assert_true(outcome.result.archive_size < 500 * 64 * 2);
		gen_matrix_free(&m);
		gen_matrix_free(&more);
		gen_matrix_free(&up);
	}
}

/* A matrix of several chunks, whose parts have their rows in common. */
static void pairs_common_parts_of_many_chunks(void **state)
{
	gen_tensors high = {0}, low = {0};
	gen_matrix m = gen_weights(1, QS_BF16, 700, 1000), larger = gen_resized(&m, 720, 1100, 0);
	gen_add_matrix(&high, "up.weight", &m);
	gen_add_int8(&low, "up", &larger, GEN_SCHEME_LLM_INT8);
	expect_paired(state, &high, &low, 700 * 1000);
	gen_matrix_free(&m);
	gen_matrix_free(&larger);
}

/* Conv1D in HIGH, [in, out] in LOW; square ones are told by their values. */
static void pairs_transposed_matrices(void **state)
{
	static const uint32_t dtypes[] = {QS_BF16, QS_F16, QS_F32};
	for (unsigned i = 0; i < 3 * 2 * 2; i++) {
		gen_tensors high = {0}, low = {0};
		gen_matrix bf16 = gen_weights(i, QS_BF16, 96, i % 2 ? 96 : 64), m = gen_cast(&bf16, dtypes[i / 4]),
		           transposed = gen_transposed(&m);
		int in_low = i / 2 % 2;
		gen_add_matrix(&high, "fc.weight", in_low ? &m : &transposed);
		gen_add_int8(&low, "fc", &m, in_low ? GEN_SCHEME_TRANSPOSED : GEN_SCHEME_LLM_INT8);
		expect_paired(state, &high, &low, m.rows * m.cols);
		gen_matrix_free(&bf16);
		gen_matrix_free(&m);
		gen_matrix_free(&transposed);
	}
}

/* Names of quanto, and scales in F64. */
static void finds_scales_of_other_kinds(void **state)
{
	static const gen_scheme schemes[] = {GEN_SCHEME_QUANTO, GEN_SCHEME_DIVIDE_F64};
	for (size_t i = 0; i < 2; i++) {
		gen_tensors high = {0}, low = {0};
		gen_matrix m = gen_weights(i, QS_BF16, 64, 128);
		gen_add_matrix(&high, "fc.weight", &m);
		gen_add_int8(&low, "fc", &m, schemes[i]);
		expect_paired(state, &high, &low, 64 * 128);
		gen_matrix_free(&m);
	}
}

/* Tensors of four dims, seen as `before` × `dim` × `after`, with a scale for each of the dim in the middle.
 * The cast of singles changes more codes than BF16 does, so that a sample is coded to see whether they pay.
 */
static void finds_scales_along_any_axis(void **state)
{
	static const uint32_t dtypes[] = {QS_BF16, QS_F32};
	static const struct {
		uint64_t dims[4];
		unsigned axis;
	} cases[] = {{{24, 32, 3, 3}, 1}, {{1, 8, 9, 64}, 3}, {{8, 5, 48, 3}, 2},
	             {{3, 3, 16, 32}, 3}, {{8, 2, 8, 96}, 3}, {{40, 6, 3, 3}, 0}};
	enum { N_CASES = sizeof(cases) / sizeof(cases[0]) };
	for (size_t i = 0; i < N_CASES * 2; i++) {
		uint32_t dtype = dtypes[i / N_CASES];
		unsigned axis = cases[i % N_CASES].axis;
		const uint64_t *dims = cases[i % N_CASES].dims, dim = dims[axis];
		uint64_t before = 1, after = 1;
		for (unsigned d = 0; d < axis; d++)
			before *= dims[d];
		for (unsigned d = axis + 1; d < 4; d++)
			after *= dims[d];
		/* Rows are what a scale is for: they are brought to their places. */
		size_t size = qs_dtype_size(dtype), n = (size_t)(dim * before * after);
		gen_matrix m = gen_weights(i, dtype, dim, before * after),
		           placed = gen_weights(9, dtype, dim, before * after);
		int8_t *codes = malloc(n), *own = malloc(n);
		float *scales = malloc((size_t)dim * sizeof(float));
		assert_true(codes && own && scales);
		gen_int8_codes(&m, GEN_SCHEME_DIVIDE, own, scales);
		for (uint64_t row = 0; row < dim; row++)
			for (uint64_t col = 0; col < before * after; col++) {
				uint64_t to = (col / after * dim + row) * after + col % after,
				         from = row * before * after + col;
				codes[to] = own[from];
				memcpy(placed.data + size * to, m.data + size * from, size);
			}
		gen_tensors high = {0}, low = {0};
		gen_add(&high, "conv.weight", dtype, 4, dims, placed.data);
		gen_add(&low, "conv.weight", QS_I8, 4, dims, codes);
		gen_add(&low, "conv.weight_scale", QS_F32, 1, &dim, scales);
		pair_outcome outcome = pack_pair(state, &high, &low, (qstore_pack_options){.from = NULL});
		assert_int_equal(outcome.n_warnings, 0);
		assert_int_equal(outcome.result.paired_weights, n);
		assert_true(outcome.result.n_exceptions <= (dtype == QS_F32 ? n / 12 : 0));
		free(codes);
		free(own);
		free(scales);
		gen_matrix_free(&m);
		gen_matrix_free(&placed);
	}
}

/* Zero points of PyTorch are I64: by row, and one for all, of signed codes and others. */
static void takes_zero_points_of_wide_integers(void **state)
{
	enum { N = 48, M = 64 };
	for (unsigned i = 0; i < 2 * 2 * 2; i++) {
		int by_row = i & 1, is_wide = i >> 1 & 1, is_signed = i >> 2 & 1;
		const uint64_t dims[] = {N, M}, n = by_row ? N : 1;
		gen_matrix m = gen_weights(i, QS_BF16, N, M);
		uint8_t codes[N * M], zeros[8 * N] = {0};
		float scales[N], most = 0;
		for (uint64_t row = 0; row < N; row++) {
			float row_most = 0;
			for (uint64_t at = row * M; at < (row + 1) * M; at++)
				row_most = fmaxf(row_most, fabsf(qs_half_value(qs_load16(m.data + 2 * at), QS_BF16)));
			most = fmaxf(most, row_most);
			scales[row] = row_most / 90;
		}
		scales[0] = by_row ? scales[0] : most / 90;
		for (uint64_t row = 0; row < N; row++) {
			uint64_t used = by_row ? row : 0;
			int zero = (is_signed ? 0 : 128) + (int)(used * 7 % 31) - 9;
			for (uint64_t at = row * M; at < (row + 1) * M; at++)
				codes[at] =
				    (uint8_t)((int)rintf(qs_half_value(qs_load16(m.data + 2 * at), QS_BF16) / scales[used]) +
				              zero);
			if (is_wide)
				qs_store64(zeros + 8 * used, (uint64_t)(int64_t)zero);
			else
				qs_store32(zeros + 4 * used, (uint32_t)zero);
		}
		gen_tensors high = {0}, low = {0};
		gen_add_matrix(&high, "fc.weight", &m);
		gen_add(&low, "fc.weight", is_signed ? QS_I8 : QS_U8, 2, dims, codes);
		gen_add(&low, "fc.scale", QS_F32, by_row, &n, scales);
		gen_add(&low, "fc.zero_point", is_wide ? QS_I64 : QS_I32, by_row, &n, zeros);
		expect_paired(state, &high, &low, N * M);
		gen_matrix_free(&m);
	}
}

/* Integers that no byte holds are no zero points. */
static void leaves_larger_integers_alone(void **state)
{
	static const int64_t values[][2] = {{-1, 128}, {0, 256}, {-129, 0}, {INT64_MIN, INT64_MAX}};
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		const uint64_t n = 48;
		uint8_t zeros[8 * 48] = {0};
		gen_tensors high = {0}, low = {0};
		gen_matrix m = gen_weights(i, QS_BF16, n, 64);
		qs_store64(zeros, (uint64_t)values[i][0]);
		qs_store64(zeros + 8 * 47, (uint64_t)values[i][1]);
		gen_add_matrix(&high, "fc.weight", &m);
		gen_add_int8(&low, "fc", &m, GEN_SCHEME_DIVIDE);
		gen_add(&low, "fc.zero_point", QS_I64, 1, &n, zeros);
		expect_paired(state, &high, &low, n * 64);
		gen_matrix_free(&m);
	}
}

enum { EXPERTS = 3, ROWS = 32, COLS = 64 };

/* Experts [EXPERTS, 2 ROWS, COLS] in one model, gates and ups apart in the other. */
static void pairs_fused_experts(void **state)
{
	for (int fused_in_low = 0; fused_in_low < 2; fused_in_low++) {
		gen_tensors high = {0}, low = {0};
		uint8_t fused[EXPERTS * 2 * ROWS * COLS * 2];
		int8_t codes[EXPERTS * 2 * ROWS * COLS];
		float scales[EXPERTS * 2 * ROWS];
		for (unsigned e = 0; e < EXPERTS; e++)
			for (unsigned j = 0; j < 2; j++) {
				char name[64];
				size_t row = (2 * e + j) * ROWS;
				gen_matrix m = gen_weights(2 * e + j, QS_BF16, ROWS, COLS);
				snprintf(name, sizeof(name), "mlp.experts.%u.%s_proj", e, j ? "up" : "gate");
				if (!fused_in_low)
					gen_add_int8(&low, name, &m, GEN_SCHEME_LLM_INT8);
				snprintf(name, sizeof(name), "mlp.experts.%u.%s_proj.weight", e, j ? "up" : "gate");
				if (fused_in_low)
					gen_add_matrix(&high, name, &m);
				memcpy(fused + row * COLS * 2, m.data, ROWS * COLS * 2);
				gen_int8_codes(&m, GEN_SCHEME_DIVIDE, codes + row * COLS, scales + row);
				gen_matrix_free(&m);
			}
		uint64_t dims[] = {EXPERTS, 2 * ROWS, COLS}, scales_dims[] = {EXPERTS, 2 * ROWS, 1};
		if (fused_in_low) {
			gen_add(&low, "mlp.experts.gate_up_proj", QS_I8, 3, dims, codes);
			gen_add(&low, "mlp.experts.gate_up_proj_scale", QS_F32, 3, scales_dims, scales);
		} else {
			gen_add(&high, "mlp.experts.gate_up_proj", QS_BF16, 3, dims, fused);
		}
		expect_paired(state, &high, &low, EXPERTS * 2 * ROWS * COLS);
	}
}

/* Experts [EXPERTS, in, out] in one model, the matrices [out, in] in the other. */
static void pairs_transposed_experts(void **state)
{
	gen_tensors high = {0}, low = {0};
	uint8_t fused[EXPERTS * ROWS * COLS * 2];
	for (unsigned e = 0; e < EXPERTS; e++) {
		char name[64];
		gen_matrix m = gen_weights(e, QS_BF16, ROWS, COLS), transposed = gen_transposed(&m);
		snprintf(name, sizeof(name), "mlp.experts.%u.down_proj", e);
		gen_add_int8(&low, name, &m, GEN_SCHEME_LLM_INT8);
		memcpy(fused + (size_t)e * ROWS * COLS * 2, transposed.data, ROWS * COLS * 2);
		gen_matrix_free(&m);
		gen_matrix_free(&transposed);
	}
	gen_add(&high, "mlp.experts.down_proj", QS_BF16, 3, (uint64_t[]){EXPERTS, COLS, ROWS}, fused);
	expect_paired(state, &high, &low, EXPERTS * ROWS * COLS);
}

/* [directions, out, in] in HIGH, [directions, in, out] in LOW, as ONNX Runtime stores the weights of LSTMs.
 */
static void pairs_transposed_slices(void **state)
{
	gen_tensors high = {0}, low = {0};
	uint8_t fine[2 * ROWS * COLS * 2];
	int8_t codes[2 * ROWS * COLS];
	float scales[2][ROWS];
	for (unsigned i = 0; i < 2; i++) {
		int8_t own[ROWS * COLS];
		gen_matrix m = gen_weights(i, QS_BF16, ROWS, COLS);
		memcpy(fine + i * ROWS * COLS * 2, m.data, ROWS * COLS * 2);
		gen_int8_codes(&m, GEN_SCHEME_DIVIDE, own, scales[i]);
		for (unsigned j = 0; j < ROWS * COLS; j++)
			codes[i * ROWS * COLS + j % COLS * ROWS + j / COLS] = own[j];
		gen_matrix_free(&m);
	}
	gen_add(&high, "lstm.weight", QS_BF16, 3, (uint64_t[]){2, ROWS, COLS}, fine);
	gen_add(&low, "lstm.weight", QS_I8, 3, (uint64_t[]){2, COLS, ROWS}, codes);
	gen_add(&low, "lstm.weight_scale", QS_F32, 3, (uint64_t[]){2, 1, ROWS}, scales);
	expect_paired(state, &high, &low, 2 * ROWS * COLS);
}

static void pairs_renamed_tensors(void **state)
{
	static const char *const prefixes[][2] = {{"model.", "model.language_model."},
	                                          {"language_model.model.", "model.language_model."},
	                                          {"base_model.model.model.", "model."},
	                                          {"", "transformer."}};
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		gen_tensors high = {0}, low = {0};
		for (unsigned j = 0; j < 3; j++) {
			char name[64];
			gen_matrix m = gen_weights(j, QS_BF16, 48, 64);
			snprintf(name, sizeof(name), "%slayers.%u.up.weight", prefixes[i][0], j);
			gen_add_matrix(&high, name, &m);
			snprintf(name, sizeof(name), "%slayers.%u.up", prefixes[i][1], j);
			gen_add_int8(&low, name, &m, GEN_SCHEME_LLM_INT8);
			gen_matrix_free(&m);
		}
		expect_paired(state, &high, &low, 3 * 48 * 64);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(pairs_the_common_part, scratch_setup, scratch_teardown),
	    cmocka_unit_test_setup_teardown(counts_other_columns_as_downloaded, scratch_setup, scratch_teardown),
	    cmocka_unit_test_setup_teardown(pairs_what_overlaps, scratch_setup, scratch_teardown),
	    cmocka_unit_test_setup_teardown(shares_equal_rows, scratch_setup, scratch_teardown),
	    cmocka_unit_test_setup_teardown(pairs_common_parts_of_many_chunks, scratch_setup, scratch_teardown),
	    cmocka_unit_test_setup_teardown(pairs_transposed_matrices, scratch_setup, scratch_teardown),
	    cmocka_unit_test_setup_teardown(finds_scales_of_other_kinds, scratch_setup, scratch_teardown),
	    cmocka_unit_test_setup_teardown(finds_scales_along_any_axis, scratch_setup, scratch_teardown),
	    cmocka_unit_test_setup_teardown(takes_zero_points_of_wide_integers, scratch_setup, scratch_teardown),
	    cmocka_unit_test_setup_teardown(leaves_larger_integers_alone, scratch_setup, scratch_teardown),
	    cmocka_unit_test_setup_teardown(pairs_fused_experts, scratch_setup, scratch_teardown),
	    cmocka_unit_test_setup_teardown(pairs_transposed_experts, scratch_setup, scratch_teardown),
	    cmocka_unit_test_setup_teardown(pairs_transposed_slices, scratch_setup, scratch_teardown),
	    cmocka_unit_test_setup_teardown(pairs_renamed_tensors, scratch_setup, scratch_teardown),
	};
	return cmocka_run_group_tests_name("parts", tests, NULL, NULL);
}

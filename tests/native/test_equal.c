/* Tensors whose bytes or values are in the archive, or in the base, already: equal ones, and floats of
 * another type. */
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
#include "../generate/tensors.h"
#include "archive_help.h"
#include "pair_help.h"
#include "scratch.h"

enum { ROWS = 120, COLS = 256, N = ROWS * COLS };

/* Index records, headers and small chunks. */
enum { OVERHEAD = 4096 };

/* Appends a matrix in another type of floats; F64 too. */
static void add_as(gen_tensors *t, const char *name, const gen_matrix *m, uint32_t dtype)
{
	gen_matrix cast = gen_cast(m, dtype == QS_F64 ? QS_F32 : dtype);
	if (dtype == QS_F64) {
		double *wide = malloc(m->rows * m->cols * sizeof(double));
		assert_non_null(wide);
		for (size_t i = 0; i < m->rows * m->cols; i++) {
			float value;
			memcpy(&value, cast.data + 4 * i, 4);
			wide[i] = (double)value;
		}
		gen_add(t, name, QS_F64, 2, (uint64_t[]){m->rows, m->cols}, wide);
		free(wide);
	} else {
		gen_add_matrix(t, name, &cast);
	}
	gen_matrix_free(&cast);
}

/* Packs a model of this file; returns the archive's size. base: a path, or NULL. */
static uint64_t pack_alone(void **state, gen_tensors *model, const char *base, qstore_pack_result *result)
{
	qstore_pack_result own;
	const char *high = scratch_path(state, "alone/model.safetensors");
	gen_write_tensors(model, high);
	result = result ? result : &own;
	archive_pack_with((qstore_pack_options){.high = high,
	                                        .output = scratch_path(state, "alone.qstore"),
	                                        .base = base,
	                                        .quantize = QSTORE_QUANTIZE_NONE,
	                                        .force = 1},
	                  result);
	return result->archive_size;
}

/* Restores the model that pack_alone packed. */
static void expect_restored(void **state, const char *base)
{
	qstore_archive *archive;
	qstore_error error;
	if (qstore_open(scratch_path(state, "alone.qstore"), &archive, &error) ||
	    (base && qstore_set_base(archive, base, &error)) ||
	    qstore_unpack(archive,
	                  &(qstore_unpack_options){.output = scratch_path(state, "out"), .force = 1, .sha256 = 1},
	                  NULL, &error))
		fail_msg("%s", error.text);
	qstore_close(archive);
	expect_same_file(scratch_path(state, "out/model.safetensors"),
	                 scratch_path(state, "alone/model.safetensors"));
}

static const struct {
	uint32_t low, high, from; /* from: the type that the weights had at first */
	unsigned bits;            /* of each weight of HIGH that LOW does not tell */
} directions[] = {
    {QS_F16, QS_BF16, QS_BF16, 0}, {QS_BF16, QS_F16, QS_BF16, 0}, {QS_F32, QS_BF16, QS_BF16, 0},
    {QS_F32, QS_F16, QS_F32, 0},   {QS_F32, QS_BF16, QS_F32, 0},  {QS_BF16, QS_F16, QS_F16, 4},
    {QS_F16, QS_BF16, QS_F16, 0},  {QS_F32, QS_F64, QS_F32, 0},   {QS_F64, QS_F32, QS_F32, 0},
    {QS_F16, QS_F64, QS_F16, 0},   {QS_F64, QS_BF16, QS_BF16, 0},
};

/* The finer variant's floats in another type: the differences are zero where one cast gives the other. */
static void differs_in_any_direction(void **state)
{
	for (size_t i = 0; i < sizeof(directions) / sizeof(*directions); i++) {
		/* See codes_no_narrow_floats_from_wide_ones. */
		if (directions[i].low == directions[i].from && directions[i].from == QS_F32 &&
		    directions[i].high != QS_F64)
			continue;
		gen_tensors high = {0}, low = {0}, alone = {0};
		gen_matrix m = gen_weights(i, directions[i].from, ROWS, COLS), up = gen_weights(99, QS_BF16, 64, 64);
		add_as(&low, "embed.weight", &m, directions[i].low);
		add_as(&alone, "embed.weight", &m, directions[i].low);
		add_as(&high, "embed.weight", &m, directions[i].high);
		gen_add_matrix(&high, "up.weight", &up);
		gen_add_int8(&low, "up", &up, GEN_SCHEME_LLM_INT8);
		uint64_t size = pack_alone(state, &alone, NULL, NULL);
		pair_outcome outcome = pack_pair(state, &high, &low, (qstore_pack_options){.from = NULL});
		uint64_t most = size + 2 * 64 * 64 + N * directions[i].bits / 8 + OVERHEAD;
		if (outcome.result.archive_size > most || outcome.result.n_delta != 1)
			fail_msg("%s beside %s: %llu bytes of at most %llu, %u differences",
			         qs_dtype_name(directions[i].high), qs_dtype_name(directions[i].low),
			         (unsigned long long)outcome.result.archive_size, (unsigned long long)most,
			         (unsigned)outcome.result.n_delta);
		gen_matrix_free(&m);
		gen_matrix_free(&up);
	}
}

/* FP32 with bits of its own would make the download of BF16 two and a half times as large: BF16 is stored
 * too.
 */
static void codes_no_narrow_floats_from_wide_ones(void **state)
{
	static const uint32_t dtypes[] = {QS_BF16, QS_F16};
	for (size_t i = 0; i < 2; i++) {
		gen_tensors high = {0}, low = {0}, alone = {0};
		gen_matrix wide = gen_weights(i, QS_F32, ROWS, COLS), m = gen_cast(&wide, dtypes[i]),
		           up = gen_weights(99, QS_BF16, 64, 64);
		gen_add_matrix(&low, "embed.weight", &wide);
		gen_add_matrix(&high, "embed.weight", &m);
		gen_add_matrix(&alone, "embed.weight", &m);
		gen_add_matrix(&alone, "up.weight", &up);
		gen_add_matrix(&high, "up.weight", &up);
		gen_add_int8(&low, "up", &up, GEN_SCHEME_LLM_INT8);
		uint64_t size = pack_alone(state, &alone, NULL, NULL);
		pair_outcome outcome = pack_pair(state, &high, &low, (qstore_pack_options){.strict = 1});
		assert_int_equal(outcome.result.n_delta, 0);
		assert_int_equal(outcome.n_warnings, 0);
		assert_true(outcome.result.variants[1].download_size < size + OVERHEAD);
		gen_matrix_free(&wide);
		gen_matrix_free(&m);
		gen_matrix_free(&up);
	}
}

/* A finetune that was saved in another type than its base, or is only a cast of it. */
static void differs_from_a_base_of_another_type(void **state)
{
	for (size_t i = 0; i < sizeof(directions) / sizeof(*directions); i++) {
		for (int is_finetune = 0; is_finetune < 2; is_finetune++) {
			gen_tensors base = {0}, own = {0};
			qstore_pack_result result;
			gen_matrix m = gen_weights(i, directions[i].from, ROWS, COLS),
			           moved = gen_noisy(&m, 5, is_finetune ? 1e-5 : 0);
			const char *path = scratch_path(state, "base/model.safetensors");
			add_as(&base, "up.weight", &m, directions[i].low);
			add_as(&own, "up.weight", &moved, directions[i].high);
			gen_write_tensors(&base, path);
			uint64_t size = pack_alone(state, &own, path, &result);
			assert_int_equal(result.n_base_delta, 1);
			if (!is_finetune && size > N * directions[i].bits / 8 + OVERHEAD)
				fail_msg("%s of %s: %llu bytes", qs_dtype_name(directions[i].high),
				         qs_dtype_name(directions[i].low), (unsigned long long)size);
			expect_restored(state, path);
			gen_matrix_free(&m);
			gen_matrix_free(&moved);
		}
	}
}

/* Tokens that were added to a vocabulary, or taken from it, cost their rows. */
static void shares_rows_with_a_base(void **state)
{
	static const uint64_t rows[][2] = {{ROWS, ROWS + 8}, {ROWS + 8, ROWS}};
	for (size_t i = 0; i < 2; i++)
		for (int is_cast = 0; is_cast < 2; is_cast++) {
			gen_tensors base = {0}, own = {0};
			gen_matrix m = gen_weights(i, QS_BF16, ROWS, COLS), old = gen_resized(&m, rows[i][0], COLS, 0.1f),
			           new = gen_resized(&m, rows[i][1], COLS, 0.2f);
			const char *path = scratch_path(state, "base/model.safetensors");
			gen_add_matrix(&base, "embed.weight", &old);
			add_as(&own, "embed.weight", &new, is_cast ? QS_F16 : QS_BF16);
			gen_write_tensors(&base, path);
			assert_true(pack_alone(state, &own, path, NULL) < 8 * COLS * 2 + OVERHEAD);
			expect_restored(state, path);
			gen_matrix_free(&m);
			gen_matrix_free(&old);
			gen_matrix_free(&new);
		}
}

/* A base that another library saved has other prefixes, and the same weights. */
static void finds_a_base_of_other_prefixes(void **state)
{
	static const char *const prefixes[][2] = {{"model.", "model.language_model."},
	                                          {"base_model.model.model.", "model."}};
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(*prefixes); i++) {
		gen_tensors base = {0}, own = {0};
		qstore_pack_result result;
		const char *path = scratch_path(state, "base/model.safetensors");
		for (unsigned j = 0; j < 3; j++) {
			char name[64];
			gen_matrix m = gen_weights(j, QS_BF16, ROWS, COLS);
			snprintf(name, sizeof(name), "%slayers.%u.up.weight", prefixes[i][0], j);
			gen_add_matrix(&base, name, &m);
			snprintf(name, sizeof(name), "%slayers.%u.up.weight", prefixes[i][1], j);
			gen_add_matrix(&own, name, &m);
			gen_matrix_free(&m);
		}
		gen_write_tensors(&base, path);
		assert_true(pack_alone(state, &own, path, &result) < OVERHEAD);
		assert_int_equal(result.n_base_equal, 3);
		expect_restored(state, path);
	}
}

static void note_warning(void *user, const char *text)
{
	snprintf(user, 300, "%s", text);
}

/* Another model has nothing in common but its norms: the archive does not need it. */
static void needs_no_base_of_another_model(void **state)
{
	gen_tensors base = {0}, own = {0};
	gen_matrix a = gen_weights(1, QS_BF16, ROWS, COLS), b = gen_weights(2, QS_BF16, ROWS, COLS),
	           norm = gen_weights(3, QS_BF16, 1, 64);
	char warning[300] = "";
	qstore_pack_result result;
	const char *path = scratch_path(state, "base/model.safetensors");
	gen_add_matrix(&base, "up.weight", &a);
	gen_add_matrix(&base, "norm.weight", &norm);
	gen_add_matrix(&own, "up.weight", &b);
	gen_add_matrix(&own, "norm.weight", &norm);
	gen_write_tensors(&base, path);
	gen_write_tensors(&own, scratch_path(state, "alone/model.safetensors"));
	archive_pack_with((qstore_pack_options){.high = scratch_path(state, "alone/model.safetensors"),
	                                        .output = scratch_path(state, "alone.qstore"),
	                                        .base = path,
	                                        .work = {.on_warning = note_warning, .user = warning}},
	                  &result);
	assert_non_null(strstr(warning, "is no base of"));
	assert_int_equal(result.n_base_equal + result.n_base_delta, 0);
	expect_restored(state, NULL);
	gen_matrix_free(&a);
	gen_matrix_free(&b);
	gen_matrix_free(&norm);
}

/* Names that have nothing to do with one another, and tensors of other bytes and the same size. */
static void shares_equal_tensors_of_a_file(void **state)
{
	gen_tensors own = {0};
	qstore_pack_result result;
	gen_matrix a = gen_weights(1, QS_BF16, ROWS, COLS), b = gen_weights(2, QS_BF16, ROWS, COLS),
	           almost = gen_resized(&a, ROWS, COLS, 0);
	almost.data[N] ^= 1; /* in none of the samples */
	gen_add_matrix(&own, "embed.weight", &a);
	gen_add_matrix(&own, "lm_head.weight", &a);
	gen_add_matrix(&own, "layers.0.weight", &b);
	gen_add_matrix(&own, "tok_embeddings", &a);
	gen_add_matrix(&own, "wk", &b);
	uint64_t size = pack_alone(state, &own, NULL, &result);
	assert_int_equal(result.n_equal, 3);
	assert_true(size < 2 * N * 2);
	expect_restored(state, NULL);
	gen_add_matrix(&own, "x", &a);
	gen_add_matrix(&own, "y", &almost);
	gen_add_matrix(&own, "z", &almost);
	pack_alone(state, &own, NULL, &result);
	assert_int_equal(result.n_equal, 1);
	expect_restored(state, NULL);
	gen_matrix_free(&a);
	gen_matrix_free(&b);
	gen_matrix_free(&almost);
}

/* Wide and square matrices; more than one copy, and both orders. */
static void shares_transposed_tensors(void **state)
{
	static const uint64_t cols[] = {COLS, ROWS};
	for (size_t i = 0; i < 2; i++)
		for (int is_first = 0; is_first < 2; is_first++) {
			gen_tensors own = {0};
			gen_matrix m = gen_weights(1, is_first ? QS_F32 : QS_BF16, ROWS, cols[i]), t = gen_transposed(&m);
			gen_add_matrix(&own, "a", is_first ? &t : &m);
			gen_add_matrix(&own, "b", is_first ? &m : &t);
			gen_add_matrix(&own, "c", &t);
			uint64_t size = pack_alone(state, &own, NULL, NULL);
			assert_true(size < ROWS * cols[i] * qs_dtype_size(m.dtype) + OVERHEAD);
			expect_restored(state, NULL);
			gen_matrix_free(&m);
			gen_matrix_free(&t);
		}
}

/* Copies of paired weights, of their codes and of their scales, under other names and transposed, before and
 * behind those that are paired: all use the objects of the pair. */
static void shares_paired_tensors(void **state)
{
	for (int is_before = 0; is_before < 2; is_before++) {
		gen_tensors high = {0}, low = {0}, pair_high = {0}, pair_low = {0};
		gen_matrix m = gen_weights(1, is_before ? QS_F32 : QS_BF16, ROWS, COLS), t = gen_transposed(&m);
		gen_add_matrix(&pair_high, "up.weight", &m);
		gen_add_int8(&pair_low, "up", &m, GEN_SCHEME_LLM_INT8);
		uint64_t size =
		    pack_pair(state, &pair_high, &pair_low, (qstore_pack_options){.from = NULL}).result.archive_size;
		gen_add_matrix(&high, is_before ? "a.w1" : "w1", &m);
		gen_add_matrix(&high, "up.weight", &m);
		gen_add_matrix(&high, is_before ? "a.w2" : "w2", &m);
		gen_add_matrix(&high, is_before ? "a.w3" : "w3", &t);
		gen_add_int8(&low, is_before ? "b.w1" : "w3", &m, GEN_SCHEME_LLM_INT8);
		gen_add_int8(&low, "up", &m, GEN_SCHEME_LLM_INT8);
		pair_outcome outcome = pack_pair(state, &high, &low, (qstore_pack_options){.from = NULL});
		assert_int_equal(outcome.n_warnings, 0);
		if (outcome.result.archive_size > size + 2048)
			fail_msg("%llu bytes; the pair alone %llu", (unsigned long long)outcome.result.archive_size,
			         (unsigned long long)size);
		gen_matrix_free(&m);
		gen_matrix_free(&t);
	}
}

/* INT8 that is made of a model whose weights are there twice has them once, too. */
static void shares_made_codes(void **state)
{
	gen_tensors once = {0}, twice = {0};
	gen_matrix m = gen_weights(1, QS_BF16, ROWS, COLS);
	uint64_t sizes[2];
	gen_add_matrix(&once, "layers.0.up.weight", &m);
	gen_add_matrix(&twice, "layers.0.up.weight", &m);
	gen_add_matrix(&twice, "layers.1.up.weight", &m);
	for (int i = 0; i < 2; i++) {
		qstore_pack_result result;
		const char *high = scratch_path(state, "alone/model.safetensors");
		gen_write_tensors(i ? &twice : &once, high);
		archive_pack_with((qstore_pack_options){.high = high,
		                                        .output = scratch_path(state, "alone.qstore"),
		                                        .quantize = QSTORE_QUANTIZE_LLM_INT8,
		                                        .force = 1},
		                  &result);
		sizes[i] = result.archive_size;
		expect_restored(state, NULL);
		archive_verify(scratch_path(state, "alone.qstore"));
	}
	assert_true(sizes[1] < sizes[0] + 2048);
	gen_matrix_free(&m);
}

/* Scales that are equal to weights of other kinds stay plain, whatever becomes of those. */
static void keeps_scales_plain(void **state)
{
	gen_tensors high = {0}, low = {0};
	gen_matrix m = gen_weights(1, QS_BF16, 256, COLS), other = gen_weights(2, QS_BF16, 256, COLS);
	int8_t *codes = malloc(256 * COLS);
	float scales[256], near[256];
	assert_non_null(codes);
	gen_int8_codes(&m, GEN_SCHEME_LLM_INT8, codes, scales);
	for (size_t i = 0; i < 256; i++)
		near[i] = scales[i] * (1 + 1e-6f);
	gen_add_matrix(&high, "up.weight", &m);
	gen_add(&high, "norm.weight", QS_F32, 1, (uint64_t[]){256}, near);
	gen_add(&high, "other.SCB", QS_F32, 1, (uint64_t[]){256}, near);
	gen_add_matrix(&high, "other.weight", &other);
	gen_add(&low, "norm.weight", QS_F32, 1, (uint64_t[]){256}, scales);
	gen_add_int8(&low, "up", &m, GEN_SCHEME_LLM_INT8);
	gen_add_int8(&low, "other", &other, GEN_SCHEME_LLM_INT8);
	pair_outcome outcome = pack_pair(state, &high, &low, (qstore_pack_options){.from = NULL});
	assert_int_equal(outcome.result.n_paired, 2);
	free(codes);
	gen_matrix_free(&m);
	gen_matrix_free(&other);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(differs_in_any_direction),
	    TEST(codes_no_narrow_floats_from_wide_ones),
	    TEST(differs_from_a_base_of_another_type),
	    TEST(shares_rows_with_a_base),
	    TEST(shares_equal_tensors_of_a_file),
	    TEST(finds_a_base_of_other_prefixes),
	    TEST(shares_equal_tensors_of_a_file),
	    TEST(needs_no_base_of_another_model),
	    TEST(shares_equal_tensors_of_a_file),
	    TEST(shares_transposed_tensors),
	    TEST(shares_paired_tensors),
	    TEST(shares_made_codes),
	    TEST(keeps_scales_plain),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* LLM.int8: against a slow reference in double precision over all 65,536 values of both dtypes, and against
 * INT8 files that bitsandbytes' rule made from real weights, when they are at hand. */
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
#include "quantize/llm_int8.h"

/* The reference: nothing but its meaning, value by value. */

static double decode(uint32_t bits, int exponent_bits, int mantissa_bits)
{
	int exponent = (int)(bits >> mantissa_bits) & ((1 << exponent_bits) - 1),
	    bias = (1 << (exponent_bits - 1)) - 1;
	double mantissa = bits & ((1u << mantissa_bits) - 1), sign = bits >> 15 ? -1.0 : 1.0;
	if (exponent == (1 << exponent_bits) - 1)
		return mantissa != 0 ? (double)NAN : sign * (double)INFINITY;
	if (!exponent)
		return sign * ldexp(mantissa, 1 - bias - mantissa_bits);
	return sign * ldexp(mantissa + ldexp(1, mantissa_bits), exponent - bias - mantissa_bits);
}

static double decode_dtype(uint32_t bits, uint32_t dtype)
{
	return dtype == QS_BF16 ? decode(bits, 8, 7) : decode(bits, 5, 10);
}

static double cast_to_f16(double value)
{
	int exponent;
	if (!isfinite(value) || value == 0)
		return value;
	frexp(value, &exponent); /* value in [0.5, 1) × 2^exponent */
	double quantum = ldexp(1, (exponent - 1 < -14 ? -14 : exponent - 1) - 10);
	double rounded = nearbyint(value / quantum) * quantum;
	return fabs(rounded) >= 65536 ? copysign((double)INFINITY, value) : rounded;
}

static int reference_code(double half, double absmax)
{
	float scale = (float)(127.0 / absmax);
	float product = (float)(half * (double)scale); /* exact in double, then rounded once */
	return (int)nearbyint((double)product);
}

static void store16(uint8_t *dst, uint32_t bits)
{
	dst[0] = (uint8_t)bits;
	dst[1] = (uint8_t)(bits >> 8);
}

static const uint32_t dtypes[] = {QS_BF16, QS_F16};

static void absmax_of_every_value(void **state)
{
	(void)state;
	for (size_t d = 0; d < 2; d++) {
		for (uint32_t bits = 0; bits < 65536; bits++) {
			uint8_t src[3];
			int finite = 1;
			double expected = fabs(cast_to_f16(decode_dtype(bits, dtypes[d])));
			store16(src + 1, bits);
			float absmax = qs_llm_int8_absmax(src + 1, 1, dtypes[d], &finite);
			assert_int_equal(finite, isfinite(expected) != 0);
			if (finite && (double)absmax != expected)
				fail_msg("dtype %u, bits %04x: %a, not %a", dtypes[d], bits, (double)absmax, expected);
		}
	}
}

static void codes_of_every_value(void **state)
{
	(void)state;
	uint8_t *src = malloc(2 * 65536 + 1);
	int8_t *codes = malloc(65536);
	assert_non_null(src);
	assert_non_null(codes);
	for (size_t d = 0; d < 2; d++) {
		/* absmax: one in 97 of all positive finite values */
		for (uint32_t max_bits = 1; max_bits < 0x7f80; max_bits += 97) {
			double absmax = cast_to_f16(decode_dtype(max_bits, dtypes[d]));
			size_t n = 0;
			if (!isfinite(absmax) || absmax == 0)
				continue;
			for (uint32_t bits = 0; bits < 65536; bits++)
				if ((bits & 0x7fff) <= max_bits)
					store16(src + 1 + 2 * n++, bits);
			int finite = 1;
			assert_true((double)qs_llm_int8_absmax(src + 1, n, dtypes[d], &finite) == absmax);
			assert_true(finite);
			memset(codes, 99, n);
			qs_llm_int8_quantize(src + 1, n, dtypes[d], (float)absmax, codes);
			for (size_t i = 0; i < n; i++) {
				uint32_t bits = (uint32_t)(src[1 + 2 * i] | src[2 + 2 * i] << 8);
				int expected = reference_code(cast_to_f16(decode_dtype(bits, dtypes[d])), absmax);
				if (codes[i] != expected)
					fail_msg("dtype %u, bits %04x, absmax %a: %d, not %d", dtypes[d], bits, absmax, codes[i],
					         expected);
			}
		}
	}
	free(codes);
	free(src);
}

/* Vectorised loops have a tail: every length, in exact allocations so that sanitizers see reads and writes
 * beyond. */
static void every_length_and_piece(void **state)
{
	(void)state;
	for (size_t d = 0; d < 2; d++) {
		for (size_t n = 0; n <= 70; n++) {
			uint8_t *src = malloc(2 * n + 1);
			int8_t *codes = malloc(n + 1), *pieces = malloc(n + 1);
			double expected = 0;
			assert_true(src && codes && pieces);
			for (size_t i = 0; i < n; i++) {
				uint32_t bits = (uint32_t)((i * 40503u + n * 977u) & 0xbfff) % 0x3f00 | (uint32_t)(i & 1)
				                                                                            << 15;
				store16(src + 2 * i, bits);
				expected = fmax(expected, fabs(cast_to_f16(decode_dtype(bits, dtypes[d]))));
			}
			int finite = 1;
			float absmax = qs_llm_int8_absmax(src, n, dtypes[d], &finite);
			assert_true((double)absmax == expected);
			qs_llm_int8_quantize(src, n, dtypes[d], absmax, codes);
			size_t half = n / 2;
			qs_llm_int8_quantize(src, half, dtypes[d], absmax, pieces);
			qs_llm_int8_quantize(src + 2 * half, n - half, dtypes[d], absmax, pieces + half);
			assert_memory_equal(codes, pieces, n);
			assert_true(finite);
			for (size_t i = 0; i < n && absmax > 0; i++) {
				uint32_t bits = (uint32_t)(src[2 * i] | src[2 * i + 1] << 8);
				assert_int_equal(codes[i],
				                 reference_code(cast_to_f16(decode_dtype(bits, dtypes[d])), expected));
			}
			free(pieces);
			free(codes);
			free(src);
		}
	}
}

static void rows_of_zeros_and_of_infinities_have_codes_of_zero(void **state)
{
	(void)state;
	uint8_t src[2 * 33];
	int8_t codes[33], zeros[33] = {0};
	int finite = 1;
	for (size_t i = 0; i < 33; i++)
		store16(src + 2 * i, i & 1 ? 0x8000 : 0);
	assert_true(qs_llm_int8_absmax(src, 33, QS_BF16, &finite) == 0.0f);
	assert_true(finite);
	memset(codes, 1, sizeof codes);
	qs_llm_int8_quantize(src, 33, QS_BF16, 0.0f, codes);
	assert_memory_equal(codes, zeros, sizeof codes);

	store16(src + 40, 0xff80);
	float absmax = qs_llm_int8_absmax(src, 33, QS_BF16, &finite);
	assert_false(finite);
	memset(codes, 1, sizeof codes);
	qs_llm_int8_quantize(src, 33, QS_BF16, absmax, codes);
	assert_memory_equal(codes, zeros, sizeof codes);
	/* what is not finite stays so over further pieces */
	qs_llm_int8_absmax(src, 3, QS_BF16, &finite);
	assert_false(finite);
}

static void selects_linear_weights_only(void **state)
{
	(void)state;
	static const uint64_t dims[] = {8, 8, 8, 8}, empty[] = {0, 8};
	static const char *const linear[] = {
	    "model.layers.0.self_attn.q_proj.weight",
	    "model.layers.11.mlp.down_proj.weight",
	    "h.0.attn.c_attn.weight",
	    "encoder.layer.0.output.dense.weight",
	    "blocks.3.fc1.weight",
	    "model.layers.0.block_sparse_moe.gate.weight",
	    "output.dense.weight",
	};
	static const char *const others[] = {
	    "lm_head.weight",
	    "model.embed_tokens.weight",
	    "transformer.wte.weight",
	    "transformer.wpe.weight",
	    "transformer.h.0.ln_1.weight",
	    "model.layers.0.input_layernorm.weight",
	    "model.norm.weight",
	    "tok_embeddings.weight",
	    "output.weight",
	    "shared.weight",
	    "classifier.weight",
	    "score.weight",
	    "embed_out.weight",
	    "model.layers.0.self_attn.q_proj.bias",
	    "q_proj.weight_scale",
	    ".weight",
	    "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
	    "weight",
	};
	for (size_t i = 0; i < sizeof linear / sizeof *linear; i++)
		if (!qs_llm_int8_selects(linear[i], QS_BF16, 2, dims, NULL, NULL))
			fail_msg("%s is not selected", linear[i]);
	for (size_t i = 0; i < sizeof others / sizeof *others; i++)
		if (qs_llm_int8_selects(others[i], QS_BF16, 2, dims, NULL, NULL))
			fail_msg("%s is selected", others[i]);
	assert_true(qs_llm_int8_selects(linear[0], QS_F16, 2, dims, NULL, NULL));
	assert_false(qs_llm_int8_selects(linear[0], QS_F32, 2, dims, NULL, NULL));
	assert_false(qs_llm_int8_selects(linear[0], QS_BF16, 1, dims, NULL, NULL));
	assert_false(qs_llm_int8_selects(linear[0], QS_BF16, 3, dims, NULL, NULL));
	assert_false(qs_llm_int8_selects(linear[0], QS_BF16, 2, empty, NULL, NULL));
}

static void patterns_change_the_selection(void **state)
{
	(void)state;
	static const uint64_t dims[] = {8, 8};
	static const char *const head[] = {"nothing", "lm_*", NULL}, *const projections[] = {"*.q_proj.*", NULL};
	const char *q = "model.layers.0.self_attn.q_proj.weight";
	assert_true(qs_llm_int8_selects("lm_head.weight", QS_BF16, 2, dims, head, NULL));
	assert_false(qs_llm_int8_selects("lm_head.weight", QS_BF16, 2, dims, head, head));
	assert_false(qs_llm_int8_selects("lm_head.weight", QS_F32, 2, dims, head, NULL));
	assert_true(qs_llm_int8_selects(q, QS_BF16, 2, dims, head, NULL));
	assert_false(qs_llm_int8_selects(q, QS_BF16, 2, dims, NULL, projections));
}

static void *read_bytes(const char *path, uint64_t offset, uint64_t size)
{
	void *data = malloc(size ? (size_t)size : 1);
	FILE *stream = fopen(path, "rb");
	assert_non_null(data);
	assert_non_null(stream);
	assert_int_equal(fseeko(stream, (off_t)offset, SEEK_SET), 0);
	assert_int_equal(fread(data, 1, (size_t)size, stream), size);
	fclose(stream);
	return data;
}

static void compare_pair(const char *high_path, const char *low_path)
{
	qs_model high, low;
	qstore_error error;
	size_t n_pairs = 0;
	if (qs_model_open(&high, high_path, &error) || qs_model_open(&low, low_path, &error))
		fail_msg("%s", error.text);
	for (size_t f = 0; f < high.n_files; f++) {
		for (size_t t = 0; t < high.files[f].weights.n_tensors; t++) {
			const qs_weight *fine = &high.files[f].weights.tensors[t];
			const qs_model_file *low_file = NULL, *scale_file = NULL;
			const qs_weight *coarse = qs_model_find(&low, fine->name, &low_file);
			char name[500];
			assert_non_null(coarse);
			int selected = qs_llm_int8_selects(fine->name, fine->dtype, fine->n_dims, fine->dims, NULL, NULL);
			assert_int_equal(selected, coarse->dtype == QS_I8);
			if (!selected)
				continue;
			snprintf(name, sizeof name, "%.*sSCB", (int)(strlen(fine->name) - strlen("weight")), fine->name);
			const qs_weight *scale = qs_model_find(&low, name, &scale_file);
			assert_non_null(scale);
			uint64_t rows = fine->dims[0], cols = fine->dims[1];
			uint8_t *src = read_bytes(high.files[f].path, fine->offset, fine->size);
			int8_t *expected = read_bytes(low_file->path, coarse->offset, coarse->size),
			       *codes = malloc((size_t)cols);
			float *scb = read_bytes(scale_file->path, scale->offset, scale->size);
			for (uint64_t r = 0; r < rows; r++) {
				int finite = 1;
				float absmax = qs_llm_int8_absmax(src + r * cols * 2, (size_t)cols, fine->dtype, &finite);
				assert_true(finite);
				assert_memory_equal(&absmax, &scb[r], sizeof absmax);
				qs_llm_int8_quantize(src + r * cols * 2, (size_t)cols, fine->dtype, absmax, codes);
				assert_memory_equal(codes, expected + r * cols, cols);
			}
			free(scb);
			free(codes);
			free(expected);
			free(src);
			n_pairs++;
		}
	}
	assert_true(n_pairs > 0);
	qs_model_close(&high);
	qs_model_close(&low);
}

static void equals_real_int8_files(void **state)
{
	(void)state;
	static const char *const models[] = {"../shared/data/stories15M-llama", "../shared/data/tiny1m-llama"};
	int found = 0;
	for (size_t i = 0; i < 2; i++) {
		char high[200], low[200];
		snprintf(high, sizeof high, "%s/bf16", models[i]);
		snprintf(low, sizeof low, "%s/int8", models[i]);
		FILE *stream = fopen(low, "rb");
		if (!stream) {
			print_message("no %s: not compared\n", models[i]);
			continue;
		}
		fclose(stream);
		compare_pair(high, low);
		found = 1;
	}
	if (!found)
		skip();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(absmax_of_every_value),
	    cmocka_unit_test(codes_of_every_value),
	    cmocka_unit_test(every_length_and_piece),
	    cmocka_unit_test(rows_of_zeros_and_of_infinities_have_codes_of_zero),
	    cmocka_unit_test(selects_linear_weights_only),
	    cmocka_unit_test(patterns_change_the_selection),
	    cmocka_unit_test(equals_real_int8_files),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

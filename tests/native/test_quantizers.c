/* Quantized copies of models: layouts as their libraries write them, and each number against the quantizer's
 * formula computed another way, in double precision rounded step by step. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../generate/codes.h"
#include "../generate/gptq.h"
#include "../generate/llama.h"
#include "../generate/quantize.h"
#include "../generate/values.h"
#include "model_help.h"
#include "quantize_help.h"
#include "scratch.h"

/* Computes a scale and zero point in double precision, by the formulas of the quantizers themselves. */
static void slow_params(const gen_rounding *r, double min, double max, double *scale, double *zero)
{
	double range = (1 << r->bits) - 1, low = -(1 << (r->bits - 1)), most = fmax(fabs(min), fabs(max));
	min = fmin(min, 0);
	max = fmax(max, 0);
	*zero = 0;
	if (r->rule == GEN_COMPRESSED_TENSORS && r->asymmetric) {
		*scale = round_in(r->dtype, round_in(r->dtype, max - min) / range);
		*zero = clamped(rint(round_in(r->dtype, low - round_in(r->dtype, min / *scale))), low, low + range);
	} else if (r->rule == GEN_COMPRESSED_TENSORS) {
		*scale = round_in(r->dtype, most / (range / 2));
	} else if (r->rule == GEN_TORCHAO) {
		*scale = round_in(r->dtype, most / 127.5);
	} else if (r->asymmetric) {
		*scale = single(single(max - min) / range);
		*zero = rint(single(-single(min / *scale)));
	} else {
		*scale = single(most / (range - 128));
	}
}

static double slow_code(const gen_rounding *r, double scale, double zero, double value)
{
	double low = r->rule == GEN_DIVIDE && r->asymmetric ? 0 : -(1 << (r->bits - 1));
	double high = low + (1 << r->bits) - 1;
	if (r->rule == GEN_COMPRESSED_TENSORS) {
		double scaled = round_in(r->dtype, value / scale);
		return rint(clamped(r->asymmetric ? round_in(r->dtype, scaled + zero) : scaled, low, high));
	}
	int multiply = r->rule == GEN_TORCHAO || r->rule == GEN_MULTIPLY;
	double scaled = single(multiply ? value * single(1 / scale) : value / scale);
	return clamped(rint(scaled) + zero, low, high);
}

/* Where a quantizer keeps its numbers: code (row, col), and scale and zero point of (row, group). */
typedef struct stored {
	loaded_tensor codes, scales, zeros;
	gen_rounding rounding;
	int packed;
} stored;

static double stored_code(const stored *s, size_t rows, size_t cols, size_t r, size_t c)
{
	unsigned bits = s->rounding.bits;
	(void)rows;
	if (!s->packed)
		return (double)integer_at(&s->codes, r * cols + c);
	return packed_at(&s->codes, r * (cols * bits / 32), 1, c, bits) - (1 << (bits - 1));
}

static double stored_zero(const stored *s, size_t r, size_t group, size_t n_groups)
{
	unsigned bits = s->rounding.bits;
	if (!s->rounding.asymmetric)
		return 0;
	if (!s->packed)
		return (double)integer_at(&s->zeros, r * n_groups + group);
	return packed_at(&s->zeros, group, n_groups, r, bits) - (1 << (bits - 1));
}

/* Every scale, zero point and code, each block of rows and columns having its own scale. */
static void expect_formula(const loaded_tensor *high, const stored *s, size_t block_rows, size_t block_cols)
{
	size_t rows = (size_t)high->dims[0], cols = (size_t)high->dims[1],
	       n_groups = (cols + block_cols - 1) / block_cols;
	for (size_t r0 = 0; r0 < rows; r0 += block_rows)
		for (size_t c0 = 0; c0 < cols; c0 += block_cols) {
			double min = INFINITY, max = -INFINITY, scale, zero;
			size_t c1 = c0 + block_cols < cols ? c0 + block_cols : cols, at = r0 / block_rows;
			for (size_t r = r0; r < r0 + block_rows; r++)
				for (size_t c = c0; c < c1; c++) {
					min = fmin(min, float_at(high, r * cols + c));
					max = fmax(max, float_at(high, r * cols + c));
				}
			slow_params(&s->rounding, min, max, &scale, &zero);
			assert_true(float_at(&s->scales, at * n_groups + c0 / block_cols) == scale);
			assert_true(stored_zero(s, at, c0 / block_cols, n_groups) == zero);
			for (size_t r = r0; r < r0 + block_rows; r++)
				for (size_t c = c0; c < c1; c++) {
					double expected = slow_code(&s->rounding, scale, zero, float_at(high, r * cols + c));
					assert_true(stored_code(s, rows, cols, r, c) == expected);
				}
		}
}

static void stored_free(stored *s)
{
	free(s->codes.data);
	free(s->scales.data);
	free(s->zeros.data);
}

static void compressed_tensors(void **state)
{
	static const struct {
		uint32_t dtype;
		unsigned bits;
		int asymmetric, packed;
		size_t group;
	} cases[] = {
	    {QS_BF16, 8, 0, 0, 0},  {QS_BF16, 8, 1, 0, 0}, {QS_BF16, 8, 0, 0, 32}, {QS_BF16, 8, 1, 0, 40},
	    {QS_BF16, 4, 0, 1, 32}, {QS_BF16, 4, 1, 1, 0}, {QS_BF16, 4, 1, 1, 40}, {QS_BF16, 8, 0, 1, 0},
	    {QS_BF16, 8, 1, 1, 32}, {QS_F16, 8, 0, 0, 0},  {QS_F16, 4, 1, 1, 32},  {QS_F32, 8, 0, 0, 0},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const char *high = make_model(state, cases[i].dtype);
		unsigned bits = cases[i].bits;
		int asymmetric = cases[i].asymmetric, packed = cases[i].packed;
		const char *low =
		    quantize_model(state, high,
		                   (quantize_options){.rule = QUANTIZE_COMPRESSED_TENSORS,
		                                      .bits = bits,
		                                      .per = cases[i].group ? GEN_PER_GROUP : GEN_PER_ROW,
		                                      .group = cases[i].group,
		                                      .asymmetric = asymmetric,
		                                      .packed = packed});
		for (size_t k = 0; k < N_LINEAR; k++) {
			loaded_tensor weights;
			assert_true(load_tensor(high, linear[k], "weight", &weights));
			uint64_t rows = weights.dims[0], cols = weights.dims[1];
			size_t group = cases[i].group ? cases[i].group : (size_t)cols;
			uint64_t groups = (cols + group - 1) / group;
			stored s = {.rounding = {GEN_COMPRESSED_TENSORS, bits, asymmetric, cases[i].dtype, 0, 0},
			            .packed = packed};
			s.scales = expect_tensor(low, linear[k], "weight_scale", cases[i].dtype, 2, rows, groups);
			if (packed) {
				s.codes = expect_tensor(low, linear[k], "weight_packed", QS_I32, 2, rows, cols * bits / 32);
				loaded_tensor shape = expect_tensor(low, linear[k], "weight_shape", QS_I64, 1, 2, 0);
				assert_int_equal(integer_at(&shape, 0), rows);
				assert_int_equal(integer_at(&shape, 1), cols);
				free(shape.data);
				expect_no_tensor(low, linear[k], "weight");
			} else {
				s.codes = expect_tensor(low, linear[k], "weight", QS_I8, 2, rows, cols);
			}
			if (asymmetric)
				s.zeros = expect_tensor(low, linear[k], "weight_zero_point", packed ? QS_I32 : QS_I8, 2,
				                        packed ? rows * bits / 32 : rows, groups);
			else
				expect_no_tensor(low, linear[k], "weight_zero_point");
			expect_formula(&weights, &s, 1, group);
			stored_free(&s);
			free(weights.data);
		}
	}
}

static void torchao(void **state)
{
	static const uint32_t dtypes[] = {QS_BF16, QS_F16, QS_F32};
	for (size_t i = 0; i < 3; i++) {
		const char *high = make_model(state, dtypes[i]);
		const char *low = quantize_model(state, high, (quantize_options){.rule = QUANTIZE_TORCHAO});
		for (size_t k = 0; k < N_LINEAR; k++) {
			loaded_tensor weights;
			assert_true(load_tensor(high, linear[k], "weight", &weights));
			uint64_t rows = weights.dims[0], cols = weights.dims[1];
			stored s = {.rounding = {GEN_TORCHAO, 8, 0, dtypes[i], 0, 0}};
			s.codes = expect_tensor(low, linear[k], "_weight_qdata", QS_I8, 2, rows, cols);
			s.scales = expect_tensor(low, linear[k], "_weight_scale", QS_F32, 2, rows, 1);
			expect_formula(&weights, &s, 1, (size_t)cols);
			stored_free(&s);
			free(weights.data);
		}
	}
}

static void plain_rounding(void **state)
{
	static const struct {
		int per, asymmetric, multiply;
	} cases[] = {
	    {GEN_PER_ROW, 0, 0},    {GEN_PER_GROUP, 0, 0},  {GEN_PER_COLUMN, 0, 0}, {GEN_PER_TENSOR, 0, 0},
	    {GEN_PER_TENSOR, 1, 0}, {GEN_PER_COLUMN, 1, 0}, {GEN_PER_GROUP, 1, 0},  {GEN_PER_ROW, 0, 1},
	};
	const char *high = make_model(state, QS_BF16);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		int per = cases[i].per, asymmetric = cases[i].asymmetric, grouped = per == GEN_PER_GROUP;
		const char *low = quantize_model(state, high,
		                                 (quantize_options){.rule = QUANTIZE_ROUND,
		                                                    .per = per,
		                                                    .group = grouped ? 40 : 0,
		                                                    .asymmetric = asymmetric,
		                                                    .multiply = cases[i].multiply});
		for (size_t k = 0; k < N_LINEAR; k++) {
			loaded_tensor weights;
			assert_true(load_tensor(high, linear[k], "weight", &weights));
			uint64_t rows = weights.dims[0], cols = weights.dims[1];
			stored s = {
			    .rounding = {cases[i].multiply ? GEN_MULTIPLY : GEN_DIVIDE, 8, asymmetric, QS_BF16, 0, 0}};
			uint64_t scale_rows = per == GEN_PER_ROW || grouped ? rows : 1;
			uint64_t scale_cols = per == GEN_PER_COLUMN ? cols : grouped ? (cols + 39) / 40 : 1;
			uint32_t n_dims = per == GEN_PER_COLUMN || grouped ? 2 : 1;
			s.codes = expect_tensor(low, linear[k], "weight", asymmetric ? QS_U8 : QS_I8, 2, rows, cols);
			s.scales = expect_tensor(low, linear[k], "weight.scale", QS_F32, n_dims, scale_rows, scale_cols);
			if (asymmetric)
				s.zeros =
				    expect_tensor(low, linear[k], "weight.zero_point", QS_U8, n_dims, scale_rows, scale_cols);
			expect_formula(&weights, &s, (size_t)(rows / scale_rows),
			               grouped ? 40 : (size_t)(cols / scale_cols));
			stored_free(&s);
			free(weights.data);
		}
	}
}

/* Codes of a row by LLM.int8 with this factor? */
static int row_follows(const loaded_tensor *weights, const loaded_tensor *codes, size_t row, double factor)
{
	for (size_t c = 0, cols = (size_t)weights->dims[1]; c < cols; c++) {
		size_t i = row * cols + c;
		if ((double)integer_at(codes, i) != rint(single(round_to(QS_F16, float_at(weights, i)) * factor)))
			return 0;
	}
	return 1;
}

static void llm_int8_with_a_disturbed_division(void **state)
{
	static const unsigned ulps[] = {0, 2, 1000};
	const char *high = make_model(state, QS_BF16);
	for (size_t i = 0; i < 3; i++) {
		size_t n_disturbed = 0;
		const char *low =
		    quantize_model(state, high, (quantize_options){.rule = QUANTIZE_LLM_INT8, .ulps = ulps[i]});
		for (size_t k = 0; k < N_LINEAR; k++) {
			loaded_tensor weights, codes, scb, format;
			assert_true(load_tensor(high, linear[k], "weight", &weights));
			uint64_t rows = weights.dims[0];
			codes = expect_tensor(low, linear[k], "weight", QS_I8, 2, rows, weights.dims[1]);
			scb = expect_tensor(low, linear[k], "SCB", QS_F32, 1, rows, 0);
			format = expect_tensor(low, linear[k], "weight_format", QS_U8, 0, 0, 0);
			assert_int_equal(format.data[0], 0);
			for (size_t r = 0; r < rows; r++) {
				double factor = single(127 / float_at(&scb, r)), found = 0;
				double ulp = single(nextafterf((float)factor, INFINITY)) - factor;
				n_disturbed += !row_follows(&weights, &codes, r, factor);
				for (int off = -(int)ulps[i]; off <= (int)ulps[i] && !found; off++)
					found = row_follows(&weights, &codes, r, factor + off * ulp);
				assert_true(found);
			}
			free(weights.data);
			free(codes.data);
			free(scb.data);
			free(format.data);
		}
		assert_true(ulps[i] == 1000 ? n_disturbed > 10 : ulps[i] == 2 || n_disturbed == 0);
	}
}

/* SmoothQuant's factor of each column: the root of its largest input through its largest weight. */
static double *smoothing_factors(const loaded_tensor *weights, const char *name)
{
	enum { N_SAMPLES = 64 };
	gen_inputs inputs = {5, 0.5};
	size_t rows = (size_t)weights->dims[0], cols = (size_t)weights->dims[1];
	float *x = gen_activations(&inputs, name, cols, N_SAMPLES);
	double *factors = calloc(cols, sizeof *factors);
	assert_non_null(factors);
	for (size_t c = 0; c < cols; c++) {
		double input = 0, weight = single(1e-5);
		for (size_t s = 0; s < N_SAMPLES; s++)
			input = fmax(input, fabs((double)x[s * cols + c]));
		for (size_t r = 0; r < rows; r++)
			weight = fmax(weight, fabs(float_at(weights, r * cols + c)));
		factors[c] = round_in(weights->dtype, sqrt(single(input / weight)));
	}
	free(x);
	return factors;
}

/* The same smoothed weights, stored by AWQ's FP16 arithmetic and layout. */
static void awq(void **state)
{
	static const size_t order[] = {0, 2, 4, 6, 1, 3, 5, 7};
	const char *high = make_model(state, QS_F16);
	const char *low = quantize_model(
	    state, high, (quantize_options){.rule = QUANTIZE_AWQ, .per = GEN_PER_GROUP, .group = 32});
	for (size_t k = 0; k < N_LINEAR; k++) {
		loaded_tensor weights;
		char name[100];
		snprintf(name, sizeof name, "%s.weight", linear[k]);
		assert_true(load_tensor(high, linear[k], "weight", &weights));
		size_t rows = (size_t)weights.dims[0], cols = (size_t)weights.dims[1];
		loaded_tensor qweight = expect_tensor(low, linear[k], "qweight", QS_I32, 2, cols, rows / 8),
		              qzeros = expect_tensor(low, linear[k], "qzeros", QS_I32, 2, cols / 32, rows / 8),
		              scales = expect_tensor(low, linear[k], "scales", QS_F16, 2, cols / 32, rows);
		expect_no_tensor(low, linear[k], "weight");
		double *factors = smoothing_factors(&weights, name);
		for (size_t word = 0; word < rows; word += 8)
			for (size_t i = 0; i < 8; i++)
				for (size_t first = 0; first < cols; first += 32) {
					size_t r = word + order[i], group = first / 32;
					double min = INFINITY, max = -INFINITY, moved[32];
					for (size_t j = 0; j < 32; j++) {
						moved[j] =
						    round_in(QS_F16, float_at(&weights, r * cols + first + j) * factors[first + j]);
						min = fmin(min, moved[j]);
						max = fmax(max, moved[j]);
					}
					double scale = round_in(QS_F16, round_in(QS_F16, max - min) / 15);
					double zero = clamped(-rint(round_in(QS_F16, min / scale)), 0, 15);
					assert_true(float_at(&scales, group * rows + r) == scale);
					assert_true(packed_at(&qzeros, group * (rows / 8), 1, word + i, 4) == zero);
					for (size_t j = 0; j < 32; j++) {
						double code = clamped(rint(round_in(QS_F16, moved[j] / scale)) + zero, 0, 15);
						assert_true(packed_at(&qweight, (first + j) * (rows / 8), 1, word + i, 4) == code);
					}
				}
		free(factors);
		free(qweight.data);
		free(qzeros.data);
		free(scales.data);
		free(weights.data);
	}
}

/* Restored values are the weights times one factor a column, up to half a step and what BF16 loses. */
static void smoothing_scales_columns(void **state)
{
	const char *high = make_model(state, QS_BF16);
	const char *low = quantize_model(state, high, (quantize_options){.rule = QUANTIZE_ROUND, .smooth = 1});
	for (size_t k = 0; k < N_LINEAR; k++) {
		loaded_tensor weights;
		assert_true(load_tensor(high, linear[k], "weight", &weights));
		size_t rows = (size_t)weights.dims[0], cols = (size_t)weights.dims[1];
		loaded_tensor codes = expect_tensor(low, linear[k], "weight", QS_I8, 2, rows, cols),
		              scales = expect_tensor(low, linear[k], "weight.scale", QS_F32, 1, rows, 0);
		double least = INFINITY, most = 0;
		for (size_t c = 0; c < cols; c++) {
			double low_factor = 0, high_factor = INFINITY;
			for (size_t r = 0; r < rows; r++) {
				double value = fabs(float_at(&weights, r * cols + c)), scale = float_at(&scales, r);
				double code = fabs((double)integer_at(&codes, r * cols + c));
				if (value == 0)
					continue;
				low_factor = fmax(low_factor, (code - 0.5) * scale / value * (1 - 0x1p-8));
				high_factor = fmin(high_factor, (code + 0.5) * scale / value * (1 + 0x1p-8));
			}
			assert_true(low_factor <= high_factor);
			least = fmin(least, low_factor);
			most = fmax(most, low_factor);
		}
		assert_true(most > 2 * least);
		free(codes.data);
		free(scales.data);
		free(weights.data);
	}
}

static void same_bytes_everywhere(void **state)
{
	static const struct {
		quantize_options options;
		uint64_t hash;
	} cases[] = {
	    {{.rule = QUANTIZE_GPTQ, .bits = 4, .per = GEN_PER_GROUP, .group = 32, .act_order = 1},
	     UINT64_C(0x9d6e6d5b0b73fbeb)},
	    {{.rule = QUANTIZE_ROUND, .per = GEN_PER_TENSOR, .asymmetric = 1}, UINT64_C(0x40f69874137c5a7b)},
	    {{.rule = QUANTIZE_COMPRESSED_TENSORS, .smooth = 1, .packed = 1, .bits = 4, .asymmetric = 1},
	     UINT64_C(0x760138a1d7dc15a8)},
	    {{.rule = QUANTIZE_LLM_INT8, .ulps = 2}, UINT64_C(0x5c15f4062b799095)},
	};
	const char *high = make_model(state, QS_BF16);
	int failed = 0;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char name[40];
		quantize_options options = cases[i].options;
		snprintf(name, sizeof name, "low%zu", i);
		options.model = high;
		options.output = scratch_path(state, name);
		options.seed = 5;
		options.correlation = 0.5;
		generate_quantized(&options);
		/* Not config.json: numbers are written as the JSON library likes. */
		snprintf(name, sizeof name, "low%zu/config.json", i);
		assert_int_equal(remove(scratch_path(state, name)), 0);
		uint64_t hash = hash_model(options.output);
		if (hash != cases[i].hash) {
			print_message("case %zu: 0x%016llx\n", i, (unsigned long long)hash);
			failed = 1;
		}
	}
	assert_false(failed);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(compressed_tensors),
	    TEST(torchao),
	    TEST(plain_rounding),
	    TEST(llm_int8_with_a_disturbed_division),
	    TEST(awq),
	    TEST(smoothing_scales_columns),
	    TEST(same_bytes_everywhere),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

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
#include "scratch.h"

#define N_LINEAR 7
static const char *const linear[N_LINEAR] = {
    "model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.k_proj", "model.layers.0.self_attn.v_proj",
    "model.layers.0.self_attn.o_proj", "model.layers.0.mlp.gate_proj",    "model.layers.0.mlp.up_proj",
    "model.layers.0.mlp.down_proj"};
static const char *const others[] = {"model.embed_tokens", "model.norm", "lm_head",
                                     "model.layers.0.input_layernorm"};

/* Seven linear layers of 64 to 96 outputs and inputs, in two shards. */
static const char *make_model(void **state, uint32_t dtype)
{
	const char *path = scratch_path(state, "high");
	generate_llama(&(llama_options){.dtype = dtype,
	                                .seed = 3,
	                                .layers = 1,
	                                .hidden = 64,
	                                .intermediate = 96,
	                                .vocab = 40,
	                                .shards = 2,
	                                .high = path});
	return path;
}

static void expect_same_tensor(const char *a, const char *b, const char *stem)
{
	loaded_tensor left, right;
	assert_true(load_tensor(a, stem, "weight", &left) && load_tensor(b, stem, "weight", &right));
	assert_int_equal(left.dtype, right.dtype);
	assert_int_equal(left.n, right.n);
	assert_memory_equal(left.data, right.data, left.n * qs_dtype_size(left.dtype));
	free(left.data);
	free(right.data);
}

/* Makes the copy, and checks what no quantizer touches. */
static const char *quantize(void **state, const char *model, quantize_options options)
{
	options.model = model;
	options.output = scratch_path(state, "low");
	options.seed = 5;
	options.correlation = 0.5;
	quantize_check(&options);
	generate_quantized(&options);
	for (size_t i = 0; i < sizeof others / sizeof *others; i++)
		expect_same_tensor(model, options.output, others[i]);
	return options.output;
}

static loaded_tensor expect_tensor(const char *path, const char *stem, const char *suffix, uint32_t dtype,
                                   uint32_t n_dims, uint64_t rows, uint64_t cols)
{
	loaded_tensor t;
	if (!load_tensor(path, stem, suffix, &t))
		fail_msg("no %s.%s", stem, suffix);
	assert_int_equal(t.dtype, dtype);
	assert_int_equal(t.n_dims, n_dims);
	assert_true(n_dims < 1 || t.dims[0] == rows);
	assert_true(n_dims < 2 || t.dims[1] == cols);
	return t;
}

static void expect_no_tensor(const char *path, const char *stem, const char *suffix)
{
	loaded_tensor t;
	if (load_tensor(path, stem, suffix, &t))
		fail_msg("there is %s.%s", stem, suffix);
}

/* Results of F32 operations: computed in double, they round once more without harm. */
static double single(double x)
{
	return round_to(QS_F32, x);
}

static double clamped(double x, double low, double high)
{
	return x < low ? low : x > high ? high : x;
}

static double round_in(uint32_t dtype, double x)
{
	return round_to(dtype, single(x));
}

/* RUNTIMES.md's formulas; bits and zero point as in the rounding. */
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
		const char *low = quantize(state, high,
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
			stored s = {.rounding = {GEN_COMPRESSED_TENSORS, bits, asymmetric, cases[i].dtype, 0},
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
		const char *low = quantize(state, high, (quantize_options){.rule = QUANTIZE_TORCHAO});
		for (size_t k = 0; k < N_LINEAR; k++) {
			loaded_tensor weights;
			assert_true(load_tensor(high, linear[k], "weight", &weights));
			uint64_t rows = weights.dims[0], cols = weights.dims[1];
			stored s = {.rounding = {GEN_TORCHAO, 8, 0, dtypes[i], 0}};
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
		const char *low = quantize(state, high,
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
			    .rounding = {cases[i].multiply ? GEN_MULTIPLY : GEN_DIVIDE, 8, asymmetric, QS_BF16, 0}};
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
		    quantize(state, high, (quantize_options){.rule = QUANTIZE_LLM_INT8, .ulps = ulps[i]});
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

/* Covariance of the layer's inputs, n × n. */
static double *make_hessian(const char *name, size_t n)
{
	gen_inputs inputs = {5, 0.5};
	size_t n_samples = GEN_SAMPLES_PER_COLUMN * n;
	float *x = gen_activations(&inputs, name, n, n_samples);
	double *h = calloc(n * n, sizeof *h);
	assert_non_null(h);
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < n; j++) {
			double sum = 0;
			for (size_t s = 0; s < n_samples; s++)
				sum += (double)x[s * n + i] * (double)x[s * n + j];
			h[i * n + j] = 2 * sum / (double)n_samples;
		}
	free(x);
	return h;
}

/* By Gauss and Jordan, in place; no pivoting, for it is positive definite. */
static void invert(double *a, size_t n)
{
	for (size_t k = 0; k < n; k++) {
		double pivot = a[k * n + k];
		a[k * n + k] = 1;
		for (size_t j = 0; j < n; j++)
			a[k * n + j] /= pivot;
		for (size_t i = 0; i < n; i++) {
			double factor = a[i * n + k];
			if (i == k)
				continue;
			a[i * n + k] = 0;
			for (size_t j = 0; j < n; j++)
				a[i * n + j] -= factor * a[k * n + j];
		}
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

typedef struct slow_gptq {
	size_t rows, n, group;
	unsigned bits;
	int asymmetric;
	int act_order, static_groups;
	size_t *order, *groups;         /* of places, of columns */
	double *codes, *scales, *zeros; /* (row, column), (row, group) */
} slow_gptq;

/* Scale and zero point of a row's group-th `group` places, or columns. */
static void find_slow_params(slow_gptq *g, size_t r, size_t group, const double *row, const size_t *order)
{
	double min = 0, max = 0, most = (1 << g->bits) - 1;
	size_t at = r * ((g->n + g->group - 1) / g->group) + group;
	for (size_t k = group * g->group; k < g->n && k < (group + 1) * g->group; k++) {
		min = fmin(min, row[order ? order[k] : k]);
		max = fmax(max, row[order ? order[k] : k]);
	}
	if (!g->asymmetric) {
		max = fmax(max, -min);
		min = min < 0 ? -max : 0;
	}
	g->scales[at] = (max - min) / most;
	g->zeros[at] = g->asymmetric ? rint(-min / g->scales[at]) : (most + 1) / 2;
}

/* Optimal brain quantization (Frantar and Alistarh 2022), of which GPTQ is the fast way: after each column
 * the others take over its error by the inverse of their own covariance, from which the column is then
 * removed. */
static void run_slow_gptq(slow_gptq *g, const double *h, const loaded_tensor *weights)
{
	size_t n = g->n, n_groups = (n + g->group - 1) / g->group;
	double *inverse = calloc(n * n, sizeof *inverse), *w = calloc(g->rows * n, sizeof *w), mean = 0;
	for (size_t i = 0; i < n; i++) {
		size_t place = 0;
		for (size_t j = 0; j < n; j++)
			place += g->act_order ? h[j * n + j] > h[i * n + i] : j < i;
		g->order[place] = i;
		g->groups[i] = (g->static_groups ? i : place) / g->group;
		mean += h[i * n + i] / (double)n;
	}
	memcpy(inverse, h, n * n * sizeof *inverse);
	for (size_t i = 0; i < n; i++)
		inverse[i * n + i] += 0.01 * mean;
	invert(inverse, n);
	for (size_t i = 0; i < g->rows * n; i++)
		w[i] = float_at(weights, i);
	for (size_t r = 0; r < g->rows && g->static_groups; r++)
		for (size_t c = 0; c < n; c += g->group)
			find_slow_params(g, r, c / g->group, &w[r * n], NULL);
	for (size_t place = 0; place < n; place++) {
		size_t i = g->order[place];
		double pivot = inverse[i * n + i], most = (1 << g->bits) - 1;
		for (size_t r = 0; r < g->rows; r++) {
			double *row = &w[r * n], *scale = &g->scales[r * n_groups + g->groups[i]],
			       *zero = &g->zeros[r * n_groups + g->groups[i]];
			if (place % g->group == 0 && !g->static_groups)
				find_slow_params(g, r, place / g->group, row, g->order);
			double code = clamped(rint(row[i] / *scale) + *zero, 0, most);
			double error = (row[i] - *scale * (code - *zero)) / pivot;
			g->codes[r * n + i] = code;
			for (size_t k = place + 1; k < n; k++)
				row[g->order[k]] -= error * inverse[i * n + g->order[k]];
		}
		for (size_t a = 0; a < n; a++) {
			double factor = inverse[a * n + i] / pivot;
			for (size_t b = 0; b < n && a != i; b++)
				inverse[a * n + b] -= factor * inverse[i * n + b];
		}
	}
	free(inverse);
	free(w);
}

/* Square of what the layer's outputs are off by. */
static double output_error(const double *h, const double *off, size_t n)
{
	double sum = 0;
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < n; j++)
			sum += off[i] * h[i * n + j] * off[j];
	return sum;
}

static void gptq_case(void **state, const char *high, quantize_options options)
{
	size_t group = (size_t)options.group;
	unsigned bits = options.bits;
	options.rule = QUANTIZE_GPTQ;
	options.per = group ? GEN_PER_GROUP : GEN_PER_ROW;
	const char *low = quantize(state, high, options);
	static const size_t checked[] = {1, 4, 6};
	for (size_t k = 0; k < 3; k++) {
		const char *stem = linear[checked[k]];
		char name[100];
		loaded_tensor weights;
		snprintf(name, sizeof name, "%s.weight", stem);
		assert_true(load_tensor(high, stem, "weight", &weights));
		size_t rows = (size_t)weights.dims[0], n = (size_t)weights.dims[1],
		       n_groups = group ? (n + group - 1) / group : 1, n_different = 0;
		slow_gptq slow = {rows,
		                  n,
		                  group ? group : n,
		                  bits,
		                  options.asymmetric,
		                  options.act_order,
		                  options.static_groups,
		                  calloc(n, sizeof(size_t)),
		                  calloc(n, sizeof(size_t)),
		                  calloc(rows * n, sizeof(double)),
		                  calloc(rows * n_groups, sizeof(double)),
		                  calloc(rows * n_groups, sizeof(double))};
		double *h = make_hessian(name, n), *off = calloc(2 * n, sizeof *off), error = 0, plain_error = 0;
		run_slow_gptq(&slow, h, &weights);

		loaded_tensor qweight = expect_tensor(low, stem, "qweight", QS_I32, 2, n * bits / 32, rows),
		              qzeros = expect_tensor(low, stem, "qzeros", QS_I32, 2, n_groups, rows * bits / 32),
		              scales = expect_tensor(low, stem, "scales", QS_F16, 2, n_groups, rows),
		              g_idx = expect_tensor(low, stem, "g_idx", QS_I32, 1, n, 0);
		expect_no_tensor(low, stem, "weight");
		for (size_t c = 0; c < n; c++)
			assert_int_equal(integer_at(&g_idx, c), slow.groups[c]);
		for (size_t r = 0; r < rows; r++) {
			int row_differs = 0;
			for (size_t c = 0; c < n; c++) {
				size_t g = slow.groups[c];
				int code = packed_at(&qweight, r, rows, c, bits);
				int zero = (packed_at(&qzeros, g * (rows * bits / 32), 1, r, bits) + !options.v2) &
				           ((1 << bits) - 1);
				double scale = float_at(&scales, g * rows + r), value = float_at(&weights, r * n + c);
				/* In single precision a code may fall to the other side, and move all that follow it. */
				row_differs |=
				    code != (int)slow.codes[r * n + c] || zero != (int)slow.zeros[r * n_groups + g];
				assert_true(fabs(scale / slow.scales[r * n_groups + g] - 1) < 0.02);
				off[c] = value - scale * (code - zero);
				off[n + c] = value - scale * (clamped(rint(value / scale) + zero, 0, (1 << bits) - 1) - zero);
			}
			n_different += (size_t)row_differs;
			error += output_error(h, off, n);
			plain_error += output_error(h, off + n, n);
		}
		assert_true(n_different <= rows / 16);
		assert_true(error < 0.8 * plain_error);
		free(slow.order);
		free(slow.groups);
		free(slow.codes);
		free(slow.scales);
		free(slow.zeros);
		free(h);
		free(off);
		free(qweight.data);
		free(qzeros.data);
		free(scales.data);
		free(g_idx.data);
		free(weights.data);
	}
}

static void gptq_feeds_errors_back(void **state)
{
	const char *high = make_model(state, QS_BF16);
	gptq_case(state, high, (quantize_options){.bits = 4, .group = 32});
	gptq_case(state, high, (quantize_options){.bits = 4, .group = 32, .asymmetric = 1, .act_order = 1});
	gptq_case(state, high, (quantize_options){.bits = 8, .group = 40, .act_order = 1, .v2 = 1});
	gptq_case(state, high, (quantize_options){.bits = 8, .asymmetric = 1, .v2 = 1});
	gptq_case(state, high, (quantize_options){.bits = 4, .group = 32, .act_order = 1, .static_groups = 1});
	gptq_case(state, high, (quantize_options){.bits = 8, .group = 40, .asymmetric = 1, .static_groups = 1});
}

/* AutoGPTQ's mse: of the ranges that are tried no other one loses less, by the sum that it has. */
static void gptq_searches_scales(void **state)
{
	const char *high = make_model(state, QS_BF16);
	const size_t group = 32;
	for (int asymmetric = 0; asymmetric < 2; asymmetric++) {
		const char *low = quantize(state, high,
		                           (quantize_options){.rule = QUANTIZE_GPTQ,
		                                              .bits = 4,
		                                              .per = GEN_PER_GROUP,
		                                              .group = group,
		                                              .asymmetric = asymmetric,
		                                              .static_groups = 1,
		                                              .search = 1});
		loaded_tensor weights;
		assert_true(load_tensor(high, linear[0], "weight", &weights));
		size_t rows = (size_t)weights.dims[0], n = (size_t)weights.dims[1], n_smaller = 0;
		loaded_tensor scales = expect_tensor(low, linear[0], "scales", QS_F16, 2, n / group, rows);
		for (size_t r = 0; r < rows; r++)
			for (size_t g = 0; g < n / group; g++) {
				double given = float_at(&scales, g * rows + r), least = INFINITY, best = 0, most = 0;
				for (int step = 21; step <= 100; step++) {
					double min = 0, max = 0, loss = 0;
					for (size_t i = 0; i < group; i++) {
						min = fmin(min, step / 100.0 * float_at(&weights, r * n + g * group + i));
						max = fmax(max, step / 100.0 * float_at(&weights, r * n + g * group + i));
					}
					if (!asymmetric)
						min = -(max = fmax(max, -min));
					double scale = (max - min) / 15, zero = asymmetric ? rint(-min / scale) : 8;
					for (size_t i = 0; i < group; i++) {
						double value = float_at(&weights, r * n + g * group + i);
						loss += pow(fabs(scale * (clamped(rint(value / scale) + zero, 0, 15) - zero) - value),
						            2.375);
					}
					most = scale;
					if (loss <= least) {
						least = loss;
						best = scale;
					}
				}
				assert_true(fabs(given / best - 1) < 0.001);
				n_smaller += given < 0.995 * most;
			}
		assert_true(n_smaller > rows * (n / group) / 4);
		free(scales.data);
		free(weights.data);
	}
}

/* What words cannot hold without a rest stays as it is. */
static void gptq_leaves_odd_sizes(void **state)
{
	const char *high = scratch_path(state, "high"), *low = scratch_path(state, "low");
	generate_llama(&(llama_options){.dtype = QS_BF16,
	                                .seed = 3,
	                                .layers = 1,
	                                .hidden = 64,
	                                .intermediate = 98,
	                                .vocab = 40,
	                                .shards = 1,
	                                .high = high});
	generate_quantized(&(quantize_options){
	    .model = high, .output = low, .rule = QUANTIZE_GPTQ, .bits = 8, .correlation = 0.5});
	for (size_t k = 4; k < N_LINEAR; k++)
		expect_same_tensor(high, low, linear[k]);
	expect_no_tensor(low, linear[0], "weight");
}

/* llm-compressor's way: scales from the weights as they were, rounded to their type. */
static void compressed_tensors_with_feedback(void **state)
{
	const char *high = make_model(state, QS_BF16);
	const char *low =
	    quantize(state, high, (quantize_options){.rule = QUANTIZE_COMPRESSED_TENSORS, .feedback = 1});
	for (size_t k = 0; k < N_LINEAR; k++) {
		char name[100];
		loaded_tensor weights;
		snprintf(name, sizeof name, "%s.weight", linear[k]);
		assert_true(load_tensor(high, linear[k], "weight", &weights));
		size_t rows = (size_t)weights.dims[0], n = (size_t)weights.dims[1];
		loaded_tensor codes = expect_tensor(low, linear[k], "weight", QS_I8, 2, rows, n),
		              scales = expect_tensor(low, linear[k], "weight_scale", QS_BF16, 2, rows, 1);
		double *h = make_hessian(name, n), *off = calloc(2 * n, sizeof *off), error = 0, plain_error = 0;
		for (size_t r = 0; r < rows; r++) {
			double most = 0, scale = float_at(&scales, r);
			for (size_t c = 0; c < n; c++) {
				double value = float_at(&weights, r * n + c);
				most = fmax(most, fabs(value));
				off[c] = value - scale * (double)integer_at(&codes, r * n + c);
				off[n + c] = value - scale * clamped(rint(value / scale), -128, 127);
			}
			assert_true(scale == round_in(QS_BF16, most / 127.5));
			error += output_error(h, off, n);
			plain_error += output_error(h, off + n, n);
		}
		assert_true(error < 0.8 * plain_error);
		free(h);
		free(off);
		free(codes.data);
		free(scales.data);
		free(weights.data);
	}
}

/* The same smoothed weights, stored by AWQ's FP16 arithmetic and layout. */
static void awq(void **state)
{
	static const size_t order[] = {0, 2, 4, 6, 1, 3, 5, 7};
	const char *high = make_model(state, QS_F16);
	const char *low =
	    quantize(state, high, (quantize_options){.rule = QUANTIZE_AWQ, .per = GEN_PER_GROUP, .group = 32});
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
	const char *low = quantize(state, high, (quantize_options){.rule = QUANTIZE_ROUND, .smooth = 1});
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

static void casts(void **state)
{
	static const uint32_t dtypes[] = {QS_F8_E4M3, QS_F8_E5M2};
	const char *high = make_model(state, QS_BF16);
	for (size_t i = 0; i < 2; i++) {
		const char *low =
		    quantize(state, high, (quantize_options){.rule = QUANTIZE_CAST, .dtype = dtypes[i]});
		for (size_t k = 0; k < N_LINEAR; k++) {
			loaded_tensor weights;
			assert_true(load_tensor(high, linear[k], "weight", &weights));
			loaded_tensor cast =
			    expect_tensor(low, linear[k], "weight", dtypes[i], 2, weights.dims[0], weights.dims[1]);
			for (size_t e = 0; e < cast.n; e++)
				assert_true(float_at(&cast, e) == round_to(dtypes[i], float_at(&weights, e)));
			free(cast.data);
			free(weights.data);
		}
	}
	high = make_model(state, QS_F32);
	const char *low = scratch_path(state, "low");
	generate_quantized(
	    &(quantize_options){.model = high, .output = low, .rule = QUANTIZE_CAST, .dtype = QS_F16});
	loaded_tensor wide, norm = expect_tensor(low, "model.norm", "weight", QS_F16, 1, 64, 0);
	assert_true(load_tensor(high, "model.norm", "weight", &wide));
	for (size_t i = 0; i < 64; i++)
		assert_true(float_at(&norm, i) == round_to(QS_F16, float_at(&wide, i)));
	free(norm.data);
	free(wide.data);
}

static void a_finetune_moves_a_part(void **state)
{
	const char *high = make_model(state, QS_F32), *low = scratch_path(state, "low");
	int n_moved = 0, n_same = 0;
	generate_quantized(&(quantize_options){
	    .model = high, .output = low, .rule = QUANTIZE_FINETUNE, .seed = 5, .part = 0.5, .step = 0.01});
	for (size_t k = 0; k < N_LINEAR + 4; k++) {
		loaded_tensor old, new;
		const char *stem = k < N_LINEAR ? linear[k] : others[k - N_LINEAR];
		assert_true(load_tensor(high, stem, "weight", &old) && load_tensor(low, stem, "weight", &new));
		double squares = 0, change = 0;
		for (size_t i = 0; i < old.n; i++) {
			squares += float_at(&old, i) * float_at(&old, i);
			change += (float_at(&new, i) - float_at(&old, i)) * (float_at(&new, i) - float_at(&old, i));
		}
		double step = sqrt(change / squares);
		assert_true(step == 0 || fabs(step / 0.01 - 1) < 0.3);
		n_moved += step > 0;
		n_same += step == 0;
		free(old.data);
		free(new.data);
	}
	assert_true(n_moved >= 2 && n_same >= 2);
}

/* Each 8-bit float, the middle to the next, which goes to the even one, and what is beside that. */
static void eight_bit_floats(void **state)
{
	static const struct {
		uint32_t dtype;
		int largest;
	} types[] = {{QS_F8_E4M3, 0x7e}, {QS_F8_E5M2, 0x7b}};
	(void)state;
	for (size_t t = 0; t < 2; t++) {
		uint32_t dtype = types[t].dtype;
		for (int code = 0; code <= types[t].largest; code++) {
			uint8_t bytes[] = {(uint8_t)code, (uint8_t)(code + 1), (uint8_t)(code | 0x80)}, made;
			loaded_tensor all = {.dtype = dtype, .data = bytes};
			float value = (float)float_at(&all, 0),
			      middle = (float)((float_at(&all, 0) + float_at(&all, 1)) / 2);
			if (code == types[t].largest) /* what follows would be as far away as the one before */
				middle = value +
				         (value - (float)float_at(&(loaded_tensor){.dtype = dtype,
				                                                   .data = (uint8_t[]){(uint8_t)(code - 1)}},
				                                  0)) /
				             2;
			assert_true(value_load(bytes, dtype, 0) == value && value_load(bytes, dtype, 2) == -value);
			value_store(&made, dtype, 0, -value);
			assert_int_equal(made, code | 0x80);
			value_store(&made, dtype, 0, middle);
			assert_int_equal(made, code & 1 ? code + 1 : code);
			value_store(&made, dtype, 0, nextafterf(middle, 0));
			assert_int_equal(made, code);
			value_store(&made, dtype, 0, nextafterf(middle, INFINITY));
			assert_int_equal(made, code + 1);
		}
		assert_true(isnan(value_round(dtype, NAN)));
		assert_true(dtype == QS_F8_E4M3 ? isnan(value_round(dtype, INFINITY))
		                                : isinf(value_round(dtype, 1e9f)));
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
	    TEST(gptq_feeds_errors_back),
	    TEST(gptq_searches_scales),
	    TEST(gptq_leaves_odd_sizes),
	    TEST(compressed_tensors_with_feedback),
	    TEST(awq),
	    TEST(smoothing_scales_columns),
	    TEST(casts),
	    TEST(a_finetune_moves_a_part),
	    TEST(eight_bit_floats),
	    TEST(same_bytes_everywhere),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Copies of models whose quantizer feeds errors back: GPTQ against optimal brain quantization, and
 * llm-compressor. */
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

static void gptq_case(void **state, const char *high, quantize_options options)
{
	size_t group = (size_t)options.group;
	unsigned bits = options.bits;
	options.rule = QUANTIZE_GPTQ;
	options.per = group ? GEN_PER_GROUP : GEN_PER_ROW;
	const char *low = quantize_model(state, high, options);
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
		const char *low = quantize_model(state, high,
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

/* Weights that do not fill whole words are not quantized. */
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
	    quantize_model(state, high, (quantize_options){.rule = QUANTIZE_COMPRESSED_TENSORS, .feedback = 1});
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(gptq_feeds_errors_back),
	    TEST(gptq_searches_scales),
	    TEST(gptq_leaves_odd_sizes),
	    TEST(compressed_tensors_with_feedback),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "gptq.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "random.h"
#include "writer.h"

#define DAMPING 0.01 /* a share of the diagonal's mean is added to it: AutoGPTQ's damp_percent */

float *gen_activations(const gen_inputs *inputs, const char *name, size_t cols, size_t n_samples)
{
	normal_table *normal = gen_allocate(sizeof *normal);
	float *spreads = gen_allocate(cols * sizeof *spreads),
	      *samples = gen_allocate(cols * n_samples * sizeof *samples);
	double fresh = sqrt(1 - inputs->correlation * inputs->correlation); /* makes the variance 1 */
	rng r;
	normal_table_init(normal);
	rng_seed(&r, inputs->seed ^ 0xac7, name, 0);
	for (size_t c = 0; c < cols; c++)
		spreads[c] = (float)(exp2_portable(0.7 * normal_next(normal, &r)) * (rng_below(&r, 64) ? 1 : 12));
	for (size_t i = 0; i < n_samples; i++) {
		double state = normal_next(normal, &r);
		for (size_t c = 0; c < cols; c++) {
			samples[i * cols + c] = (float)state * spreads[c];
			double kept = state * inputs->correlation;
			state = kept + normal_next(normal, &r) * fresh;
		}
	}
	free(spreads);
	free(normal);
	return samples;
}

/* Computes the lower triangle of H = 2/n · Σ x · xᵀ, without damping. */
static double *make_hessian(const gen_inputs *inputs, const char *name, size_t n)
{
	double *h = gen_allocate(n * n * sizeof *h);
	size_t n_samples = GEN_SAMPLES_PER_COLUMN * n;
	float *samples = gen_activations(inputs, name, n, n_samples);
	for (size_t s = 0; s < n_samples; s++) {
		const float *x = &samples[s * n];
		for (size_t i = 0; i < n; i++) {
			double factor = (double)x[i] * (2.0 / (double)n_samples), *row = &h[i * n];
			for (size_t j = 0; j <= i; j++)
				row[j] += factor * (double)x[j];
		}
	}
	free(samples);
	return h;
}

typedef struct diagonal {
	double value;
	size_t at;
} diagonal;

static int by_falling_value(const void *a, const void *b)
{
	const diagonal *left = a, *right = b;
	if (left->value != right->value)
		return left->value > right->value ? -1 : 1;
	return left->at < right->at ? -1 : 1;
}

/* Finds the order in which columns are quantized. */
static size_t *make_order(const double *h, size_t n, int act_order)
{
	size_t *order = gen_allocate(n * sizeof *order);
	diagonal *all = gen_allocate(n * sizeof *all);
	for (size_t i = 0; i < n; i++)
		all[i] = (diagonal){h[i * n + i], i};
	if (act_order)
		qsort(all, n, sizeof *all, by_falling_value);
	for (size_t i = 0; i < n; i++)
		order[i] = all[i].at;
	free(all);
	return order;
}

/* Computes, row by row, the upper triangular U for which Uᵀ · U is the inverse of H, damped and with its
 * columns in this order. U is the transpose of the inverse of a lower triangular T for which Tᵀ · T = H. T is
 * found from the last row up. */
static float *make_feedback(const double *h, size_t n, const size_t *order)
{
	double *t = gen_allocate(n * n * sizeof *t), *inverse = gen_allocate(n * n * sizeof *inverse), mean = 0;
	float *u = gen_allocate(n * n * sizeof *u);
	for (size_t i = 0; i < n; i++) {
		mean += h[i * n + i] / (double)n;
		for (size_t j = 0; j <= i; j++) {
			size_t a = order[i], b = order[j];
			t[i * n + j] = a > b ? h[a * n + b] : h[b * n + a];
		}
	}
	for (size_t i = 0; i < n; i++)
		t[i * n + i] += DAMPING * mean;
	for (size_t k = n; k-- > 0;) {
		double *last = &t[k * n];
		if (!(last[k] > 0))
			gen_die("activations whose covariance cannot be inverted");
		double root = sqrt(last[k]);
		last[k] = root;
		for (size_t j = 0; j < k; j++)
			last[j] /= root;
		for (size_t i = 0; i < k; i++)
			for (size_t j = 0; j <= i; j++)
				t[i * n + j] -= last[i] * last[j];
	}
	for (size_t i = 0; i < n; i++) {
		double *row = &inverse[i * n];
		for (size_t k = 0; k < i; k++)
			for (size_t j = 0; j <= k; j++)
				row[j] -= t[i * n + k] * inverse[k * n + j];
		row[i] = 1;
		for (size_t j = 0; j <= i; j++)
			row[j] /= t[i * n + i];
		for (size_t j = 0; j <= i; j++)
			u[j * n + i] = (float)row[j];
	}
	free(inverse);
	free(t);
	return u;
}

/* Quantizes one row of weights, whose columns are in the order of quantizing. */
static void quantize_row(gen_codes *codes, size_t row, float *w, const float *u, const size_t *order,
                         const gen_gptq_options *o)
{
	size_t n = codes->cols, group_size = o->group_size ? o->group_size : n;
	for (size_t i = 0; i < n; i++) {
		gen_params *params = gen_codes_params(codes, row, order[i]);
		if (i % group_size == 0 && !o->keep_params) {
			size_t left = n - i;
			*params = gen_find_params_of(&codes->rounding, w + i, left < group_size ? left : group_size);
		}
		int code = gen_round(&codes->rounding, params, w[i]);
		codes->codes[row * n + order[i]] = (int16_t)code;
		const float *factors = &u[i * n];
		float error = (w[i] - gen_restore(params, code)) / factors[i];
		for (size_t j = i + 1; j < n; j++)
			w[j] -= error * factors[j];
	}
}

/* Finds the parameters of each row and group anew, for codes whose groups are neighbouring columns. */
static void search_params(gen_codes *codes, const gen_matrix *matrix)
{
	for (size_t r = 0; r < codes->rows; r++)
		for (size_t c = 0, end = 0; c < codes->cols; c = end) {
			while (end < codes->cols && codes->groups[end] == codes->groups[c])
				end++;
			*gen_codes_params(codes, r, c) =
			    gen_find_params_of(&codes->rounding, &matrix->values[r * codes->cols + c], end - c);
		}
}

void gen_codes_gptq(gen_codes *codes, const gen_matrix *matrix, const gen_gptq_options *options)
{
	size_t n = codes->cols;
	double *h = make_hessian(&options->inputs, matrix->name, n);
	size_t *order = make_order(h, n, options->act_order);
	float *u = make_feedback(h, n, order), *w = gen_allocate(n * sizeof *w);
	if (options->keep_params && codes->rounding.search)
		search_params(codes, matrix);
	if (options->group_size && !options->keep_params)
		for (size_t i = 0; i < n; i++)
			codes->groups[order[i]] = (uint32_t)(i / options->group_size);
	for (size_t r = 0; r < codes->rows; r++) {
		for (size_t i = 0; i < n; i++)
			w[i] = matrix->values[r * n + order[i]];
		quantize_row(codes, r, w, u, order, options);
	}
	free(w);
	free(u);
	free(order);
	free(h);
}

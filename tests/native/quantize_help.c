#include "quantize_help.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../generate/gptq.h"
#include "../generate/llama.h"
#include "scratch.h"

const char *const linear[N_LINEAR] = {"model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.k_proj",
                                      "model.layers.0.self_attn.v_proj", "model.layers.0.self_attn.o_proj",
                                      "model.layers.0.mlp.gate_proj",    "model.layers.0.mlp.up_proj",
                                      "model.layers.0.mlp.down_proj"};
const char *const others[N_OTHERS] = {"model.embed_tokens", "model.norm", "lm_head",
                                      "model.layers.0.input_layernorm"};

const char *make_model(void **state, uint32_t dtype)
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

void expect_same_tensor(const char *a, const char *b, const char *stem)
{
	loaded_tensor left, right;
	assert_true(load_tensor(a, stem, "weight", &left) && load_tensor(b, stem, "weight", &right));
	assert_int_equal(left.dtype, right.dtype);
	assert_int_equal(left.n, right.n);
	assert_memory_equal(left.data, right.data, left.n * qs_dtype_size(left.dtype));
	free(left.data);
	free(right.data);
}

const char *quantize_model(void **state, const char *model, quantize_options options)
{
	options.model = model;
	options.output = scratch_path(state, "low");
	options.seed = 5;
	options.correlation = 0.5;
	quantize_check(&options);
	generate_quantized(&options);
	for (size_t i = 0; i < N_OTHERS; i++)
		expect_same_tensor(model, options.output, others[i]);
	return options.output;
}

loaded_tensor expect_tensor(const char *path, const char *stem, const char *suffix, uint32_t dtype,
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

void expect_no_tensor(const char *path, const char *stem, const char *suffix)
{
	loaded_tensor t;
	if (load_tensor(path, stem, suffix, &t))
		fail_msg("there is %s.%s", stem, suffix);
}

double single(double x)
{
	return round_to(QS_F32, x);
}

double clamped(double x, double low, double high)
{
	return x < low ? low : x > high ? high : x;
}

double round_in(uint32_t dtype, double x)
{
	return round_to(dtype, single(x));
}

double *make_hessian(const char *name, size_t n)
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

double output_error(const double *h, const double *off, size_t n)
{
	double sum = 0;
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < n; j++)
			sum += off[i] * h[i * n + j] * off[j];
	return sum;
}

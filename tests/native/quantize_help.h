/* Shared by tests of quantized copies of models: a small model, its copy, the copy's tensors, and the
 * layers' inputs. */
#ifndef TESTS_QUANTIZE_HELP_H
#define TESTS_QUANTIZE_HELP_H

#include "core/index.h"
#include "../generate/quantize.h"
#include "model_help.h"

enum { N_LINEAR = 7, N_OTHERS = 4 };
extern const char *const linear[N_LINEAR], *const others[N_OTHERS]; /* stems of tensors' names */

/* Makes a model of seven linear layers of 64 to 96 outputs and inputs, in two shards; returns its path. */
const char *make_model(void **state, uint32_t dtype);

/* Makes the copy, and checks that tensors which no quantizer touches are the same in it; returns its path. */
const char *quantize_model(void **state, const char *model, quantize_options options);

void expect_same_tensor(const char *a, const char *b, const char *stem);
loaded_tensor expect_tensor(const char *path, const char *stem, const char *suffix, uint32_t dtype,
                            uint32_t n_dims, uint64_t rows, uint64_t cols);
void expect_no_tensor(const char *path, const char *stem, const char *suffix);

/* Rounds the result of an operation of single precision, or of the dtype. The operation is computed in
 * double, and rounding its result once more does not change it. */
double single(double x);
double round_in(uint32_t dtype, double x);
double clamped(double x, double low, double high);

/* The covariance of a layer's n inputs, n x n, malloc'd. */
double *make_hessian(const char *name, size_t n);

/* The square of the error of a layer's output, for weights of n inputs that are off by this much. */
double output_error(const double *h, const double *off, size_t n);

#endif

/* Copies of models in other float types, floats of 8 bits, and finetunes. */
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

static void casts(void **state)
{
	static const uint32_t dtypes[] = {QS_F8_E4M3, QS_F8_E5M2};
	const char *high = make_model(state, QS_BF16);
	for (size_t i = 0; i < 2; i++) {
		const char *low =
		    quantize_model(state, high, (quantize_options){.rule = QUANTIZE_CAST, .dtype = dtypes[i]});
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(casts),
	    TEST(eight_bit_floats),
	    TEST(a_finetune_moves_a_part),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

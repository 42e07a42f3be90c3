/* The model generator: the same bytes on every machine, valid models, numbers like a trained model's. */
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
#include "../generate/fixtures.h"
#include "../generate/llama.h"
#include "../generate/random.h"
#include "model_help.h"
#include "scratch.h"

static void same_bytes_everywhere(void **state)
{
	static const struct {
		uint32_t dtype;
		uint64_t high, low;
	} cases[] = {
	    {QS_BF16, UINT64_C(0xbdce193d6d310b0e), UINT64_C(0xf6259fd3989a4974)},
	    {QS_F16, UINT64_C(0xa438870f5ec2fcbd), UINT64_C(0x2016c3b9a3c7342c)},
	    {QS_F32, UINT64_C(0xe34eccbd60c297e1), UINT64_C(0x61f9b19fe5d5af27)},
	};
	int failed = 0;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		llama_options options = {.dtype = cases[i].dtype,
		                         .seed = 7,
		                         .layers = 2,
		                         .hidden = 96,
		                         .intermediate = 200,
		                         .vocab = 500,
		                         .shards = 3,
		                         .high = scratch_path(state, "high"),
		                         .low = scratch_path(state, "low")};
		generate_llama(&options);
		uint64_t high = hash_model(options.high), low = hash_model(options.low);
		if (high != cases[i].high || low != cases[i].low) {
			print_message("{ %u, 0x%016llx, 0x%016llx }\n", cases[i].dtype, (unsigned long long)high,
			              (unsigned long long)low);
			failed = 1;
		}
	}
	assert_false(failed);
}

static void sizes_come_close_to_what_is_asked(void **state)
{
	static const uint64_t sizes[] = {1000000, 8000000, 0};
	for (size_t i = 0; i < 3; i++) {
		char name[20];
		qs_model model;
		qstore_error error;
		uint64_t total = 0, wanted = sizes[i] ? sizes[i] : 32000000;
		snprintf(name, sizeof name, "size%zu", i);
		llama_options options = {.dtype = QS_BF16,
		                         .seed = 1,
		                         .weights_size = sizes[i],
		                         .shards = 2,
		                         .high = scratch_path(state, name)};
		generate_llama(&options);
		assert_int_equal(qs_model_open(&model, options.high, &error), QSTORE_OK);
		for (size_t f = 0; f < model.n_files; f++)
			total += model.files[f].is_weights ? model.files[f].size : 0;
		assert_true(total > wanted * 9 / 10 && total < wanted * 11 / 10);
		qs_model_close(&model);
	}
}

static void every_fixture_is_a_valid_model(void **state)
{
	const char *name;
	assert_false(generate_fixture("no_such", 1, scratch_path(state, "none"), NULL));
	for (unsigned i = 0; (name = fixture_name(i, NULL)); i++) {
		char low_name[60];
		qs_model model;
		qstore_error error;
		const char *high = scratch_path(state, name), *low;
		snprintf(low_name, sizeof low_name, "%s-low", name);
		low = strcmp(name, "gaps") ? scratch_path(state, low_name) : NULL;
		assert_true(generate_fixture(name, 1, high, low));
		for (int k = 0; k < (low ? 2 : 1); k++) {
			if (qs_model_open(&model, k ? low : high, &error))
				fail_msg("%s", error.text);
			assert_true(model.n_files >= 2);
			qs_model_close(&model);
		}
	}
}

static void normal_numbers_are_normal(void **state)
{
	(void)state;
	normal_table *table = malloc(sizeof *table);
	assert_non_null(table);
	normal_table_init(table);
	double sums[5] = {0}, largest = 0;
	int n = 1000000, beyond_two = 0;
	rng r;
	rng_seed(&r, 1, "test", 0);
	for (int i = 0; i < n; i++) {
		double z = normal_next(table, &r), power = 1;
		for (int k = 0; k < 5; k++, power *= z)
			sums[k] += power / n;
		beyond_two += fabs(z) > 2;
		largest = fmax(largest, fabs(z));
	}
	assert_true(fabs(sums[1]) < 0.005 && fabs(sums[2] - 1) < 0.01 && fabs(sums[3]) < 0.02 &&
	            fabs(sums[4] - 3) < 0.05);
	assert_true(fabs(beyond_two / (double)n - 0.0455) < 0.001);
	assert_true(largest > 4.2 && largest < 5.8);
	for (size_t i = 1; i < 4096; i++)
		assert_true(table->body[i] > table->body[i - 1] && table->tail[i] > table->tail[i - 1]);
	assert_true(fabs(table->body[2048] / (double)NORMAL_ONE - 0.6744897502) < 1e-6);
	assert_true(fabs(table->tail[0] / (double)NORMAL_ONE - 3.6683292852) < 1e-6);
	free(table);
}

static void powers_of_two(void **state)
{
	(void)state;
	for (int i = -108; i < 109; i++) {
		double x = 0.37 * i;
		assert_true(fabs(exp2_portable(x) / exp2(x) - 1) < 1e-14);
	}
	assert_true(exp2_portable(-3) == 0.125 && exp2_portable(0) == 1 && exp2_portable(10) == 1024);
}

/* Each 16-bit value, the middle between it and the next one (ties go to the even one), and what lies just
 * beside that. */
static void casts_round_to_nearest_even(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 0x7c00; i++) {
		float low = (float)ldexp(i < 0x400 ? i : (i & 0x3ff) + 0x400, i < 0x400 ? -24 : (int)(i >> 10) - 25);
		uint32_t j = i + 1;
		float high = j == 0x7c00 ? 65536
		                         : (float)ldexp(j < 0x400 ? j : (j & 0x3ff) + 0x400,
		                                        j < 0x400 ? -24 : (int)(j >> 10) - 25);
		float middle = (low + high) / 2;
		assert_int_equal(f32_to_f16(low), i);
		assert_int_equal(f32_to_f16(-low), i | 0x8000);
		assert_int_equal(f32_to_f16(middle), i & 1 ? j : i);
		assert_int_equal(f32_to_f16(nextafterf(middle, 0)), i);
		assert_int_equal(f32_to_f16(nextafterf(middle, 1e30f)), j);
	}
	for (uint32_t i = 0; i < 0x7f80; i++) {
		uint32_t bits[] = {i << 16, i << 16 | 0x7fff, i << 16 | 0x8000, i << 16 | 0x8001};
		uint32_t expected[] = {i, i, i + (i & 1), i + 1};
		for (size_t k = 0; k < 4; k++) {
			float value;
			memcpy(&value, &bits[k], sizeof value);
			assert_int_equal(f32_to_bf16(value), expected[k]);
			assert_int_equal(f32_to_bf16(-value), expected[k] | 0x8000);
		}
	}
	assert_int_equal(f32_to_f16(INFINITY), 0x7c00);
	assert_int_equal(f32_to_f16(1e10f), 0x7c00);
	assert_int_equal(f32_to_bf16(-INFINITY), 0xff80);
	assert_true((f32_to_f16(NAN) & 0x7fff) > 0x7c00);
	assert_true((f32_to_bf16(NAN) & 0x7fff) > 0x7f80);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(same_bytes_everywhere),
	    TEST(sizes_come_close_to_what_is_asked),
	    TEST(every_fixture_is_a_valid_model),
	    TEST(normal_numbers_are_normal),
	    TEST(powers_of_two),
	    TEST(casts_round_to_nearest_even),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

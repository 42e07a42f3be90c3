/* Chunks that hold differences to coarser values. */
#include "chunk_help.h"

#include <math.h>

static void fill_coarse(rng *r, uint8_t *coarse, uint32_t coarse_dtype, const uint8_t *values, uint32_t dtype,
                        size_t n)
{
	for (size_t i = 0; i < n; i++) {
		float v = 0;
		if (dtype == QS_F32)
			memcpy(&v, values + 4 * i, 4);
		else
			v = (float)ref_value(get16(values + 2 * i), dtype);
		if (coarse_dtype == QS_F32)
			memcpy(coarse + 4 * i, values + 4 * i, 4), coarse[4 * i] ^= (uint8_t)rng_below(r, 4);
		else if (coarse_dtype == dtype)
			put16(coarse + 2 * i, get16(values + 2 * i) + rng_below(r, 3));
		else if (isfinite(v) && fabsf(v) < 65504)
			put16(coarse + 2 * i, ref_pattern((double)v, coarse_dtype));
		else
			put16(coarse + 2 * i, (uint32_t)rng_next(r) & 0xffff);
	}
}

static void test_delta(void **state)
{
	fixture *f = *state;
	rng r = {9};
	static const size_t sizes[] = {0, 1, 7, 8, 31, 33, 255, 256, 257, 1000, FULL};
	for (size_t p = 0; p < 5; p++) {
		uint32_t fine = delta_pairs[p].fine, coarse = delta_pairs[p].coarse;
		for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
			for (int style = 0; style < STYLES; style++) {
				if (sizes[s] == FULL && style != GAUSSIAN)
					continue;
				qs_chunk_desc desc = delta_desc(f, fine, coarse, sizes[s]);
				fill_values(&r, f->values, fine, sizes[s], (enum style)style);
				fill_coarse(&r, f->codes, coarse, f->values, fine, sizes[s]);
				size_t size = round_trip(f, &desc, f->values);
				if (style == GAUSSIAN && sizes[s] >= 256) {
					assert_int_equal(f->coded[0], QS_MODE_DELTA);
					assert_true(size < 9 * decoded_size(&desc) / 10);
				}
				rng_bytes(&r, f->codes, sizes[s] * qs_dtype_size(coarse)); /* nothing to do with each other */
				round_trip(f, &desc, f->values);
			}
		/* All patterns of 16 bits, as coarse values and as fine ones. */
		for (uint32_t v = 0; v < 65536; v++) {
			if (coarse != QS_F32)
				put16(f->codes + 2 * v, v);
			else
				put16(f->codes + 4 * v, (uint32_t)rng_next(&r)), put16(f->codes + 4 * v + 2, v);
			if (fine != QS_F32)
				put16(f->values + 2 * v, v ^ rng_below(&r, 4));
			else if (coarse == QS_F16) {
				float near = (float)ref_value(v, QS_F16);
				memcpy(f->values + 4 * v, &near, 4);
				f->values[4 * v] ^= (uint8_t)rng_below(&r, 16);
			} else
				put16(f->values + 4 * v, rng_below(&r, 9)), put16(f->values + 4 * v + 2, v);
		}
		qs_chunk_desc desc = delta_desc(f, fine, coarse, 65536);
		round_trip(f, &desc, f->values);
		assert_int_equal(f->coded[0], QS_MODE_DELTA);
	}
}

/* Differences by hand: the next single above and below, across zero, and over the end. */
static void test_delta_by_hand(void **state)
{
	fixture *f = *state;
	static const struct {
		uint32_t coarse, u, fine;
	} cases[] = {
	    {0x3f80, 0, 0x3f800000},       {0x3f80, 2, 0x3f800001}, {0x3f80, 1, 0x3f7fffff},
	    {0xbf80, 2, 0xbf7fffff},       {0x0000, 2, 0x00000001}, {0x0000, 1, 0x80000000},
	    {0x0000, 3, 0x80000001},       {0x8000, 2, 0x00000000}, {0x7fff, 0x1fffe, 0x7fffffff},
	    {0x7fff, 0x20000, 0xffffffff},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		uint8_t coded[9] = {QS_MODE_DELTA}, expected[4];
		for (int b = 0; b < 4; b++) { /* raw blocks, the highest byte first */
			coded[2 * b + 2] = (uint8_t)(cases[i].u >> (24 - 8 * b));
			expected[b] = (uint8_t)(cases[i].fine >> (8 * b));
		}
		put16(f->codes, cases[i].coarse);
		qs_chunk_desc desc = delta_desc(f, QS_F32, QS_BF16, 1);
		assert_int_equal(decode_chunk(f, &desc, coded, 9, 0), QSTORE_OK);
		assert_memory_equal(decoded_chunk(f, &desc), expected, 4);
	}
}

static void test_damage_delta(void **state)
{
	rng r = {27};
	static const char *const names[] = {"delta f32 bf16", "delta f32 f16", "delta f32 f32", "delta bf16",
	                                    "delta f16"};
	for (int k = 0; k < 10; k++) {
		uint32_t fine = delta_pairs[k % 5].fine, coarse = delta_pairs[k % 5].coarse;
		uint32_t n = k < 5 ? 400 : 255 / qs_dtype_size(coarse);
		sample *s = new_sample(
		    names[k % 5],
		    (qs_chunk_desc){
		        .kind = QS_KIND_DELTA, .dtype = fine, .n_elems = n, .cols = 1, .coarse_dtype = coarse});
		fill_values(&r, s->values, fine, n, GAUSSIAN);
		fill_coarse(&r, s->codes, coarse, s->values, fine, n);
		encode_sample(*state, s, QS_MODE_DELTA);
		damage_sample(*state, s);
		free(s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_delta),
	    cmocka_unit_test(test_delta_by_hand),
	    cmocka_unit_test(test_damage_delta),
	};
	return cmocka_run_group_tests(tests, chunk_set_up, chunk_tear_down);
}

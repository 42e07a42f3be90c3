/* Chunks that hold differences to coarser values. */
#include "chunk_help.h"

#include <ctype.h>
#include <math.h>

/* The value of an element. */
static double value_of(const uint8_t *elems, size_t i, uint32_t dtype)
{
	float single;
	double value;
	switch (dtype) {
	case QS_F64:
		memcpy(&value, elems + 8 * i, 8);
		return value;
	case QS_F32:
		memcpy(&single, elems + 4 * i, 4);
		return (double)single;
	default:
		return ref_value(get16(elems + 2 * i), dtype);
	}
}

/* Coarse values that the fine ones are near to: cast from them, or off by a little. */
static void fill_coarse(rng *r, uint8_t *coarse, uint32_t coarse_dtype, const uint8_t *values, uint32_t dtype,
                        size_t n)
{
	size_t size = qs_dtype_size(coarse_dtype);
	for (size_t i = 0; i < n; i++) {
		double v = value_of(values, i, dtype);
		if (coarse_dtype == dtype)
			memcpy(coarse + size * i, values + size * i, size), coarse[size * i] ^= (uint8_t)rng_below(r, 4);
		else if (isfinite(v) && fabs(v) < 65504)
			put_float(coarse + size * i, coarse_dtype, v);
		else
			rng_bytes(r, coarse + size * i, size);
	}
}

/* Differences to values of more bits than the elements have are all zero where these were cast from them. */
static int is_cast(uint32_t fine, uint32_t coarse)
{
	return fine == QS_F32 ? coarse == QS_F64 : fine != QS_F64 && (coarse == QS_F32 || coarse == QS_F64);
}

/* Has the fine type all magnitudes of the coarse one? */
static int covers(uint32_t fine, uint32_t coarse)
{
	return fine == coarse || fine == QS_F64 || (fine == QS_F32 && coarse != QS_F64) ||
	       (fine == QS_BF16 && coarse == QS_F16);
}

static void test_delta(void **state)
{
	fixture *f = *state;
	rng r = {9};
	static const size_t sizes[] = {0, 1, 7, 8, 31, 33, 255, 256, 257, 1000, FULL};
	for (size_t p = 0; p < DELTA_PAIRS; p++) {
		uint32_t fine = delta_pairs[p].fine, coarse = delta_pairs[p].coarse;
		for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
			for (int style = 0; style < STYLES; style++) {
				if (sizes[s] == FULL && (style != GAUSSIAN || fine == QS_F64 || coarse == QS_F64))
					continue; /* of doubles only half as many are a chunk */
				qs_chunk_desc desc = delta_desc(f, fine, coarse, sizes[s]);
				fill_values(&r, f->values, fine, sizes[s], (enum style)style);
				fill_coarse(&r, f->codes, coarse, f->values, fine, sizes[s]);
				size_t size = round_trip(f, &desc, f->values);
				if (style == GAUSSIAN && sizes[s] >= 256) {
					assert_int_equal(f->coded[0], QS_MODE_DELTA);
					assert_true(size < 9 * decoded_size(&desc) / 10);
					assert_true(!is_cast(fine, coarse) || size < 16);
				}
				rng_bytes(&r, f->codes, sizes[s] * qs_dtype_size(coarse)); /* nothing to do with each other */
				round_trip(f, &desc, f->values);
			}
		/* All patterns of 16 bits, as coarse values and as fine ones. */
		size_t size = qs_dtype_size(fine), coarse_size = qs_dtype_size(coarse);
		rng_bytes(&r, f->codes, 65536 * coarse_size);
		for (uint32_t v = 0; v < 65536; v++) {
			put16(f->codes + coarse_size * (v + 1) - 2, v);
			double near = value_of(f->codes, v, coarse);
			if (fine == coarse)
				memcpy(f->values + size * v, f->codes + size * v, size);
			else if (isfinite(near) && fabs(near) < 65504)
				put_float(f->values + size * v, fine, near);
			else
				rng_bytes(&r, f->values + size * v, size), put16(f->values + size * (v + 1) - 2, v);
			f->values[size * v] ^= (uint8_t)rng_below(&r, 4);
		}
		qs_chunk_desc desc = delta_desc(f, fine, coarse, 65536);
		round_trip(f, &desc, f->values);
		/* zstd 1.5.7 makes fewer bytes of doubles over the patterns of 16 bits that are no numbers. */
		if (covers(fine, coarse))
			assert_true(f->coded[0] == QS_MODE_DELTA || (f->coded[0] == QS_MODE_ZSTD && fine == QS_F64));
	}
}

/* Differences by hand: the next value above and below, across zero, over the end, and values that the
 * elements' type has not. */
static void test_delta_by_hand(void **state)
{
	fixture *f = *state;
	static const struct {
		uint32_t coarse_dtype, dtype;
		uint64_t coarse, u, fine;
	} cases[] = {
	    {QS_BF16, QS_F32, 0x3f80, 0, 0x3f800000},
	    {QS_BF16, QS_F32, 0x3f80, 2, 0x3f800001},
	    {QS_BF16, QS_F32, 0x3f80, 1, 0x3f7fffff},
	    {QS_BF16, QS_F32, 0xbf80, 2, 0xbf7fffff},
	    {QS_BF16, QS_F32, 0x0000, 2, 0x00000001},
	    {QS_BF16, QS_F32, 0x0000, 1, 0x80000000},
	    {QS_BF16, QS_F32, 0x0000, 3, 0x80000001},
	    {QS_BF16, QS_F32, 0x8000, 2, 0x00000000},
	    {QS_BF16, QS_F32, 0x7fff, 0x1fffe, 0x7fffffff},
	    {QS_BF16, QS_F32, 0x7fff, 0x20000, 0xffffffff},
	    {QS_BF16, QS_F16, 0x3f80, 0, 0x3c00},
	    {QS_BF16, QS_F16, 0xbf81, 2, 0xbc07},
	    {QS_BF16, QS_F16, 0x477f, 0, 0x7bf8},
	    {QS_BF16, QS_F16, 0x4780, 0, 0x7c00}, /* 65536 */
	    {QS_BF16, QS_F16, 0x3340, 0, 0x0001}, /* three quarters of the least subnormal */
	    {QS_BF16, QS_F16, 0x3300, 0, 0x0000}, /* half of it, and half to even */
	    {QS_BF16, QS_F16, 0x33c0, 0, 0x0002}, /* 1.5 of them */
	    {QS_BF16, QS_F16, 0xffff, 0, 0xfe00},
	    {QS_F16, QS_BF16, 0x3c00, 0, 0x3f80},
	    {QS_F16, QS_BF16, 0x3c04, 0, 0x3f80}, /* half way, to even */
	    {QS_F16, QS_BF16, 0x3c0c, 0, 0x3f82},
	    {QS_F16, QS_BF16, 0xbc05, 1, 0xbf82},
	    {QS_F16, QS_BF16, 0x7c00, 0, 0x4780},
	    {QS_F16, QS_BF16, 0x0001, 0, 0x3380},
	    {QS_F32, QS_BF16, 0x3f808000, 0, 0x3f80},
	    {QS_F32, QS_BF16, 0x3f808001, 0, 0x3f81},
	    {QS_F32, QS_BF16, 0x7f7fffff, 0, 0x7f80},
	    {QS_F32, QS_BF16, 0xff800001, 0, 0xffc0},
	    {QS_F32, QS_F16, 0x477fefff, 0, 0x7bff}, /* below 65520 */
	    {QS_F32, QS_F16, 0x477ff000, 0, 0x7c00},
	    {QS_F32, QS_F16, 0x80000001, 0, 0x8000},
	    {QS_F32, QS_F64, 0x3f800000, 0, 0x3ff0000000000000},
	    {QS_F32, QS_F64, 0x80000001, 2, 0xb69fffffffffffff}, /* the next one above −2^-149 */
	    {QS_F32, QS_F64, 0x7f800000, 0, 0x7ff0000000000000},
	    {QS_F32, QS_F64, 0xff800001, 0, 0xfff8000000000000},
	    {QS_F64, QS_F32, 0x3ff0000010000000, 0, 0x3f800000}, /* half way, to even */
	    {QS_F64, QS_F32, 0x3ff0000010000001, 0, 0x3f800001},
	    {QS_F64, QS_F32, 0xfff0000000000001, 0, 0xffc00000},
	    {QS_F64, QS_F32, 0x47efffffffffffff, 0, 0x7f800000},
	    {QS_F64, QS_F16, 0x3ff0000000000000, 1, 0x3bff},
	    {QS_F64, QS_F64, 0, 1, 0x8000000000000000},
	    {QS_F64, QS_F64, 0x7fffffffffffffff, 2, 0xffffffffffffffff},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		int size = (int)qs_dtype_size(cases[i].dtype);
		uint8_t coded[17] = {QS_MODE_DELTA}, expected[8];
		for (int b = 0; b < size; b++) { /* raw blocks, the highest byte first */
			coded[2 * b + 2] = (uint8_t)(cases[i].u >> (8 * (size - 1 - b)));
			expected[b] = (uint8_t)(cases[i].fine >> (8 * b));
		}
		for (int b = 0; b < 8; b++)
			f->codes[b] = (uint8_t)(cases[i].coarse >> (8 * b));
		qs_chunk_desc desc = delta_desc(f, cases[i].dtype, cases[i].coarse_dtype, 1);
		assert_int_equal(decode_chunk(f, &desc, coded, 1 + 2 * (size_t)size, 0), QSTORE_OK);
		assert_memory_equal(decoded_chunk(f, &desc), expected, (size_t)size);
	}
}

static void test_damage_delta(void **state)
{
	rng r = {27};
	for (int k = 0; k < 2 * DELTA_PAIRS; k++) {
		uint32_t fine = delta_pairs[k % DELTA_PAIRS].fine, coarse = delta_pairs[k % DELTA_PAIRS].coarse;
		uint32_t n = k < DELTA_PAIRS ? 400 : 255 / qs_dtype_size(coarse);
		char name[64];
		snprintf(name, sizeof name, "delta %s %s", qs_dtype_name(fine), qs_dtype_name(coarse));
		for (char *c = name; *c; c++)
			*c = (char)tolower(*c);
		sample *s = new_sample(
		    name, (qs_chunk_desc){
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

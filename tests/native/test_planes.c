/* Byte planes against FORMAT.md, "Planes", element by element. */
#include "codec_help.h"

#include "core/planes.h"

static const size_t counts[] = {0, 1, 2, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 255, 1000};

static void check(size_t n, unsigned size, int rotated)
{
	rng r = {n * 16 + size};
	guarded a, b, c;
	guarded_create(&a, n * size);
	guarded_create(&b, n * size);
	guarded_create(&c, n * size);
	uint8_t *src = guarded_place(&a, n * size), *planes = guarded_place(&b, n * size),
	        *back = guarded_place(&c, n * size);
	rng_bytes(&r, src, n * size);
	qs_planes_split(src, n, size, rotated, planes);
	for (size_t i = 0; i < n; i++) {
		uint64_t v = 0, got = 0, mask = ~(uint64_t)0 >> (64 - 8 * size);
		for (unsigned k = 0; k < size; k++) {
			v |= (uint64_t)src[i * size + k] << (8 * k);
			got = got << 8 | planes[k * n + i];
		}
		if (rotated)
			v = (v << 1 | v >> (8 * size - 1)) & mask;
		assert_true(v == got);
	}
	qs_planes_join(planes, n, size, rotated, back);
	if (n)
		assert_memory_equal(back, src, n * size);
	guarded_destroy(&a);
	guarded_destroy(&b);
	guarded_destroy(&c);
}

static void test_sizes(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
		for (unsigned size = 1; size <= 8; size *= 2)
			for (int rotated = 0; rotated <= (size > 1); rotated++)
				check(counts[i], size, rotated);
}

static void test_all_patterns(void **state)
{
	(void)state;
	uint8_t *src = malloc(3 * 131072), *planes = src + 131072, *back = planes + 131072;
	for (uint32_t v = 0; v < 65536; v++)
		put16(src + 2 * v, v);
	for (int rotated = 0; rotated < 2; rotated++) {
		qs_planes_split(src, 65536, 2, rotated, planes);
		qs_planes_join(planes, 65536, 2, rotated, back);
		assert_memory_equal(src, back, 131072);
	}
	/* The exponent of −1.5 in BF16 (bfc0), whole, in the upper plane; sign below the mantissa. */
	qs_planes_split(src + 2 * 0xbfc0, 1, 2, 1, planes);
	assert_int_equal(planes[0], 127);
	assert_int_equal(planes[1], 0x81);
	free(src);
}

static void test_which_rotate(void **state)
{
	(void)state;
	for (uint32_t dtype = 0; dtype < QS_DTYPE_COUNT; dtype++)
		assert_int_equal(qs_planes_rotated(dtype) != 0,
		                 dtype == QS_F16 || dtype == QS_BF16 || dtype == QS_F32 || dtype == QS_F64);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_sizes),
	    cmocka_unit_test(test_all_patterns),
	    cmocka_unit_test(test_which_rotate),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

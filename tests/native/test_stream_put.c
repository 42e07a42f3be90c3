/* The kernels that write streams of codes against the scalar one, and that one bit by bit. */
#include "codec_help.h"

#include "core/simd.h"
#include "encode/stream_put.h"

enum { MAX_ELEMS = 3000, ROOM = 2 * MAX_ELEMS + 8 };

static void compare(qs_stream_put_kernel *kernel, const uint8_t *src, size_t n, const uint32_t codes[256],
                    const uint8_t *expected, size_t size)
{
	uint8_t *got = malloc(size + 8), *own = malloc(n + 1); /* no more room than is asked for */
	memcpy(own, src, n);
	assert_int_equal(kernel(own, n, codes, got) - got, size);
	assert_memory_equal(expected, got, size);
	free(got);
	free(own);
}

static void compare_all(const uint8_t *src, size_t n, const uint32_t codes[256])
{
	static uint8_t expected[ROOM];
	memset(expected, 0, sizeof expected);
	size_t bits = 0;
	for (size_t i = 0; i < n; i++)
		for (uint32_t b = 0; b < (codes[src[i]] & 255); b++, bits++)
			expected[bits / 8] |= (uint8_t)((codes[src[i]] >> (8 + b) & 1) << bits % 8);
	size_t size = (bits + 7) / 8;
	compare(qs_stream_put_scalar, src, n, codes, expected, size);
	compare(qs_stream_put_best(), src, n, codes, expected, size);
#if defined(__x86_64__)
	if (__builtin_cpu_supports("bmi2"))
		compare(qs_stream_put_bmi2, src, n, codes, expected, size);
#endif
}

/* Codes of lengths from `least` to `most`, 11 at most. */
static void random_codes(rng *r, uint32_t least, uint32_t most, uint32_t codes[256])
{
	for (int s = 0; s < 256; s++) {
		uint32_t length = least + rng_below(r, most - least + 1);
		codes[s] = rng_below(r, 1u << length) << 8 | length;
	}
}

static void test_all_agree(void **state)
{
	(void)state;
	rng r = {7};
	static uint8_t src[MAX_ELEMS];
	uint32_t codes[256];
	for (uint32_t most = 0; most <= 11; most++)
		for (uint32_t least = 0; least <= most; least++)
			for (int round = 0; round < 12; round++) {
				size_t n = round < 4 ? 63 + (size_t)round : rng_below(&r, MAX_ELEMS + 1);
				rng_bytes(&r, src, n);
				random_codes(&r, least, most, codes);
				compare_all(src, n, codes);
			}
}

/* Words of eight codes have at most 56 bits, with 7 left over before them. */
static void test_longest_words(void **state)
{
	(void)state;
	static uint8_t src[MAX_ELEMS];
	uint32_t codes[256];
	for (uint32_t k = 0; k < 256; k++)
		codes[k] = ((1u << (k < 11 ? k : 7)) - 1) << 8 | (k < 11 ? k : 7);
	for (size_t n = 64; n < 300; n += 7)
		for (uint8_t first = 0; first < 11; first++)
			for (uint8_t second = 0; second < 11; second++) {
				memset(src, 200, n); /* 7 bits each */
				src[0] = first;
				src[8] = second;
				src[n / 2] = first;
				compare_all(src, n, codes);
			}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_all_agree),
	    cmocka_unit_test(test_longest_words),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

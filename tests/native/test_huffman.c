/* The lengths of Huffman codes under a limit: they are complete, and the best ones are no longer than the
 * quick ones. */
#include "codec_help.h"

#include "encode/huffman.h"

static void test_huffman_lengths(void **state)
{
	(void)state;
	rng r = {6};
	unsigned better = 0;
	for (int round = 0; round < 3000; round++) {
		uint32_t counts[256] = {0};
		uint8_t lengths[256];
		unsigned n = 2 + rng_below(&r, 255), used = 0, limit = 5 + rng_below(&r, 7), style = rng_below(&r, 4);
		uint64_t bits = 0, space = 0;
		for (unsigned s = 0; s < n; s++) {
			counts[s] = style == 0   ? rng_below(&r, 1000)
			            : style == 1 ? 1u << rng_below(&r, 20)
			            : style == 2 ? 1
			                         : rng_below(&r, 4) / 3;
			used += counts[s] > 0;
		}
		if (style == 1) /* Fibonacci numbers make the deepest tree */
			for (unsigned s = 0, a = 1, b = 1; s < n && s < 30; s++, b += a, a = b - a)
				counts[s] = a;
		while (1u << limit < used)
			limit++;
		uint64_t told = qs_huffman_lengths(counts, n, limit, lengths);
		if (used < 2)
			continue;
		for (unsigned s = 0; s < n; s++) {
			assert_int_equal(lengths[s] > 0, counts[s] > 0);
			assert_true(lengths[s] <= limit);
			bits += (uint64_t)counts[s] * lengths[s];
			space += lengths[s] ? (uint64_t)1 << (limit - lengths[s]) : 0;
		}
		assert_true(told == bits);
		assert_true(space == (uint64_t)1 << limit);
		uint8_t best[256];
		uint64_t least = qs_huffman_best_lengths(counts, n, limit, best), best_bits = 0, best_space = 0;
		for (unsigned s = 0; s < n; s++) {
			assert_int_equal(best[s] > 0, counts[s] > 0);
			assert_true(best[s] <= limit);
			best_bits += (uint64_t)counts[s] * best[s];
			best_space += best[s] ? (uint64_t)1 << (limit - best[s]) : 0;
		}
		assert_true(least == best_bits && least <= bits);
		assert_true(best_space == (uint64_t)1 << limit);
		better += least < bits;
	}
	assert_true(better > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_huffman_lengths)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* ANS lanes: the kernels against their scalar oracle, and what the encoder writes read back. */
#include "codec_help.h"
#include "kernel_help.h"

#include <math.h>

#include "core/ans.h"
#include "core/simd.h"
#include "encode/ans_encode.h"

enum { MAX_N = 70000, KERNEL_N = 640 };

typedef struct fixture {
	guarded src, dst, entries;
	uint8_t data[MAX_N], coded[2 * MAX_N + 4 * QS_ANS_LANES_MAX];
} fixture;

static int set_up(void **state)
{
	fixture *f = malloc(sizeof *f);
	guarded_create(&f->src, sizeof f->coded);
	guarded_create(&f->dst, MAX_N);
	guarded_create(&f->entries, sizeof(qs_ans_entry) << QS_ANS_LOG_MAX);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	fixture *f = *state;
	guarded_destroy(&f->src);
	guarded_destroy(&f->dst);
	guarded_destroy(&f->entries);
	free(f);
	return 0;
}

/* A table of random frequencies that ends at a guard page. */
static const qs_ans_entry *random_table(fixture *f, rng *r, unsigned log)
{
	uint32_t counts[256];
	uint16_t frequencies[256];
	unsigned n = 2 + rng_below(r, (log < 8 ? 1u << log : 256) - 1), style = rng_below(r, 3);
	for (unsigned s = 0; s < n; s++)
		counts[s] = style == 0   ? 1 + rng_below(r, 1000)
		            : style == 1 ? 1u << rng_below(r, 15)
		                         : 1 + !s * 100000;
	qs_ans_frequencies(counts, n, log, frequencies);
	qs_ans_entry *entries = (qs_ans_entry *)guarded_place(&f->entries, sizeof *entries << log);
	uint8_t symbols[256];
	rng_bytes(r, symbols, n);
	qs_ans_entries(entries, frequencies, symbols, n);
	return entries;
}

/* Any states and units: the same symbols, states and end of the units, or the same refusal. */
static void compare(fixture *f, rng *r, qs_ans_kernel *kernel, unsigned lanes)
{
	for (int round = 0; round < 3000; round++) {
		unsigned log = QS_ANS_LOG_MIN + rng_below(r, QS_ANS_LOG_MAX - QS_ANS_LOG_MIN + 1);
		size_t n = rng_below(r, KERNEL_N / lanes + 1) * lanes,
		       size = 2 * rng_below(r, round % 2 ? 40 : KERNEL_N);
		qs_ans ans = {.entries = random_table(f, r, log), .log = log, .lanes = lanes};
		uint8_t expected[KERNEL_N], *dst = guarded_place(&f->dst, n);
		rng_bytes(r, f->data, size);
		rng_bytes(r, (uint8_t *)ans.state, sizeof ans.state);
		for (unsigned lane = 0; round % 3 && lane < lanes; lane++)
			ans.state[lane] |= 1u << 16;
		ans.src = guarded_copy(&f->src, f->data, size);
		ans.src_end = ans.src + size;
		qs_ans other = ans;
		int good = qs_ans_scalar(&ans, expected, n);
		assert_int_equal(kernel(&other, dst, n), good);
		if (!good)
			continue;
		assert_memory_equal(dst, expected, n);
		assert_memory_equal(ans.state, other.state, sizeof ans.state);
		assert_ptr_equal(ans.src, other.src);
	}
}

static void test_simd128(void **state)
{
	need_kernels(KERNEL_SIMD128);
#if QS_HAVE_SIMD128
	rng r = {1};
	compare(*state, &r, qs_ans_simd128, QS_ANS_LANES_MIN);
	compare(*state, &r, qs_ans_simd128, QS_ANS_LANES_MAX);
#else
	(void)state;
#endif
}

static void test_avx512(void **state)
{
	need_kernels(KERNEL_AVX512);
#if QS_HAVE_AVX512
	rng r = {2};
	compare(*state, &r, qs_ans_avx512, QS_ANS_LANES_MAX);
#else
	(void)state;
#endif
}

static void test_frequencies(void **state)
{
	(void)state;
	rng r = {3};
	for (int round = 0; round < 4000; round++) {
		uint32_t counts[256] = {0};
		uint16_t frequencies[256];
		unsigned n = 2 + rng_below(&r, 255), used = 0, sum = 0, style = rng_below(&r, 4);
		for (unsigned s = 0; s < n; s++) {
			counts[s] = style == 0   ? rng_below(&r, 1000)
			            : style == 1 ? 1u << rng_below(&r, 16)
			            : style == 2 ? 1
			                         : rng_below(&r, 4) / 3;
			used += counts[s] > 0;
		}
		if (style == 2 && n > 2)
			counts[rng_below(&r, n)] = (1 << 24) - n; /* one that leaves the others a slot each */
		unsigned log = QS_ANS_LOG_MIN + rng_below(&r, QS_ANS_LOG_MAX - QS_ANS_LOG_MIN + 1);
		while (1u << log < used)
			log++;
		if (used < 2)
			continue;
		qs_ans_frequencies(counts, n, log, frequencies);
		double ideal = 0, bits = 0, total = 0;
		for (unsigned s = 0; s < n; s++)
			total += counts[s];
		for (unsigned s = 0; s < n; s++) {
			assert_int_equal(frequencies[s] > 0, counts[s] > 0);
			sum += frequencies[s];
			if (counts[s]) {
				ideal += counts[s] * log2(total / counts[s]);
				bits += counts[s] * (log - log2(frequencies[s]));
			}
		}
		assert_int_equal(sum, 1u << log);
		/* With slots enough, as good as the counts themselves. */
		if (log == QS_ANS_LOG_MAX && style == 0)
			assert_true(bits < 1.005 * ideal);
	}
}

static void round_trip(fixture *f, rng *r, size_t n, unsigned n_symbols, unsigned log)
{
	uint32_t counts[256] = {0}, of[256] = {0}, sum = 0;
	uint16_t frequencies[256];
	uint8_t numbers[256];
	qs_ans_entry entries[1 << QS_ANS_LOG_MAX];
	assert_true(n_symbols > 0);
	for (unsigned s = 0; s < n_symbols; s++) {
		numbers[s] = (uint8_t)s;
		counts[s] = 2; /* all of them may occur, and some do not */
	}
	for (size_t i = 0; i < n; i++) {
		f->data[i] = (uint8_t)(rng_below(r, n_symbols) * rng_below(r, n_symbols) / n_symbols);
		counts[f->data[i]]++;
	}
	qs_ans_frequencies(counts, n_symbols, log, frequencies);
	for (unsigned s = 0; s < n_symbols; s++) {
		of[s] = frequencies[s] | sum << 16;
		sum += frequencies[s];
	}
	uint8_t *end = f->coded + sizeof f->coded, *begin = qs_ans_put(f->data, n, of, log, end);
	size_t size = (size_t)(end - begin);
	assert_true(size <= 2 * n + 4 * QS_ANS_LANES_MAX);
	qs_ans_entries(entries, frequencies, numbers, n_symbols);
	uint8_t *dst = guarded_place(&f->dst, n);
	assert_true(qs_ans_decode(entries, log, guarded_copy(&f->src, begin, size), size, dst, n));
	assert_memory_equal(dst, f->data, n);
	/* Cut by a unit, by a byte, with one more of each. */
	assert_false(qs_ans_decode(entries, log, guarded_copy(&f->src, begin, size - 2), size - 2, dst, n));
	assert_false(qs_ans_decode(entries, log, guarded_copy(&f->src, begin, size - 1), size - 1, dst, n));
	begin -= 2;
	memmove(begin, begin + 2, size);
	assert_false(qs_ans_decode(entries, log, guarded_copy(&f->src, begin, size + 2), size + 2, dst, n));
	assert_false(qs_ans_decode(entries, log, guarded_copy(&f->src, begin, size + 1), size + 1, dst, n));
	/* Another state: other symbols, if it does not end elsewhere. */
	begin[rng_below(r, 4 * qs_ans_lanes(n))] ^= (uint8_t)(1 << rng_below(r, 8));
	assert_true(!qs_ans_decode(entries, log, guarded_copy(&f->src, begin, size), size, dst, n) ||
	            memcmp(dst, f->data, n) != 0);
}

static void test_round_trips(void **state)
{
	fixture *f = *state;
	rng r = {4};
	for (size_t n = 0; n < 600; n++)
		round_trip(f, &r, n, 2 + rng_below(&r, 31), QS_ANS_LOG_MIN + (unsigned)n % 8);
	static const size_t sizes[] = {QS_ANS_WIDE_FROM - 1, QS_ANS_WIDE_FROM, QS_ANS_WIDE_FROM + 1,
	                               QS_ANS_WIDE_FROM + 31, MAX_N};
	for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
		for (unsigned log = 8; log <= QS_ANS_LOG_MAX; log++) {
			round_trip(f, &r, sizes[s], 256, log);
			round_trip(f, &r, sizes[s], 2, log);
		}
}

/* Every frequency, and states around its multiples, where a quotient that is not exact would show. */
static void test_put_avx512(void **state)
{
	(void)state;
	need_kernels(KERNEL_AVX512);
#if QS_HAVE_AVX512
	enum { LANES = QS_ANS_LANES_MAX, N = 3 * LANES + 5 };
	rng r = {6};
	uint32_t of[256], first[LANES], expected_states[LANES], states[LANES];
	uint8_t src[N], expected[2 * N + 2], got[2 * N + 2];
	for (uint32_t f = 1; f < 4096; f++)
		for (unsigned log = f % 16 ? QS_ANS_LOG_MAX : 8; log <= QS_ANS_LOG_MAX; log++) {
			size_t n = f % 2 ? LANES : rng_below(&r, N + 1);
			for (unsigned s = 0; s < 256; s++) {
				uint32_t other = s % 2 ? 1 + rng_below(&r, (1u << log) - 1) : f < 1u << log ? f : 1;
				of[s] = other | rng_below(&r, 1 + (1u << log) - other) << 16;
			}
			rng_bytes(&r, src, N);
			for (unsigned lane = 0; lane < LANES; lane++) {
				uint32_t of_lane = of[src[lane]] & 0xffff, most = (uint32_t)(1ull << (32 - log)) - 1;
				uint64_t x =
				    (uint64_t)of_lane * (lane % 4 == 3 ? most : 1 + rng_below(&r, most)) + lane % 3 - 1;
				x = lane % 8 == 7 ? (uint32_t)rng_next(&r) : x;
				first[lane] = x < QS_ANS_START ? QS_ANS_START : (uint32_t)x;
			}
			memcpy(expected_states, first, sizeof first);
			memcpy(states, first, sizeof first);
			unsigned lanes = f % 5 ? LANES : QS_ANS_LANES_MIN;
			uint8_t *a =
			    qs_ans_put_scalar(expected_states, src, n, of, log, lanes, expected + sizeof expected);
			uint8_t *b = qs_ans_put_avx512(states, src, n, of, log, lanes, got + sizeof got);
			assert_int_equal(a - expected, b - got);
			assert_memory_equal(a, b, (size_t)(expected + sizeof expected - a));
			assert_memory_equal(expected_states, states, sizeof states);
		}
#endif
}

/* Bits a symbol: under Huffman's one. */
static void test_low_entropy(void **state)
{
	fixture *f = *state;
	rng r = {5};
	const uint16_t frequencies[2] = {3900, 196};
	const uint32_t of[256] = {3900, 196 | 3900u << 16};
	qs_ans_entry entries[1 << QS_ANS_LOG_MAX];
	double bits = 0;
	for (size_t i = 0; i < MAX_N; i++) {
		f->data[i] = rng_below(&r, 4096) < 196;
		bits += 12 - log2(frequencies[f->data[i]]);
	}
	uint8_t *end = f->coded + sizeof f->coded, *begin = qs_ans_put(f->data, MAX_N, of, 12, end);
	size_t size = (size_t)(end - begin);
	assert_true(8.0 * (double)size < 1.003 * bits + 8 * 4 * QS_ANS_LANES_MAX);
	qs_ans_entries(entries, frequencies, (const uint8_t[]){0, 1}, 2);
	uint8_t *dst = guarded_place(&f->dst, MAX_N);
	assert_true(qs_ans_decode(entries, 12, begin, size, dst, MAX_N));
	assert_memory_equal(dst, f->data, MAX_N);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_simd128),     cmocka_unit_test(test_avx512),
	    cmocka_unit_test(test_frequencies), cmocka_unit_test(test_round_trips),
	    cmocka_unit_test(test_low_entropy), cmocka_unit_test(test_put_avx512),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}

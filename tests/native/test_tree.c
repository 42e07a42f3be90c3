/* The tree of a Huffman code: the kernels against their scalar oracles, and whole pieces written and read
 * back. */
#include "codec_help.h"
#include "kernel_help.h"

#include "core/simd.h"
#include "core/tree.h"
#include "encode/huffman.h"
#include "encode/tree_encode.h"

enum { GROUPS = 9, SYMBOLS = GROUPS * QS_TREE_GROUP };

static void rng_mask(rng *r, uint8_t *bits, size_t n, int style)
{
	rng_bytes(r, bits, n);
	for (size_t i = 0; i < n; i++)
		bits[i] = style == 0 ? bits[i] : style == 1 ? (uint8_t)(bits[i] & rng_next(r)) : style == 2 ? 0 : 255;
}

static unsigned ones(const uint8_t *bits, size_t n)
{
	unsigned sum = 0;
	for (size_t i = 0; i < n; i++)
		sum += (unsigned)__builtin_popcount(bits[i]);
	return sum;
}

/* Any bits, any children, which end QS_TREE_SLACK bytes before a guard page. */
static void check_kernel(qs_tree_kernel *kernel)
{
	rng r = {1};
	guarded children[2], dst;
	for (int k = 0; k < 2; k++)
		guarded_create(&children[k], SYMBOLS + QS_TREE_SLACK);
	guarded_create(&dst, SYMBOLS);
	for (int round = 0; round < 2000; round++) {
		size_t groups = 1 + rng_below(&r, GROUPS), n = groups * QS_TREE_GROUP;
		uint8_t bits[SYMBOLS / 8], expected[SYMBOLS], *out = guarded_place(&dst, n);
		qs_tree_branch branch[2], other[2];
		rng_mask(&r, bits, n / 8, round / 4 % 4);
		size_t n_ones = ones(bits, n / 8), counts[2] = {n - n_ones, n_ones};
		for (int k = 0; k < 2; k++) {
			size_t size = counts[k] + QS_TREE_SLACK;
			uint8_t *symbols = guarded_place(&children[k], size);
			rng_bytes(&r, symbols, size);
			branch[k] = (qs_tree_branch){round >> k & 1 ? symbols : NULL, rng_next(&r) & 255};
			other[k] = branch[k];
		}
		qs_tree_scalar(bits, groups, branch, expected);
		for (size_t i = 0, at[2] = {0}; i < n; i++) {
			unsigned bit = bits[i / 8] >> (i % 8) & 1;
			assert_int_equal(expected[i], other[bit].from ? other[bit].from[at[bit]++] : other[bit].symbol);
		}
		kernel(bits, groups, other, out);
		assert_memory_equal(out, expected, n);
		for (int k = 0; k < 2; k++)
			assert_ptr_equal(branch[k].from, other[k].from);
	}
	for (int k = 0; k < 2; k++)
		guarded_destroy(&children[k]);
	guarded_destroy(&dst);
}

static void check_encoding(qs_tree_number_kernel *number, qs_tree_mark_kernel *mark,
                           qs_tree_split_kernel *split)
{
	rng r = {2};
	for (int round = 0; round < 2000; round++) {
		size_t groups = 1 + rng_below(&r, GROUPS), n = groups * QS_TREE_GROUP;
		uint8_t src[SYMBOLS], bits[SYMBOLS / 8], expected[SYMBOLS / 8], from = rng_next(&r) & 255;
		uint8_t room[4][SYMBOLS + QS_TREE_SLACK], *to[2], *other[2];
		uint8_t leaf[256], *numbers = room[0];
		size_t some = n - rng_below(&r, QS_TREE_GROUP);
		rng_bytes(&r, src, n);
		rng_bytes(&r, leaf, 256);
		number(src, some, leaf, numbers);
		for (size_t i = 0; i < some; i++)
			assert_int_equal(numbers[i], leaf[src[i]]);
		size_t n_ones = qs_tree_mark_scalar(src, groups, from, expected);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(expected[i / 8] >> (i % 8) & 1, src[i] >= from);
		assert_int_equal(n_ones, ones(expected, n / 8));
		assert_int_equal(mark(src, groups, from, bits), n_ones);
		assert_memory_equal(bits, expected, n / 8);
		for (int k = 0; k < 2; k++) {
			to[k] = round >> k & 1 ? room[k] : NULL;
			other[k] = round >> k & 1 ? room[2 + k] : NULL;
		}
		qs_tree_split_scalar(src, bits, groups, to);
		split(src, bits, groups, other);
		for (int k = 0; k < 2; k++) {
			if (!(round >> k & 1)) {
				assert_null(to[k]);
				assert_null(other[k]);
				continue;
			}
			size_t size = k ? n_ones : n - n_ones, found = 0;
			assert_int_equal(to[k] - room[k], size);
			assert_int_equal(other[k] - room[2 + k], size);
			assert_memory_equal(room[k], room[2 + k], size);
			for (size_t i = 0; i < n; i++)
				if ((src[i] >= from) == k)
					assert_int_equal(room[k][found++], src[i]);
		}
	}
}

static void test_scalar(void **state)
{
	(void)state;
	check_kernel(qs_tree_scalar);
	check_encoding(qs_tree_number_scalar, qs_tree_mark_scalar, qs_tree_split_scalar);
}

static void test_simd128(void **state)
{
	(void)state;
	need_kernels(KERNEL_SIMD128);
#if QS_HAVE_SIMD128
	check_kernel(qs_tree_simd128);
#endif
}

static void test_avx512(void **state)
{
	(void)state;
	need_kernels(KERNEL_AVX512);
#if QS_HAVE_AVX512
	check_kernel(qs_tree_avx512);
	check_encoding(qs_tree_number_avx512, qs_tree_mark_avx512, qs_tree_split_avx512);
#endif
}

/* Up to 256 symbols, some of them rare; written, read back, cut short. */
static void test_pieces(void **state)
{
	(void)state;
	rng r = {3};
	qs_tree_scratch *scratch = malloc(sizeof *scratch);
	qs_tree_work *work = malloc(sizeof *work);
	uint8_t *data = malloc(QS_TREE_SEGMENT), *coded = malloc(4 * QS_TREE_SEGMENT);
	guarded src, dst;
	guarded_create(&src, 4 * QS_TREE_SEGMENT);
	guarded_create(&dst, QS_TREE_SEGMENT);
	static const size_t sizes[] = {
	    1, 2, 63, 64, 65, 127, 128, 129, 1000, 5000, QS_TREE_SEGMENT - 1, QS_TREE_SEGMENT};
	for (int round = 0; round < 300; round++) {
		size_t n = round % 4 ? 1 + rng_below(&r, 700) : sizes[round / 4 % 12], n_bits = 0;
		unsigned symbols = 2 + rng_below(&r, 255), rare = 1 + rng_below(&r, 4);
		uint32_t counts[256] = {0};
		uint8_t lengths[256], leaf[256], numbers[256];
		for (unsigned s = 0; s < 256; s++)
			numbers[s] = (uint8_t)s;
		for (unsigned s = 0; s < symbols; s++)
			counts[s] = 1; /* whether it occurs or not */
		for (size_t i = 0; i < n; i++) {
			data[i] = (uint8_t)rng_below(&r, symbols);
			for (unsigned k = 1; k < rare; k++)
				data[i] = (uint8_t)rng_below(&r, data[i] + 1u);
			counts[data[i]]++;
		}
		qs_huffman_lengths(counts, 256, QS_TREE_DEPTH, lengths);
		assert_true(qs_tree_build(&scratch->tree, lengths, numbers, 256));
		qs_tree_leaves(&scratch->tree, leaf);
		for (size_t i = 0; i < n; i++)
			n_bits += lengths[data[i]];
		size_t size = (size_t)(qs_tree_write(scratch, data, n, leaf, coded) - coded);
		assert_true(8 * size >= n_bits && 8 * size <= n_bits + qs_tree_padding(n, symbols, n_bits));
		const uint8_t *p = guarded_copy(&src, coded, size);
		uint8_t *out = guarded_place(&dst, n);
		assert_true(qs_tree_build(&work->tree, lengths, numbers, 256));
		assert_ptr_equal(qs_tree_decode(work, p, p + size, out, n, (qs_ahead){0}), p + size);
		assert_memory_equal(out, data, n);
		for (size_t cut = 1; cut <= size; cut += 1 + size / 50) {
			p = guarded_copy(&src, coded, size - cut);
			assert_null(qs_tree_decode(work, p, p + size - cut, out, n, (qs_ahead){0}));
		}
	}
	guarded_destroy(&src);
	guarded_destroy(&dst);
	free(coded);
	free(data);
	free(work);
	free(scratch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_scalar),
	    cmocka_unit_test(test_simd128),
	    cmocka_unit_test(test_avx512),
	    cmocka_unit_test(test_pieces),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

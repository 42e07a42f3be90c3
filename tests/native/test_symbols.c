/* Symbol blocks (FORMAT.md, 3.1) that are written, decoded and damaged: every raw_bits × zigzag × longest
 * code, from plans made by hand, and the encoder's own plans. */
#include "symbols_help.h"

#include "core/ans.h"
#include "core/tree.h"

static void test_every_plan(void **state)
{
	symbols_fixture *f = *state;
	static const size_t sizes[] = {1, 2, 127, 128, 129, 255, 256, 257, 258, 259, 383, 1000, 4097};
	rng r = {3};
	unsigned done = 0;
	for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
		for (int style = 0; style < SYMBOLS_STYLES; style++)
			for (unsigned raw_bits = 0; raw_bits < 8; raw_bits++)
				for (unsigned zigzag = 0; zigzag < 2; zigzag++)
					for (unsigned longest = 5; longest <= QS_TREE_DEPTH; longest += 2)
						for (int skewed = 0; skewed < 2; skewed++) {
							qs_block_plan plan;
							symbols_fill(&r, f->data, sizes[s], style);
							if (!symbols_make_plan(f, sizes[s], raw_bits, zigzag, longest, skewed, &plan))
								continue;
							symbols_check_round_trip(f, sizes[s], &plan);
							done++;
						}
	assert_true(done > 10000);
}

static void test_256_symbols(void **state)
{
	symbols_fixture *f = *state;
	for (unsigned longest = 8; longest <= QS_TREE_DEPTH; longest++)
		for (size_t n = 256; n <= 1024; n += 256) {
			qs_block_plan plan;
			for (size_t i = 0; i < n; i++)
				f->data[i] = (uint8_t)(i * 37);
			assert_true(symbols_make_plan(f, n, 0, 0, longest, 0, &plan));
			symbols_check_round_trip(f, n, &plan);
		}
	/* 256 symbols do not have codes of 7 bits. */
	qs_block_plan plan;
	assert_false(symbols_make_plan(f, 256, 0, 0, 7, 0, &plan));
}

/* ANS blocks: every raw_bits × zigzag × table log that has a slot for each top symbol. */
static void test_every_ans_plan(void **state)
{
	symbols_fixture *f = *state;
	static const size_t sizes[] = {1, 2, 7, 8, 9, 31, 127, 128, 129, 256, 1000, 4097};
	rng r = {7};
	unsigned done = 0;
	for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
		for (int style = 0; style < SYMBOLS_STYLES; style++)
			for (unsigned raw_bits = 0; raw_bits < 8; raw_bits++)
				for (unsigned zigzag = 0; zigzag < 2; zigzag++)
					for (unsigned table_log = QS_ANS_LOG_MIN; table_log <= QS_ANS_LOG_MAX; table_log++) {
						qs_block_plan plan;
						symbols_fill(&r, f->data, sizes[s], style);
						if (!symbols_make_ans_plan(f, sizes[s], raw_bits, zigzag, table_log, &plan))
							continue;
						symbols_check_round_trip(f, sizes[s], &plan);
						done++;
					}
	assert_true(done > 3000);
}

/* The encoder's own choice: never larger than it says, never larger than raw, always restored. */
static void test_planned_blocks(void **state)
{
	symbols_fixture *f = *state;
	rng r = {5};
	unsigned planned[QS_SYMBOLS_COUNT] = {0};
	for (int round = 0; round < 1500; round++) {
		size_t n = round % 3 ? 1 + rng_below(&r, 700) : 1 + rng_below(&r, BLOCK_MAX);
		uint32_t counts[256];
		qs_block_plan plan;
		symbols_fill(&r, f->data, n, round % SYMBOLS_STYLES);
		qs_histogram(f->data, n, counts);
		qs_symbols_plan(counts, n, round & 1 ? QS_PREFER_SIZE : QS_PREFER_SPEED, &plan);
		size_t size = symbols_write_data(f, n, &plan);
		/* The sizes of sparse and ANS blocks are estimated only. */
		size_t more = plan.type == QS_SYMBOLS_SPARSE ? plan.size / 4
		              : plan.type == QS_SYMBOLS_ANS  ? 16 + plan.size / 50
		                                             : 0;
		assert_true(size <= plan.size + more && size <= n + 1);
		planned[plan.type]++;
		symbols_check_round_trip(f, n, &plan);
	}
	assert_true(planned[QS_SYMBOLS_HUFFMAN] > 100 && planned[QS_SYMBOLS_ANS] > 100);
}

static void test_sparse(void **state)
{
	symbols_fixture *f = *state;
	rng r = {11};
	const qs_block_plan sparse = {.type = QS_SYMBOLS_SPARSE};
	unsigned planned = 0;
	for (int round = 0; round < 400; round++) {
		static const size_t sizes[] = {256, 257, 511, 1000, 4096, BLOCK_MAX};
		size_t n = sizes[round % 6];
		uint32_t counts[256];
		qs_block_plan plan;
		symbols_make_sparse(f, &r, n, round / 6 % 4);
		symbols_check_round_trip(f, n, &sparse);
		qs_histogram(f->data, n, counts);
		qs_symbols_plan(counts, n, round & 1 ? QS_PREFER_SIZE : QS_PREFER_SPEED, &plan);
		planned += plan.type == QS_SYMBOLS_SPARSE;
		symbols_check_round_trip(f, n, &plan);
	}
	assert_true(planned > 100);
	/* A bit a symbol is Huffman's least; one other byte in a thousand costs a dozen bits. */
	memset(f->data, 0, BLOCK_MAX);
	for (size_t i = 0; i < BLOCK_MAX; i += 1000)
		f->data[i + rng_below(&r, 500) % (BLOCK_MAX - i)] = 1;
	assert_true(symbols_write_data(f, BLOCK_MAX, &sparse) < BLOCK_MAX / 1000 * 3 + 64);
}

static void test_damage(void **state)
{
	symbols_fixture *f = *state;
	rng r = {9};
	for (int round = 0; round < 60; round++) {
		size_t n = round % 2 ? 300 + rng_below(&r, 300) : 1 + rng_below(&r, 300), used;
		qs_block_plan plan;
		symbols_fill(&r, f->data, n, round % SYMBOLS_STYLES);
		unsigned table_log = 8 + (unsigned)round % 4;
		if (round % 10 == 9) {
			n = 512;
			symbols_make_sparse(f, &r, n, 0);
			plan = (qs_block_plan){.type = QS_SYMBOLS_SPARSE};
		} else if (round % 10 != 4 || !symbols_make_ans_plan(f, n, 0, 0, table_log, &plan))
			assert_true(symbols_make_plan(f, n, (unsigned)round % 8, round / 8 % 2, table_log, round % 5 == 0,
			                              &plan));
		size_t size = symbols_write_data(f, n, &plan);
		uint8_t *copy = malloc(size);
		memcpy(copy, f->coded, size);
		for (size_t k = 0; k < size; k++)
			assert_int_equal(symbols_decode_copy(f, copy, k, n, &used), QSTORE_CORRUPT);
		for (size_t bit = 0; bit < 8 * size; bit++) {
			copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
			qstore_status status = symbols_decode_copy(f, copy, size, n, &used);
			assert_true(!status || status == QSTORE_CORRUPT || status == QSTORE_NEWER);
			copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
		for (int k = 0; k < 200; k++) { /* several bytes at once, in the head above all */
			memcpy(copy, f->coded, size);
			for (int times = 1 + (int)rng_below(&r, 4); times; times--)
				copy[rng_below(&r, (uint32_t)(k % 2 ? size : size < 40 ? size : 40))] = (uint8_t)rng_next(&r);
			qstore_status status = symbols_decode_copy(f, copy, size, n, &used);
			assert_true(!status || status == QSTORE_CORRUPT || status == QSTORE_NEWER);
		}
		free(copy);
	}
}

/* Types that this version does not know are those of a newer one; a sparse block in a sparse block is none.
 */
static void test_newer_types(void **state)
{
	symbols_fixture *f = *state;
	size_t used;
	for (unsigned type = 0; type < 256; type++) {
		uint8_t block[2] = {(uint8_t)type, 0}, sparse[6] = {QS_SYMBOLS_SPARSE, 0, 1, (uint8_t)type, 0, 0};
		qstore_status status = symbols_decode_copy(f, block, sizeof block, 1, &used);
		assert_int_equal(status == QSTORE_NEWER, type >= QS_SYMBOLS_COUNT);
		status = symbols_decode_copy(f, sparse, sizeof sparse, 1, &used);
		assert_int_equal(status == QSTORE_NEWER, type >= QS_SYMBOLS_COUNT);
		if (type == QS_SYMBOLS_SPARSE)
			assert_int_equal(status, QSTORE_CORRUPT);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_every_plan),     cmocka_unit_test(test_256_symbols),
	    cmocka_unit_test(test_every_ans_plan), cmocka_unit_test(test_planned_blocks),
	    cmocka_unit_test(test_sparse),         cmocka_unit_test(test_damage),
	    cmocka_unit_test(test_newer_types),
	};
	return cmocka_run_group_tests(tests, symbols_set_up, symbols_tear_down);
}

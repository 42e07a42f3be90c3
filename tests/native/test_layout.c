/* Codes in words: the place of each code, and back. */
#include "codec_help.h"

#include "core/layout.h"

static uint32_t word_at(const uint8_t *words, size_t i)
{
	return get16(words + 4 * i) | get16(words + 4 * i + 2) << 16;
}

static void test_interleaved(void **state)
{
	uint8_t codes[16] = {0, 1, 2, 3, 4, 5, 6, 7, 0x18, 9, 10, 11, 12, 13, 14, 15}, words[8], back[16];
	(void)state;
	qs_words_interleave(codes, 2, words);
	/* Even codes in the low half; bits above the lowest four are cut off. */
	assert_int_equal(word_at(words, 0), 0x75316420);
	assert_int_equal(word_at(words, 1), 0xfdb9eca8);
	qs_words_deinterleave(words, 2, back);
	codes[8] = 8;
	assert_memory_equal(back, codes, sizeof codes);
}

static void test_interleaved_columns(void **state)
{
	enum { ROWS = 24, COLS = 5, WORDS = ROWS / 8 * COLS };
	uint8_t codes[ROWS * COLS], words[4 * WORDS], some[4 * WORDS];
	rng r = {1};
	(void)state;
	for (size_t i = 0; i < sizeof codes; i++)
		codes[i] = (uint8_t)rng_below(&r, 16);
	qs_words_interleave_columns(codes, ROWS, COLS, 0, WORDS, words);
	for (size_t c = 0; c < COLS; c++)
		for (size_t row = 0; row < ROWS; row++) {
			static const unsigned nibbles[8] = {0, 4, 1, 5, 2, 6, 3, 7};
			uint32_t word = word_at(words, c * (ROWS / 8) + row / 8);
			assert_int_equal(word >> 4 * nibbles[row % 8] & 15, codes[row * COLS + c]);
		}
	for (size_t first = 0; first < WORDS; first++)
		for (size_t n = 0; first + n <= WORDS; n++) {
			memset(some, 0xaa, sizeof some);
			qs_words_interleave_columns(codes, ROWS, COLS, first, n, some);
			assert_memory_equal(some, words + 4 * first, 4 * n);
			assert_true(4 * n == sizeof some || some[4 * n] == 0xaa);
		}
}

static void test_transposed(void **state)
{
	enum { ROWS = 7, COLS = 16 };
	uint8_t codes[ROWS * COLS], words[ROWS * COLS], back[ROWS * COLS];
	rng r = {2};
	(void)state;
	for (uint32_t bits = 4; bits <= 8; bits += 4) {
		size_t per_word = 32 / bits, n = sizeof codes / per_word;
		for (size_t i = 0; i < sizeof codes; i++)
			codes[i] = (uint8_t)rng_below(&r, 1u << bits);
		qs_words_pack_transposed(bits, codes, ROWS, COLS, 0, n, words);
		for (size_t c = 0; c < COLS; c++)
			for (size_t row = 0; row < ROWS; row++)
				assert_int_equal(word_at(words, c / per_word * ROWS + row) >> c % per_word * bits &
				                     ((1u << bits) - 1),
				                 codes[row * COLS + c]);
		qs_words_unpack_transposed(bits, words, ROWS, COLS, back);
		assert_memory_equal(back, codes, sizeof codes);
		qs_words_pack(bits, codes, n, words);
		qs_words_unpack(bits, words, n, back);
		assert_memory_equal(back, codes, sizeof codes);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_interleaved),
	    cmocka_unit_test(test_interleaved_columns),
	    cmocka_unit_test(test_transposed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Symbol blocks (FORMAT.md, 3.1) that are made by hand, byte for byte: blocks that decoders must accept, and
 * blocks that they must refuse. */
#include "symbols_help.h"

typedef struct by_hand {
	uint8_t bytes[64];
	size_t size;
} by_hand;

/* A Huffman block of n symbols 0 and 1 with code lengths 1 and 1: n bits, all 0. */
static by_hand two_symbols(size_t n)
{
	return (by_hand){{QS_SYMBOLS_HUFFMAN, 0, 0, 1, 0x11}, 5 + (n + 7) / 8};
}

static void refuse(symbols_fixture *f, const by_hand *b, size_t n)
{
	size_t used;
	assert_int_equal(symbols_decode_copy(f, b->bytes, b->size, n, &used), QSTORE_CORRUPT);
}

static void accept(symbols_fixture *f, const by_hand *b, size_t n)
{
	size_t used;
	assert_int_equal(symbols_decode_copy(f, b->bytes, b->size, n, &used), QSTORE_OK);
	assert_int_equal(used, b->size);
}

static void test_two_symbols(void **state)
{
	symbols_fixture *f = *state;
	for (size_t n = 1; n < 100; n++) {
		by_hand b = two_symbols(n);
		b.bytes[5] = 1;                                     /* the first symbol is 1 */
		for (size_t bit = n; bit < 8 * (b.size - 5); bit++) /* padding is ignored */
			b.bytes[b.size - 1] |= (uint8_t)(1 << bit % 8);
		accept(f, &b, n);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(f->dst.end[-(ptrdiff_t)n + (ptrdiff_t)i], i == 0);
		b.size--;
		refuse(f, &b, n);
	}
}

/* Where nodes begin: codes 0, 10 and 11; the second node has a bit for each one of the first. */
static void test_nodes(void **state)
{
	symbols_fixture *f = *state;
	by_hand b = {{QS_SYMBOLS_HUFFMAN, 0, 4, 6, 0x21, 0x02, 0xff, 0x05}, 8}; /* 8 + 8 bits */
	accept(f, &b, 8);
	assert_memory_equal(f->dst.end - 8, "\6\5\6\5\5\5\5\5", 8);
	b = (by_hand){{QS_SYMBOLS_HUFFMAN, 0, 4, 6, 0x21, 0x02, 0x55}, 7}; /* 5 + 3 bits, back to back */
	accept(f, &b, 5);
	assert_memory_equal(f->dst.end - 5, "\5\4\6\4\5", 5);
	refuse(f, &b, 6);
	/* 70 bits and as many: the second node begins at a byte. */
	b = (by_hand){{QS_SYMBOLS_HUFFMAN, 0, 4, 6, 0x21, 0x02}, 6 + 18};
	memset(b.bytes + 6, 0xff, 9);
	b.bytes[15] = 1;
	accept(f, &b, 70);
	assert_int_equal(f->dst.end[-70], 6);
	for (int i = 1; i < 70; i++)
		assert_int_equal(f->dst.end[-70 + i], 5);
}

static void test_bad_parameters(void **state)
{
	symbols_fixture *f = *state;
	for (unsigned type = QS_SYMBOLS_COUNT; type < 256; type++) {
		by_hand b = two_symbols(9);
		b.bytes[0] = (uint8_t)type;
		size_t used;
		assert_int_equal(symbols_decode_copy(f, b.bytes, b.size, 9, &used), QSTORE_NEWER);
	}
	for (unsigned reserved = 1; reserved < 16; reserved++) {
		by_hand b = two_symbols(9);
		b.bytes[1] = (uint8_t)(reserved << 4);
		refuse(f, &b, 9);
	}
	by_hand b = two_symbols(9);
	b.bytes[2] = 2; /* first > last */
	refuse(f, &b, 9);
	for (unsigned raw_bits = 0; raw_bits < 8; raw_bits++) {
		/* last may be 255 >> r and no more; first = last needs no lengths and has none. */
		b = (by_hand){
		    {QS_SYMBOLS_HUFFMAN, (uint8_t)raw_bits, (uint8_t)(255 >> raw_bits), (uint8_t)(255 >> raw_bits)},
		    4 + raw_bits};
		accept(f, &b, 8);
		for (unsigned i = 0; i < 8; i++)
			assert_int_equal(f->dst.end[-8 + (int)i], (uint8_t)(255 << raw_bits));
		if (raw_bits) {
			b.bytes[2] = b.bytes[3] = (uint8_t)((255 >> raw_bits) + 1);
			refuse(f, &b, 8);
		}
		b.bytes[2] = b.bytes[3] = 0;
		b.bytes[1] |= 5 << 4;
		refuse(f, &b, 8);
	}
}

static void test_bad_lengths(void **state)
{
	symbols_fixture *f = *state;
	/* Three symbols, two bytes of lengths; n = 8 symbols of 0 in one byte when it has one bit. */
	static const struct {
		uint8_t lengths[2];
		int good;
	} cases[] = {
	    {{0x21, 0x02}, 1}, /* 1, 2, 2 */
	    {{0x21, 0x12}, 0}, /* the unused half is not zero */
	    {{0x11, 0x01}, 0}, /* 1, 1, 1: over-subscribed */
	    {{0x11, 0x02}, 0}, /* 1, 1, 2: over-subscribed */
	    {{0x21, 0x03}, 0}, /* 1, 2, 3: incomplete */
	    {{0x22, 0x02}, 0}, /* incomplete */
	    {{0x01, 0x01}, 1}, /* 1, –, 1 */
	    {{0x01, 0x00}, 0}, /* one symbol only: incomplete */
	    {{0x00, 0x00}, 0}, {{0x61, 0x06}, 0}, {{0xf1, 0x02}, 0},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		by_hand b = {{QS_SYMBOLS_HUFFMAN, 0, 7, 9, cases[i].lengths[0], cases[i].lengths[1], 0}, 7};
		if (cases[i].good)
			accept(f, &b, 8);
		else
			refuse(f, &b, 8);
	}
	/* 256 symbols of length 8, and one of them wrong. */
	uint8_t block[4 + 128 + 300] = {QS_SYMBOLS_HUFFMAN, 0, 0, 255};
	size_t used;
	memset(block + 4, 0x88, 128);
	assert_int_equal(symbols_decode_copy(f, block, sizeof block, 100, &used), QSTORE_OK);
	for (int i = 0; i < 256; i++)
		for (int length = 0; length < 16; length++) {
			uint8_t old = block[4 + i / 2];
			block[4 + i / 2] = (uint8_t)(i & 1 ? (old & 15) | length << 4 : (old & 0xf0) | length);
			assert_int_equal(symbols_decode_copy(f, block, sizeof block, 100, &used),
			                 length == 8 ? QSTORE_OK : QSTORE_CORRUPT);
			block[4 + i / 2] = old;
		}
}

static void test_bad_sparse(void **state)
{
	symbols_fixture *f = *state;
	/* Common byte 7; two gaps, kept raw: 3 and `second`; the others, raw: 1 and 2. */
	for (unsigned second = 0; second < 255; second++) {
		by_hand b = {{QS_SYMBOLS_SPARSE, 7, 2, QS_SYMBOLS_RAW, 3, (uint8_t)second, QS_SYMBOLS_RAW, 1, 2}, 9};
		if (4 + second < 100)
			accept(f, &b, 100);
		else
			refuse(f, &b, 100);
	}
	by_hand skips = {{QS_SYMBOLS_SPARSE, 7, 2, QS_SYMBOLS_RAW, 255, 44, QS_SYMBOLS_RAW, 9}, 8};
	accept(f, &skips, 300);
	assert_int_equal(f->dst.end[-1], 9);
	refuse(f, &skips, 299);
	by_hand nothing = {{QS_SYMBOLS_SPARSE, 7, 0, QS_SYMBOLS_RAW, QS_SYMBOLS_RAW}, 5};
	accept(f, &nothing, 100);
	by_hand nested = {
	    {QS_SYMBOLS_SPARSE, 7, 1, QS_SYMBOLS_SPARSE, 0, 0, QS_SYMBOLS_RAW, QS_SYMBOLS_RAW, QS_SYMBOLS_RAW, 1},
	    10};
	refuse(f, &nested, 100);
	by_hand many = {{QS_SYMBOLS_SPARSE, 7, 0x81, 0x80, 0x04, QS_SYMBOLS_CONSTANT, 0, QS_SYMBOLS_CONSTANT, 0},
	                9}; /* 65,537 gaps */
	refuse(f, &many, BLOCK_MAX);
}

static void test_bad_ans(void **state)
{
	symbols_fixture *f = *state;
	/* Symbols 3 and 5 with 16 slots each; nothing to decode, so eight states of 65536. */
	by_hand good = {{QS_SYMBOLS_ANS, 5 << 4, 3, 5, 0x05, 0x05, 0, 32}, 40};
	for (int lane = 0; lane < 8; lane++)
		good.bytes[8 + 4 * lane + 2] = 1;
	accept(f, &good, 0);
	refuse(f, &good, 1);
	static const struct {
		uint8_t at, value;
	} bad[] = {
	    {1, 4 << 4},                /* a table's log of 4 */
	    {1, 13 << 4},               /* and of 13 */
	    {1, 6 << 4},                /* frequencies that sum up to half of it */
	    {1, 5 << 4 | 7},            /* symbol 5 does not exist with 7 raw bits */
	    {2, 6},                     /* first > last */
	    {4, 0x06},                  /* a frequency of six bits */
	    {4, 0x15},       {4, 0x04}, /* sums of 33 and 24 */
	    {5, 0x15},                  /* the unused half is not zero */
	    {6, 1},                     /* 17 and 16 */
	    {7, 31},         {7, 33},   /* sizes of the states */
	    {8, 1},                     /* a state that is not 65536 */
	    {10, 0},         {38, 3},
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		by_hand b = good;
		b.bytes[bad[i].at] = bad[i].value;
		refuse(f, &b, 0);
	}
	by_hand padded = {{QS_SYMBOLS_ANS, 5 << 4, 3, 5, 0x24, 0x04, 0, 32}, 41}; /* 8, 2, 8: too few */
	refuse(f, &padded, 0);
	by_hand one = {{QS_SYMBOLS_ANS, 5 << 4, 3, 3, 0x05, 0, 32}, 39}; /* one symbol has no frequency */
	refuse(f, &one, 0);
	/* 16, 8 and 8 slots: 4 + 3 + 3 bits below the first ones, then six of padding. */
	by_hand three = {{QS_SYMBOLS_ANS, 5 << 4, 3, 5, 0x45, 0x04, 0, 0, 32}, 41};
	for (int lane = 0; lane < 8; lane++)
		three.bytes[9 + 4 * lane + 2] = 1;
	accept(f, &three, 0);
	for (int bit = 0; bit < 16; bit++) {
		three.bytes[6 + bit / 8] ^= (uint8_t)(1 << bit % 8);
		refuse(f, &three, 0);
		three.bytes[6 + bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

static void test_varints(void **state)
{
	symbols_fixture *f = *state;
	static const struct {
		uint8_t bytes[6];
		uint32_t value;
		size_t size; /* 0: refused */
	} cases[] = {
	    {{0}, 0, 1},
	    {{127}, 127, 1},
	    {{0x80, 1}, 128, 2},
	    {{0xff, 0xff, 0xff, 0xff, 15}, 0xffffffff, 5},
	    {{0xff, 0xff, 0xff, 0xff, 16}, 0, 0},
	    {{0x80, 0x80, 0x80, 0x80, 0x80, 0}, 0, 0},
	    {{0xff, 0xff, 0xff, 0xff, 0x8f, 0}, 0, 0},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const uint8_t *p = guarded_copy(&f->src, cases[i].bytes, 6);
		qs_reader r = {p, p + 6, 0};
		uint32_t value = qs_read_varint(&r);
		assert_int_equal(r.bad, !cases[i].size);
		if (!cases[i].size)
			continue;
		assert_true(value == cases[i].value);
		assert_int_equal(r.at - p, cases[i].size);
		/* And every truncation. */
		for (size_t n = 0; n < cases[i].size; n++) {
			p = guarded_copy(&f->src, cases[i].bytes, n);
			r = (qs_reader){p, p + n, 0};
			(void)qs_read_varint(&r);
			assert_true(r.bad);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_two_symbols),    cmocka_unit_test(test_nodes),
	    cmocka_unit_test(test_bad_parameters), cmocka_unit_test(test_bad_lengths),
	    cmocka_unit_test(test_bad_sparse),     cmocka_unit_test(test_bad_ans),
	    cmocka_unit_test(test_varints),
	};
	return cmocka_run_group_tests(tests, symbols_set_up, symbols_tear_down);
}

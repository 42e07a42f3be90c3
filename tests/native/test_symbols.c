/* Symbol blocks (FORMAT.md, 3.1): every raw_bits × zigzag × longest code, written from plans made by hand,
 * and blocks made by hand byte for byte that must be refused. */
#include "codec_help.h"

#include "core/ans.h"
#include "core/symbols.h"
#include "core/tree.h"
#include "core/zstd.h"
#include "encode/ans_encode.h"
#include "encode/huffman.h"
#include "encode/symbols_encode.h"

enum { MAX_N = 5000 };

typedef struct fixture {
	guarded src, dst, table;
	void *zstd;
	size_t zstd_size;
	uint8_t data[MAX_N], scratch[MAX_N], coded[4 * MAX_N + 4096];
} fixture;

static int set_up(void **state)
{
	fixture *f = malloc(sizeof *f);
	guarded_create(&f->src, sizeof f->coded);
	guarded_create(&f->dst, MAX_N);
	guarded_create(&f->table, qs_symbols_workspace_size());
	f->zstd_size = qs_zstd_workspace_size();
	f->zstd = malloc(f->zstd_size);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	fixture *f = *state;
	guarded_destroy(&f->src);
	guarded_destroy(&f->dst);
	guarded_destroy(&f->table);
	free(f->zstd);
	free(f);
	return 0;
}

/* Decodes from a copy that ends at a guard page; used: bytes consumed. */
static qstore_status decode(fixture *f, const uint8_t *src, size_t src_size, size_t n, size_t *used)
{
	const uint8_t *p = guarded_copy(&f->src, src, src_size);
	qs_reader r = {p, p + src_size, 0};
	uint8_t *dst = guarded_place(&f->dst, n), *work = guarded_place(&f->table, qs_symbols_workspace_size());
	qs_symbols_ahead(work, dst, n, 1);
	qstore_status status = qs_symbols_decode(&r, dst, n, work, f->zstd, f->zstd_size);
	*used = (size_t)(r.at - p);
	assert_true(*used <= src_size);
	return status;
}

static uint32_t transformed(uint32_t value, unsigned zigzag)
{
	int v = (int8_t)value;
	return zigzag ? (uint32_t)(v < 0 ? -2 * v - 1 : 2 * v) : value;
}

static size_t write_block(fixture *f, size_t n, const qs_block_plan *plan)
{
	qs_writer w = {f->coded, f->coded + sizeof f->coded, 0};
	qs_symbols_write(&w, f->data, n, plan, f->scratch);
	assert_false(w.bad);
	return (size_t)(w.at - f->coded);
}

static void check_round_trip(fixture *f, size_t n, const qs_block_plan *plan)
{
	size_t size = write_block(f, n, plan), used;
	/* Alone, with nothing behind, and with more behind that must be left. */
	assert_int_equal(decode(f, f->coded, size, n, &used), QSTORE_OK);
	assert_int_equal(used, size);
	assert_memory_equal(f->dst.end - n, f->data, n);
	memset(f->coded + size, 0xff, 9);
	assert_int_equal(decode(f, f->coded, size + 9, n, &used), QSTORE_OK);
	assert_int_equal(used, size);
	assert_memory_equal(f->dst.end - n, f->data, n);
}

/* A plan for the data with these parameters, or 0 when there are too many top symbols for codes of at most
 * `longest` bits. */
static int make_plan(fixture *f, size_t n, unsigned raw_bits, unsigned zigzag, unsigned longest, int skewed,
                     qs_block_plan *plan)
{
	uint32_t top[256] = {0}, used = 0;
	for (size_t i = 0; i < n; i++)
		top[transformed(f->data[i], zigzag) >> raw_bits]++;
	for (int t = 0; t < 256; t++)
		used += top[t] > 0;
	*plan = (qs_block_plan){.type = QS_SYMBOLS_HUFFMAN,
	                        .raw_bits = raw_bits,
	                        .zigzag = zigzag,
	                        .table_log = used > 1 ? longest : 0};
	if (used > 1u << longest)
		return 0;
	if (used > 1 && skewed && used <= longest + 1) {
		/* Lengths 1, 2, 3, … last two alike: the longest code there is. */
		unsigned length = 0;
		for (int t = 0; t < 256; t++)
			if (top[t])
				plan->lengths[t] = (uint8_t)(++length < used ? length : used - 1);
	} else if (used > 1)
		qs_huffman_lengths(top, 256, longest, plan->lengths);
	return 1;
}

static void fill(rng *r, uint8_t *data, size_t n, int style)
{
	for (size_t i = 0; i < n; i++)
		switch (style) {
		case 0:
			data[i] = (uint8_t)rng_next(r);
			break;
		case 1:
			data[i] = (uint8_t)(int)(rng_normal(r) * 20);
			break;
		case 2:
			data[i] = rng_below(r, 12) ? 0 : (uint8_t)(1 + rng_below(r, 3));
			break;
		case 3:
			data[i] = (uint8_t)(i % 2 ? 0x80 : 0x7f);
			break;
		case 4:
			data[i] = (uint8_t)(rng_next(r) & rng_next(r) & rng_next(r));
			break;
		case 5:
			data[i] = 200;
			break;
		default:
			data[i] = i == n / 2 ? 255 : 0;
			break;
		}
}

static void test_every_plan(void **state)
{
	fixture *f = *state;
	static const size_t sizes[] = {1, 2, 127, 128, 129, 255, 256, 257, 258, 259, 383, 1000, 4097};
	rng r = {3};
	unsigned done = 0;
	for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
		for (int style = 0; style < 7; style++)
			for (unsigned raw_bits = 0; raw_bits < 8; raw_bits++)
				for (unsigned zigzag = 0; zigzag < 2; zigzag++)
					for (unsigned longest = 5; longest <= QS_TREE_DEPTH; longest += 2)
						for (int skewed = 0; skewed < 2; skewed++) {
							qs_block_plan plan;
							fill(&r, f->data, sizes[s], style);
							if (!make_plan(f, sizes[s], raw_bits, zigzag, longest, skewed, &plan))
								continue;
							check_round_trip(f, sizes[s], &plan);
							done++;
						}
	assert_true(done > 10000);
}

static void test_256_symbols(void **state)
{
	fixture *f = *state;
	for (unsigned longest = 8; longest <= QS_TREE_DEPTH; longest++)
		for (size_t n = 256; n <= 1024; n += 256) {
			qs_block_plan plan;
			for (size_t i = 0; i < n; i++)
				f->data[i] = (uint8_t)(i * 37);
			assert_true(make_plan(f, n, 0, 0, longest, 0, &plan));
			check_round_trip(f, n, &plan);
		}
	/* 256 symbols do not have codes of 7 bits. */
	qs_block_plan plan;
	assert_false(make_plan(f, 256, 0, 0, 7, 0, &plan));
}

/* A plan of ANS, which needs two top symbols at least. */
static int make_ans_plan(fixture *f, size_t n, unsigned raw_bits, unsigned zigzag, unsigned table_log,
                         qs_block_plan *plan)
{
	uint32_t top[256] = {0}, used = 0;
	for (size_t i = 0; i < n; i++)
		used += !top[transformed(f->data[i], zigzag) >> raw_bits]++;
	if (used < 2 || used > 1u << table_log)
		return 0;
	*plan = (qs_block_plan){
	    .type = QS_SYMBOLS_ANS, .raw_bits = raw_bits, .zigzag = zigzag, .table_log = table_log};
	qs_ans_frequencies(top, 256u >> raw_bits, table_log, plan->frequencies);
	return 1;
}

/* ANS blocks: every raw_bits × zigzag × table log that has a slot for each top symbol. */
static void test_every_ans_plan(void **state)
{
	fixture *f = *state;
	static const size_t sizes[] = {1, 2, 7, 8, 9, 31, 127, 128, 129, 256, 1000, 4097};
	rng r = {7};
	unsigned done = 0;
	for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
		for (int style = 0; style < 7; style++)
			for (unsigned raw_bits = 0; raw_bits < 8; raw_bits++)
				for (unsigned zigzag = 0; zigzag < 2; zigzag++)
					for (unsigned table_log = QS_ANS_LOG_MIN; table_log <= QS_ANS_LOG_MAX; table_log++) {
						qs_block_plan plan;
						fill(&r, f->data, sizes[s], style);
						if (!make_ans_plan(f, sizes[s], raw_bits, zigzag, table_log, &plan))
							continue;
						check_round_trip(f, sizes[s], &plan);
						done++;
					}
	assert_true(done > 3000);
}

/* The encoder's own choice: never larger than it says, never larger than raw, always restored. */
static void test_planned_blocks(void **state)
{
	fixture *f = *state;
	rng r = {5};
	unsigned planned[QS_SYMBOLS_COUNT] = {0};
	for (int round = 0; round < 1500; round++) {
		size_t n = round % 3 ? 1 + rng_below(&r, 700) : 1 + rng_below(&r, MAX_N);
		uint32_t counts[256];
		qs_block_plan plan;
		fill(&r, f->data, n, round % 7);
		qs_histogram(f->data, n, counts);
		qs_symbols_plan(counts, n, round & 1 ? QS_PREFER_SIZE : QS_PREFER_SPEED, &plan);
		size_t size = write_block(f, n, &plan);
		/* The sizes of sparse and ANS blocks are estimated only. */
		size_t more = plan.type == QS_SYMBOLS_SPARSE ? plan.size / 4
		              : plan.type == QS_SYMBOLS_ANS  ? 16 + plan.size / 50
		                                             : 0;
		assert_true(size <= plan.size + more && size <= n + 1);
		planned[plan.type]++;
		check_round_trip(f, n, &plan);
	}
	assert_true(planned[QS_SYMBOLS_HUFFMAN] > 100 && planned[QS_SYMBOLS_ANS] > 100);
}

/* Mostly one byte; the others at random, in runs, or at both ends. */
static size_t make_sparse(fixture *f, rng *r, size_t n, int style)
{
	size_t n_others = style == 3 ? 1 : 1 + rng_below(r, (uint32_t)(n / 17));
	memset(f->data, 0x5a, n);
	for (size_t i = 0; i < n_others; i++) {
		size_t at = style == 0   ? rng_below(r, (uint32_t)n)
		            : style == 1 ? n / 2 + i
		            : i % 2      ? n - 1 - i / 2
		                         : i / 2;
		f->data[at] = (uint8_t)(rng_below(r, 3) ? 0x5b : rng_next(r));
	}
	return n;
}

static void test_sparse(void **state)
{
	fixture *f = *state;
	rng r = {11};
	const qs_block_plan sparse = {.type = QS_SYMBOLS_SPARSE};
	unsigned planned = 0;
	for (int round = 0; round < 400; round++) {
		static const size_t sizes[] = {256, 257, 511, 1000, 4096, MAX_N};
		size_t n = make_sparse(f, &r, sizes[round % 6], round / 6 % 4);
		uint32_t counts[256];
		qs_block_plan plan;
		check_round_trip(f, n, &sparse);
		qs_histogram(f->data, n, counts);
		qs_symbols_plan(counts, n, round & 1 ? QS_PREFER_SIZE : QS_PREFER_SPEED, &plan);
		planned += plan.type == QS_SYMBOLS_SPARSE;
		check_round_trip(f, n, &plan);
	}
	assert_true(planned > 100);
	/* A bit a symbol is Huffman's least; one other byte in a thousand costs a dozen bits. */
	memset(f->data, 0, MAX_N);
	for (size_t i = 0; i < MAX_N; i += 1000)
		f->data[i + rng_below(&r, 500) % (MAX_N - i)] = 1;
	assert_true(write_block(f, MAX_N, &sparse) < MAX_N / 1000 * 3 + 64);
}

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

/* ---- Blocks made by hand
 * ------------------------------------------------------------------------------------------- */

typedef struct by_hand {
	uint8_t bytes[64];
	size_t size;
} by_hand;

/* A Huffman block of n symbols 0 and 1 with code lengths 1 and 1: n bits, all 0. */
static by_hand two_symbols(size_t n)
{
	return (by_hand){{QS_SYMBOLS_HUFFMAN, 0, 0, 1, 0x11}, 5 + (n + 7) / 8};
}

static void refuse(fixture *f, const by_hand *b, size_t n)
{
	size_t used;
	assert_int_equal(decode(f, b->bytes, b->size, n, &used), QSTORE_CORRUPT);
}

static void accept(fixture *f, const by_hand *b, size_t n)
{
	size_t used;
	assert_int_equal(decode(f, b->bytes, b->size, n, &used), QSTORE_OK);
	assert_int_equal(used, b->size);
}

static void test_two_symbols(void **state)
{
	fixture *f = *state;
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
	fixture *f = *state;
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
	fixture *f = *state;
	for (unsigned type = QS_SYMBOLS_COUNT; type < 256; type++) {
		by_hand b = two_symbols(9);
		b.bytes[0] = (uint8_t)type;
		refuse(f, &b, 9);
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
	fixture *f = *state;
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
	assert_int_equal(decode(f, block, sizeof block, 100, &used), QSTORE_OK);
	for (int i = 0; i < 256; i++)
		for (int length = 0; length < 16; length++) {
			uint8_t old = block[4 + i / 2];
			block[4 + i / 2] = (uint8_t)(i & 1 ? (old & 15) | length << 4 : (old & 0xf0) | length);
			assert_int_equal(decode(f, block, sizeof block, 100, &used),
			                 length == 8 ? QSTORE_OK : QSTORE_CORRUPT);
			block[4 + i / 2] = old;
		}
}

static void test_bad_sparse(void **state)
{
	fixture *f = *state;
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
	refuse(f, &many, MAX_N);
}

static void test_bad_ans(void **state)
{
	fixture *f = *state;
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
	fixture *f = *state;
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

/* ---- Damage
 * -------------------------------------------------------------------------------------------------------- */

static void test_damage(void **state)
{
	fixture *f = *state;
	rng r = {9};
	for (int round = 0; round < 60; round++) {
		size_t n = round % 2 ? 300 + rng_below(&r, 300) : 1 + rng_below(&r, 300), used;
		qs_block_plan plan;
		fill(&r, f->data, n, round % 7);
		unsigned table_log = 8 + (unsigned)round % 4;
		if (round % 10 == 9) {
			n = make_sparse(f, &r, 512, 0);
			plan = (qs_block_plan){.type = QS_SYMBOLS_SPARSE};
		} else if (round % 10 != 4 || !make_ans_plan(f, n, 0, 0, table_log, &plan))
			assert_true(
			    make_plan(f, n, (unsigned)round % 8, round / 8 % 2, table_log, round % 5 == 0, &plan));
		size_t size = write_block(f, n, &plan);
		uint8_t *copy = malloc(size);
		memcpy(copy, f->coded, size);
		for (size_t k = 0; k < size; k++)
			assert_int_equal(decode(f, copy, k, n, &used), QSTORE_CORRUPT);
		for (size_t bit = 0; bit < 8 * size; bit++) {
			copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
			qstore_status status = decode(f, copy, size, n, &used);
			assert_true(!status || status == QSTORE_CORRUPT);
			copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
		for (int k = 0; k < 200; k++) { /* several bytes at once, in the head above all */
			memcpy(copy, f->coded, size);
			for (int times = 1 + (int)rng_below(&r, 4); times; times--)
				copy[rng_below(&r, (uint32_t)(k % 2 ? size : size < 40 ? size : 40))] = (uint8_t)rng_next(&r);
			qstore_status status = decode(f, copy, size, n, &used);
			assert_true(!status || status == QSTORE_CORRUPT);
		}
		free(copy);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_every_plan),     cmocka_unit_test(test_256_symbols),
	    cmocka_unit_test(test_planned_blocks), cmocka_unit_test(test_huffman_lengths),
	    cmocka_unit_test(test_two_symbols),    cmocka_unit_test(test_nodes),
	    cmocka_unit_test(test_bad_parameters), cmocka_unit_test(test_bad_lengths),
	    cmocka_unit_test(test_varints),        cmocka_unit_test(test_damage),
	    cmocka_unit_test(test_sparse),         cmocka_unit_test(test_bad_sparse),
	    cmocka_unit_test(test_every_ans_plan), cmocka_unit_test(test_bad_ans),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}

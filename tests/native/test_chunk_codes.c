/* Chunks of codes: distances to centres, peaks of groups, classes of rows. */
#include "chunk_help.h"

#include <math.h>

#include "effort.h"

#include "core/planes.h"

/* Codes around a centre for each column or each row. */
static void fill_centred(rng *r, uint8_t *codes, const qs_chunk_desc *desc, int by_row)
{
	uint64_t seed = rng_next(r);
	uint32_t base =
	    desc->dtype == QS_U8 ? 98 : 226; /* in the middle of the codes, and of none of their ends */
	for (uint32_t i = 0; i < desc->n_elems; i++) {
		uint64_t e = desc->first_elem + i;
		rng own = {seed + (by_row ? e / desc->cols : e % desc->cols)};
		codes[i] = (uint8_t)(base + rng_below(&own, 60) + (uint32_t)(int)(rng_normal(r) * 8));
	}
}

static void test_centred(void **state)
{
	fixture *f = *state;
	rng r = {31};
	static const uint64_t cols[] = {1, 2, 16, 31, 33, 64, 288, 4096, 65536, 65537, (uint64_t)1 << 40};
	static const size_t sizes[] = {1, 255, 4096, 33000, QS_CHUNK_SIZE_MAX};
	unsigned seen = 0;
	for (size_t c = 0; c < sizeof cols / sizeof *cols; c++)
		for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
			for (int k = 0; k < 4; k++) {
				if (sizes[s] == QS_CHUNK_SIZE_MAX && effort_of(8) < 8 && c % 4 != 2)
					continue;
				qs_chunk_desc desc = codes_desc(sizes[s], cols[c], s % 2 ? cols[c] * 3 + cols[c] / 3 : 0);
				desc.dtype = k & 1 ? QS_I8 : QS_U8;
				fill_centred(&r, f->values, &desc, k >> 1);
				round_trip(f, &desc, f->values);
				int centred = f->coded[0] == QS_MODE_CENTRED;
				if (centred)
					assert_int_equal(f->coded[1], k >> 1 ? QS_CENTRED_ROWS : 0);
				seen += centred;
				/* Plenty of codes for each centre: always worth it. */
				if (cols[c] >= 64 && cols[c] <= 288 && sizes[s] >= 33000)
					assert_true(centred);
			}
	assert_true(seen > effort_of(40));
}

enum peak_kind { PEAKS_EITHER, PEAKS_LOW, PEAKS_HIGH, PEAKS_BOTH, PEAKS_KINDS };

/* Codes in groups of `size`, each with an extreme: ±127; 0; 15; 0 and 15. Some groups are otherwise: all of
 * one code, or with an extreme of their own. */
static void fill_peaks(rng *r, uint8_t *codes, const qs_chunk_desc *desc, uint32_t size, enum peak_kind kind,
                       int odd)
{
	int is_signed = kind == PEAKS_EITHER, middle = is_signed ? 0 : 8;
	for (uint32_t at = 0; at < desc->n_elems; at += size) {
		uint32_t count = desc->n_elems - at < size ? desc->n_elems - at : size;
		for (uint32_t i = at; i < at + count; i++) {
			double v = rng_normal(r) * (is_signed ? 40 : 3);
			v = v < 2 - 128 ? 2 - 128 : v > 126 ? 126 : v;
			v = is_signed || fabs(v) < 6 ? v : 0;
			codes[i] = (uint8_t)(middle + (int)v);
		}
		uint32_t place = rng_below(r, count), other = (place + 1 + rng_below(r, count)) % count;
		if (odd && !rng_below(r, 40)) {
			if (rng_below(r, 2))
				memset(codes + at, middle, count);
			else
				codes[at + place] = (uint8_t)(is_signed ? 126 : 14);
			continue;
		}
		if (kind == PEAKS_EITHER)
			codes[at + place] = rng_below(r, 2) ? 127 : 129;
		else
			codes[at + place] = kind == PEAKS_HIGH ? 15 : 0;
		if (kind == PEAKS_BOTH && other != place)
			codes[at + other] = 15;
	}
}

static void test_peaks(void **state)
{
	fixture *f = *state;
	rng r = {32};
	static const uint32_t groups[] = {1, 2, 15, 31, 32, 33, 34, 35, 66, 128, 129, 130, 500, 8192};
	unsigned seen[8][PEAKS_KINDS] = {{0}};
	for (unsigned log = 5; log <= 7; log++)
		for (size_t g = 0; g < sizeof groups / sizeof *groups; g++)
			for (int k = 0; k < 2 * PEAKS_KINDS; k++) {
				/* Rows of three groups, of which the chunk may begin and end with a part. */
				uint32_t size = 1u << log, kind = (uint32_t)k / 2;
				qs_chunk_desc desc = codes_desc(groups[g] * size, 3 * size, k & 1 ? 2 * size : 0);
				desc.dtype = kind == PEAKS_EITHER ? QS_I8 : QS_U8;
				fill_peaks(&r, f->values, &desc, size, kind, k & 1);
				round_trip(f, &desc, f->values);
				int peaks = f->coded[0] == QS_MODE_PEAKS;
				if (peaks && groups[g] >= 128)
					assert_int_equal(f->coded[1] & 15, log);
				seen[log][kind] += (unsigned)peaks;
				if (groups[g] == 8192 && log == 5)
					assert_true(peaks);
				if (groups[g] == 8192 && effort_of(8) < 8)
					continue;
				/* Groups that do not fill rows, or not the chunk. */
				desc.cols += 4;
				round_trip(f, &desc, f->values);
				assert_int_not_equal(f->coded[0], QS_MODE_PEAKS);
				desc.cols -= 4;
				desc.n_elems -= 1;
				round_trip(f, &desc, f->values);
				assert_int_not_equal(f->coded[0], QS_MODE_PEAKS);
			}
	for (unsigned log = 5; log <= 7; log++)
		for (int kind = 0; kind < PEAKS_KINDS; kind++)
			assert_int_equal(seen[log][kind] > 0, log < 7 || kind == PEAKS_EITHER || kind == PEAKS_BOTH);
	/* The largest chunk, and classes of rows: some rows are all zero. */
	qs_chunk_desc desc = codes_desc(QS_CHUNK_SIZE_MAX, 4096, 0);
	fill_peaks(&r, f->values, &desc, 32, PEAKS_EITHER, 1);
	round_trip(f, &desc, f->values);
	assert_int_equal(f->coded[0], QS_MODE_PEAKS);
	desc.n_elems /= 4;
	for (int row = 25; row < 64; row += 25)
		memset(f->values + 4096 * row, 0, 4096);
	round_trip(f, &desc, f->values);
	assert_int_equal(f->coded[0], QS_MODE_PEAKS);
	/* Too many other extremes for a list. */
	for (int group = 0; group < 8192; group += 10)
		memset(f->values + 32 * group, group / 10 % 100, 32);
	round_trip(f, &desc, f->values);
	assert_int_not_equal(f->coded[0], QS_MODE_PEAKS);
}

static void test_damage_peaks(void **state)
{
	rng r = {30};
	for (enum peak_kind kind = 0; kind < PEAKS_KINDS; kind++) {
		sample *s = new_sample(kind == PEAKS_BOTH ? "two peaks" : "peaks", codes_desc(2048, 64, 32));
		s->desc.dtype = kind == PEAKS_EITHER ? QS_I8 : QS_U8;
		fill_peaks(&r, s->values, &s->desc, 32, kind, 0);
		encode_sample(*state, s, QS_MODE_PEAKS);
		damage_sample(*state, s);
		free(s);
	}
	/* By hand: three groups of 32, of which the peaks are 100 or 101 and 102; the others 10 + 5, but the last
	 * one. */
	uint8_t good[140] = {QS_MODE_PEAKS, 0x15, 10, 2, 100, 101, 0, 31, 32 + 3, 7, 1, 102, 0, 30, 4, 0, 1, 0};
	const size_t values = 3, first = 7, second = 13, others = 18;
	size_t size = others + 90;
	memset(good + others, 5, 90);
	good[size - 1] = 6;
	qs_chunk_desc desc = codes_desc(96, 32, 64);
	assert_int_equal(decode_chunk(*state, &desc, good, size, 0), QSTORE_OK);
	for (int i = 0; i < 96; i++) {
		int peak = i == 31                         ? 100
		           : i == 32 + 3                   ? 101
		           : i == 64 + 7                   ? 100
		           : i == 30 || i == 36 || i == 64 ? 102
		                                           : 0;
		assert_int_equal(decoded_chunk(*state, &desc)[i], peak ? peak : i == 95 ? 16 : 15);
	}
	for (int i = 0; i < 7; i++) {
		uint8_t bad[sizeof good];
		memcpy(bad, good, sizeof good);
		qs_chunk_desc other = desc;
		if (i == 0)
			bad[first + 1] = 64; /* of the values' third, which there is not */
		else if (i == 1)
			bad[second] = 31; /* where the first peak is */
		else if (i == 2)
			bad[values] = 9; /* values of 8 × 32 places */
		else if (i == 3)
			other.cols = 33;
		else if (i == 4)
			other.first_elem = 65;
		else if (i == 5)
			other = plain_desc(QS_BOOL, 96, 32);
		assert_int_equal(decode_chunk(*state, &other, bad, size, 0), i == 6 ? QSTORE_OK : QSTORE_CORRUPT);
	}
	for (unsigned head = 0; head < 256; head++) {
		good[1] = (uint8_t)head;
		/* Other bytes are then taken for types of symbol blocks, perhaps of a newer version. */
		qstore_status status = decode_chunk(*state, &desc, good, size, 0);
		assert_true(head == 0x15 ? !status : status == QSTORE_CORRUPT || status == QSTORE_NEWER);
	}
}

/* Codes of few long rows, whose spread changes along them, take little more than their entropy. */
static void test_long_rows(void **state)
{
	fixture *f = *state;
	rng r = {32};
	static const uint64_t cols[] = {2048, 2049, 5000, 1 << 16, 100001, (uint64_t)1 << 40};
	for (size_t c = 0; c < sizeof cols / sizeof *cols; c++)
		for (int k = 0; k < 2; k++) {
			enum { N = 200000 };
			qs_chunk_desc desc = codes_desc(N, cols[c], k ? cols[c] / 3 : 0);
			double bits = 0;
			desc.dtype = k ? QS_U8 : QS_I8;
			for (size_t i = 0; i < N; i++) {
				int spread = 2 << ((desc.first_elem + i) % cols[c] / 1500 % 5);
				f->values[i] = (uint8_t)(128 * k + (int)fmax(-127, fmin(127, rng_normal(&r) * spread)));
				bits += 2.05 + log2(spread); /* of a normal distribution: log2(sqrt(2 pi e)) */
			}
			size_t size = round_trip(f, &desc, f->values);
			if (cols[c] >= 5000) {
				assert_int_equal(f->coded[0], QS_MODE_FOLDED);
				assert_true(8.0 * (double)size < 1.06 * bits);
			}
		}
	/* Rows that do not change are not folded. */
	qs_chunk_desc desc = codes_desc(200000, 100000, 0);
	for (size_t i = 0; i < 200000; i++)
		f->values[i] = (uint8_t)(int)(rng_normal(&r) * 20);
	round_trip(f, &desc, f->values);
	assert_int_equal(f->coded[0], QS_MODE_CODES);
}

static void test_damage_folded(void **state)
{
	rng r = {33};
	sample *s = new_sample("folded", codes_desc(4096, 4096, 0));
	for (size_t i = 0; i < 4096; i++)
		s->values[i] = (uint8_t)(int)(rng_normal(&r) * (i >> 10 & 1 ? 2 : 20));
	encode_sample(*state, s, QS_MODE_FOLDED);
	damage_sample(*state, s);
	/* Rows of 64 to 65,536 codes; of other lengths there are none. */
	for (unsigned log = 0; log < 256; log++) {
		uint8_t coded[] = {QS_MODE_FOLDED, (uint8_t)log, 1, 1, 3};
		qs_chunk_desc desc = codes_desc(5, 7, 3);
		assert_int_equal(decode_chunk(*state, &desc, coded, sizeof coded, 0),
		                 log >= QS_FOLD_LOG_MIN && log <= QS_FOLD_LOG_MAX ? QSTORE_OK : QSTORE_CORRUPT);
	}
	free(s);
}

static void test_damage_codes(void **state)
{
	rng r = {23};
	sample *s = new_sample("codes", codes_desc(700, 70, 35));
	for (size_t i = 0; i < 700; i++)
		s->values[i] = (uint8_t)(int)(rng_normal(&r) * 12);
	encode_sample(*state, s, QS_MODE_CODES);
	damage_sample(*state, s);
	free(s);
	/* Classes by hand: K = 3, rows of 10 in classes 0 2 1 1 0, each class raw, of one value, raw. */
	s = new_sample("classes", codes_desc(45, 10, 5));
	static const uint8_t head[] = {QS_MODE_CODES, 3, 0, 0, 2, 1, 1, 0, 0}, middle[] = {1, 9, 0};
	uint8_t *p = s->coded;
	memcpy(p, head, sizeof head);
	p += sizeof head;
	rng_bytes(&r, p, 15); /* class 0: half of row 0, row 4 */
	p += 15;
	memcpy(p, middle, sizeof middle);
	p += sizeof middle;
	rng_bytes(&r, p, 10);
	s->size = (size_t)(p + 10 - s->coded);
	assert_int_equal(decode_chunk(*state, &s->desc, s->coded, s->size, 0), QSTORE_OK);
	const uint8_t *out = decoded_chunk(*state, &s->desc);
	assert_memory_equal(out, s->coded + 9, 5);
	assert_memory_equal(out + 5, p, 10);
	for (int i = 15; i < 35; i++)
		assert_int_equal(out[i], 9);
	assert_memory_equal(out + 35, s->coded + 14, 10);
	damage_sample(*state, s);
	for (uint8_t bad = 3; bad; bad++) { /* a class that is not below K */
		s->coded[6] = bad;
		assert_int_equal(decode_chunk(*state, &s->desc, s->coded, s->size, 0), QSTORE_CORRUPT);
	}
	free(s);
	/* Distances to centres of columns, and of rows. */
	for (int by_row = 0; by_row < 2; by_row++) {
		s = new_sample(by_row ? "centred rows" : "centred columns", codes_desc(1600, 40, 20));
		s->desc.dtype = QS_U8;
		fill_centred(&r, s->values, &s->desc, by_row);
		encode_sample(*state, s, QS_MODE_CENTRED);
		assert_int_equal(s->coded[1], by_row);
		damage_sample(*state, s);
		for (unsigned flags = 2; flags < 256; flags++) {
			s->coded[1] = (uint8_t)flags;
			assert_int_equal(decode_chunk(*state, &s->desc, s->coded, s->size, 0), QSTORE_CORRUPT);
		}
		free(s);
	}
	/* 65,536 centres and no more: all 3, and one distance of 4. */
	for (uint64_t cols = QS_CENTRES_MAX; cols <= QS_CENTRES_MAX + 1; cols++) {
		static const uint8_t coded[] = {QS_MODE_CENTRED, 0, 1, 3, 1, 1, 4};
		qs_chunk_desc desc = codes_desc(9, cols, cols - 5);
		assert_int_equal(decode_chunk(*state, &desc, coded, sizeof coded, 0),
		                 cols == QS_CENTRES_MAX ? QSTORE_OK : QSTORE_CORRUPT);
		for (int i = 0; i < 9 && cols == QS_CENTRES_MAX; i++)
			assert_int_equal(decoded_chunk(*state, &desc)[i], 7);
	}
	for (unsigned k = 0; k < 256; k++) {
		uint8_t coded[40] = {QS_MODE_CODES, (uint8_t)k, 1, 0};
		size_t size = k == 1 ? 4 : 4 + 2 * k;
		for (unsigned c = 0; k > 1 && c < k && 5 + 2 * c < sizeof coded; c++)
			coded[4 + 2 * c] = 1;
		qs_chunk_desc desc = codes_desc(5, 2, 0);
		assert_int_equal(decode_chunk(*state, &desc, coded, size < sizeof coded ? size : sizeof coded, 0),
		                 k >= 1 && k <= QS_CLASSES_MAX ? QSTORE_OK : QSTORE_CORRUPT);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_centred),      cmocka_unit_test(test_peaks),
	    cmocka_unit_test(test_damage_peaks), cmocka_unit_test(test_damage_codes),
	    cmocka_unit_test(test_long_rows),    cmocka_unit_test(test_damage_folded),
	};
	return cmocka_run_group_tests(tests, chunk_set_up, chunk_tear_down);
}

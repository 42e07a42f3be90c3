/* Plain chunks, and misuse of any chunk: every encoded value comes back, nothing grows beyond the bound, and
 * no damage makes the decoder read or write out of bounds. */
#include "chunk_help.h"

#include <math.h>

#include "core/planes.h"

static void test_all_patterns(void **state)
{
	fixture *f = *state;
	rng r = {1};
	static const float scales[] = {1,        448, 65504, 0x1p-8f, 0x1.3p-9f, 0x1p-14f,  0x1.8p-20f, 0x1p-24f,
	                               0.03125f, 0,   -1,    NAN,     INFINITY,  0x1p-126f, 0x1p-149f,  65505};
	for (int d = 0; d < 2; d++) {
		uint32_t dtype = d ? QS_BF16 : QS_F16;
		for (uint32_t v = 0; v < 65536; v++)
			put16(f->values + 2 * v, v);
		qs_chunk_desc desc = plain_desc(dtype, 65536, 256);
		round_trip(f, &desc, f->values);
		for (size_t s = 0; s < sizeof scales / sizeof *scales; s++) {
			for (int row = 0; row < 256; row++)
				memcpy(f->row_scales + 4 * row, &scales[s], 4);
			desc = refine_desc(f, dtype, 65536, 256, 0);
			/* LLM.int8's own codes, exceptions where values are beyond the scale; then any codes. */
			for (uint32_t v = 0; v < 65536; v++)
				f->codes[v] = (uint8_t)ref_code(v, dtype, scales[s]);
			round_trip(f, &desc, f->values);
			rng_bytes(&r, f->codes, 65536);
			round_trip(f, &desc, f->values);
			memset(f->codes, (int)rng_next(&r), 65536);
			round_trip(f, &desc, f->values);
		}
	}
}

static void test_every_dtype(void **state)
{
	fixture *f = *state;
	rng r = {2};
	static const size_t sizes[] = {0, 1, 2, 7, 8, 9, 31, 32, 33, 127, 128, 129, 255, 256, 257, 1000, 5003};
	for (uint32_t dtype = 0; dtype < QS_Q4_0; dtype++)
		for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
			for (int style = 0; style < STYLES; style++) {
				fill_values(&r, f->values, dtype, sizes[s], (enum style)style);
				qs_chunk_desc desc = plain_desc(dtype, sizes[s], 1 + sizes[s]);
				round_trip(f, &desc, f->values);
			}
}

static void test_large_plain(void **state)
{
	fixture *f = *state;
	rng r = {3};
	for (uint32_t dtype = 0; dtype < QS_Q4_0; dtype++) {
		size_t max = QS_CHUNK_SIZE_MAX / qs_dtype_size(dtype);
		int style = (int)dtype % STYLES;
		fill_values(&r, f->values, dtype, max, (enum style)style);
		qs_chunk_desc desc = plain_desc(dtype, max, 1);
		round_trip(f, &desc, f->values);
	}
	for (size_t n = FULL - 1; n <= FULL + 1; n++) {
		fill_values(&r, f->values, QS_BF16, FULL + 1, GAUSSIAN);
		qs_chunk_desc desc = plain_desc(QS_BF16, n, 4096);
		size_t size = round_trip(f, &desc, f->values);
		assert_true(size < 2 * FULL * 3 / 4);
	}
}

static void test_usage(void **state)
{
	fixture *f = *state;
	uint8_t one[2] = {QS_MODE_RAW, 7}, out[16];
	memset(f->row_scales, 0, 64);
	memset(f->codes, 0, 64);
	static const struct {
		uint32_t kind, dtype, rule, n;
		uint64_t cols, first;
	} bad[] = {
	    {QS_KIND_COUNT, QS_U8, 0, 1, 1, 0},
	    {QS_KIND_PLAIN, QS_DTYPE_COUNT, 0, 1, 1, 0},
	    {QS_KIND_PLAIN, QS_U8, 0, 1, 0, 0},
	    {QS_KIND_PLAIN, QS_U8, 0, QS_CHUNK_SIZE_MAX + 1, 1, 0},
	    {QS_KIND_PLAIN, QS_F64, 0, QS_CHUNK_SIZE_MAX / 8 + 1, 1, 0},
	    {QS_KIND_CODES, QS_U16, 0, 1, 1, 0},
	    {QS_KIND_LAYOUT, QS_I32, 0, 1, 1, 0},
	    {QS_KIND_LAYOUT, QS_Q8_0, 0, 32, 32, 0},
	    {QS_KIND_PLAIN, QS_Q8_0, 0, 32, 32, 0},
	    {QS_KIND_REFINE, QS_F32, 1, 1, 1, 0},
	    {QS_KIND_REFINE, QS_BF16, 0, 1, 1, 0},
	    {QS_KIND_REFINE, QS_BF16, QS_RULE_COUNT, 1, 1, 0},
	    {QS_KIND_REFINE, QS_BF16, 1, 17, 1, 0},
	    {QS_KIND_PLAIN, QS_U8, 0, 1, 1, UINT64_MAX},
	    {QS_KIND_PLAIN, QS_U8, 0, 1, UINT64_MAX, 0},
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		qs_chunk_desc d = {.kind = bad[i].kind,
		                   .dtype = bad[i].dtype,
		                   .n_elems = bad[i].n,
		                   .cols = bad[i].cols,
		                   .first_elem = bad[i].first,
		                   .coarse = f->codes,
		                   .coarse_dtype = QS_I8,
		                   .coarse_grid = {.rule = bad[i].rule,
		                                   .codes_dtype = QS_I8,
		                                   .group = 1,
		                                   .row_stride = 1,
		                                   .scales = f->row_scales,
		                                   .scales_size = 64,
		                                   .scales_dtype = QS_F32}};
		size_t n = (size_t)d.n_elems * qs_dtype_size(d.dtype);
		assert_int_equal(qs_chunk_decode(&d, one, 2, out, n, f->work[0], f->work_size), QSTORE_USAGE);
	}
	qs_chunk_desc d = plain_desc(QS_U8, 1, 1);
	assert_int_equal(qs_chunk_decode(&d, one, 2, out, 1, f->work[0], f->work_size), QSTORE_OK);
	assert_int_equal(qs_chunk_decode(&d, one, 2, out, 2, f->work[0], f->work_size), QSTORE_USAGE);
	assert_int_equal(qs_chunk_decode(&d, one, 2, out, 1, f->work[0], f->work_size - 1), QSTORE_MEMORY);
	assert_int_equal(qs_chunk_decode(&d, one, 2, out, 1, NULL, 0), QSTORE_MEMORY);
	d = refine_desc(f, QS_BF16, 8, 8, 0);
	d.coarse = NULL;
	assert_int_equal(qs_chunk_decode(&d, one, 2, out, 16, f->work[0], f->work_size), QSTORE_USAGE);
	d = refine_desc(f, QS_BF16, 8, 8, 0);
	d.coarse_grid.scales = NULL;
	assert_int_equal(qs_chunk_decode(&d, one, 2, out, 16, f->work[0], f->work_size), QSTORE_USAGE);
	d = refine_desc(f, QS_BF16, 12, 4, 0); /* touches three rows, has two scales */
	d.coarse_grid.scales_size = 8;
	assert_int_equal(qs_chunk_decode(&d, one, 2, out, 24, f->work[0], f->work_size), QSTORE_USAGE);
	for (uint32_t dtype = 0; dtype < QS_DTYPE_COUNT; dtype++)
		for (uint32_t coarse = 0; coarse < QS_DTYPE_COUNT; coarse++) {
			int good = 0;
			for (size_t p = 0; p < DELTA_PAIRS; p++)
				good |= delta_pairs[p].fine == dtype && delta_pairs[p].coarse == coarse;
			d = delta_desc(f, dtype, coarse, 1);
			uint8_t zeros[9] = {QS_MODE_RAW};
			size_t size = qs_dtype_size(dtype);
			qstore_status status = qs_chunk_decode(&d, zeros, size + 1, out, size, f->work[0], f->work_size);
			assert_int_equal(status, good ? QSTORE_OK : QSTORE_USAGE);
			d = refine_desc(f, QS_BF16, 1, 1, 0);
			d.coarse_grid.scales_dtype = dtype;
			d.coarse_grid.scales_size = 8;
			status = qs_chunk_decode(&d, zeros, 3, out, 2, f->work[0], f->work_size);
			good = dtype == QS_F32 || dtype == QS_F16 || dtype == QS_BF16 || dtype == QS_F64;
			assert_int_equal(status, good ? QSTORE_OK : QSTORE_USAGE);
		}
	d = delta_desc(f, QS_F32, QS_BF16, 1);
	d.coarse = NULL;
	assert_int_equal(qs_chunk_decode(&d, one, 2, out, 4, f->work[0], f->work_size), QSTORE_USAGE);
	/* A mode that the kind or the dtype does not have. */
	for (unsigned mode = 0; mode < 256; mode++)
		for (int kind = 0; kind < 4; kind++) {
			d = kind == 0   ? plain_desc(QS_BF16, 1, 1)
			    : kind == 1 ? codes_desc(2, 1, 0)
			    : kind == 2 ? refine_desc(f, QS_BF16, 1, 1, 0)
			                : delta_desc(f, QS_BF16, QS_BF16, 1);
			uint8_t src[3] = {(uint8_t)mode, 0, 0};
			qstore_status status = qs_chunk_decode(&d, src, 3, out, 2, f->work[0], f->work_size);
			assert_int_equal(status, mode == QS_MODE_RAW    ? QSTORE_OK
			                         : mode < QS_MODE_COUNT ? QSTORE_CORRUPT
			                                                : QSTORE_NEWER);
		}
}

static void test_damage_raw(void **state)
{
	rng r = {20};
	sample *s = new_sample("raw", plain_desc(QS_U8, 50, 1));
	rng_bytes(&r, s->values, 50);
	encode_sample(*state, s, QS_MODE_RAW);
	damage_sample(*state, s);
	free(s);
}

static void test_damage_zstd(void **state)
{
	rng r = {21};
	sample *s = new_sample("zstd", plain_desc(QS_BYTES, 600, 1));
	fill_values(&r, s->values, QS_BYTES, 600, TEXT);
	for (int i = 0; i < 20; i++)
		s->values[rng_below(&r, 600)] = (uint8_t)rng_next(&r);
	encode_sample(*state, s, QS_MODE_ZSTD);
	damage_sample(*state, s);
	free(s);
}

static void test_damage_planes(void **state)
{
	rng r = {22};
	static const uint32_t dtypes[] = {QS_BF16, QS_F16, QS_F32, QS_F64, QS_F8_E4M3};
	static const size_t sizes[] = {500, 300, 280, 140, 700};
	for (size_t i = 0; i < 5; i++) {
		sample *s = new_sample("planes", plain_desc(dtypes[i], sizes[i], 1));
		fill_values(&r, s->values, dtypes[i], sizes[i], GAUSSIAN);
		encode_sample(*state, s, QS_MODE_PLANES);
		damage_sample(*state, s);
		free(s);
	}
}

/* Values for which the encoder chooses each mode that it may write. */
static void test_each_mode_is_chosen(void **state)
{
	fixture *f = *state;
	rng r = {40};
	enum { N = 8192, COLS = 64 };
	for (uint32_t mode = 0; mode < QS_MODE_COUNT; mode++) {
		qs_chunk_desc desc = plain_desc(QS_BF16, N, COLS);
		switch (mode) {
		case QS_MODE_RAW:
			rng_bytes(&r, f->values, 2 * N);
			break;
		case QS_MODE_ZSTD:
			desc = plain_desc(QS_BYTES, N, COLS);
			fill_values(&r, f->values, QS_BYTES, N, TEXT);
			break;
		case QS_MODE_PLANES:
			fill_values(&r, f->values, QS_BF16, N, GAUSSIAN);
			break;
		case QS_MODE_CODES:
		case QS_MODE_CENTRED:
		case QS_MODE_PEAKS:
			desc = codes_desc(N, COLS, 0);
			for (int i = 0; i < N; i++) {
				double centre = mode == QS_MODE_CENTRED ? i % COLS * 3 - 96 : 0;
				double spread = mode == QS_MODE_PEAKS ? 40 : 8;
				int peak = mode == QS_MODE_PEAKS && i % 32 == 7;
				f->values[i] =
				    peak ? 127 : (uint8_t)(int)(centre + fmax(-120, fmin(120, rng_normal(&r) * spread)));
			}
			break;
		case QS_MODE_RANKS:
			fill_weights(&r, f->values, QS_BF16, N, COLS, 0);
			ref_quantize(f->values, QS_BF16, N, COLS, 0, f->codes, f->row_scales);
			desc = refine_desc(f, QS_BF16, N, COLS, 0);
			break;
		case QS_MODE_DELTA:
			fill_values(&r, f->values, QS_BF16, N, GAUSSIAN);
			for (int i = 0; i < N; i++)
				put16(f->codes + 2 * i, get16(f->values + 2 * i) + rng_below(&r, 3));
			desc = delta_desc(f, QS_BF16, QS_BF16, N);
			break;
		case QS_MODE_RECODED:
			desc = codes_desc(N, COLS, 0);
			for (int i = 0; i < N; i++) {
				int code = (int)rng_below(&r, 201) - 100;
				f->values[i] = (uint8_t)code;
				f->codes[i] = (uint8_t)(int)nearbyint(code / 16.0);
			}
			put_scale(f->row_scales, QS_F32, 0, 16);
			put_scale(f->row_scales, QS_F32, 1, 1);
			set_scales(&desc, QS_RULE_DIVIDE, f->row_scales + 4, QS_F32, 1);
			desc.grid = desc.coarse_grid;
			set_scales(&desc, QS_RULE_DIVIDE, f->row_scales, QS_F32, 1);
			desc.coarse = f->codes;
			break;
		case QS_MODE_RECORDS:
			desc = plain_desc(QS_BYTES, N, 16);
			for (int i = 0; i < N; i++)
				f->values[i] = (uint8_t)(37 * (i % 16) + (int)rng_below(&r, 3));
			break;
		case QS_MODE_FOLDED:
			desc = codes_desc(N, N, 0);
			for (int i = 0; i < N; i++)
				f->values[i] = (uint8_t)(int)(rng_normal(&r) * (i >> 10 & 1 ? 3 : 30));
			break;
		case QS_MODE_COLUMNS:
			desc = plain_desc(QS_F32, N, COLS);
			fill_sines(f->values, QS_F32, N, COLS);
			break;
		default:
			fail_msg("no values for mode %u", mode);
		}
		round_trip(f, &desc, f->values);
		assert_int_equal(f->coded[0], mode);
	}
}

/* Tables of sines, in every type of float and shape, come back, and take much less than their planes. */
static void test_columns(void **state)
{
	fixture *f = *state;
	rng r = {41};
	static const uint32_t dtypes[] = {QS_F16, QS_BF16, QS_F32};
	static const uint64_t cols[] = {1, 2, 3, 64, 255, 1000};
	static const size_t rows[] = {1, 2, 15, 16, 17, 200};
	unsigned seen = 0;
	for (int d = 0; d < 3; d++) {
		for (size_t c = 0; c < sizeof cols / sizeof *cols; c++)
			for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
				qs_chunk_desc desc = plain_desc(dtypes[d], rows[k] * cols[c], cols[c]);
				desc.first_elem = 3 * cols[c];
				fill_sines(f->values, dtypes[d], rows[k] * cols[c], cols[c]);
				size_t size = round_trip(f, &desc, f->values);
				if (rows[k] == 200 && cols[c] >= 64) {
					seen += f->coded[0] == QS_MODE_COLUMNS;
					assert_true(size < 3 * decoded_size(&desc) / 4);
				}
				/* The chunk does not begin or end with a row. */
				desc.n_elems -= desc.n_elems > 1;
				round_trip(f, &desc, f->values);
			}
		sample *s = new_sample("columns", plain_desc(dtypes[d], 512, 16));
		fill_sines(s->values, dtypes[d], 512, 16);
		encode_sample(f, s, QS_MODE_COLUMNS);
		damage_sample(f, s);
		s->desc.first_elem = 1;
		assert_int_equal(decode_chunk(f, &s->desc, s->coded, s->size, 0), QSTORE_CORRUPT);
		free(s);
	}
	assert_true(seen > 4);
	/* Other types have no such chunks, and weights are not worth trying. */
	uint8_t coded[] = {QS_MODE_COLUMNS, 1, 0, 1, 0, 1, 0, 1, 0};
	qs_chunk_desc desc = plain_desc(QS_I32, 8, 2);
	assert_int_equal(decode_chunk(f, &desc, coded, sizeof coded, 0), QSTORE_CORRUPT);
	desc.dtype = QS_F32;
	assert_int_equal(decode_chunk(f, &desc, coded, sizeof coded, 0), QSTORE_OK);
	desc = plain_desc(QS_BF16, 64 * 64, 64);
	fill_weights(&r, f->values, QS_BF16, 64 * 64, 64, 0);
	round_trip(f, &desc, f->values);
	assert_int_equal(f->coded[0], QS_MODE_PLANES);
}

/* zstd is tried on all of a chunk, not only where its middle shows repetition. */
static void test_far_repetition(void **state)
{
	fixture *f = *state;
	rng r = {42};
	enum { COLS = 64, ROWS = 2000, SAME = 1500 };
	qs_chunk_desc desc = codes_desc(COLS * ROWS, COLS, 0);
	for (size_t i = 0; i < COLS * ROWS; i++)
		f->values[i] =
		    i < COLS * SAME ? (uint8_t)(int)fmax(-127, fmin(127, rng_normal(&r) * 35)) : f->values[i % COLS];
	assert_true(round_trip(f, &desc, f->values) < 76 * decoded_size(&desc) / 100);
	assert_int_equal(f->coded[0], QS_MODE_ZSTD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_all_patterns),  cmocka_unit_test(test_every_dtype),
	    cmocka_unit_test(test_large_plain),   cmocka_unit_test(test_usage),
	    cmocka_unit_test(test_damage_raw),    cmocka_unit_test(test_damage_zstd),
	    cmocka_unit_test(test_damage_planes), cmocka_unit_test(test_each_mode_is_chosen),
	    cmocka_unit_test(test_columns),       cmocka_unit_test(test_far_repetition),
	};
	return cmocka_run_group_tests(tests, chunk_set_up, chunk_tear_down);
}

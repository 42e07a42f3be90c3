/* Chunks: everything that is encoded comes back, nothing grows beyond the bound, and no damage reads or
 * writes out of bounds. */
#include "codec_help.h"

#include <math.h>

#include "core/cells.h"
#include "core/planes.h"
#include "core/ranks.h"
#include "encode/encode.h"
#include "encode/ranks_encode.h"

enum { FULL = 1 << 18, BOUND = QS_CHUNK_SIZE_MAX + 64, MODES = QS_MODE_COUNT };

typedef struct fixture {
	qs_encoder *encoder;
	guarded src, dst, coarse, scales;
	uint8_t *work[2]; /* of different content: results must not depend on it */
	uint8_t *values, *codes, *row_scales, *coded, *again;
	size_t work_size;
	unsigned seen[MODES];
} fixture;

static int set_up(void **state)
{
	fixture *f = calloc(1, sizeof *f);
	f->encoder = qs_encoder_create();
	assert_non_null(f->encoder);
	guarded_create(&f->src, BOUND);
	guarded_create(&f->dst, BOUND);
	guarded_create(&f->coarse, BOUND);
	guarded_create(&f->scales, 4 * BOUND);
	f->work_size = qs_chunk_workspace_size();
	for (int k = 0; k < 2; k++) {
		f->work[k] = malloc(f->work_size);
		memset(f->work[k], k ? 0xff : 0, f->work_size);
		qs_chunk_workspace_init(f->work[k]);
	}
	f->values = malloc(QS_CHUNK_SIZE_MAX);
	f->codes = malloc(QS_CHUNK_SIZE_MAX);
	f->row_scales = malloc(4 * QS_CHUNK_SIZE_MAX);
	f->coded = malloc(BOUND);
	f->again = malloc(BOUND);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	fixture *f = *state;
	qs_encoder_destroy(f->encoder);
	guarded_destroy(&f->src);
	guarded_destroy(&f->dst);
	guarded_destroy(&f->coarse);
	guarded_destroy(&f->scales);
	for (int k = 0; k < 2; k++)
		free(f->work[k]);
	free(f->values);
	free(f->codes);
	free(f->row_scales);
	free(f->coded);
	free(f->again);
	free(f);
	return 0;
}

static size_t decoded_size(const qs_chunk_desc *desc)
{
	return (size_t)desc->n_elems * qs_dtype_size(desc->dtype);
}

/* Decodes with all that is read or written ending at guard pages; the result is before dst's page. */
static qstore_status decode(fixture *f, const qs_chunk_desc *desc, const uint8_t *src, size_t src_size,
                            int which)
{
	qs_chunk_desc d = *desc;
	if (d.kind == QS_KIND_REFINE) {
		d.coarse = guarded_copy(&f->coarse, desc->coarse, desc->n_elems);
		d.coarse_grid.scales =
		    guarded_copy(&f->scales, desc->coarse_grid.scales, desc->coarse_grid.scales_size);
	} else if (d.kind == QS_KIND_DELTA) {
		d.coarse = guarded_copy(&f->coarse, desc->coarse, (size_t)d.n_elems * qs_dtype_size(d.coarse_dtype));
	}
	size_t n = decoded_size(desc);
	return qs_chunk_decode(&d, guarded_copy(&f->src, src, src_size), src_size, guarded_place(&f->dst, n), n,
	                       f->work[which], f->work_size);
}

static const uint8_t *decoded(const fixture *f, const qs_chunk_desc *desc)
{
	return f->dst.end - decoded_size(desc);
}

/* The coded size; the chunk is in f->coded. */
static size_t round_trip(fixture *f, const qs_chunk_desc *desc, const uint8_t *values)
{
	size_t n = decoded_size(desc), bound = qs_chunk_bound(n), size = 0, size_again = 0;
	qs_chunk_stats stats;
	uint8_t *dst = guarded_place(&f->dst, bound);
	assert_true(bound <= QS_CHUNK_CODED_MAX);
	assert_int_equal(qs_chunk_encode(f->encoder, desc, values, n, dst, bound, &size, &stats), QSTORE_OK);
	assert_true(size >= 1 && size <= bound);
	assert_int_equal(stats.mode, dst[0]);
	assert_true(stats.mode < MODES);
	f->seen[stats.mode]++;
	memcpy(f->coded, dst, size);
	/* The same again, whatever was encoded before. */
	assert_int_equal(qs_chunk_encode(f->encoder, desc, values, n, f->again, bound, &size_again, NULL),
	                 QSTORE_OK);
	assert_int_equal(size, size_again);
	assert_memory_equal(f->again, f->coded, size);
	if (n)
		memset(guarded_place(&f->dst, n), 0xee, n);
	assert_int_equal(decode(f, desc, f->coded, size, 0), QSTORE_OK);
	if (n && memcmp(decoded(f, desc), values, n))
		for (size_t i = 0; i < n; i++)
			if (decoded(f, desc)[i] != values[i])
				fail_msg("mode %u: byte %zu of %zu is %02x for %02x", stats.mode, i, n, decoded(f, desc)[i],
				         values[i]);
	return size;
}

/* ---- Data
 * ----------------------------------------------------------------------------------------------------------
 */

enum style { RANDOM, CONSTANT, SPARSE, CLEAN, GAUSSIAN, SKEWED, TEXT, STYLES };

static void put_float(uint8_t *dst, uint32_t dtype, double v)
{
	float single = (float)v;
	switch (dtype) {
	case QS_F16:
	case QS_BF16:
		put16(dst, ref_pattern(v, dtype));
		break;
	case QS_F32:
		memcpy(dst, &single, 4);
		break;
	case QS_F64:
		memcpy(dst, &v, 8);
		break;
	default:
		memset(dst, (int)(v * 1000) & 255, qs_dtype_size(dtype));
		break;
	}
}

static void fill(rng *r, uint8_t *dst, uint32_t dtype, size_t n, enum style style)
{
	size_t size = qs_dtype_size(dtype);
	int is_float = dtype == QS_F16 || dtype == QS_BF16 || dtype == QS_F32 || dtype == QS_F64;
	if (style == RANDOM) {
		rng_bytes(r, dst, n * size);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		uint8_t *p = dst + i * size;
		double v = rng_normal(r) * 0.02;
		switch (style) {
		case CONSTANT:
			memset(p, 0x3c, size);
			continue;
		case SPARSE:
			v = rng_below(r, 20) ? 0 : v;
			break;
		case CLEAN:
			v = nearbyint(v * 256) / 256;
			break;
		case SKEWED:
			v *= rng_below(r, 50) ? 0.01 : 100;
			break;
		case TEXT:
			memcpy(p, "the quick brown fox, the lazy dog. " + i % 27, size);
			continue;
		default:
			break;
		}
		if (is_float)
			put_float(p, dtype, v);
		else
			for (size_t b = 0; b < size; b++)
				p[b] = b ? 0 : (uint8_t)(int)(v * 1500);
	}
}

static qs_chunk_desc plain(uint32_t dtype, size_t n, uint64_t cols)
{
	return (qs_chunk_desc){.kind = QS_KIND_PLAIN, .dtype = dtype, .n_elems = (uint32_t)n, .cols = cols};
}

static qs_chunk_desc codes_desc(size_t n, uint64_t cols, uint64_t first_elem)
{
	return (qs_chunk_desc){.kind = QS_KIND_CODES,
	                       .dtype = QS_I8,
	                       .n_elems = (uint32_t)n,
	                       .cols = cols,
	                       .first_elem = first_elem};
}

/* The grid of a chunk's I8 codes: a scale a row, from the chunk's first row on, or one for all. */
static void set_scales(qs_chunk_desc *d, uint32_t rule, const uint8_t *scales, uint32_t dtype, int one)
{
	d->coarse_dtype = QS_I8;
	d->coarse_grid = (qs_grid){.rule = rule,
	                           .codes_dtype = QS_I8,
	                           .group = d->cols > UINT32_MAX ? UINT32_MAX : (uint32_t)d->cols,
	                           .row_stride = one ? 0 : 1,
	                           .scales = scales,
	                           .scales_size = qs_dtype_size(dtype) * (one ? 1 : (size_t)qs_chunk_rows(d)),
	                           .scales_dtype = dtype,
	                           .scales_first = one ? 0 : d->first_elem / d->cols};
}

static qs_chunk_desc refine(const fixture *f, uint32_t dtype, size_t n, uint64_t cols, uint64_t first_elem)
{
	qs_chunk_desc d = {.kind = QS_KIND_REFINE,
	                   .dtype = dtype,
	                   .n_elems = (uint32_t)n,
	                   .cols = cols,
	                   .first_elem = first_elem,
	                   .coarse = f->codes};
	set_scales(&d, QS_RULE_LLM_INT8, f->row_scales, QS_F32, 0);
	return d;
}

static qs_chunk_desc delta(const fixture *f, uint32_t dtype, uint32_t coarse_dtype, size_t n)
{
	return (qs_chunk_desc){.kind = QS_KIND_DELTA,
	                       .dtype = dtype,
	                       .n_elems = (uint32_t)n,
	                       .cols = 1,
	                       .coarse = f->codes,
	                       .coarse_dtype = coarse_dtype};
}

static void put_scale(uint8_t *scales, uint32_t dtype, size_t row, float scale)
{
	if (dtype == QS_F32)
		memcpy(scales + 4 * row, &scale, 4);
	else
		put16(scales + 2 * row, ref_pattern((double)scale, dtype));
}

static float get_scale(const uint8_t *scales, uint32_t dtype, size_t row)
{
	float scale;
	if (dtype != QS_F32)
		return (float)ref_value(get16(scales + 2 * row), dtype);
	memcpy(&scale, scales + 4 * row, 4);
	return scale;
}

/* ---- Round trips
 * --------------------------------------------------------------------------------------------------- */

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
		qs_chunk_desc desc = plain(dtype, 65536, 256);
		round_trip(f, &desc, f->values);
		for (size_t s = 0; s < sizeof scales / sizeof *scales; s++) {
			for (int row = 0; row < 256; row++)
				memcpy(f->row_scales + 4 * row, &scales[s], 4);
			desc = refine(f, dtype, 65536, 256, 0);
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

/* All patterns that are in the cells of a row, coded as ranks, with some exceptions of every kind among them.
 */
static void test_all_patterns_as_ranks(void **state)
{
	fixture *f = *state;
	static const float scales[] = {1, 448, 65504, 0x1p-8f, 0x1.3p-9f, 0x1p-14f, 0x1.8p-20f, 0x1p-24f};
	for (int d = 0; d < 2; d++)
		for (size_t s = 0; s < sizeof scales / sizeof *scales; s++) {
			uint32_t dtype = d ? QS_BF16 : QS_F16, n = 0, outside = 0;
			for (uint32_t v = 0; v < 65536; v++) {
				int inside = ref_half_of(v & 0x7fff, dtype) <= (double)scales[s];
				if (!inside && (v % 16 || outside++ > 2000))
					continue;
				put16(f->values + 2 * n, v);
				f->codes[n++] = (uint8_t)ref_code(v, dtype, scales[s]);
			}
			for (uint32_t row = 0; row <= n / 999; row++)
				memcpy(f->row_scales + 4 * row, &scales[s], 4);
			unsigned before = f->seen[QS_MODE_RANKS];
			qs_chunk_desc desc = refine(f, dtype, n, 999, 0);
			round_trip(f, &desc, f->values);
			if (s < 3)
				assert_int_equal(f->seen[QS_MODE_RANKS], before + 1);
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
				fill(&r, f->values, dtype, sizes[s], (enum style)style);
				qs_chunk_desc desc = plain(dtype, sizes[s], 1 + sizes[s]);
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
		fill(&r, f->values, dtype, max, (enum style)style);
		qs_chunk_desc desc = plain(dtype, max, 1);
		round_trip(f, &desc, f->values);
	}
	for (int off = -1; off <= 1; off++) {
		fill(&r, f->values, QS_BF16, FULL + 1, GAUSSIAN);
		qs_chunk_desc desc = plain(QS_BF16, (size_t)(FULL + off), 4096);
		size_t size = round_trip(f, &desc, f->values);
		assert_true(size < 2 * FULL * 3 / 4);
	}
}

/* Rows of different spread, and some of zeros. */
static void fill_weights(rng *r, uint8_t *values, uint32_t dtype, size_t n, uint64_t cols,
                         uint64_t first_elem)
{
	double spread = 0.02;
	for (size_t i = 0; i < n; i++) {
		if (i == 0 || (first_elem + i) % cols == 0)
			spread = rng_below(r, 16) ? 0.002 * (1 + rng_below(r, 64)) : 0;
		put16(values + 2 * i, ref_pattern(rng_normal(r) * spread * (rng_below(r, 500) ? 1 : 8), dtype));
	}
}

static void test_matrices(void **state)
{
	fixture *f = *state;
	rng r = {4};
	static const uint64_t cols[] = {1,  7,  8,   31,  32,   33,     63,
	                                64, 65, 129, 288, 4096, 300000, (uint64_t)1 << 40};
	static const size_t sizes[] = {1, 7, 8, 9, 31, 32, 33, 127, 128, 129, 255, 256, 257, 2000, 33000};
	for (size_t c = 0; c < sizeof cols / sizeof *cols; c++)
		for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
			for (int d = 0; d < 2; d++) {
				uint32_t dtype = d ? QS_BF16 : QS_F16;
				/* Also chunks that start in mid row, far into the object. */
				uint64_t first = s % 2 ? cols[c] * 3 + cols[c] / 3 : 0;
				if (sizes[s] > 2000 && cols[c] > 4096 && d)
					continue;
				fill_weights(&r, f->values, dtype, sizes[s], cols[c], first);
				ref_quantize(f->values, dtype, sizes[s], cols[c], first, f->codes, f->row_scales);
				qs_chunk_desc desc = codes_desc(sizes[s], cols[c], first);
				uint8_t *copy = malloc(sizes[s]);
				memcpy(copy, f->codes, sizes[s]);
				round_trip(f, &desc, copy);
				free(copy);
				desc = refine(f, dtype, sizes[s], cols[c], first);
				round_trip(f, &desc, f->values);
			}
}

static void test_large_matrices(void **state)
{
	fixture *f = *state;
	rng r = {5};
	static const uint64_t cols[] = {1, 33, 1024, 288, 300000, 262144, 262143};
	for (size_t c = 0; c < sizeof cols / sizeof *cols; c++) {
		size_t n = FULL + 1 - c % 3;
		uint64_t first = cols[c] > FULL ? cols[c] * 2 + 1000 : 0;
		uint32_t dtype = c % 2 ? QS_F16 : QS_BF16;
		fill_weights(&r, f->values, dtype, n, cols[c], first);
		ref_quantize(f->values, dtype, n, cols[c], first, f->codes, f->row_scales);
		qs_chunk_desc desc = codes_desc(n, cols[c], first);
		memcpy(f->values + QS_CHUNK_SIZE_MAX / 2 + 8, f->codes, n);
		round_trip(f, &desc, f->values + QS_CHUNK_SIZE_MAX / 2 + 8);
		desc = refine(f, dtype, n, cols[c], first);
		unsigned before = f->seen[QS_MODE_RANKS];
		size_t size = round_trip(f, &desc, f->values);
		if (cols[c] > 1) {
			assert_int_equal(f->seen[QS_MODE_RANKS], before + 1);
			assert_true(size < n * 3 / 2);
		}
	}
	/* The largest chunks of all: 2^19 values of 16 bits, 2^20 codes in rows of different spread. */
	fill_weights(&r, f->values, QS_BF16, QS_CHUNK_SIZE_MAX / 2, 512, 0);
	ref_quantize(f->values, QS_BF16, QS_CHUNK_SIZE_MAX / 2, 512, 0, f->codes, f->row_scales);
	qs_chunk_desc desc = refine(f, QS_BF16, QS_CHUNK_SIZE_MAX / 2, 512, 0);
	round_trip(f, &desc, f->values);
	for (size_t i = 0; i < QS_CHUNK_SIZE_MAX; i++)
		f->values[i] = (uint8_t)(int)(rng_normal(&r) * (i / 512 % 2 ? 2 : 35));
	desc = codes_desc(QS_CHUNK_SIZE_MAX, 512, 0);
	size_t size = round_trip(f, &desc, f->values);
	assert_true(size < QS_CHUNK_SIZE_MAX * 7 / 8);
}

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
	assert_true(seen > 40);
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
	/* As large as chunks are, and with classes of rows: some are all zero. */
	qs_chunk_desc desc = codes_desc(QS_CHUNK_SIZE_MAX, 4096, 0);
	fill_peaks(&r, f->values, &desc, 32, PEAKS_EITHER, 1);
	round_trip(f, &desc, f->values);
	assert_int_equal(f->coded[0], QS_MODE_PEAKS);
	desc.n_elems /= 4;
	for (int row = 0; row < 64; row += 25)
		memset(f->values + 4096 * row, 0, 4096);
	round_trip(f, &desc, f->values);
	assert_int_equal(f->coded[0], QS_MODE_PEAKS);
	/* Too many other extremes for a list. */
	for (int group = 0; group < 8192; group += 10)
		memset(f->values + 32 * group, group / 10 % 100, 32);
	round_trip(f, &desc, f->values);
	assert_int_not_equal(f->coded[0], QS_MODE_PEAKS);
}

/* Scales of every kind in one chunk, and codes that have nothing to do with the values. */
static void test_odd_scales(void **state)
{
	fixture *f = *state;
	rng r = {6};
	static const float odd[] = {0,         -0.0f,     -1,        NAN,      INFINITY,
	                            -INFINITY, 0x1p-149f, 0x1p-126f, 0x1p-24f, 0x1p-25f,
	                            0x1p-15f,  65504,     65505,     1e30f,    0.5f};
	for (int round = 0; round < 40; round++) {
		size_t cols = 5 + rng_below(&r, 100), n = cols * (1 + rng_below(&r, 40)) - rng_below(&r, 4);
		uint32_t dtype = round & 1 ? QS_BF16 : QS_F16;
		fill_weights(&r, f->values, dtype, n, cols, 0);
		ref_quantize(f->values, dtype, n, cols, 0, f->codes, f->row_scales);
		for (size_t row = 0; row * cols < n; row++)
			if (rng_below(&r, 3) == 0)
				memcpy(f->row_scales + 4 * row, &odd[rng_below(&r, sizeof odd / sizeof *odd)], 4);
		for (size_t i = 0; i < n; i += 1 + rng_below(&r, 40)) {
			static const uint8_t extreme[] = {0, 0x80, 0x7f, 0x81, 1, 0xff};
			static const uint16_t special[] = {0,      0x8000, 0x7f80, 0xff80, 0x7fc0, 0x7c00,
			                                   0xfc00, 1,      0x8001, 0x7fff, 0xffff};
			f->codes[i] = extreme[rng_below(&r, sizeof extreme)];
			if (round % 4 > 1)
				put16(f->values + 2 * i, special[rng_below(&r, sizeof special / sizeof *special)]);
		}
		qs_chunk_desc desc = refine(f, dtype, n, cols, 0);
		round_trip(f, &desc, f->values);
		/* The same, as ranks even where the encoder had chosen planes. */
		qs_ranks_scratch *scratch = malloc(sizeof *scratch);
		qs_writer w = {f->coded, f->coded + BOUND, 0};
		uint32_t n_exceptions;
		qs_ranks_encode(&w, &desc, f->values, 0, scratch, &n_exceptions);
		free(scratch);
		if (w.bad)
			continue;
		assert_int_equal(decode(f, &desc, f->coded, (size_t)(w.at - f->coded), 1), QSTORE_OK);
		assert_memory_equal(decoded(f, &desc), f->values, 2 * n);
	}
}

/* Codes and scales as a rule makes them, scales of any dtype, one a row or one for all. */
static void quantize(rng *r, const qs_chunk_desc *desc, const uint8_t *values, uint8_t *codes,
                     uint8_t *scales)
{
	uint32_t rule = desc->coarse_grid.rule, scales_dtype = desc->coarse_grid.scales_dtype;
	int one = desc->coarse_grid.row_stride == 0;
	double factor = rng_below(r, 4) ? 1 : 0.99;
	for (uint32_t row = 0; row < qs_chunk_rows(desc); row++) {
		qs_row_part part = qs_chunk_row(desc, row);
		double absmax = 0.001;
		for (uint32_t i = one ? 0 : part.begin; i < (one ? desc->n_elems : part.begin + part.count); i++)
			absmax = fmax(absmax, fabs(ref_value(get16(values + 2 * i), desc->dtype)));
		if (rule != QS_RULE_LLM_INT8 && rule != QS_RULE_Q8_0)
			absmax /= 127;
		/* Rounded up or down by the scales' dtype: the largest may get a code of 127 or 128, which is
		 * clamped. */
		put_scale(scales, scales_dtype, one ? 0 : row, (float)(absmax * factor));
		float scale = get_scale(scales, scales_dtype, one ? 0 : row);
		for (uint32_t i = part.begin; i < part.begin + part.count; i++)
			codes[i] = (uint8_t)ref_rule_code(rule, get16(values + 2 * i), desc->dtype, scale);
	}
}

static void test_rules(void **state)
{
	fixture *f = *state;
	rng r = {8};
	static const uint32_t scale_dtypes[] = {QS_F32, QS_F16, QS_BF16};
	for (uint32_t rule = QS_RULE_LLM_INT8; rule <= QS_RULE_DIVIDE_HALF; rule++)
		for (int both = 0; both < 12; both++) {
			size_t cols = both % 5 ? 130 : 33, n = both % 2 ? 700 : both == 2 ? 33000 : 3000;
			uint64_t first = both % 3 ? 0 : cols * 7 + 5;
			qs_chunk_desc desc = refine(f, both & 1 ? QS_BF16 : QS_F16, n, cols, first);
			set_scales(&desc, rule, f->row_scales, scale_dtypes[both % 3], both >= 6);
			fill_weights(&r, f->values, desc.dtype, n, cols, first);
			quantize(&r, &desc, f->values, f->codes, f->row_scales);
			size_t size = round_trip(f, &desc, f->values);
			assert_int_equal(f->coded[0], QS_MODE_RANKS);
			/* Codes that were made of other values: most are next to the rule's own. */
			for (size_t i = 0; i < n; i++) {
				int code = (int8_t)f->codes[i] + (int)rng_below(&r, 3) - 1;
				f->codes[i] = (uint8_t)(code < -127 ? -127 : code > 127 ? 127 : code);
			}
			size_t more = round_trip(f, &desc, f->values);
			assert_int_equal(f->coded[0], QS_MODE_RANKS);
			assert_int_equal(f->coded[1] & QS_RANKS_RESIDUAL, QS_RANKS_RESIDUAL);
			assert_true(more < size + n / 4 + 200); /* log2(3) bits each */
		}
}

/* Factors that were not divided exactly: a shift for each row makes up for it. */
static void test_shifts(void **state)
{
	fixture *f = *state;
	rng r = {81};
	unsigned n_shifted = 0;
	for (uint32_t rule = QS_RULE_LLM_INT8; rule <= QS_RULE_DIVIDE; rule++)
		for (int round = 0; round < 2; round++) {
			size_t n = 100000, cols = 500;
			uint64_t first = round ? cols * 7 + 5 : 0;
			qs_chunk_desc desc = refine(f, QS_BF16, n, cols, first);
			set_scales(&desc, rule, f->row_scales, QS_F16, 0);
			fill_weights(&r, f->values, desc.dtype, n, cols, first);
			quantize(&r, &desc, f->values, f->codes, f->row_scales);
			size_t exact = round_trip(f, &desc, f->values);
			assert_int_equal(f->coded[1] & QS_RANKS_SHIFTS, 0);
			uint32_t changed = 0;
			for (uint32_t row = 0; row < qs_chunk_rows(&desc); row++) {
				qs_row_part part = qs_chunk_row(&desc, row);
				float scale = get_scale(f->row_scales, QS_F16, row);
				int shift = (int)rng_below(&r, 5) - 2;
				for (uint32_t i = part.begin; i < part.begin + part.count; i++) {
					uint8_t code =
					    (uint8_t)ref_shifted_code(rule, get16(f->values + 2 * i), desc.dtype, scale, shift);
					changed += code != f->codes[i];
					f->codes[i] = code;
				}
			}
			qs_chunk_stats stats;
			size_t size = round_trip(f, &desc, f->values), bound = qs_chunk_bound(2 * n);
			assert_int_equal(
			    qs_chunk_encode(f->encoder, &desc, f->values, 2 * n, f->again, bound, &size, &stats),
			    QSTORE_OK);
			print_message("rule %u: %u codes changed, %zu bytes for %zu, %u exceptions\n", rule, changed,
			              size, exact, stats.n_exceptions);
			/* How many values are next to a border is chance. */
			n_shifted += changed > 40;
			assert_true(changed <= 40 || (f->coded[1] & QS_RANKS_SHIFTS && !stats.n_exceptions));
			assert_true(size < exact + 4 * changed + 20);
		}
	assert_true(n_shifted >= 3);
}

/* Writes the chunk as ranks, with or without shared borders, to f->again; the size. */
static size_t encode_ranks(fixture *f, const qs_chunk_desc *desc, int shared, uint32_t *outside)
{
	qs_ranks_scratch *scratch = malloc(sizeof *scratch);
	qs_writer w = {f->again, f->again + BOUND, 0};
	qs_ranks_encode(&w, desc, f->values, shared, scratch, outside);
	free(scratch);
	assert_false(w.bad);
	return (size_t)(w.at - f->again);
}

/* Codes of finer values than those beside them: what is rounded from both sides of a border is in both cells.
 * Rows whose scale is of no use have no cells, whatever their codes; the table in their place, with the same
 * mantissa, has. */
static void test_shared_borders(void **state)
{
	fixture *f = *state;
	rng r = {82};
	for (uint32_t rule = QS_RULE_LLM_INT8; rule <= QS_RULE_DIVIDE; rule++)
		for (int one = 0; one < 2; one++) {
			size_t n = 60000, cols = 500;
			qs_chunk_desc desc = refine(f, QS_BF16, n, cols, one ? 0 : cols * 7 + 5);
			set_scales(&desc, rule, f->row_scales, QS_F32, one);
			for (uint32_t row = 0; row < qs_chunk_rows(&desc); row++) {
				qs_row_part part = qs_chunk_row(&desc, row);
				float scale = rule == QS_RULE_LLM_INT8 ? 0x1p-3f : 0x1p-11f;
				put_scale(f->row_scales, QS_F32, one ? 0 : row, !one && row % 30 == 29 ? 0 : scale);
				for (uint32_t i = part.begin; i < part.begin + part.count; i++) {
					double value = (double)(float)(rng_normal(&r) * 0.014);
					put16(f->values + 2 * i, ref_pattern(value, QS_BF16));
					value = rule == QS_RULE_LLM_INT8 ? ref_cast_half(value) : value;
					double code = ref_round(rule, ref_scaled(rule, QS_BF16, fabs(value), scale, 0));
					f->codes[i] = (uint8_t)(int)(value < 0 ? -code : code);
				}
			}
			size_t size = round_trip(f, &desc, f->values);
			assert_int_equal(f->coded[0], QS_MODE_RANKS);
			assert_int_equal(f->coded[1] & (QS_RANKS_SHARED | QS_RANKS_RESIDUAL), QS_RANKS_SHARED);
			uint32_t outside[2];
			size_t plain = encode_ranks(f, &desc, 0, &outside[0]),
			       shared = encode_ranks(f, &desc, 1, &outside[1]);
			print_message("rule %u: %zu bytes for %zu, %u outside for %u\n", rule, shared, plain, outside[1],
			              outside[0]);
			assert_int_equal(shared, size);
			assert_true(shared < plain - n / 100 && outside[1] < outside[0] / 100);
		}
}

/* Scales of 16 bits have their values; FP16's infinities and NaN are no numbers here either. */
static void test_scales(void **state)
{
	fixture *f = *state;
	qs_chunk_desc desc = refine(f, QS_BF16, 8, 4, 0);
	for (uint32_t dtype = QS_F16; dtype <= QS_BF16; dtype++)
		for (uint32_t pattern = 0; pattern < 65536; pattern++) {
			qs_step step;
			put16(f->row_scales + 2, pattern);
			set_scales(&desc, QS_RULE_DIVIDE, f->row_scales, dtype, 0);
			qs_grid_step(&desc.coarse_grid, 1, &step);
			double value = ref_value(pattern, dtype), scale = (double)step.scale;
			if (isfinite(value) ? scale != value : isfinite(scale))
				fail_msg("dtype %u, pattern %x: %a for %a", dtype, pattern, scale, value);
		}
}

static void fill_coarse(rng *r, uint8_t *coarse, uint32_t coarse_dtype, const uint8_t *values, uint32_t dtype,
                        size_t n)
{
	for (size_t i = 0; i < n; i++) {
		float v = 0;
		if (dtype == QS_F32)
			memcpy(&v, values + 4 * i, 4);
		else
			v = (float)ref_value(get16(values + 2 * i), dtype);
		if (coarse_dtype == QS_F32)
			memcpy(coarse + 4 * i, values + 4 * i, 4), coarse[4 * i] ^= (uint8_t)rng_below(r, 4);
		else if (coarse_dtype == dtype)
			put16(coarse + 2 * i, get16(values + 2 * i) + rng_below(r, 3));
		else if (isfinite(v) && fabsf(v) < 65504)
			put16(coarse + 2 * i, ref_pattern((double)v, coarse_dtype));
		else
			put16(coarse + 2 * i, (uint32_t)rng_next(r) & 0xffff);
	}
}

static void test_delta(void **state)
{
	fixture *f = *state;
	rng r = {9};
	static const size_t sizes[] = {0, 1, 7, 8, 31, 33, 255, 256, 257, 1000, FULL};
	for (size_t p = 0; p < 5; p++) {
		uint32_t fine = delta_pairs[p].fine, coarse = delta_pairs[p].coarse;
		for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
			for (int style = 0; style < STYLES; style++) {
				if (sizes[s] == FULL && style != GAUSSIAN)
					continue;
				qs_chunk_desc desc = delta(f, fine, coarse, sizes[s]);
				fill(&r, f->values, fine, sizes[s], (enum style)style);
				fill_coarse(&r, f->codes, coarse, f->values, fine, sizes[s]);
				size_t size = round_trip(f, &desc, f->values);
				if (style == GAUSSIAN && sizes[s] >= 256) {
					assert_int_equal(f->coded[0], QS_MODE_DELTA);
					assert_true(size < 9 * decoded_size(&desc) / 10);
				}
				rng_bytes(&r, f->codes, sizes[s] * qs_dtype_size(coarse)); /* nothing to do with each other */
				round_trip(f, &desc, f->values);
			}
		/* All patterns of 16 bits, as coarse values and as fine ones. */
		for (uint32_t v = 0; v < 65536; v++) {
			if (coarse != QS_F32)
				put16(f->codes + 2 * v, v);
			else
				put16(f->codes + 4 * v, (uint32_t)rng_next(&r)), put16(f->codes + 4 * v + 2, v);
			if (fine != QS_F32)
				put16(f->values + 2 * v, v ^ rng_below(&r, 4));
			else if (coarse == QS_F16) {
				float near = (float)ref_value(v, QS_F16);
				memcpy(f->values + 4 * v, &near, 4);
				f->values[4 * v] ^= (uint8_t)rng_below(&r, 16);
			} else
				put16(f->values + 4 * v, rng_below(&r, 9)), put16(f->values + 4 * v + 2, v);
		}
		qs_chunk_desc desc = delta(f, fine, coarse, 65536);
		round_trip(f, &desc, f->values);
		assert_int_equal(f->coded[0], QS_MODE_DELTA);
	}
}

/* Differences by hand: the next single above and below, across zero, and over the end. */
static void test_delta_by_hand(void **state)
{
	fixture *f = *state;
	static const struct {
		uint32_t coarse, u, fine;
	} cases[] = {
	    {0x3f80, 0, 0x3f800000},       {0x3f80, 2, 0x3f800001}, {0x3f80, 1, 0x3f7fffff},
	    {0xbf80, 2, 0xbf7fffff},       {0x0000, 2, 0x00000001}, {0x0000, 1, 0x80000000},
	    {0x0000, 3, 0x80000001},       {0x8000, 2, 0x00000000}, {0x7fff, 0x1fffe, 0x7fffffff},
	    {0x7fff, 0x20000, 0xffffffff},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		uint8_t coded[9] = {QS_MODE_DELTA}, expected[4];
		for (int b = 0; b < 4; b++) { /* raw blocks, the highest byte first */
			coded[2 * b + 2] = (uint8_t)(cases[i].u >> (24 - 8 * b));
			expected[b] = (uint8_t)(cases[i].fine >> (8 * b));
		}
		put16(f->codes, cases[i].coarse);
		qs_chunk_desc desc = delta(f, QS_F32, QS_BF16, 1);
		assert_int_equal(decode(f, &desc, coded, 9, 0), QSTORE_OK);
		assert_memory_equal(decoded(f, &desc), expected, 4);
	}
}

/* Every zero is written as such: a code 0 holds +0, −0 and what is small. */
static void test_rows_of_zeros(void **state)
{
	fixture *f = *state;
	for (size_t n = 1; n < 300; n += 37) {
		memset(f->codes, 0, n);
		memset(f->row_scales, 0, 4 * n);
		for (size_t i = 0; i < n; i++)
			put16(f->values + 2 * i, i % 3 ? 0 : 0x8000);
		qs_chunk_desc desc = refine(f, QS_BF16, n, 10, 0);
		round_trip(f, &desc, f->values);
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
	qs_chunk_desc d = plain(QS_U8, 1, 1);
	assert_int_equal(qs_chunk_decode(&d, one, 2, out, 1, f->work[0], f->work_size), QSTORE_OK);
	assert_int_equal(qs_chunk_decode(&d, one, 2, out, 2, f->work[0], f->work_size), QSTORE_USAGE);
	assert_int_equal(qs_chunk_decode(&d, one, 2, out, 1, f->work[0], f->work_size - 1), QSTORE_MEMORY);
	assert_int_equal(qs_chunk_decode(&d, one, 2, out, 1, NULL, 0), QSTORE_MEMORY);
	d = refine(f, QS_BF16, 8, 8, 0);
	d.coarse = NULL;
	assert_int_equal(qs_chunk_decode(&d, one, 2, out, 16, f->work[0], f->work_size), QSTORE_USAGE);
	d = refine(f, QS_BF16, 8, 8, 0);
	d.coarse_grid.scales = NULL;
	assert_int_equal(qs_chunk_decode(&d, one, 2, out, 16, f->work[0], f->work_size), QSTORE_USAGE);
	d = refine(f, QS_BF16, 12, 4, 0); /* touches three rows, has two scales */
	d.coarse_grid.scales_size = 8;
	assert_int_equal(qs_chunk_decode(&d, one, 2, out, 24, f->work[0], f->work_size), QSTORE_USAGE);
	for (uint32_t dtype = 0; dtype < QS_DTYPE_COUNT; dtype++)
		for (uint32_t coarse = 0; coarse < QS_DTYPE_COUNT; coarse++) {
			int good = 0;
			for (size_t p = 0; p < 5; p++)
				good |= delta_pairs[p].fine == dtype && delta_pairs[p].coarse == coarse;
			d = delta(f, dtype, coarse, 1);
			uint8_t zeros[9] = {QS_MODE_RAW};
			size_t size = qs_dtype_size(dtype);
			qstore_status status = qs_chunk_decode(&d, zeros, size + 1, out, size, f->work[0], f->work_size);
			assert_int_equal(status, good ? QSTORE_OK : QSTORE_USAGE);
			d = refine(f, QS_BF16, 1, 1, 0);
			d.coarse_grid.scales_dtype = dtype;
			d.coarse_grid.scales_size = 8;
			status = qs_chunk_decode(&d, zeros, 3, out, 2, f->work[0], f->work_size);
			good = dtype == QS_F32 || dtype == QS_F16 || dtype == QS_BF16;
			assert_int_equal(status, good ? QSTORE_OK : QSTORE_USAGE);
		}
	d = delta(f, QS_F32, QS_BF16, 1);
	d.coarse = NULL;
	assert_int_equal(qs_chunk_decode(&d, one, 2, out, 4, f->work[0], f->work_size), QSTORE_USAGE);
	/* A mode that the kind or the dtype does not have. */
	for (unsigned mode = 0; mode < 256; mode++)
		for (int kind = 0; kind < 4; kind++) {
			d = kind == 0   ? plain(QS_BF16, 1, 1)
			    : kind == 1 ? codes_desc(2, 1, 0)
			    : kind == 2 ? refine(f, QS_BF16, 1, 1, 0)
			                : delta(f, QS_BF16, QS_BF16, 1);
			uint8_t src[3] = {(uint8_t)mode, 0, 0};
			qstore_status status = qs_chunk_decode(&d, src, 3, out, 2, f->work[0], f->work_size);
			assert_int_equal(status, mode == QS_MODE_RAW ? QSTORE_OK : QSTORE_CORRUPT);
		}
}

/* ---- Damage
 * -------------------------------------------------------------------------------------------------------- */

/* A chunk with all that describes it. */
typedef struct sample {
	const char *name;
	qs_chunk_desc desc;
	uint8_t values[4096], codes[2048], scales[4096], coded[8192];
	size_t size;
} sample;

static void encode_sample(fixture *f, sample *s, unsigned mode)
{
	if (s->desc.kind >= QS_KIND_REFINE)
		s->desc.coarse = s->codes;
	if (s->desc.kind == QS_KIND_REFINE && !s->desc.coarse_grid.rule)
		set_scales(&s->desc, QS_RULE_LLM_INT8, s->scales, QS_F32, 0);
	s->size = round_trip(f, &s->desc, s->values);
	memcpy(s->coded, f->coded, s->size);
	if (s->coded[0] != mode)
		fail_msg("%s: mode %u for %u", s->name, s->coded[0], mode);
}

/* FORMAT.md's lanes backwards, in plain arithmetic: the codec's own encoder uses 64 lanes only for large
 * chunks. No zero codes. */
static void encode_wide(sample *s)
{
	uint64_t states[QS_LANES_MAX];
	static uint8_t units[8192];
	uint8_t *at = units + sizeof units, *out = s->coded;
	static qs_cell_cache cache;
	qs_cell_cache_init(&cache, s->desc.dtype, s->desc.coarse_grid.rule, QS_I8);
	for (int lane = 0; lane < QS_LANES_MAX; lane++)
		states[lane] = 65536;
	for (uint32_t i = s->desc.n_elems; i-- > 0;) {
		qs_step step;
		qs_grid_step(&s->desc.coarse_grid, (s->desc.first_elem + i) / s->desc.cols, &step);
		qs_cell cell = qs_cell_cache_get(&cache, &step, 255)->cells[s->codes[i]];
		uint32_t n = QS_CELL_COUNT(cell), rank = get16(s->values + 2 * i) - QS_CELL_FIRST(cell);
		assert_true(rank < n);
		uint64_t f = 65536 / n > 65535 ? 65535 : 65536 / n, x = states[i % QS_LANES_MAX];
		if (x >= f << 16) {
			at -= 2;
			put16(at, x & 0xffff);
			x >>= 16;
		}
		states[i % QS_LANES_MAX] = x / f * 65536 + rank * f + x % f;
	}
	*out++ = QS_MODE_RANKS;
	*out++ = QS_RANKS_WIDE;
	*out++ = 0; /* no element of index 0 */
	/* States: how many bits each has below its first, less 16, and these bits. */
	uint8_t *bits = out + QS_LANES_MAX / 2;
	memset(out, 0, 4 * QS_LANES_MAX);
	uint32_t n_bits = 0;
	for (int lane = 0; lane < QS_LANES_MAX; lane++) {
		uint32_t below = 0;
		for (; states[lane] >> (below + 1); below++, n_bits++)
			bits[n_bits / 8] |= (uint8_t)((states[lane] >> below & 1) << n_bits % 8);
		out[lane / 2] |= (uint8_t)((below - 16) << lane % 2 * 4);
	}
	out = bits + (n_bits + 7) / 8;
	memcpy(out, at, (size_t)(units + sizeof units - at));
	s->size = (size_t)(out - s->coded) + (size_t)(units + sizeof units - at);
}

static int expect_ok_or_corrupt(fixture *f, const sample *s, const uint8_t *src, size_t size)
{
	static uint8_t first[8192];
	size_t n = decoded_size(&s->desc);
	qstore_status a = decode(f, &s->desc, src, size, 0);
	memcpy(first, decoded(f, &s->desc), n);
	memset(guarded_place(&f->dst, n), 0xee, n);
	qstore_status b = decode(f, &s->desc, src, size, 1);
	if (a != b || (a != QSTORE_OK && a != QSTORE_CORRUPT))
		fail_msg("%s: status %d, then %d", s->name, a, b);
	if (a == QSTORE_OK)
		assert_memory_equal(first, decoded(f, &s->desc),
		                    n); /* all of dst written, nothing of work's old content */
	return a == QSTORE_OK;
}

static void damage(fixture *f, sample *s)
{
	static uint8_t copy[8192 + 1];
	rng r = {s->size};
	assert_true(expect_ok_or_corrupt(f, s, s->coded, s->size));
	write_chunk_seed(&s->desc, s->coded, s->size, s->name);
	for (size_t n = 0; n < s->size; n++)
		if (decode(f, &s->desc, s->coded, n, (int)(n & 1)) != QSTORE_CORRUPT)
			fail_msg("%s: truncated to %zu of %zu bytes is accepted", s->name, n, s->size);
	memcpy(copy, s->coded, s->size);
	for (int more = 0; more < 256; more++) {
		copy[s->size] = (uint8_t)more;
		if (decode(f, &s->desc, copy, s->size + 1, more & 1) != QSTORE_CORRUPT)
			fail_msg("%s: a byte more, %02x, is accepted", s->name, more);
	}
	size_t silent = 0;
	for (size_t bit = 0; bit < 8 * s->size; bit++) {
		copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
		silent += (size_t)expect_ok_or_corrupt(f, s, copy, s->size);
		copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	for (int round = 0; round < 500; round++) {
		memcpy(copy, s->coded, s->size);
		for (int times = 1 + (int)rng_below(&r, 5); times; times--)
			copy[1 + rng_below(&r, (uint32_t)(round % 2 || s->size < 32 ? s->size - 1 : 31))] =
			    (uint8_t)rng_next(&r);
		(void)expect_ok_or_corrupt(f, s, copy, s->size);
	}
	/* Codes or scales that are not those of the encoder: an archive whose base was damaged. */
	if (s->desc.kind == QS_KIND_REFINE) {
		sample *other = malloc(sizeof *other);
		for (int round = 0; round < 200; round++) {
			memcpy(other, s, sizeof *other);
			other->desc.coarse = other->codes;
			other->desc.coarse_grid.scales = other->scales;
			if (round % 2)
				other->codes[rng_below(&r, s->desc.n_elems)] = (uint8_t)(rng_next(&r) & rng_next(&r));
			else
				other->scales[rng_below(&r, (uint32_t)s->desc.coarse_grid.scales_size)] ^=
				    (uint8_t)(1 << rng_below(&r, 8));
			if (round % 10 == 0)
				rng_bytes(&r, other->codes, s->desc.n_elems);
			(void)expect_ok_or_corrupt(f, other, other->coded, other->size);
		}
		free(other);
	}
	print_message("%s: %zu bytes, %zu of %zu flipped bits show only in the checksum\n", s->name, s->size,
	              silent, 8 * s->size);
}

static sample *new_sample(const char *name, qs_chunk_desc desc)
{
	sample *s = calloc(1, sizeof *s);
	s->name = name;
	s->desc = desc;
	return s;
}

static void test_damage_raw(void **state)
{
	rng r = {20};
	sample *s = new_sample("raw", plain(QS_U8, 50, 1));
	rng_bytes(&r, s->values, 50);
	encode_sample(*state, s, QS_MODE_RAW);
	damage(*state, s);
	free(s);
}

static void test_damage_zstd(void **state)
{
	rng r = {21};
	sample *s = new_sample("zstd", plain(QS_BYTES, 600, 1));
	fill(&r, s->values, QS_BYTES, 600, TEXT);
	for (int i = 0; i < 20; i++)
		s->values[rng_below(&r, 600)] = (uint8_t)rng_next(&r);
	encode_sample(*state, s, QS_MODE_ZSTD);
	damage(*state, s);
	free(s);
}

static void test_damage_planes(void **state)
{
	rng r = {22};
	static const uint32_t dtypes[] = {QS_BF16, QS_F16, QS_F32, QS_F64, QS_F8_E4M3};
	static const size_t sizes[] = {500, 300, 280, 140, 700};
	for (size_t i = 0; i < 5; i++) {
		sample *s = new_sample("planes", plain(dtypes[i], sizes[i], 1));
		fill(&r, s->values, dtypes[i], sizes[i], GAUSSIAN);
		encode_sample(*state, s, QS_MODE_PLANES);
		damage(*state, s);
		free(s);
	}
}

static void test_damage_peaks(void **state)
{
	rng r = {30};
	for (enum peak_kind kind = 0; kind < PEAKS_KINDS; kind++) {
		sample *s = new_sample(kind == PEAKS_BOTH ? "two peaks" : "peaks", codes_desc(2048, 64, 32));
		s->desc.dtype = kind == PEAKS_EITHER ? QS_I8 : QS_U8;
		fill_peaks(&r, s->values, &s->desc, 32, kind, 0);
		encode_sample(*state, s, QS_MODE_PEAKS);
		damage(*state, s);
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
	assert_int_equal(decode(*state, &desc, good, size, 0), QSTORE_OK);
	for (int i = 0; i < 96; i++) {
		int peak = i == 31                         ? 100
		           : i == 32 + 3                   ? 101
		           : i == 64 + 7                   ? 100
		           : i == 30 || i == 36 || i == 64 ? 102
		                                           : 0;
		assert_int_equal(decoded(*state, &desc)[i], peak ? peak : i == 95 ? 16 : 15);
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
			other = plain(QS_BOOL, 96, 32);
		assert_int_equal(decode(*state, &other, bad, size, 0), i == 6 ? QSTORE_OK : QSTORE_CORRUPT);
	}
	for (unsigned head = 0; head < 256; head++) {
		good[1] = (uint8_t)head;
		assert_int_equal(decode(*state, &desc, good, size, 0), head == 0x15 ? QSTORE_OK : QSTORE_CORRUPT);
	}
}

static void test_damage_codes(void **state)
{
	rng r = {23};
	sample *s = new_sample("codes", codes_desc(700, 70, 35));
	for (size_t i = 0; i < 700; i++)
		s->values[i] = (uint8_t)(int)(rng_normal(&r) * 12);
	encode_sample(*state, s, QS_MODE_CODES);
	damage(*state, s);
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
	assert_int_equal(decode(*state, &s->desc, s->coded, s->size, 0), QSTORE_OK);
	const uint8_t *out = decoded(*state, &s->desc);
	assert_memory_equal(out, s->coded + 9, 5);
	assert_memory_equal(out + 5, p, 10);
	for (int i = 15; i < 35; i++)
		assert_int_equal(out[i], 9);
	assert_memory_equal(out + 35, s->coded + 14, 10);
	damage(*state, s);
	for (uint8_t bad = 3; bad; bad++) { /* a class that is not below K */
		s->coded[6] = bad;
		assert_int_equal(decode(*state, &s->desc, s->coded, s->size, 0), QSTORE_CORRUPT);
	}
	free(s);
	/* Distances to centres of columns, and of rows. */
	for (int by_row = 0; by_row < 2; by_row++) {
		s = new_sample(by_row ? "centred rows" : "centred columns", codes_desc(1600, 40, 20));
		s->desc.dtype = QS_U8;
		fill_centred(&r, s->values, &s->desc, by_row);
		encode_sample(*state, s, QS_MODE_CENTRED);
		assert_int_equal(s->coded[1], by_row);
		damage(*state, s);
		for (unsigned flags = 2; flags < 256; flags++) {
			s->coded[1] = (uint8_t)flags;
			assert_int_equal(decode(*state, &s->desc, s->coded, s->size, 0), QSTORE_CORRUPT);
		}
		free(s);
	}
	/* 65,536 centres and no more: all 3, and one distance of 4. */
	for (uint64_t cols = QS_CENTRES_MAX; cols <= QS_CENTRES_MAX + 1; cols++) {
		static const uint8_t coded[] = {QS_MODE_CENTRED, 0, 1, 3, 1, 1, 4};
		qs_chunk_desc desc = codes_desc(9, cols, cols - 5);
		assert_int_equal(decode(*state, &desc, coded, sizeof coded, 0),
		                 cols == QS_CENTRES_MAX ? QSTORE_OK : QSTORE_CORRUPT);
		for (int i = 0; i < 9 && cols == QS_CENTRES_MAX; i++)
			assert_int_equal(decoded(*state, &desc)[i], 7);
	}
	for (unsigned k = 0; k < 256; k++) {
		uint8_t coded[40] = {QS_MODE_CODES, (uint8_t)k, 1, 0};
		size_t size = k == 1 ? 4 : 4 + 2 * k;
		for (unsigned c = 0; k > 1 && c < k && 5 + 2 * c < sizeof coded; c++)
			coded[4 + 2 * c] = 1;
		qs_chunk_desc desc = codes_desc(5, 2, 0);
		assert_int_equal(decode(*state, &desc, coded, size < sizeof coded ? size : sizeof coded, 0),
		                 k >= 1 && k <= QS_CLASSES_MAX ? QSTORE_OK : QSTORE_CORRUPT);
	}
}

/* Shifts by hand, of all runs the same: none, and then another that moves no border of these values. */
static void add_shifts(fixture *f, sample *s)
{
	static const uint8_t block[] = {1, 0}; /* constant */
	assert_int_equal(s->coded[1], 0);
	memmove(s->coded + 2 + sizeof block, s->coded + 2, s->size - 2);
	s->coded[1] = QS_RANKS_SHIFTS;
	memcpy(s->coded + 2, block, sizeof block);
	s->size += sizeof block;
	assert_int_equal(decode(f, &s->desc, s->coded, s->size, 0), QSTORE_OK);
	assert_memory_equal(decoded(f, &s->desc), s->values, 2 * s->desc.n_elems);
	qs_chunk_desc desc = s->desc;
	desc.coarse_grid.rule = QS_RULE_Q4_0; /* takes no shifts */
	desc.coarse_grid.scales_dtype = QS_F16;
	desc.coarse_grid.group = 32;
	assert_int_equal(decode(f, &desc, s->coded, s->size, 0), QSTORE_CORRUPT);
}

/* The same with shared borders, which exact codes do not need. */
static void make_shared(fixture *f, sample *s)
{
	uint32_t outside;
	memcpy(f->values, s->values, 2 * s->desc.n_elems);
	s->size = encode_ranks(f, &s->desc, 1, &outside);
	memcpy(s->coded, f->again, s->size);
	assert_int_equal(decode(f, &s->desc, s->coded, s->size, 0), QSTORE_OK);
	assert_memory_equal(decoded(f, &s->desc), s->values, 2 * s->desc.n_elems);
	assert_int_equal(s->coded[1] & QS_RANKS_SHARED, QS_RANKS_SHARED);
	for (uint8_t other = QS_RANKS_RESIDUAL; other <= QS_RANKS_SHIFTS; other *= 2) {
		s->coded[1] |= other;
		assert_int_equal(decode(f, &s->desc, s->coded, s->size, 0), QSTORE_CORRUPT);
		s->coded[1] &= (uint8_t)~other;
	}
}

static void test_damage_ranks(void **state)
{
	rng r = {24};
	for (int round = 0; round < 6; round++) {
		static const char *const names[] = {"ranks",
		                                    "ranks with exceptions",
		                                    "ranks in F16",
		                                    "ranks of odd rows",
		                                    "ranks with shifts",
		                                    "ranks with shared borders"};
		uint32_t dtype = round == 2 ? QS_F16 : QS_BF16;
		size_t n = 600, cols = round == 3 ? 13 : 64;
		sample *s = new_sample(names[round], (qs_chunk_desc){.kind = QS_KIND_REFINE,
		                                                     .dtype = dtype,
		                                                     .n_elems = (uint32_t)n,
		                                                     .cols = cols,
		                                                     .first_elem = cols * 5 + 7});
		fill_weights(&r, s->values, dtype, n, cols, s->desc.first_elem);
		ref_quantize(s->values, dtype, n, cols, s->desc.first_elem, s->codes, s->scales);
		if (round == 1)
			for (int i = 0; i < 25; i++)
				put16(s->values + 2 * rng_below(&r, 600), (uint32_t)rng_next(&r) & 0xffff);
		encode_sample(*state, s, QS_MODE_RANKS);
		assert_int_equal(s->coded[1] & QS_RANKS_WIDE, 0);
		if (round == 4)
			add_shifts(*state, s);
		if (round == 5)
			make_shared(*state, s);
		damage(*state, s);
		free(s);
	}
}

static void test_damage_wide_ranks(void **state)
{
	rng r = {25};
	for (size_t cols = 33; cols < 300; cols += 127) {
		size_t n = 650;
		sample *s = new_sample("wide ranks", (qs_chunk_desc){.kind = QS_KIND_REFINE,
		                                                     .dtype = QS_BF16,
		                                                     .n_elems = (uint32_t)n,
		                                                     .cols = cols,
		                                                     .first_elem = cols + 3});
		fill_weights(&r, s->values, QS_BF16, n, cols, s->desc.first_elem);
		for (size_t i = 0; i < n; i++) /* no zero codes: this encoder has none */
			put16(s->values + 2 * i, (get16(s->values + 2 * i) & 0x807f) | 0x3c80);
		ref_quantize(s->values, QS_BF16, n, cols, s->desc.first_elem, s->codes, s->scales);
		s->desc.coarse = s->codes;
		set_scales(&s->desc, QS_RULE_LLM_INT8, s->scales, QS_F32, 0);
		encode_wide(s);
		assert_int_equal(decode(*state, &s->desc, s->coded, s->size, 0), QSTORE_OK);
		assert_memory_equal(decoded(*state, &s->desc), s->values, 2 * n);
		damage(*state, s);
		free(s);
	}
}

static void test_damage_rules(void **state)
{
	rng r = {26};
	static const char *const names[] = {"llm.int8", "multiply", "divide", "divide in bf16"};
	static const uint32_t scale_dtypes[] = {QS_BF16, QS_F16, QS_F32, QS_BF16};
	for (uint32_t k = 0; k < 8; k++) {
		char name[40];
		uint32_t n = k < 4 ? 240 : 200;
		snprintf(name, sizeof name, "%s%s", names[k % 4], k < 4 ? "" : " residual");
		sample *s = new_sample(name, (qs_chunk_desc){.kind = QS_KIND_REFINE,
		                                             .dtype = k % 3 ? QS_BF16 : QS_F16,
		                                             .n_elems = n,
		                                             .cols = 100,
		                                             .first_elem = 130});
		set_scales(&s->desc, 1 + k % 4, s->scales, scale_dtypes[k % 4], k % 2 != 0);
		fill_weights(&r, s->values, s->desc.dtype, n, 100, 130);
		quantize(&r, &s->desc, s->values, s->codes, s->scales);
		for (uint32_t i = 0; k >= 4 && i < n; i++)
			if ((int8_t)s->codes[i] < 126)
				s->codes[i] = (uint8_t)(s->codes[i] + rng_below(&r, 3));
		put16(s->values + 20, 0xff80); /* an exception */
		encode_sample(*state, s, QS_MODE_RANKS);
		assert_int_equal(s->coded[1] & QS_RANKS_RESIDUAL, k < 4 ? 0 : QS_RANKS_RESIDUAL);
		damage(*state, s);
		free(s);
	}
}

static void test_damage_delta(void **state)
{
	rng r = {27};
	static const char *const names[] = {"delta f32 bf16", "delta f32 f16", "delta f32 f32", "delta bf16",
	                                    "delta f16"};
	for (int k = 0; k < 10; k++) {
		uint32_t fine = delta_pairs[k % 5].fine, coarse = delta_pairs[k % 5].coarse;
		uint32_t n = k < 5 ? 400 : 255 / qs_dtype_size(coarse);
		sample *s = new_sample(
		    names[k % 5],
		    (qs_chunk_desc){
		        .kind = QS_KIND_DELTA, .dtype = fine, .n_elems = n, .cols = 1, .coarse_dtype = coarse});
		fill(&r, s->values, fine, n, GAUSSIAN);
		fill_coarse(&r, s->codes, coarse, s->values, fine, n);
		encode_sample(*state, s, QS_MODE_DELTA);
		damage(*state, s);
		free(s);
	}
}

/* Exceptions' list by hand: out of range, too many, running backwards, longer than its size. */
static void test_bad_exceptions(void **state)
{
	fixture *f = *state;
	static const struct {
		uint8_t list[16];
		size_t size;
		int good;
	} cases[] = {
	    {{1, 0, 0xaa, 0xbb}, 4, 1},
	    {{1, 7, 0xaa, 0xbb}, 4, 1},
	    {{0}, 1, 1},
	    {{2, 6, 1, 2, 0, 3, 4}, 7, 1},
	    {{1, 8, 0xaa, 0xbb}, 4, 0}, /* beyond the chunk */
	    {{2, 7, 1, 2, 0, 3, 4}, 7, 0},
	    {{9, 0, 1, 2}, 4, 0},                                    /* more than elements */
	    {{1, 0, 1}, 3, 0},                                       /* cut */
	    {{1, 0, 1, 2, 3}, 5, 0},                                 /* too long */
	    {{2, 3, 1, 2, 0xff, 0xff, 0xff, 0xff, 15, 3, 4}, 11, 0}, /* a distance of 2^32, which must not wrap */
	    {{2, 3, 1, 2, 0xfe, 0xff, 0xff, 0xff, 15, 3, 4}, 11, 0}, /* of 2^32 − 1: backwards in 32 bits */
	    {{1, 0xff, 0xff, 0xff, 0xff, 31, 3, 4}, 8, 0},           /* varint over 32 bits */
	    {{1, 0x80, 0x80, 0x80, 0x80, 0x80, 3, 4}, 8, 0},
	};
	/* Of a symmetric rule whose codes are so far from all values that each cell is empty. */
	float tiny = 0x1p-118f;
	memset(f->codes, 1, 8);
	memcpy(f->row_scales, &tiny, 4);
	qs_chunk_desc desc = refine(f, QS_F16, 8, 8, 0);
	set_scales(&desc, QS_RULE_DIVIDE, f->row_scales, QS_F32, 0);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		uint8_t coded[80] = {QS_MODE_RANKS, QS_RANKS_EXCEPTIONS, (uint8_t)cases[i].size}, *p = coded + 3;
		memcpy(p, cases[i].list, cases[i].size);
		p += cases[i].size;
		*p++ = 0; /* no element of index 0 */
		/* Eight lanes, each of one value: the state before 65536 → F × (65536 / 65536) + 65536 mod F … 65536
		 * again. They have no bits above their lower 16. */
		memset(p, 0, 4);
		p += 4;
		for (int lane = 0; lane < 8; lane++, p += 2)
			put16(p, 1);
		qstore_status status = decode(f, &desc, coded, (size_t)(p - coded), 0);
		if (status != (cases[i].good ? QSTORE_OK : QSTORE_CORRUPT))
			fail_msg("list %zu: status %d", i, status);
	}
}

static void test_all_modes_seen(void **state)
{
	const fixture *f = *state;
	assert_true(f->seen[QS_MODE_CENTRED] > 0 && f->seen[QS_MODE_PEAKS] > 0);
	for (int mode = 0; mode < QS_MODE_RECODED; mode++)
		assert_true(f->seen[mode] > 0);
	print_message("chunks raw %u, zstd %u, planes %u, codes %u, ranks %u, delta %u, centred %u, peaks %u\n",
	              f->seen[0], f->seen[1], f->seen[2], f->seen[3], f->seen[4], f->seen[5],
	              f->seen[QS_MODE_CENTRED], f->seen[QS_MODE_PEAKS]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_all_patterns),   cmocka_unit_test(test_all_patterns_as_ranks),
	    cmocka_unit_test(test_every_dtype),    cmocka_unit_test(test_large_plain),
	    cmocka_unit_test(test_matrices),       cmocka_unit_test(test_large_matrices),
	    cmocka_unit_test(test_centred),        cmocka_unit_test(test_peaks),
	    cmocka_unit_test(test_odd_scales),     cmocka_unit_test(test_rows_of_zeros),
	    cmocka_unit_test(test_rules),          cmocka_unit_test(test_shifts),
	    cmocka_unit_test(test_shared_borders), cmocka_unit_test(test_scales),
	    cmocka_unit_test(test_delta),          cmocka_unit_test(test_delta_by_hand),
	    cmocka_unit_test(test_usage),          cmocka_unit_test(test_damage_raw),
	    cmocka_unit_test(test_damage_zstd),    cmocka_unit_test(test_damage_planes),
	    cmocka_unit_test(test_damage_codes),   cmocka_unit_test(test_damage_peaks),
	    cmocka_unit_test(test_damage_ranks),   cmocka_unit_test(test_damage_wide_ranks),
	    cmocka_unit_test(test_damage_rules),   cmocka_unit_test(test_damage_delta),
	    cmocka_unit_test(test_bad_exceptions), cmocka_unit_test(test_all_modes_seen),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}

#include "chunk_help.h"

#include <math.h>

#include "effort.h"

int chunk_set_up(void **state)
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

int chunk_tear_down(void **state)
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

size_t decoded_size(const qs_chunk_desc *desc)
{
	return (size_t)desc->n_elems * qs_dtype_size(desc->dtype);
}

qstore_status decode_chunk(fixture *f, const qs_chunk_desc *desc, const uint8_t *src, size_t src_size,
                           int which)
{
	qs_chunk_desc d = *desc;
	if (d.coarse) {
		size_t coarse_size = d.kind == QS_KIND_DELTA ? qs_dtype_size(d.coarse_dtype) : 1;
		d.coarse = guarded_copy(&f->coarse, desc->coarse, (size_t)d.n_elems * coarse_size);
	}
	if (d.coarse_grid.scales)
		d.coarse_grid.scales =
		    guarded_copy(&f->scales, desc->coarse_grid.scales, desc->coarse_grid.scales_size);
	size_t n = decoded_size(desc);
	return qs_chunk_decode(&d, guarded_copy(&f->src, src, src_size), src_size, guarded_place(&f->dst, n), n,
	                       f->work[which], f->work_size);
}

const uint8_t *decoded_chunk(const fixture *f, const qs_chunk_desc *desc)
{
	return f->dst.end - decoded_size(desc);
}

size_t round_trip(fixture *f, const qs_chunk_desc *desc, const uint8_t *values)
{
	size_t n = decoded_size(desc), bound = qs_chunk_bound(n), size = 0, size_again = 0;
	qs_chunk_stats stats;
	uint8_t *dst = guarded_place(&f->dst, bound);
	assert_true(bound <= QS_CHUNK_CODED_MAX);
	assert_int_equal(qs_chunk_encode(f->encoder, desc, values, n, dst, bound, &size, &stats), QSTORE_OK);
	assert_true(size >= 1 && size <= bound);
	assert_int_equal(stats.mode, dst[0]);
	assert_true(stats.mode < QS_MODE_COUNT);
	memcpy(f->coded, dst, size);
	/* Encoding again gives the same bytes, whatever was encoded before. */
	assert_int_equal(qs_chunk_encode(f->encoder, desc, values, n, f->again, bound, &size_again, NULL),
	                 QSTORE_OK);
	assert_int_equal(size, size_again);
	assert_memory_equal(f->again, f->coded, size);
	if (n)
		memset(guarded_place(&f->dst, n), 0xee, n);
	assert_int_equal(decode_chunk(f, desc, f->coded, size, 0), QSTORE_OK);
	if (n && memcmp(decoded_chunk(f, desc), values, n) != 0)
		for (size_t i = 0; i < n; i++)
			if (decoded_chunk(f, desc)[i] != values[i])
				fail_msg("mode %u: byte %zu of %zu is %02x for %02x", stats.mode, i, n,
				         decoded_chunk(f, desc)[i], values[i]);
	return size;
}

void put_float(uint8_t *dst, uint32_t dtype, double v)
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

void fill_values(rng *r, uint8_t *dst, uint32_t dtype, size_t n, enum style style)
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

qs_chunk_desc plain_desc(uint32_t dtype, size_t n, uint64_t cols)
{
	return (qs_chunk_desc){.kind = QS_KIND_PLAIN, .dtype = dtype, .n_elems = (uint32_t)n, .cols = cols};
}

qs_chunk_desc codes_desc(size_t n, uint64_t cols, uint64_t first_elem)
{
	return (qs_chunk_desc){.kind = QS_KIND_CODES,
	                       .dtype = QS_I8,
	                       .n_elems = (uint32_t)n,
	                       .cols = cols,
	                       .first_elem = first_elem};
}

void set_scales(qs_chunk_desc *d, uint32_t rule, const uint8_t *scales, uint32_t dtype, int one)
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

qs_chunk_desc refine_desc(const fixture *f, uint32_t dtype, size_t n, uint64_t cols, uint64_t first_elem)
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

qs_chunk_desc delta_desc(const fixture *f, uint32_t dtype, uint32_t coarse_dtype, size_t n)
{
	return (qs_chunk_desc){.kind = QS_KIND_DELTA,
	                       .dtype = dtype,
	                       .n_elems = (uint32_t)n,
	                       .cols = 1,
	                       .coarse = f->codes,
	                       .coarse_dtype = coarse_dtype};
}

void put_scale(uint8_t *scales, uint32_t dtype, size_t row, float scale)
{
	if (dtype == QS_F32)
		memcpy(scales + 4 * row, &scale, 4);
	else
		put16(scales + 2 * row, ref_pattern((double)scale, dtype));
}

float get_scale(const uint8_t *scales, uint32_t dtype, size_t row)
{
	float scale;
	if (dtype != QS_F32)
		return (float)ref_value(get16(scales + 2 * row), dtype);
	memcpy(&scale, scales + 4 * row, 4);
	return scale;
}

void fill_sines(uint8_t *values, uint32_t dtype, size_t n, uint64_t cols)
{
	for (size_t i = 0; i < n; i++) {
		size_t column = i % cols;
		double slow = pow(1000, (double)column / (double)cols);
		float value = (float)(sin((double)(i / cols + 1) / slow) * (column & 1 ? -1 : 1));
		if (dtype == QS_F32)
			memcpy(values + 4 * i, &value, 4);
		else
			put16(values + 2 * i, ref_pattern((double)value, dtype));
	}
}

void fill_weights(rng *r, uint8_t *values, uint32_t dtype, size_t n, uint64_t cols, uint64_t first_elem)
{
	double spread = 0.02;
	for (size_t i = 0; i < n; i++) {
		if (i == 0 || (first_elem + i) % cols == 0)
			spread = rng_below(r, 16) ? 0.002 * (1 + rng_below(r, 64)) : 0;
		put16(values + 2 * i, ref_pattern(rng_normal(r) * spread * (rng_below(r, 500) ? 1 : 8), dtype));
	}
}

void quantize_rows(rng *r, const qs_chunk_desc *desc, const uint8_t *values, uint8_t *codes, uint8_t *scales)
{
	uint32_t rule = desc->coarse_grid.rule, scales_dtype = desc->coarse_grid.scales_dtype;
	int one = desc->coarse_grid.row_stride == 0;
	double factor = rng_below(r, 4) ? 1 : 0.99;
	for (uint32_t row = 0; row < qs_chunk_rows(desc); row++) {
		qs_row_slice slice = qs_chunk_row(desc, row);
		double absmax = 0.001;
		for (uint32_t i = one ? 0 : slice.begin; i < (one ? desc->n_elems : slice.begin + slice.count); i++)
			absmax = fmax(absmax, fabs(ref_value(get16(values + 2 * i), desc->dtype)));
		if (rule != QS_RULE_LLM_INT8 && rule != QS_RULE_Q8_0)
			absmax /= 127;
		/* Rounded up or down by the scales' dtype: the largest may get a code of 127 or 128, which is
		 * clamped. */
		put_scale(scales, scales_dtype, one ? 0 : row, (float)(absmax * factor));
		float scale = get_scale(scales, scales_dtype, one ? 0 : row);
		for (uint32_t i = slice.begin; i < slice.begin + slice.count; i++)
			codes[i] = (uint8_t)ref_rule_code(rule, get16(values + 2 * i), desc->dtype, scale);
	}
}

void encode_sample(fixture *f, sample *s, unsigned mode)
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

static int expect_ok_or_corrupt(fixture *f, const sample *s, const uint8_t *src, size_t size)
{
	static uint8_t first[8192];
	size_t n = decoded_size(&s->desc);
	qstore_status a = decode_chunk(f, &s->desc, src, size, 0);
	memcpy(first, decoded_chunk(f, &s->desc), n);
	memset(guarded_place(&f->dst, n), 0xee, n);
	qstore_status b = decode_chunk(f, &s->desc, src, size, 1);
	if (a != b || (a && a != QSTORE_CORRUPT && a != QSTORE_NEWER))
		fail_msg("%s: status %d, then %d", s->name, a, b);
	if (!a)
		assert_memory_equal(first, decoded_chunk(f, &s->desc),
		                    n); /* all of dst written, nothing of work's old content */
	return !a;
}

void damage_sample(fixture *f, sample *s)
{
	static uint8_t copy[8192 + 1];
	rng r = {s->size};
	assert_true(expect_ok_or_corrupt(f, s, s->coded, s->size));
	write_chunk_seed(&s->desc, s->coded, s->size, s->name);
	for (size_t n = 0; n < s->size; n++)
		if (decode_chunk(f, &s->desc, s->coded, n, (int)(n & 1)) != QSTORE_CORRUPT)
			fail_msg("%s: truncated to %zu of %zu bytes is accepted", s->name, n, s->size);
	memcpy(copy, s->coded, s->size);
	for (int more = 0; more < 256; more++) {
		copy[s->size] = (uint8_t)more;
		if (decode_chunk(f, &s->desc, copy, s->size + 1, more & 1) != QSTORE_CORRUPT)
			fail_msg("%s: a byte more, %02x, is accepted", s->name, more);
	}
	size_t silent = 0;
	for (size_t bit = 0; bit < 8 * s->size; bit++) {
		copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
		silent += (size_t)expect_ok_or_corrupt(f, s, copy, s->size);
		copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	for (unsigned round = 0; round < effort_of(500); round++) {
		memcpy(copy, s->coded, s->size);
		for (int times = 1 + (int)rng_below(&r, 5); times; times--)
			copy[1 + rng_below(&r, (uint32_t)(round % 2 || s->size < 32 ? s->size - 1 : 31))] =
			    (uint8_t)rng_next(&r);
		(void)expect_ok_or_corrupt(f, s, copy, s->size);
	}
	/* Codes or scales that are not those of the encoder: an archive whose base was damaged. */
	if (s->desc.kind == QS_KIND_REFINE) {
		sample *other = malloc(sizeof *other);
		for (unsigned round = 0; round < effort_of(200); round++) {
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

sample *new_sample(const char *name, qs_chunk_desc desc)
{
	sample *s = calloc(1, sizeof *s);
	s->name = name;
	s->desc = desc;
	return s;
}

#include "codec_help.h"

#include <math.h>
#include <sys/mman.h>
#include <unistd.h>

void guarded_create(guarded *g, size_t capacity)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), body = (capacity + page - 1) / page * page;
	g->map_size = body + page;
	g->map = mmap(NULL, g->map_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(g->map != MAP_FAILED);
	g->end = g->map + body;
	assert_int_equal(mprotect(g->end, page, PROT_NONE), 0);
}

void guarded_destroy(guarded *g)
{
	munmap(g->map, g->map_size);
}

uint8_t *guarded_place(const guarded *g, size_t n)
{
	assert_true(n <= (size_t)(g->end - g->map));
	return g->end - n;
}

uint8_t *guarded_copy(const guarded *g, const void *src, size_t n)
{
	uint8_t *p = guarded_place(g, n);
	if (n)
		memcpy(p, src, n);
	return p;
}

uint64_t rng_next(rng *r)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15u;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

uint32_t rng_below(rng *r, uint32_t n)
{
	return (uint32_t)((rng_next(r) >> 32) * n >> 32);
}

double rng_normal(rng *r)
{
	/* Twelve uniform numbers: near enough, and the same everywhere. */
	double sum = 0;
	for (int i = 0; i < 12; i++)
		sum += (double)(rng_next(r) >> 11) * 0x1p-53;
	return sum - 6;
}

void rng_bytes(rng *r, uint8_t *dst, size_t n)
{
	for (size_t i = 0; i < n; i++)
		dst[i] = (uint8_t)(rng_next(r) >> 56);
}

double ref_value(uint32_t bits, uint32_t dtype)
{
	int mantissa_bits = dtype == QS_BF16 ? 7 : 10, exponent_bits = 15 - mantissa_bits;
	int exponent = (int)(bits >> mantissa_bits) & ((1 << exponent_bits) - 1),
	    bias = (1 << (exponent_bits - 1)) - 1;
	double mantissa = bits & ((1u << mantissa_bits) - 1), sign = bits >> 15 & 1 ? -1.0 : 1.0;
	if (exponent == (1 << exponent_bits) - 1)
		return mantissa > 0 ? (double)NAN : sign * (double)INFINITY;
	if (!exponent)
		return sign * ldexp(mantissa, 1 - bias - mantissa_bits);
	return sign * ldexp(mantissa + ldexp(1, mantissa_bits), exponent - bias - mantissa_bits);
}

/* To a multiple of the spacing that a format with this many mantissa bits and this least exponent has at the
 * value. */
static double round_to(double value, int mantissa_bits, int least_exponent)
{
	int exponent;
	if (!isfinite(value) || value == 0)
		return value;
	frexp(value, &exponent); /* value in [0.5, 1) × 2^exponent */
	exponent = exponent - 1 < least_exponent ? least_exponent : exponent - 1;
	double spacing = ldexp(1, exponent - mantissa_bits);
	return nearbyint(value / spacing) * spacing;
}

double ref_cast_half(double value)
{
	double rounded = round_to(value, 10, -14);
	return fabs(rounded) >= 65536 ? copysign((double)INFINITY, value) : rounded;
}

double ref_round_half(double value, uint32_t dtype)
{
	return dtype == QS_F16 ? round_to(value, 10, -14) : round_to(value, 7, -126);
}

uint32_t ref_pattern(double value, uint32_t dtype)
{
	int mantissa_bits = dtype == QS_BF16 ? 7 : 10, least = dtype == QS_BF16 ? -126 : -14;
	double rounded = fabs(ref_round_half(value, dtype));
	uint32_t sign = signbit(value) ? 0x8000 : 0;
	if (rounded < ldexp(1, least))
		return sign | (uint32_t)ldexp(rounded, mantissa_bits - least);
	int exponent;
	double fraction = frexp(rounded, &exponent); /* [0.5, 1) */
	uint32_t mantissa = (uint32_t)ldexp(fraction, mantissa_bits + 1) - (1u << mantissa_bits);
	return sign | (uint32_t)(exponent - 1 - least + 1) << mantissa_bits | mantissa;
}

double ref_half_of(uint32_t magnitude, uint32_t dtype)
{
	return ref_cast_half(ref_value(magnitude, dtype));
}

double ref_scaled(uint32_t rule, uint32_t dtype, double value, float scale, int shift)
{
	/* A quotient or product of singles, found in double and then rounded, is the one that single precision
	 * gives. */
	float d = (float)((double)scale / 127.0);
	float inverse =
	    (float)((rule == QS_RULE_LLM_INT8 ? 127.0 : 1.0) / (double)(rule == QS_RULE_Q8_0 ? d : scale));
	float *factor = rule != QS_RULE_DIVIDE && rule != QS_RULE_DIVIDE_HALF ? &inverse : &scale;
	for (; shift; shift += shift > 0 ? -1 : 1)
		*factor = nextafterf(*factor, shift > 0 ? INFINITY : 0);
	if (factor == &inverse)
		return (double)(float)(value * (double)inverse);
	double quotient = (double)(float)(value / (double)scale);
	if (rule == QS_RULE_DIVIDE)
		return quotient;
	return ref_round_half(quotient, dtype);
}

double ref_round(uint32_t rule, double scaled)
{
	/* C's round is away from zero at a half, nearbyint to even. */
	return rule == QS_RULE_Q8_0 || rule == QS_RULE_Q8_0_D ? round(scaled) : nearbyint(scaled);
}

int ref_shifted_code(uint32_t rule, uint32_t pattern, uint32_t dtype, float scale, int shift)
{
	double value = ref_value(pattern & 0x7fff, dtype);
	double q = ref_round(
	    rule, ref_scaled(rule, dtype, rule == QS_RULE_LLM_INT8 ? ref_cast_half(value) : value, scale, shift));
	if (!(q > 0))
		return 0;
	int magnitude = q > 127 ? 127 : (int)q;
	return pattern & 0x8000 ? -magnitude : magnitude;
}

int ref_rule_code(uint32_t rule, uint32_t pattern, uint32_t dtype, float scale)
{
	return ref_shifted_code(rule, pattern, dtype, scale, 0);
}

int ref_code(uint32_t pattern, uint32_t dtype, float scale)
{
	return ref_rule_code(QS_RULE_LLM_INT8, pattern, dtype, scale);
}

void ref_quantize(const uint8_t *values, uint32_t dtype, size_t n, uint64_t cols, uint64_t first_elem,
                  uint8_t *codes, uint8_t *scales)
{
	size_t begin = 0, row = 0;
	while (begin < n) {
		uint64_t left = cols - (first_elem + begin) % cols;
		size_t end = left < n - begin ? begin + (size_t)left : n;
		double absmax = 0;
		for (size_t i = begin; i < end; i++) {
			double h = ref_half_of(get16(values + 2 * i) & 0x7fff, dtype);
			if (isfinite(h) && h > absmax)
				absmax = h;
		}
		float scale = (float)absmax;
		memcpy(scales + 4 * row++, &scale, 4);
		for (size_t i = begin; i < end; i++)
			codes[i] = (uint8_t)ref_code(get16(values + 2 * i), dtype, scale);
		begin = end;
	}
}

const delta_pair delta_pairs[DELTA_PAIRS] = {
    {QS_F32, QS_BF16}, {QS_F32, QS_F16},  {QS_F32, QS_F32},  {QS_BF16, QS_BF16},
    {QS_F16, QS_F16},  {QS_BF16, QS_F16}, {QS_F16, QS_BF16}, {QS_BF16, QS_F32},
    {QS_F16, QS_F32},  {QS_F64, QS_F32},  {QS_F64, QS_F64},  {QS_F64, QS_F16},
    {QS_F64, QS_BF16}, {QS_F32, QS_F64},  {QS_F16, QS_F64},  {QS_BF16, QS_F64}};

qs_cells moved_cells(qs_cell_table *table, uint16_t move)
{
	for (uint32_t i = 0; i < QS_CELL_TABLE; i++)
		table->cells[i] = qs_cells_at((qs_cells){.table = table, .move = (uint16_t)-move}, (uint8_t)i);
#if QS_HAVE_AVX512
	for (uint32_t i = 0; i < QS_CELL_FIELDS; i++)
		table->first[i] = (uint16_t)(table->first[i] - move);
#endif
	return (qs_cells){.table = table, .move = move, .is_small = (uint16_t)table->is_small};
}

void write_chunk_seed(const qs_chunk_desc *d, const uint8_t *coded, size_t size, const char *name)
{
	const char *folder = getenv("QSTORE_SEEDS");
	uint8_t seed[16384] = {(uint8_t)d->kind,
	                       (uint8_t)(d->kind == QS_KIND_CODES ? d->dtype == QS_U8 : d->dtype)},
	        *p = seed + 8;
	size_t n_coarse = d->n_elems * (d->kind == QS_KIND_DELTA ? qs_dtype_size(d->coarse_dtype) : 1);
	if (!folder || (d->kind >= QS_KIND_REFINE && n_coarse > 255) ||
	    (d->kind == QS_KIND_REFINE && d->coarse_grid.scales_size > 16))
		return;
	put16(seed + 2, d->n_elems);
	put16(seed + 4, (uint32_t)d->cols - 1);
	put16(seed + 6, (uint32_t)d->first_elem);
	if (d->kind >= QS_KIND_REFINE) {
		*p++ = (uint8_t)n_coarse;
		memcpy(p, d->coarse, n_coarse);
		p += n_coarse;
	}
	if (d->kind == QS_KIND_REFINE) {
		const qs_grid *grid = &d->coarse_grid;
		unsigned scales = grid->scales_dtype == QS_F32 ? 0 : grid->scales_dtype == QS_F16 ? 1 : 2;
		seed[1] = (uint8_t)((d->dtype == QS_BF16) | (d->factors ? 2 : 0) |
		                    (d->factors && d->factors_dtype == QS_BF16 ? 4 : 0));
		*p++ = (uint8_t)(grid->rule - 1);
		*p++ = (uint8_t)(scales << 1 | (grid->row_stride == 0) << 5);
		*p++ = 0;
		memcpy(p, grid->scales, grid->scales_size);
		p += 16;
		if (d->factors) {
			memcpy(p, d->factors, 8);
			p += 8;
		}
	}
	for (uint8_t pair = 0; d->kind == QS_KIND_DELTA && pair < DELTA_PAIRS; pair++)
		if (delta_pairs[pair].fine == d->dtype && delta_pairs[pair].coarse == d->coarse_dtype)
			seed[1] = pair;
	memcpy(p, coded, size);
	char path[4096];
	snprintf(path, sizeof path, "%s/test-decode-%s", folder, name);
	for (char *c = path + strlen(folder); *c; c++)
		*c = *c == ' ' ? '-' : *c;
	FILE *file = fopen(path, "wb");
	assert_non_null(file);
	assert_int_equal(fwrite(seed, 1, (size_t)(p - seed) + size, file), (size_t)(p - seed) + size);
	fclose(file);
}

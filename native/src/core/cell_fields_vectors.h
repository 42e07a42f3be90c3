/* The kernels of cell_fields.h, for vectors of WIDTH bytes. One file for each instruction set defines WIDTH
 * and SET and includes this one. It is written with the vectors of GCC and Clang; its arithmetic is that of
 * rules.h, one operation after the other.
 *
 * The border between two cells is a real number B. Singles compute it with an error of a few units of 2^-24,
 * far less than the spacing of 16-bit values. So the kernels add more than that error to B and take the
 * 16-bit value below: this is either the last value before the border or the first one after it, and the rule
 * itself decides which.
 *
 * Elements are 16-bit words where these suffice. Singles are made from the even and the odd words separately,
 * which takes no shuffles. Codes and borders are counted in quarters: then all borders are integers, and no
 * rounding changes. */
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__wasm_simd128__)
#include <wasm_simd128.h>
#endif

#include "cell_fields.h"
#include "rules.h"

enum { WORDS = WIDTH / 2 };
_Static_assert(WIDTH / 2 <= QS_STRIP_OVERSHOOT, "a run's last vector reaches no further than the overshoot");

/* Where code size counts, one kernel serves all rules that multiply. */
#if defined(__wasm__)
#define IS_SMALL 1
#else
#define IS_SMALL 0
#endif

typedef float vf __attribute__((vector_size(WIDTH)));
typedef int32_t vi __attribute__((vector_size(WIDTH)));
typedef uint32_t vu __attribute__((vector_size(WIDTH)));
typedef int16_t vs __attribute__((vector_size(WIDTH)));
typedef uint16_t vw __attribute__((vector_size(WIDTH)));
typedef uint8_t vb __attribute__((vector_size(WIDTH / 2)));

/* 32-bit lanes for the even and for the odd words of a vector. */
typedef struct pair {
	vi even, odd;
} pair;

QS_ALWAYS_INLINE vs load_codes(const uint8_t *codes)
{
#if WIDTH == 64 /* gcc 12 would convert the bytes one by one */
	return (vs)_mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)codes));
#elif WIDTH == 32
	return (vs)_mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)codes));
#elif defined(__SSE4_1__)
	return (vs)_mm_cvtepu8_epi16(_mm_loadl_epi64((const __m128i *)codes));
#else
	vb bytes;
	memcpy(&bytes, codes, sizeof bytes);
	return __builtin_convertvector(bytes, vs);
#endif
}

QS_ALWAYS_INLINE void store(uint16_t *dst, vs words)
{
	memcpy(dst, &words, sizeof words);
}

/* Operations by signed lane. The absolute value of −32768 is undefined. */
#if WIDTH == 64
#define VECTOR_OP(name, ...) (vs) _mm512_##name##_epi16(__VA_ARGS__)
typedef __m512i vx;
#elif WIDTH == 32
#define VECTOR_OP(name, ...) (vs) _mm256_##name##_epi16(__VA_ARGS__)
typedef __m256i vx;
#elif defined(__SSE4_1__)
#define VECTOR_OP(name, ...) (vs) _mm_##name##_epi16(__VA_ARGS__)
typedef __m128i vx;
#endif

QS_ALWAYS_INLINE vs least(vs a, vs b)
{
#if defined(VECTOR_OP)
	return VECTOR_OP(min, (vx)a, (vx)b);
#elif defined(__wasm_simd128__)
	return (vs)wasm_i16x8_min((v128_t)a, (v128_t)b);
#else
	vs less = a < b;
	return (a & less) | (b & ~less);
#endif
}

QS_ALWAYS_INLINE vs absolute(vs a)
{
#if defined(VECTOR_OP)
	return VECTOR_OP(abs, (vx)a);
#elif defined(__wasm_simd128__)
	return (vs)wasm_i16x8_abs((v128_t)a);
#else
	vs sign = a >> 15;
	return (a ^ sign) - sign;
#endif
}

/* Hides from LLVM that a mask is the result of a comparison. Otherwise it turns an AND with it into a choice
 * between a value and zero, three instructions in WebAssembly. */
QS_ALWAYS_INLINE vs opaque(vs mask)
{
	KEEP_AS_IS(mask);
	return mask;
}

/* Subtraction and addition modulo 2^16 and 2^32. */
QS_ALWAYS_INLINE vs minus(vs a, vs b)
{
	return (vs)((vw)a - (vw)b);
}

QS_ALWAYS_INLINE vi plus(vi a, vi b)
{
	return (vi)((vu)a + (vu)b);
}

/* Replaces zero lanes by 1, so that they can be divided by. */
QS_ALWAYS_INLINE vs not_none(vs a)
{
	return minus(a, opaque(a == 0));
}

QS_ALWAYS_INLINE vi float_bits(vf x)
{
	return (vi)x;
}

QS_ALWAYS_INLINE vf to_float(vi x)
{
	return __builtin_convertvector(x, vf);
}

QS_ALWAYS_INLINE pair split_signed(vs words)
{
	return (pair){(vi)((vu)words << 16) >> 16, (vi)words >> 16};
}

QS_ALWAYS_INLINE pair split(vs words)
{
	return (pair){(vi)words & 0xffff, (vi)((vu)words >> 16)};
}

/* Joins the high halves, or the low halves, of even and odd singles to one vector of words. */
QS_ALWAYS_INLINE vs join_high(pair p)
{
	return (vs)((vi)((vu)p.even >> 16) | (p.odd & (int32_t)0xffff0000));
}

QS_ALWAYS_INLINE vs join_low(pair p)
{
	return (vs)((p.even & 0xffff) | (vi)((vu)p.odd << 16));
}

/* Joins the masks of even and odd singles to a mask of words. */
QS_ALWAYS_INLINE vs join_masks(pair p)
{
	return (vs)((p.even & 0xffff) | (p.odd & (int32_t)0xffff0000));
}

QS_ALWAYS_INLINE int any(vi mask)
{
	uint64_t words[WIDTH / 8], all = 0;
	memcpy(words, &mask, sizeof words);
	for (int i = 0; i < WIDTH / 8; i++)
		all |= words[i];
	return all != 0;
}

/* Rounds x towards zero to a 16-bit value. Its pattern goes to the high half of *bits, with the sign if it is
 * BF16. */
QS_ALWAYS_INLINE vf value_below(vf x, uint32_t dtype, vi *bits)
{
	if (dtype == QS_F16) {
		*bits = float_bits(x * 0x1p-112f);
		vf value = (vf)(*bits & (int32_t)0xffffe000) * 0x1p112f;
		*bits = (vi)((vu)*bits << 3);
		return value;
	}
	*bits = float_bits(x);
	return (vf)(*bits & (int32_t)0xffff0000);
}

/* Returns floor(65536 / n) modulo 65536. The quotient as a single is an integer, or at least 2^-16 away from
 * one. Adding this constant rounds (quotient − ½) half to even, into the mantissa; integer quotients above 1
 * are powers of two, hence even. This avoids a conversion, which takes six instructions in WebAssembly. */
QS_ALWAYS_INLINE vs divide_65536(vs n)
{
	pair p = split(n);
	const float round_down = 0x1p23f - 0.5f;
	return join_low((pair){float_bits(65536.0f / to_float(p.even) + round_down),
	                       float_bits(65536.0f / to_float(p.odd) + round_down)});
}

/* Writes F and G for cells of n values; G is 0 for escapes. For n up to 256, n itself can replace G: slot × n
 * / 65536 is below slot / F by less than (65536 mod n) / F < 1. */
QS_ALWAYS_INLINE void store_counts(vs n, vs zero, int wide, const qs_cell_fields *out, uint32_t at)
{
	vs g = not_none(n) & ~zero, f = divide_65536(not_none(g));
	f |= opaque(f == 0); /* 65535 replaces 65536 */
	store(out->f + at, f);
	store(out->g + at, wide ? divide_65536(f) & ~zero : g);
}

/* ---- Symmetric rules ---- */

/* Values that all elements of a run share. */
typedef struct common {
	vf step, factor;
	float centre;
} common;

/* Finds the first magnitude after a border, in the high half. border: in quarters, at least 2; for
 * QS_FIELDS_CUT with the sign of the values. odd: 1 where a tie does not reach the border. */
QS_ALWAYS_INLINE vi symmetric_border(qs_fields_kind kind, uint32_t dtype, const common *run, vi border,
                                     vi odd)
{
	vf middle = to_float(border);
	vi least_bits = float_bits(middle) + odd, bits, short_of;
	if (kind == QS_FIELDS_HALF) {
		/* This is the least quotient that is rounded to a value at or above the border. */
		int32_t spacing = dtype == QS_F16 ? 1 << 13 : 1 << 16;
		middle = (vf)(((least_bits + (spacing - 1)) & -spacing) - spacing / 2);
	}
	vf value = value_below(middle * run->step, dtype, &bits);
	if (kind == QS_FIELDS_CUT) {
		short_of = (value * run->factor + run->centre < middle + run->centre) ^ (border < 0);
		return plus(bits, (vi)opaque((vs)short_of) & 1 << 16);
	}
	vi scaled = float_bits(kind == QS_FIELDS_DIVIDE || kind == QS_FIELDS_HALF ? value / run->factor
	                                                                          : value * run->factor);
	/* This rounds like qs_round_bf16 and qs_round_f16; subnormal numbers are far below all borders. */
	if (kind == QS_FIELDS_HALF && dtype == QS_F16)
		scaled = plus(scaled, (scaled >> 13 & 1) + 0xfff) & (int32_t)0xffffe000;
	else if (kind == QS_FIELDS_HALF)
		scaled = plus(scaled, (scaled >> 16 & 1) + 0x7fff) & (int32_t)0xffff0000;
#if WIDTH == 64 /* gcc 12 would turn the mask into a vector */
	return (vi)_mm512_mask_add_epi32((__m512i)bits,
	                                 _mm512_cmpgt_epi32_mask((__m512i)least_bits, (__m512i)scaled),
	                                 (__m512i)bits, _mm512_set1_epi32(1 << 16));
#else
	short_of = least_bits > scaled;
	return plus(bits, (vi)opaque((vs)short_of) & 1 << 16);
#endif
}

QS_ALWAYS_INLINE vs symmetric_borders(qs_fields_kind kind, uint32_t dtype, const common *run, vs border,
                                      vs odd)
{
	pair t = kind == QS_FIELDS_CUT ? split_signed(border) : split(border), o = split(odd);
	vs patterns = join_high((pair){symmetric_border(kind, dtype, run, t.even, o.even),
	                               symmetric_border(kind, dtype, run, t.odd, o.odd)});
	return kind == QS_FIELDS_CUT && dtype == QS_BF16 ? patterns & 0x7fff : patterns;
}

/* Computes the numbers that the elements of each run share. Returns a bit for each run whose cells must be
 * found by the exact arithmetic. Borders are whole numbers of quarters of the step, with a relative error of
 * at most 2^-15 (shifts add at most 2^-16); neighbouring values differ by at least 2^-11. */
static __attribute__((noinline)) uint32_t symmetric_runs(qs_strip *strip, int divides, uint32_t dtype)
{
	uint32_t unsure = 0;
	for (uint32_t r = 0; r < strip->n_runs; r += WIDTH / 4) {
		vf scale, value;
		vi zero, shift, bits;
		memcpy(&scale, strip->scale + r, WIDTH);
		memcpy(&shift, strip->shift + r, WIDTH);
		memcpy(&zero, strip->zero + r, WIDTH);
		vi sign = float_bits(scale) & INT32_MIN;
		scale = (vf)(float_bits(scale) ^ sign);
		vf distance = scale / strip->divisor, step = distance * (0.25f + 0x1p-16f),
		   factor = divides ? distance * 0.25f : 1.0f / distance * 4.0f;
		factor = (vf)plus(float_bits(factor), shift);
		zero += strip->flip;
		/* Cells of BF16 have at most 256 values, unless the last code is next to the zero point. */
		vi sure = (distance >= 0x1p-60f) & (distance <= strip->distance_max) & (zero >= 0) & (zero <= 255) &
		          (zero != 1) & (zero != 254);
		if (strip->last == 255)
			sure &= sign == 0;
		sign = (vi)((vu)sign >> 16);
		memcpy(strip->step + r, &step, WIDTH);
		memcpy(strip->factor + r, &factor, WIDTH);
		memcpy(strip->sign + r, &sign, WIDTH);
		value = value_below(scale, dtype, &bits);
		bits = strip->divisor > 1 ? (vi)((vu)bits >> 16) + 1 + (value > scale) : (vi){0} + INT16_MAX;
		memcpy(strip->end + r, &bits, WIDTH);
		if (!any(~sure))
			continue;
		int32_t each[WIDTH / 4];
		memcpy(each, &sure, WIDTH);
		for (uint32_t i = 0; i < WIDTH / 4; i++)
			unsure |= (uint32_t)~each[i] >> 31 << i << r;
	}
	return unsure;
}

QS_ALWAYS_INLINE uint32_t symmetric_fields(qs_fields_kind kind, uint32_t dtype, qs_strip *strip,
                                           const uint8_t *codes, const qs_cell_fields *out)
{
	int has_ties = kind == QS_FIELDS_MULTIPLY || kind == QS_FIELDS_DIVIDE || kind == QS_FIELDS_HALF;
	uint32_t unsure = symmetric_runs(strip, kind == QS_FIELDS_DIVIDE || kind == QS_FIELDS_HALF, dtype);
	qs_cell_fields to = *out;
	const vs none = {0};
	vs flip = strip->flip - none, code_mask = strip->last - none, longer = strip->longer - none,
	   even = strip->even - none;
	for (uint32_t r = 0; r < strip->n_runs; r++) {
		common run = {strip->step[r] - (vf){0}, strip->factor[r] - (vf){0}, strip->centre};
		int16_t zero_point = (int16_t)(strip->zero[r] + strip->flip),
		        n_ends = 2 + (strip->is_symmetric_i8 && !strip->zero[r]);
		vs zero = zero_point - none, ends = n_ends - none, sign = (int16_t)strip->sign[r] - none,
		   end = (int16_t)strip->end[r] - none;
		for (uint32_t i = strip->begin[r]; i < strip->begin[r + 1]; i += WORDS) {
			vs code = load_codes(codes + i) ^ flip, distance = code - zero;
			vs is_end = opaque(((code + 1) & code_mask) < ends), odd = none, next_odd = none;
			vs inner = absolute(distance) * 4 - 2, outer = inner + 4 + (is_end & longer);
			if (has_ties) {
				odd = distance & even;
				next_odd = (even - odd) ^ (is_end & longer >> 2 & even);
			}
			if (kind == QS_FIELDS_CUT) {
				vs below = distance >> 15;
				inner = (inner ^ below) - below;
				outer = (outer ^ below) - below;
			}
			vs first = symmetric_borders(kind, dtype, &run, inner, odd),
			   last = symmetric_borders(kind, dtype, &run, outer, next_odd);
			if (kind == QS_FIELDS_ABSMAX || (IS_SMALL && kind == QS_FIELDS_MULTIPLY)) {
				first = least(first, end);
				last = least(last, end);
			}
			store_counts(minus(last, first), opaque(distance == 0), dtype == QS_F16 && !strip->counts, &to,
			             i);
			store(to.first + i, first | ((distance ^ sign) & INT16_MIN));
		}
	}
	return unsure;
}

/* ---- Rules with an offset ---- */

typedef struct offset_common {
	vf step, factor, offset, close, bias;
} offset_common;

/* Finds the least places (ordered patterns) that reach a border. border: in quarters. */
QS_ALWAYS_INLINE vs offset_borders(qs_fields_kind kind, uint32_t dtype, const offset_common *run, vs border,
                                   vs odd, vi *close)
{
	pair t = split_signed(border), o = split(odd), bits = t, reached = t;
	vi *parts[] = {&t.even, &t.odd}, *odds[] = {&o.even, &o.odd}, *to[] = {&bits.even, &bits.odd},
	   *masks[] = {&reached.even, &reached.odd};
	for (int i = 0; i < 2; i++) {
		vf least_scaled = to_float(*parts[i]),
		   x = (kind == QS_FIELDS_OFFSET ? least_scaled - 2.0f : least_scaled) * run->step + run->offset;
		*close |= (vf)(float_bits(x) & INT32_MAX) < run->close;
		vf value = value_below(x * run->bias, dtype, to[i]) - run->offset;
		if (dtype == QS_F16)
			*to[i] = (*to[i] & INT32_MAX) | (float_bits(x) & INT32_MIN);
		if (kind == QS_FIELDS_OFFSET)
			*masks[i] = value * run->factor + 2.0f >= least_scaled;
		else /* all bits set: ties reach even codes */
			*masks[i] = (value / run->factor > least_scaled) |
			            ((value / run->factor == least_scaled) & (*odds[i] - 1));
	}
	vs pattern = join_high(bits), below = pattern >> 15;
	return minus(minus((pattern & INT16_MAX) ^ below, below), ~join_masks(reached));
}

/* Does the work of symmetric_runs for rules with an offset. Borders are (k − shift) · s + o with an error of
 * at most 2^-22 (|o| + 2 |border|), plus 2^-19 s for rules that cut numbers. */
static __attribute__((noinline)) uint32_t offset_runs(qs_strip *strip, int divides)
{
	uint32_t unsure = 0;
	for (uint32_t r = 0; r < strip->n_runs; r++) {
		float scale = strip->scale[r], o = strip->offset[r];
		o = o < 0 ? -o : o;
		strip->step[r] = scale * 0.25f;
		strip->factor[r] = divides ? scale * 0.25f : 1.0f / scale * 4.0f;
		strip->close[r] = o * strip->close_offset + scale * strip->close_step;
		unsure |= (uint32_t) !((scale >= 0x1p-60f) & (scale * 34 + o <= strip->distance_max)) << r;
	}
	return unsure;
}

QS_ALWAYS_INLINE uint32_t offset_fields(qs_fields_kind kind, uint32_t dtype, qs_strip *strip,
                                        const uint8_t *codes, const qs_cell_fields *out)
{
	uint32_t unsure = offset_runs(strip, kind == QS_FIELDS_K);
	qs_cell_fields to = *out;
	const vf none = {0};
	for (uint32_t r = 0; r < strip->n_runs; r++) {
		offset_common run = {strip->step[r] - none, strip->factor[r] - none, strip->offset[r] - none,
		                     strip->close[r] - none, strip->bias - none};
		vi close = {0};
		for (uint32_t i = strip->begin[r]; i < strip->begin[r + 1]; i += WORDS) {
			vs code = load_codes(codes + i), at_last = opaque(code == strip->last),
			   at_first = opaque(code == 0), odd = code & 1;
			vs lower = code * 4 - (int16_t)(kind == QS_FIELDS_K ? 2 : 0), upper = lower + 4 + (at_last & 3);
			lower -= at_first & 3;
			vs first = offset_borders(kind, dtype, &run, lower, odd, &close),
			   last = offset_borders(kind, dtype, &run, upper, 1 - odd, &close);
			vs not_above = opaque(first <= 0);
			store_counts(minus(last, first), not_above & opaque(last > 0), !strip->counts, &to, i);
			store(to.first + i, (not_above & (minus((vs){0} + 1, last) | INT16_MIN)) | (~not_above & first));
		}
		unsure |= (uint32_t)any(close) << r;
	}
	return unsure;
}

#define KERNEL(family, name, kind, dtype)                                                                    \
	static uint32_t name(qs_strip *strip, const uint8_t *codes, const qs_cell_fields *out)                   \
	{                                                                                                        \
		return family(kind, dtype, strip, codes, out);                                                       \
	}
#if IS_SMALL
#define away_bf16 multiply_bf16
#define away_f16 multiply_f16
#define absmax_bf16 multiply_bf16
#define absmax_f16 multiply_f16
#else
KERNEL(symmetric_fields, away_bf16, QS_FIELDS_AWAY, QS_BF16)
KERNEL(symmetric_fields, away_f16, QS_FIELDS_AWAY, QS_F16)
KERNEL(symmetric_fields, absmax_bf16, QS_FIELDS_ABSMAX, QS_BF16)
KERNEL(symmetric_fields, absmax_f16, QS_FIELDS_ABSMAX, QS_F16)
#endif
KERNEL(symmetric_fields, multiply_bf16, QS_FIELDS_MULTIPLY, QS_BF16)
KERNEL(symmetric_fields, multiply_f16, QS_FIELDS_MULTIPLY, QS_F16)
KERNEL(symmetric_fields, divide_bf16, QS_FIELDS_DIVIDE, QS_BF16)
KERNEL(symmetric_fields, divide_f16, QS_FIELDS_DIVIDE, QS_F16)
KERNEL(symmetric_fields, half_bf16, QS_FIELDS_HALF, QS_BF16)
KERNEL(symmetric_fields, half_f16, QS_FIELDS_HALF, QS_F16)
KERNEL(symmetric_fields, cut_bf16, QS_FIELDS_CUT, QS_BF16)
KERNEL(symmetric_fields, cut_f16, QS_FIELDS_CUT, QS_F16)
KERNEL(offset_fields, offset_bf16, QS_FIELDS_OFFSET, QS_BF16)
KERNEL(offset_fields, offset_f16, QS_FIELDS_OFFSET, QS_F16)
KERNEL(offset_fields, k_bf16, QS_FIELDS_K, QS_BF16)
KERNEL(offset_fields, k_f16, QS_FIELDS_K, QS_F16)

const qs_fields_set SET = {{{away_bf16, away_f16},
                            {absmax_bf16, absmax_f16},
                            {multiply_bf16, multiply_f16},
                            {divide_bf16, divide_f16},
                            {half_bf16, half_f16},
                            {cut_bf16, cut_f16},
                            {offset_bf16, offset_f16},
                            {k_bf16, k_f16}}};

#include "cells.h"

#include <string.h>

#include "rules.h"
#include "simd.h"

/* Room for the borders of codes 0 to 255 and of two more, rounded up to whole vectors. */
enum { BORDERS = 264 };
_Static_assert(BORDERS >= 1 + 255 + 2 + 4, "room for borders up to 255 + 2, which vectors of four round up");

/* Returns the pattern of the largest value that is at most x, for finite x ≥ 0. */
QS_ALWAYS_INLINE uint32_t pattern_floor(float x, uint32_t dtype)
{
	return dtype == QS_F16 ? qs_f32_bits(x * 0x1p-112f) >> 13 : qs_f32_bits(x) >> 16;
}

/* ---- Symmetric rules ---- */

/* Returns the least magnitude whose code is at least k, or `end` if there is none. */
static uint32_t search_reaching(uint32_t rule, uint32_t dtype, float factor, uint32_t k, uint32_t end)
{
	uint32_t low = 0;
	while (low < end) {
		uint32_t middle = (low + end) / 2;
		if (qs_rule_reaches(rule, dtype, middle, factor, k))
			end = middle;
		else
			low = middle + 1;
	}
	return low;
}

/* Returns the least magnitude whose value is above absmax, after LLM.int8's cast to FP16, or `end`. */
static uint32_t search_above(uint32_t rule, uint32_t dtype, float absmax, uint32_t end)
{
	uint32_t low = 0;
	while (low < end) {
		uint32_t middle = (low + end) / 2;
		float value = qs_magnitude_value(middle, dtype);
		if ((dtype == QS_F16 || !qs_rule_casts(rule) ? value : qs_cast_f16(value)) > absmax)
			end = middle;
		else
			low = middle + 1;
	}
	return low;
}

/* Sets first[k], k = 1 … last, to the least magnitude whose code is at least k. */
QS_ALWAYS_INLINE void find_borders(uint32_t *first, uint32_t last, uint32_t rule, uint32_t dtype, float scale,
                                   int32_t shift)
{
	uint32_t end = qs_rule_end(rule, dtype), wrong = 0;
	float factor = qs_rule_factor(rule, scale, shift), step = qs_rule_step(rule, scale);
	for (uint32_t k = 1; k <= last; k++) {
		/* The border is (k − ½) · step with a relative error of a few units of 2^-24, far less than the
		 * spacing of 16-bit values. So it is next to the value below that number. The rule is asked on both
		 * sides; if they agree, the border is elsewhere, and all borders are searched for. */
		float x = ((float)(int32_t)k - 0.5f) * step;
		uint32_t guess = pattern_floor(x, dtype);
		guess = guess < 1 ? 1 : guess >= end ? end - 1 : guess;
		uint32_t at = qs_rule_reaches(rule, dtype, guess, factor, k);
		uint32_t other = qs_rule_reaches(rule, dtype, at ? guess - 1 : guess + 1, factor, k);
		first[k] = guess + !at;
		wrong |= at == other;
	}
	if (wrong)
		for (uint32_t k = 1; k <= last; k++)
			first[k] = search_reaching(rule, dtype, factor, k, end);
	if (qs_rule_has_absmax(rule)) {
		uint32_t above = search_above(rule, dtype, scale, end);
		for (uint32_t k = 1; k <= last; k++)
			first[k] = k < 128 && first[k] < above ? first[k] : above;
	}
}

/* Vectors of four numbers. */
typedef uint32_t four __attribute__((vector_size(16)));
typedef int32_t four_signed __attribute__((vector_size(16)));
typedef float four_singles __attribute__((vector_size(16)));

/* Finds the range of scales for which all borders, and all results of the rule next to them, are normal
 * numbers in every type. Nearly all scales are in it. The first border is half a step, the last one less than
 * 258 steps, with a relative error of up to 2^-15. */
static void normal_scales(uint32_t rule, uint32_t dtype, float *min, float *max)
{
	int is_half = dtype == QS_F16 || qs_rule_casts(rule);
	float steps = qs_rule_has_absmax(rule) ? 127 : 1;
	*min = (is_half ? 0x1.01p-13f : 0x1p-60f) * steps;
	*max = (is_half ? 200 : 0x1p60f) * steps;
}

/* Finds the borders of a scale in the range of normal_scales, four at a time; returns 0 for another scale. A
 * border is (k − ½) · step with a relative error of up to 2^-15 (shifts add at most 2^-16), and neighbouring
 * values differ by at least 2^-11. So the pattern below (k − ½) · step · (1 + 2^-14) is the last one before
 * the border or the first one after it, and the rule decides which. */
QS_ALWAYS_INLINE int find_normal_borders(uint32_t *first, uint32_t last, uint32_t rule, uint32_t dtype,
                                         float scale, int32_t shift)
{
	float step = qs_rule_step(rule, scale);
	int divides = rule == QS_RULE_DIVIDE;
	float min, max;
	normal_scales(rule, dtype, &min, &max);
	if (qs_rule_is_half(rule) || scale < min || scale > max)
		return 0;
	four_singles steps = step * (1 + 0x1p-14f) - (four_singles){0},
	             factor = qs_rule_factor(rule, scale, shift) - (four_singles){0};
	four_singles middle = {0.5f, 1.5f, 2.5f, 3.5f};
	/* Added to the patterns of borders: a tie that is rounded to even does not reach odd codes. */
	const four_signed odd = {1, 0, 1, 0}, none = {0}, ties = qs_rule_rounds_away(rule) ? none : odd;
	for (uint32_t k = 1; k <= last; k += 4, middle += 4.0f) {
		four_singles x = middle * steps, value;
		four pattern;
		if (dtype == QS_F16) {
			pattern = (four)(x * 0x1p-112f) >> 13;
			value = (four_singles)(pattern << 13) * 0x1p112f;
		} else {
			pattern = (four)x >> 16;
			value = (four_singles)((four)x & 0xffff0000);
		}
		/* This decides like qs_rule_reaches. */
		four_signed border = (four_signed)middle + ties;
		four reached = (four)((four_signed)(divides ? value / factor : value * factor) >= border);
		pattern += 1 + reached;
		memcpy(first + k, &pattern, sizeof pattern);
	}
	if (qs_rule_has_absmax(rule)) {
		uint32_t above = pattern_floor(scale, dtype) + 1;
		for (uint32_t k = 1; k <= last; k++)
			first[k] = k < 128 && first[k] < above ? first[k] : above;
	}
	return 1;
}

/* Writes cells k to k + 3, and those of the negative codes −k to −k − 3, which differ in the sign only. */
static inline void make_four_cells(qs_cell *cells, const uint32_t *first, uint32_t k)
{
	four begin, n;
	memcpy(&begin, first + k, sizeof begin);
	memcpy(&n, first + k + 1, sizeof n);
	n -= begin;
	n -= (four)(n == 0);
	const four one = (four)((four_singles){0} + (0x1p23f - 0.5f));
	four f = (four)(65536.0f / __builtin_convertvector((four_signed)n, four_singles) + (four_singles)one) -
	         0x4b000000;
	f -= f >> 16;
	four g = (four)(65536.0f / __builtin_convertvector((four_signed)f, four_singles) + (four_singles)one) -
	         0x4b000000;
	four low = begin | g << 16, high = f | n << 16, signs = {0x8000, 0, 0x8000, 0};
	four a = __builtin_shufflevector(low, high, 0, 4, 1, 5),
	     b = __builtin_shufflevector(low, high, 2, 6, 3, 7);
	memcpy(cells + k, &a, sizeof a);
	memcpy(cells + k + 2, &b, sizeof b);
	a = __builtin_shufflevector(a, a, 2, 3, 0, 1) | signs;
	b = __builtin_shufflevector(b, b, 2, 3, 0, 1) | signs;
	memcpy(cells + 253 - k, &b, sizeof b);
	memcpy(cells + 255 - k, &a, sizeof a);
}

/* Writes the cells of codes that are `from` to `reach` above and below the zero point, as far as there are
 * codes: `positive` above it and `negative` below. both: positive code `positive` has a negative twin whose
 * cell is as long. */
QS_ALWAYS_INLINE void write_cells(qs_cell *cells, const uint32_t *first, uint32_t from, uint32_t reach,
                                  uint32_t positive, uint32_t negative, int both)
{
	for (uint32_t k = from; k <= reach && k <= positive; k++)
		cells[k] = qs_make_cell(first[k], first[k + 1] - first[k]);
	for (uint32_t k = from; k <= reach && k <= negative; k++)
		cells[256 - k] = qs_make_cell(first[k], first[k + 1] - first[k]) | 0x8000;
	/* Values beyond the codes' range are clamped, so that the first and the last code's cells are one code
	 * longer. */
	if (positive && positive <= reach)
		cells[positive] = qs_make_cell(first[positive], first[positive + 2] - first[positive]);
	if (negative && negative <= reach)
		cells[256 - negative] = qs_make_cell(first[negative], first[negative + 2] - first[negative]) | 0x8000;
	if (both && positive <= reach)
		cells[256 - positive] = cells[positive] | 0x8000;
}

/* The next two functions serve all rules. They are not inlined, so that the module has their code only
 * once. */
static __attribute__((noinline)) void find_any_borders(uint32_t *first, uint32_t last, uint32_t rule,
                                                       uint32_t dtype, float scale, int32_t shift)
{
	find_borders(first, last, rule, dtype, scale, shift);
}

static __attribute__((noinline)) void write_cells_by_four(qs_cell *cells, const uint32_t *first,
                                                          uint32_t reach, uint32_t positive,
                                                          uint32_t negative, int both)
{
	uint32_t k = 1;
	/* Index positive + 1 is that of the least negative code, which is written last. */
	for (; k + 3 <= reach && k + 3 <= negative && k + 2 <= positive; k += 4)
		make_four_cells(cells, first, k);
	write_cells(cells, first, k, reach, positive, negative, both);
}

/* wide: this is compiled for vectors so long that plain loops, which the compiler vectorizes, are faster. */
QS_ALWAYS_INLINE void build_symmetric(qs_cell *cells, uint32_t rule, uint32_t dtype, float scale,
                                      int32_t shift, uint32_t reach, uint32_t positive, uint32_t negative,
                                      int both, const int wide)
{
	uint32_t first[BORDERS];
	if (wide) {
		find_borders(first, reach + 2, rule, dtype, scale, shift);
		write_cells(cells, first, 1, reach, positive, negative, both);
		return;
	}
	if (!find_normal_borders(first, reach + 2, rule, dtype, scale, shift))
		find_any_borders(first, reach + 2, rule, dtype, scale, shift);
	write_cells_by_four(cells, first, reach, positive, negative, both);
}

/* ---- ggml's rules for 4 to 6 bits ---- */

/* Returns the value at a place: its position among all values in ascending order, 0 for both zeros. */
QS_ALWAYS_INLINE float value_at_place(int32_t place, uint32_t dtype)
{
	float magnitude = qs_magnitude_value((uint32_t)(place < 0 ? -place : place), dtype);
	return place < 0 ? -magnitude : magnitude;
}

/* Returns the least place whose value reaches code k; `end`, behind all finite values, if there is none. */
static int32_t search_block(uint32_t rule, uint32_t dtype, float factor, float offset, uint32_t k,
                            uint32_t levels, int32_t end)
{
	int32_t low = 1 - end, high = end;
	while (low < high) {
		int32_t middle = low + (high - low) / 2;
		if (qs_block_reaches(rule, dtype, value_at_place(middle, dtype), factor, offset, k, levels))
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

/* Sets first[k], k = 0 … levels, to the least place whose value reaches code k. */
QS_ALWAYS_INLINE void find_block_borders(int32_t *first, uint32_t rule, uint32_t dtype, float scale,
                                         float offset, uint32_t levels)
{
	int32_t end = (int32_t)qs_rule_end(rule, dtype);
	float factor = qs_rule_rounds_down(rule) ? 1.0f / scale : scale;
	float shift = qs_rule_rounds_down(rule) ? (float)(int32_t)qs_rule_zero(rule) + 0.5f : 0;
	uint32_t wrong = 0;
	for (uint32_t k = 0; k <= levels; k++) {
		float x = (qs_block_border(rule, k, levels) - shift) * scale + offset;
		int32_t guess = (int32_t)pattern_floor(x < 0 ? -x : x, dtype);
		guess = guess >= end ? end - 1 : guess;
		guess = x < 0 ? -guess : guess;
		guess = guess < 2 - end ? 2 - end : guess;
		uint32_t at = qs_block_reaches(rule, dtype, value_at_place(guess, dtype), factor, offset, k, levels);
		uint32_t other = qs_block_reaches(rule, dtype, value_at_place(at ? guess - 1 : guess + 1, dtype),
		                                  factor, offset, k, levels);
		first[k] = guess + !at;
		wrong |= (uint32_t)(at == other) << (k & 31);
	}
	for (uint32_t k = 0; wrong && k <= levels; k++)
		if (wrong >> (k & 31) & 1)
			first[k] = search_block(rule, dtype, factor, offset, k, levels, end);
}

/* Returns half of the spacing that numbers of the dtype have around x. */
QS_ALWAYS_INLINE float half_spacing(float x, uint32_t dtype)
{
	float octave = qs_f32_from_bits(qs_f32_bits(x) & 0x7f800000);
	return octave * (dtype == QS_F16 ? 0x1p-11f : 0x1p-8f);
}

/* Finds the borders for rules that add the zero point. Rounding the sum moves a border by half a spacing:
 * down if a tie is rounded up, and up if it is rounded down. */
QS_ALWAYS_INLINE void find_sum_borders(int32_t *first, uint32_t rule, uint32_t dtype, float scale, float zero,
                                       uint32_t levels)
{
	int32_t end = (int32_t)qs_rule_end(rule, dtype);
	uint8_t wrong[257];
	int half = qs_rule_is_half(rule);
	for (uint32_t k = 0; k <= levels; k++) {
		float border = qs_block_border(rule, k, levels), spacing = half ? half_spacing(border, dtype) : 0;
		float x = ((k & 1 ? border + spacing : border - spacing) - zero) * scale;
		int32_t guess = (int32_t)pattern_floor(x < 0 ? -x : x, dtype);
		guess = guess > end - 2 ? end - 2 : guess;
		guess = x < 0 ? -guess : guess;
		guess = guess < 3 - end ? 3 - end : guess;
		uint32_t reached = 0;
		for (int32_t i = -1; i <= 1; i++)
			reached +=
			    qs_block_reaches(rule, dtype, value_at_place(guess + i, dtype), scale, zero, k, levels);
		/* If all three places reach k, or none does, the border is elsewhere, and is searched for later. */
		first[k] = guess + 2 - (int32_t)reached;
		wrong[k] = reached % 3 == 0;
	}
	for (uint32_t k = 0; k <= levels; k++)
		if (wrong[k])
			first[k] = search_block(rule, dtype, scale, zero, k, levels, end);
}

/* Writes the cells of a block rule or of one that adds the zero point. flipped: the scale was negative, so
 * that the signs of all values are flipped. Returns the zero point: the code whose cell holds the value 0. */
QS_ALWAYS_INLINE int32_t build_block(qs_cell *cells, uint32_t rule, uint32_t dtype, float scale, float offset,
                                     uint32_t flipped, uint32_t levels)
{
	int32_t first[257], zero = 128; /* beyond all codes: none holds the value 0 */
	if (qs_rule_adds_zero(rule))
		find_sum_borders(first, rule, dtype, scale, offset, levels);
	else
		find_block_borders(first, rule, dtype, scale, offset, levels);
	for (uint32_t k = 0; k < levels; k++)
		if (first[k] <= 0 && first[k + 1] > 0)
			zero = (int32_t)k;
	uint32_t sign = flipped ? 0x8000 : 0;
	for (uint32_t k = 0; k < levels; k++) {
		uint32_t count = (uint32_t)(first[k + 1] - first[k]), index = (k - (uint32_t)zero) & 255;
		if (first[k] > 0)
			cells[index] = qs_make_cell((uint32_t)first[k] | sign, count);
		else
			cells[index] = qs_make_cell((uint32_t)(1 - first[k + 1]) | (sign ^ 0x8000), count);
	}
	cells[0] = qs_make_cell(0, 1);
	return zero;
}

QS_ALWAYS_INLINE float block_offset(uint32_t rule, const qs_step *step)
{
	return qs_rule_adds_zero(rule) ? (float)(step->zero - step->centre) : step->offset;
}

/* ---- Tables ---- */

QS_ALWAYS_INLINE void build_rule(qs_cell_table *table, uint32_t rule, uint32_t levels, uint32_t dtype,
                                 const qs_step *step, uint32_t reach, uint32_t codes_dtype, const int wide)
{
	float scale = step->scale;
	if (qs_rule_is_symmetric(rule)) {
		int zero = step->zero, both = codes_dtype == QS_I8 && zero == 0;
		uint32_t positive = qs_positive_codes(codes_dtype, zero);
		build_symmetric(table->cells, rule, dtype, scale, step->shift, reach, positive, 255 - positive, both,
		                wide);
		table->zero = zero;
		return;
	}
	uint32_t flipped = scale < 0;
	table->zero = build_block(table->cells, rule, dtype, flipped ? -scale : scale, block_offset(rule, step),
	                          flipped, levels);
	if (qs_rule_adds_zero(rule))
		table->zero = step->zero; /* of signed codes too */
}

/* Rule and dtype are constants in each case, so that compilers turn the loops into SIMD. */
#define BUILD_CASE(rule)                                                                                     \
	case (rule)*2:                                                                                           \
		build_rule(table, (rule), levels, QS_BF16, step, reach, codes_dtype, wide);                          \
		break;                                                                                               \
	case (rule)*2 + 1:                                                                                       \
		build_rule(table, (rule), levels, QS_F16, step, reach, codes_dtype, wide);                           \
		break;

QS_ALWAYS_INLINE void build_table_of(qs_cell_table *table, uint32_t rule, uint32_t dtype, const qs_step *step,
                                     uint32_t reach, uint32_t codes_dtype, const int wide)
{
	uint32_t levels = qs_rule_levels(rule);
#if !defined(__wasm__)
	/* Rules that add the zero point differ in precision and levels; the case of 8 bits serves 4 bits too. */
	if (qs_rule_adds_zero(rule))
		rule = qs_rule_is_half(rule) ? QS_RULE_ADD_HALF : QS_RULE_ADD;
#endif
	switch (rule * 2 + (dtype == QS_F16)) {
		BUILD_CASE(QS_RULE_LLM_INT8)
		BUILD_CASE(QS_RULE_MULTIPLY)
		BUILD_CASE(QS_RULE_DIVIDE)
		BUILD_CASE(QS_RULE_DIVIDE_HALF)
		BUILD_CASE(QS_RULE_Q8_0)
		BUILD_CASE(QS_RULE_Q8_0_D)
#if !defined(__wasm__) /* where size counts, and tables of few cells gain little */
		BUILD_CASE(QS_RULE_Q4_0)
		BUILD_CASE(QS_RULE_Q5_0)
		BUILD_CASE(QS_RULE_Q4_1)
		BUILD_CASE(QS_RULE_Q5_1)
		BUILD_CASE(QS_RULE_Q4_K)
		BUILD_CASE(QS_RULE_Q5_K)
		BUILD_CASE(QS_RULE_Q6_K)
		BUILD_CASE(QS_RULE_ADD_HALF)
		BUILD_CASE(QS_RULE_ADD)
#endif
	default:
		build_rule(table, rule, levels, dtype, step, reach, codes_dtype, wide);
	}
}

#if QS_HAVE_AVX512
#define TARGET_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq")))

static TARGET_AVX512 void build_table_avx512(qs_cell_table *table, uint32_t rule, uint32_t dtype,
                                             const qs_step *step, uint32_t reach, uint32_t codes_dtype)
{
	build_table_of(table, rule, dtype, step, reach, codes_dtype, 1);
}

/* Writes the fields of a table from its cells. */
static TARGET_AVX512 void split_table(qs_cell_table *table, uint32_t rule)
{
	int none = table->zero == QS_ALL_ZERO;
	uint32_t zero = none || qs_rule_is_symmetric(rule) ? 0 : (uint32_t)table->zero, large = 0;
	uint32_t n = qs_rule_levels(rule) < QS_CELL_FIELDS ? qs_rule_levels(rule) : QS_CELL_FIELDS;
	for (uint32_t k = 0; k < n; k++) {
		qs_cell cell = none ? table->cells[0] : table->cells[(k - zero) & 255];
		uint32_t count = QS_CELL_COUNT(cell), is_zero = none || k == zero, limit = k < 32 ? 256 : 32;
		table->first[k] = QS_CELL_FIRST(cell);
		table->f[k] = (uint16_t)QS_CELL_F(cell);
		table->f_low[k] = (uint8_t)QS_CELL_F(cell);
		table->f_high[k] = (uint8_t)(QS_CELL_F(cell) >> 8);
		table->g[k] = is_zero ? 0 : (uint16_t)QS_CELL_G(cell);
		table->count[k] = is_zero ? 0 : (uint16_t)count;
		table->small[k] = is_zero ? 0 : (uint8_t)count;
		large |= count >= limit;
	}
	table->is_small = !large;
}
#endif

int qs_step_is_usable(uint32_t rule, const qs_step *step)
{
	float scale = step->scale, offset = step->offset;
	if (qs_rule_is_symmetric(rule))
		return qs_rule_scale_is_valid(rule, scale) && step->zero >= -128 && step->zero <= 255;
	if (qs_rule_adds_zero(rule)) {
		int32_t half = (int32_t)qs_rule_levels(rule) / 2, zero = step->zero - step->centre;
		return scale > 0x1p-119f && scale <= 0x1p100f && zero >= -half && zero < half;
	}
	if (scale < 0 && qs_rule_has_either_sign(rule))
		scale = -scale;
	return scale > 0x1p-119f && scale <= 0x1p100f && __builtin_fabsf(offset) <= 0x1p100f;
}

/* Builds cells with shared borders, for codes that were made of finer values. A value that is rounded from
 * both sides of a border belongs to both cells, and is the first value of the upper one. */
static __attribute__((noinline)) void build_shared(const qs_cell_cache *cache, qs_cell_table *table,
                                                   const qs_step *step, uint32_t reach)
{
	uint32_t first[BORDERS + 3], rule = cache->rule, dtype = cache->dtype, end = qs_rule_end(rule, dtype);
	uint32_t positive = qs_positive_codes(cache->codes_dtype, step->zero);
	float factor = qs_rule_factor(rule, step->scale, step->shift);
	QS_ASSERT(reach <= 255);
	if (!find_normal_borders(first, reach + 2, rule, dtype, step->scale, step->shift))
		find_any_borders(first, reach + 2, rule, dtype, step->scale, step->shift);
	for (uint32_t k = 1; k <= reach + 2 && (k < 128 || !qs_rule_has_absmax(rule)); k++) {
		if (first[k] >= end)
			continue;
		/* The number half way between the cell's first value and the value below it. */
		float middle =
		    qs_magnitude_value(first[k], dtype) * 0.5f + qs_magnitude_value(first[k] - 1, dtype) * 0.5f;
		first[k] -= qs_rule_rounds_to(rule, qs_rule_scaled_value(rule, dtype, middle, factor), k);
	}
	write_cells(table->cells, first, 1, reach, positive, 255 - positive,
	            cache->codes_dtype == QS_I8 && step->zero == 0);
	table->zero = step->zero;
}

static void build_cells(const qs_cell_cache *cache, qs_cell_table *table, const qs_step *step, uint32_t reach)
{
	uint32_t rule = cache->rule, dtype = cache->dtype, codes_dtype = cache->codes_dtype;
	table->cells[0] = qs_make_cell(0, 1);
	if (!qs_step_is_usable(rule, step)) {
		table->zero = QS_ALL_ZERO;
		return;
	}
	if (cache->shared) {
		build_shared(cache, table, step, reach);
		return;
	}
#if QS_HAVE_AVX512
	if (cache->wide) {
		build_table_avx512(table, rule, dtype, step, reach, codes_dtype);
		return;
	}
#endif
	build_table_of(table, rule, dtype, step, reach, codes_dtype, 0);
}

static void build_table(const qs_cell_cache *cache, qs_cell_table *table, const qs_step *step, uint32_t reach)
{
	build_cells(cache, table, step, reach);
#if QS_HAVE_AVX512
	if (cache->wide)
		split_table(table, cache->rule);
#endif
}

void qs_cell_cache_init(qs_cell_cache *cache, uint32_t dtype, uint32_t rule, uint32_t codes_dtype)
{
	cache->dtype = dtype;
	cache->rule = rule;
	cache->codes_dtype = codes_dtype;
	cache->shared = 0;
	cache->exponent_shift = dtype == QS_F16 ? 13 : 16;
	int flips = qs_rule_has_either_sign(rule) && qs_rule_rounds_down(rule);
	float min, max;
	normal_scales(rule, dtype, &min, &max);
	if (!qs_rule_is_symmetric(rule) && !flips)
		min = max = 0;
	cache->movable_mask = flips ? INT32_MAX : UINT32_MAX;
	cache->movable_min = qs_f32_bits(min);
	cache->movable_span = qs_f32_bits(max) - cache->movable_min;
#if QS_HAVE_AVX512
	cache->wide = qs_cpu_has_avx512();
#else
	cache->wide = 0;
#endif
	memset(cache->keys, 0, sizeof cache->keys);
}

void qs_cell_cache_use(qs_cell_cache *cache, uint32_t dtype, uint32_t rule, uint32_t codes_dtype, int shared)
{
	if (cache->dtype == dtype && cache->rule == rule && cache->codes_dtype == codes_dtype &&
	    cache->shared == shared)
		return;
	qs_cell_cache_init(cache, dtype, rule, codes_dtype);
	cache->shared = shared;
}

/* may_move: may the table be that of a scale 2^e times as large? */
static qs_cells find_cells(qs_cell_cache *cache, const qs_step *step, uint32_t reach, int may_move)
{
	uint32_t bits = qs_f32_bits(step->scale), offset = qs_f32_bits(step->offset), slot;
	uint16_t place = (uint16_t)qs_cell_place(cache, bits);
	qs_cell_key key = {.scale = bits, .zero = qs_cell_key_zero(step), .offset = offset, .place = place};
	if ((bits & cache->movable_mask) - cache->movable_min <= cache->movable_span) {
		key.scale &= 0x7fffff;
		slot = qs_cell_slot(key.scale, key.zero);
		key.zero |= QS_CELL_MOVABLE;
	} else {
		/* BF16 scales of eight octaves have slots of their own; FP16 ones differ in bits 13 to 15 of the
		 * single too. */
		uint32_t mixed = bits ^ offset >> 5;
		slot = (mixed >> 16 ^ mixed >> 7 ^ mixed) % QS_CELL_CACHE_SLOTS;
	}
	qs_cell_key *has = &cache->keys[slot];
	qs_cell_table *table = &cache->tables[slot];
	if (has->reach < reach || has->scale != key.scale || has->zero != key.zero || has->offset != offset ||
	    (!may_move && has->place != place)) {
		build_table(cache, table, step, reach);
		key.reach = (uint8_t)(table->zero != QS_ALL_ZERO && qs_rule_is_symmetric(cache->rule) ? reach : 255);
		key.is_small = (uint8_t)table->is_small;
		*has = key;
	}
	/* A table that is not movable serves its own scale only, so it moves by 0. */
	return (qs_cells){table, (uint16_t)(place - has->place), has->is_small};
}

const qs_cell_table *qs_cell_cache_get(qs_cell_cache *cache, const qs_step *step, uint32_t reach)
{
	return find_cells(cache, step, reach, 0).table;
}

qs_cells qs_cell_cache_find(qs_cell_cache *cache, const qs_step *step, uint32_t reach)
{
	return find_cells(cache, step, reach, 1);
}

uint32_t qs_cell_reach(uint32_t codes_dtype, int32_t zero, const uint8_t *indexes, uint32_t n)
{
	uint32_t positive = qs_positive_codes(codes_dtype, zero);
	uint8_t reach = 1;
	for (uint32_t i = 0; i < n; i++) {
		uint8_t below = (uint8_t)(0u - indexes[i]), k = indexes[i] <= positive ? indexes[i] : below;
		reach = k > reach ? k : reach;
	}
	return reach;
}

int qs_cell_code(uint32_t dtype, uint32_t rule, const qs_step *step, uint16_t value)
{
	uint32_t magnitude = value & 0x7fff;
	if (!qs_step_is_usable(rule, step) || magnitude >= qs_rule_end(rule, dtype))
		return QS_NO_CODE;
	if (!qs_rule_is_symmetric(rule)) {
		int flipped = step->scale < 0;
		float scale = flipped ? -step->scale : step->scale;
		float w = qs_half_value(flipped ? value ^ 0x8000 : value, dtype);
		float scaled = qs_block_scaled(rule, dtype, w, qs_rule_rounds_down(rule) ? 1.0f / scale : scale,
		                               block_offset(rule, step));
		if (!(scaled > -1024 && scaled < 1024))
			return QS_NO_CODE;
		if (qs_rule_rounds_down(rule))
			return scaled < 0 ? -1 : (int)scaled;
		/* Adding and subtracting this number rounds half to even. */
		return (int)((scaled + 0x1.8p23f) - 0x1.8p23f) +
		       (qs_rule_adds_zero(rule) ? step->centre : (int)qs_rule_zero(rule));
	}
	float scaled = qs_rule_scaled(rule, dtype, magnitude, qs_rule_factor(rule, step->scale, step->shift));
	if (!(scaled < 1024))
		return QS_NO_CODE;
	int code = (int)((scaled + 0x1p23f) - 0x1p23f);
	if (qs_rule_rounds_away(rule) && scaled - (float)code == 0.5f)
		code++; /* half away from zero */
	return (value & 0x8000 ? -code : code) + step->zero;
}

/* The rank decoder in 128-bit SIMD, eight lanes of 16 bits in a vector; the oracle is qs_ranks_scalar. It is
 * written with WebAssembly's intrinsics, which SIMDe provides on x86-64 and ARM. */
#include "expand.h"
#include "ranks.h"

#if QS_HAVE_SIMD128
#include "cell_tables_sse41.h"

/* Returns the high halves of unsigned 16-bit products. */
static inline v128_t mul_high(v128_t a, v128_t b)
{
#if defined(__SSE2__)
	__m128i x, y;
	memcpy(&x, &a, 16);
	memcpy(&y, &b, 16);
	x = _mm_mulhi_epu16(x, y);
	memcpy(&a, &x, 16);
	return a;
#else
	v128_t low = wasm_u32x4_extmul_low_u16x8(a, b), high = wasm_u32x4_extmul_high_u16x8(a, b);
	return wasm_u16x8_narrow_i32x4(wasm_u32x4_shr(low, 16), wasm_u32x4_shr(high, 16));
#endif
}

/* Returns a bit for each 16-bit lane: 1 if it is −1, not 0. (V8 needs one instruction more for
 * wasm_i16x8_bitmask.) */
static inline unsigned lanes_of(v128_t mask)
{
	return (unsigned)wasm_i8x16_bitmask(wasm_i8x16_narrow_i16x8(mask, wasm_i16x8_splat(0)));
}

/* Decodes the ranks of eight elements, whose F and G are in f and g. */
static inline v128_t step_ranks_simd128(v128_t *low, v128_t *high, v128_t f, v128_t g, const uint8_t **src)
{
	v128_t rank = mul_high(*low, g), rest = wasm_i16x8_sub(*low, wasm_i16x8_mul(rank, f));
	/* The quotient gets one more where F still fits. Where it does not, the difference wraps and is above
	 * `rest`. */
	v128_t less = wasm_i16x8_sub(rest, f);
	rest = wasm_u16x8_min(rest, less);
	KEEP_AS_IS(rest);
	v128_t more = wasm_i16x8_eq(rest, less);
	KEEP_AS_IS(more);
	rank = wasm_i16x8_sub(rank, more);
	v128_t new_low = wasm_i16x8_add(wasm_i16x8_mul(f, *high), rest);
	/* This is −1 where the sum has no carry: the new high half is then one less. */
	v128_t greater = wasm_u16x8_max(new_low, rest), ones = wasm_i16x8_splat(-1);
	KEEP_AS_IS(greater);
	v128_t no_carry = wasm_i16x8_eq(greater, new_low);
	KEEP_AS_IS(no_carry);
	v128_t below = wasm_i16x8_add(mul_high(f, *high), no_carry), take = wasm_i16x8_eq(below, ones);
	KEEP_AS_IS(take);

	unsigned mask = lanes_of(take);
	v128_t units = wasm_i8x16_swizzle(wasm_v128_load(*src), wasm_v128_load(qs_expand[mask]));
	*src += 2 * (unsigned)__builtin_popcount(mask);
	*high = wasm_v128_or(wasm_i16x8_sub(below, ones), wasm_v128_and(new_low, take));
	*low = wasm_v128_or(wasm_v128_andnot(new_low, take), units);
	return rank;
}

/* Decodes eight elements. qs_ranks_place_escapes stores the values of escapes later. */
static inline void step_cells_simd128(v128_t *low, v128_t *high, qs_cells cells, const uint8_t *codes,
                                      const uint8_t **src, uint8_t *dst)
{
	qs_eight_cells c = qs_load_cells(cells, codes);
	wasm_v128_store(dst, wasm_i16x8_add(c.first, step_ranks_simd128(low, high, c.f, c.g, src)));
}

/* Returns a bit for each of 64 indexes: 1 if it is 0, an escape. */
static inline uint64_t escapes_of(const uint8_t *indexes)
{
	uint64_t mask = 0;
	for (unsigned i = 0; i < 64; i += 16)
		mask |= (uint64_t)(uint32_t)wasm_i8x16_bitmask(
		            wasm_i8x16_eq(wasm_v128_load(indexes + i), wasm_i8x16_splat(0)))
		        << i;
	return mask;
}

enum {
	PLACES_STRIP = 1024, /* elements */
	PLACES_USUAL = 4     /* escapes of 64 elements */
};

/* Lists the places of escapes among n elements, a multiple of 64; returns their number. Among 64 elements
 * there are seldom more than PLACES_USUAL escapes, so that many places are written each time without a
 * branch, and only the real ones are kept. */
static size_t find_escapes(const uint8_t *indexes, size_t n, uint16_t places[PLACES_STRIP + PLACES_USUAL])
{
	size_t found = 0;
	for (size_t i = 0; i < n; i += 64) {
		uint64_t mask = escapes_of(indexes + i);
		uint16_t *place = places + found;
		found += (unsigned)__builtin_popcountll(mask);
		for (unsigned k = 0; k < PLACES_USUAL; k++, mask &= mask - 1)
			*place++ = (uint16_t)(i + (unsigned)__builtin_ctzll(mask | UINT64_C(1) << 63));
		for (; mask; mask &= mask - 1)
			*place++ = (uint16_t)(i + (unsigned)__builtin_ctzll(mask));
	}
	return found;
}

const uint8_t *qs_ranks_place_escapes(const uint8_t *escapes, const uint8_t *indexes, size_t n, uint8_t *dst)
{
	uint16_t places[PLACES_STRIP + PLACES_USUAL];
	size_t i = 0;
	for (size_t strip; n - i >= 64; i += strip) {
		strip = n - i < PLACES_STRIP ? (n - i) & ~(size_t)63 : PLACES_STRIP;
		size_t found = find_escapes(indexes + i, strip, places);
		for (size_t k = 0; k < found; k++, escapes += 2)
			memcpy(dst + 2 * (i + places[k]), escapes, 2);
	}
	for (; i < n; i++)
		if (!indexes[i]) {
			memcpy(dst + 2 * i, escapes, 2);
			escapes += 2;
		}
	return escapes;
}

static inline void step_fields_simd128(v128_t *low, v128_t *high, const qs_cell_fields *cells, size_t i,
                                       const uint8_t **src, const uint8_t **escapes, uint8_t *dst)
{
	v128_t first = wasm_v128_load(cells->first + i), f = wasm_v128_load(cells->f + i),
	       g = wasm_v128_load(cells->g + i);
	v128_t values = wasm_i16x8_add(first, step_ranks_simd128(low, high, f, g, src)),
	       zero = wasm_i16x8_eq(g, wasm_i16x8_splat(0));
	/* The swizzle spreads the values of escapes over their lanes; other lanes get 0. */
	unsigned mask = lanes_of(zero);
	v128_t spread = wasm_i8x16_swizzle(wasm_v128_load(*escapes), wasm_v128_load(qs_expand[mask]));
	*escapes += 2 * (unsigned)__builtin_popcount(mask);
	wasm_v128_store(dst + 2 * i, wasm_v128_or(wasm_v128_andnot(values, zero), spread));
}

/* Decodes elements i to `end` by STEP(low, high, k), which takes eight elements from i + k on. The states of
 * 64 lanes stay in memory: there are too few registers for them, and each is needed only once in 64 elements.
 */
#define DECODE_VECTOR(STEP, lane)                                                                            \
	low = wasm_v128_load(ranks->low + next + (lane)), high = wasm_v128_load(ranks->high + next + (lane));    \
	STEP(&low, &high, lane);                                                                                 \
	wasm_v128_store(ranks->low + next + (lane), low);                                                        \
	wasm_v128_store(ranks->high + next + (lane), high)
#define DECODE_VECTORS(STEP)                                                                                 \
	v128_t low, high;                                                                                        \
	if (ranks->lanes == QS_LANES_MAX) {                                                                      \
		unsigned next = ranks->next;                                                                         \
		for (; i < end; i += QS_LANES_STEP, next ^= QS_LANES_STEP) {                                         \
			if (!qs_ranks_room(ranks, &src))                                                                 \
				return 0;                                                                                    \
			DECODE_VECTOR(STEP, 0);                                                                          \
			DECODE_VECTOR(STEP, 8);                                                                          \
			DECODE_VECTOR(STEP, 16);                                                                         \
			DECODE_VECTOR(STEP, 24);                                                                         \
		}                                                                                                    \
		ranks->next = next;                                                                                  \
	} else {                                                                                                 \
		low = wasm_v128_load(ranks->low), high = wasm_v128_load(ranks->high);                                \
		for (; i < end; i += 8) {                                                                            \
			if (!qs_ranks_room(ranks, &src))                                                                 \
				return 0;                                                                                    \
			STEP(&low, &high, 0);                                                                            \
		}                                                                                                    \
		wasm_v128_store(ranks->low, low);                                                                    \
		wasm_v128_store(ranks->high, high);                                                                  \
	}

int qs_ranks_simd128(qs_ranks *ranks, const qs_cells *cells, const uint32_t *counts, uint32_t n_runs,
                     const uint8_t *indexes, uint8_t *dst)
{
	const uint8_t *src = ranks->src;
	size_t i = 0, end = 0;
	for (uint32_t r = 0; r < n_runs; r++) {
		qs_cells of_run = cells[r];
		end += counts[r];
#define STEP(low, high, k)                                                                                   \
	step_cells_simd128(low, high, of_run, indexes + i + (k), &src, dst + 2 * i + 2 * (k))
		DECODE_VECTORS(STEP)
#undef STEP
	}
	ranks->src = src;
	ranks->escapes = qs_ranks_place_escapes(ranks->escapes, indexes, end, dst);
	return src <= ranks->src_end;
}

int qs_ranks_fields_simd128(qs_ranks *ranks, const qs_cell_fields *cells, size_t end, uint8_t *dst)
{
	const uint8_t *src = ranks->src, *escapes = ranks->escapes;
	size_t i = 0;
#define STEP(low, high, k) step_fields_simd128(low, high, cells, i + (k), &src, &escapes, dst)
	DECODE_VECTORS(STEP)
#undef STEP
	ranks->src = src;
	ranks->escapes = escapes;
	return src <= ranks->src_end;
}

#else
typedef int qs_translation_unit_is_empty;
#endif

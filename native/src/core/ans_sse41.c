/* The ANS decoder in 128-bit SIMD, four lanes in a vector; the oracle is qs_ans_scalar. It is written with
 * WebAssembly's intrinsics, which SIMDe provides on x86-64 and ARM. */
#include "ans.h"
#include "expand.h"

#if QS_HAVE_SIMD128

/* Loads the entries of four slots. */
static inline v128_t four_entries(const qs_ans_entry *entries, v128_t slots)
{
#if defined(__wasm_simd128__)
	v128_t e = wasm_v128_load32_zero(entries + wasm_u32x4_extract_lane(slots, 0));
	e = wasm_v128_load32_lane(entries + wasm_u32x4_extract_lane(slots, 1), e, 1);
	e = wasm_v128_load32_lane(entries + wasm_u32x4_extract_lane(slots, 2), e, 2);
	return wasm_v128_load32_lane(entries + wasm_u32x4_extract_lane(slots, 3), e, 3);
#else
	uint64_t low = (uint64_t)wasm_i64x2_extract_lane(slots, 0),
	         high = (uint64_t)wasm_i64x2_extract_lane(slots, 1);
	return wasm_i32x4_make((int32_t)entries[(uint32_t)low], (int32_t)entries[low >> 32],
	                       (int32_t)entries[(uint32_t)high], (int32_t)entries[high >> 32]);
#endif
}

static inline v128_t advance(v128_t state, v128_t e, unsigned log)
{
	const v128_t twelve = wasm_i32x4_splat(0xfff);
	return wasm_i32x4_add(wasm_i32x4_mul(wasm_v128_and(e, twelve), wasm_u32x4_shr(state, log)),
	                      wasm_v128_and(wasm_u32x4_shr(e, 12), twelve));
}

/* Decodes a symbol by each of eight lanes, in two vectors. */
static inline v128_t step_ans_simd128(v128_t *a, v128_t *b, const qs_ans_entry *entries, unsigned log,
                                      const uint8_t **src)
{
	const v128_t mask = wasm_i32x4_splat((int)(1u << log) - 1), zero = wasm_i32x4_splat(0);
	v128_t ea = four_entries(entries, wasm_v128_and(*a, mask)),
	       eb = four_entries(entries, wasm_v128_and(*b, mask));
	v128_t x = advance(*a, ea, log), y = advance(*b, eb, log);
	v128_t take_x = wasm_i32x4_eq(wasm_u32x4_shr(x, 16), zero),
	       take_y = wasm_i32x4_eq(wasm_u32x4_shr(y, 16), zero);
	v128_t take = wasm_i16x8_narrow_i32x4(take_x, take_y);
	unsigned due = (unsigned)wasm_i16x8_bitmask(take);
	v128_t units = wasm_i8x16_swizzle(wasm_v128_load(*src), wasm_v128_load(qs_expand[due]));
	*src += 2 * (unsigned)__builtin_popcount(due);
	*a = wasm_v128_bitselect(wasm_v128_or(wasm_i32x4_shl(x, 16), wasm_u32x4_extend_low_u16x8(units)), x,
	                         take_x);
	*b = wasm_v128_bitselect(wasm_v128_or(wasm_i32x4_shl(y, 16), wasm_u32x4_extend_high_u16x8(units)), y,
	                         take_y);
	return wasm_i16x8_narrow_i32x4(wasm_u32x4_shr(ea, 24), wasm_u32x4_shr(eb, 24));
}

int qs_ans_simd128(qs_ans *ans, uint8_t *dst, size_t n)
{
	const qs_ans_entry *entries = ans->entries;
	const unsigned log = ans->log, lanes = ans->lanes;
	const uint8_t *src = ans->src;
	size_t i = 0;
	/* A step consumes up to 16 bytes of units, and always loads 16. */
	if (lanes == QS_ANS_LANES_MAX) {
		v128_t s[8];
		for (int v = 0; v < 8; v++)
			s[v] = wasm_v128_load(ans->state + 4 * v);
		for (; i < n && ans->src_end - src >= 64; i += 32) {
			v128_t a = step_ans_simd128(&s[0], &s[1], entries, log, &src),
			       b = step_ans_simd128(&s[2], &s[3], entries, log, &src);
			wasm_v128_store(dst + i, wasm_u8x16_narrow_i16x8(a, b));
			a = step_ans_simd128(&s[4], &s[5], entries, log, &src);
			b = step_ans_simd128(&s[6], &s[7], entries, log, &src);
			wasm_v128_store(dst + i + 16, wasm_u8x16_narrow_i16x8(a, b));
		}
		for (int v = 0; v < 8; v++)
			wasm_v128_store(ans->state + 4 * v, s[v]);
	} else {
		v128_t a = wasm_v128_load(ans->state), b = wasm_v128_load(ans->state + 4);
		for (; i < n && ans->src_end - src >= 16; i += 8) {
			v128_t symbols = step_ans_simd128(&a, &b, entries, log, &src);
			wasm_v128_store64_lane(dst + i, wasm_u8x16_narrow_i16x8(symbols, symbols), 0);
		}
		wasm_v128_store(ans->state, a);
		wasm_v128_store(ans->state + 4, b);
	}
	ans->src = src;
	return qs_ans_scalar(ans, dst + i, n - i);
}

#else
typedef int qs_translation_unit_is_empty;
#endif

/* A tree's nodes in 128-bit SIMD, eight symbols at once: the oracle is qs_tree_scalar. Written with
 * WebAssembly's intrinsics; on x86-64 and ARM the same source through SIMDe. */
#include "expand.h"
#include "tree.h"

#if QS_HAVE_SIMD128

static inline void merge_eight(uint8_t *dst, v128_t both, unsigned byte)
{
	v128_t merged = wasm_i8x16_swizzle(both, wasm_v128_load64_zero(qs_merge[byte]));
	wasm_v128_store64_lane(dst, merged, 0);
}

static void two_symbols(const uint8_t *bits, const uint8_t *end, v128_t zero, v128_t one, uint8_t *dst)
{
	const v128_t spread = wasm_i8x16_make(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1),
	             bit = wasm_i64x2_splat((int64_t)0x8040201008040201u), change = wasm_v128_xor(zero, one);
	for (; bits < end; bits += 2, dst += 16) {
		v128_t bytes = wasm_i8x16_swizzle(wasm_i16x8_splat((int16_t)qs_load16(bits)), spread);
		v128_t ones = wasm_i8x16_eq(wasm_v128_and(bytes, bit), bit);
		wasm_v128_store(dst, wasm_v128_xor(zero, wasm_v128_and(ones, change)));
	}
}

#define EIGHT(step) step(0) step(1) step(2) step(3) step(4) step(5) step(6) step(7)

void qs_tree_simd128(const uint8_t *bits, size_t groups, qs_tree_branch branch[2], uint8_t *dst)
{
	const uint8_t *zeros = branch[0].from, *ones = branch[1].from, *end = bits + 8 * groups;
	v128_t zero = wasm_i8x16_splat((int8_t)branch[0].symbol),
	       one = wasm_i8x16_splat((int8_t)branch[1].symbol);
	if (!zeros && !ones)
		two_symbols(bits, end, zero, one, dst);
	else if (!zeros)
		for (; bits < end; bits += 8, dst += 64) {
#define STEP(k)                                                                                              \
	{                                                                                                        \
		unsigned byte = bits[k];                                                                             \
		merge_eight(dst + 8 * (k), wasm_v128_load64_lane(ones, zero, 1), byte);                              \
		ones += __builtin_popcount(byte);                                                                    \
	}
			EIGHT(STEP)
#undef STEP
		}
	else if (!ones)
		for (; bits < end; bits += 8, dst += 64, zeros += 64) {
#define STEP(k)                                                                                              \
	{                                                                                                        \
		unsigned byte = bits[k];                                                                             \
		merge_eight(dst + 8 * (k), wasm_v128_load64_lane(zeros + 8 * (k), one, 0), byte);                    \
		zeros -= __builtin_popcount(byte);                                                                   \
	}
			EIGHT(STEP)
#undef STEP
		}
	else
		for (; bits < end; bits += 8, dst += 64, zeros += 64) {
#define STEP(k)                                                                                              \
	{                                                                                                        \
		v128_t both = wasm_v128_load64_lane(ones, wasm_v128_load64_zero(zeros + 8 * (k)), 1);                \
		unsigned byte = bits[k];                                                                             \
		int n_ones = __builtin_popcount(byte);                                                               \
		merge_eight(dst + 8 * (k), both, byte);                                                              \
		ones += n_ones;                                                                                      \
		zeros -= n_ones;                                                                                     \
	}
			EIGHT(STEP)
#undef STEP
		}
	branch[0].from = zeros;
	branch[1].from = ones;
}

#else
typedef int qs_translation_unit_is_empty;
#endif

/* A tree's nodes in 128-bit SIMD, eight symbols at once: the oracle is qs_tree_scalar. Written with
 * WebAssembly's intrinsics; on x86-64 and ARM the same source through SIMDe. */
#include "expand.h"
#include "tree.h"

#if QS_HAVE_SIMD128

#if defined(__wasm_simd128__)
#define KEEP_AS_IS(vector) __asm__("" : "+r"(vector))
#else
#define KEEP_AS_IS(vector) (void)(vector)
#endif

static inline v128_t merge_eight(v128_t both, unsigned byte)
{
	return wasm_i8x16_swizzle(both, wasm_v128_load64_zero(qs_merge[byte]));
}

static void two_symbols(const uint8_t *bits, const uint8_t *end, v128_t zero, v128_t one, uint8_t *dst)
{
	const v128_t spread = wasm_i8x16_make(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1),
	             bit = wasm_i64x2_splat((int64_t)0x8040201008040201u);
	v128_t change = wasm_v128_xor(zero, one);
	KEEP_AS_IS(change);
	for (; bits < end; bits += 8, dst += 64)
		for (unsigned k = 0; k < 4; k++) {
			v128_t bytes = wasm_i8x16_swizzle(wasm_v128_load16_splat(bits + 2 * k), spread);
			v128_t zeros = wasm_i8x16_eq(wasm_v128_and(bytes, bit), wasm_i8x16_splat(0));
			wasm_v128_store(dst + 16 * k, wasm_v128_xor(one, wasm_v128_and(zeros, change)));
		}
}

#define FOUR(step) step(0) step(1) step(2) step(3)

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
		unsigned low = bits[2 * k], high = bits[2 * k + 1];                                                  \
		v128_t first = merge_eight(wasm_v128_load64_lane(ones, zero, 1), low);                               \
		ones += __builtin_popcount(low);                                                                     \
		v128_t second = merge_eight(wasm_v128_load64_lane(ones, zero, 1), high);                             \
		ones += __builtin_popcount(high);                                                                    \
		wasm_v128_store(dst + 16 * (k), wasm_i64x2_shuffle(first, second, 0, 2));                            \
	}
			FOUR(STEP)
#undef STEP
		}
	else if (!ones)
		for (; bits < end; bits += 8, dst += 64, zeros += 64) {
#define STEP(k)                                                                                              \
	{                                                                                                        \
		unsigned low = bits[2 * k], high = bits[2 * k + 1];                                                  \
		v128_t first = merge_eight(wasm_i64x2_shuffle(wasm_v128_load(zeros + 16 * (k)), one, 0, 2), low);                    \
		zeros -= __builtin_popcount(low);                                                                    \
		v128_t second = merge_eight(wasm_i64x2_shuffle(wasm_v128_load(zeros + 16 * (k) + 8), one, 0, 2), high);              \
		zeros -= __builtin_popcount(high);                                                                   \
		wasm_v128_store(dst + 16 * (k), wasm_i64x2_shuffle(first, second, 0, 2));                            \
	}
			FOUR(STEP)
#undef STEP
		}
	else
		for (; bits < end; bits += 8, dst += 64, zeros += 64) {
#define LOAD(offset) wasm_v128_load64_lane(ones, wasm_v128_load(zeros + (offset)), 1)
#define STEP(k)                                                                                              \
	{                                                                                                        \
		unsigned low = bits[2 * k], high = bits[2 * k + 1];                                                  \
		int n_low = __builtin_popcount(low), n_high = __builtin_popcount(high);                              \
		v128_t first = merge_eight(LOAD(16 * (k)), low);                                                     \
		ones += n_low;                                                                                       \
		zeros -= n_low;                                                                                      \
		v128_t second = merge_eight(LOAD(16 * (k) + 8), high);                                               \
		ones += n_high;                                                                                      \
		zeros -= n_high;                                                                                     \
		wasm_v128_store(dst + 16 * (k), wasm_i64x2_shuffle(first, second, 0, 2));                            \
	}
			FOUR(STEP)
#undef STEP
		}
	branch[0].from = zeros;
	branch[1].from = ones;
}

#else
typedef int qs_translation_unit_is_empty;
#endif

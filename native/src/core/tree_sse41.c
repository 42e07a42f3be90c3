/* Merges a tree's nodes in 128-bit SIMD, eight symbols at a time; the oracle is qs_tree_scalar. It is written
 * with WebAssembly's intrinsics, which SIMDe provides on x86-64 and ARM. */
#include "bytes.h"
#include "expand.h"
#include "tree.h"

#if QS_HAVE_SIMD128

static void merge_two_symbols_simd128(const uint8_t *bits, const uint8_t *end, v128_t zero, v128_t one,
                                      uint8_t *dst)
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

/* Loads eight bytes into the low half. Where a whole vector is loaded, WebAssembly's compilers put the offset
 * into the instruction itself. */
static inline v128_t load_eight(const uint8_t *src)
{
#if defined(__wasm_simd128__)
	return wasm_v128_load(src);
#else
	return wasm_v128_load64_zero(src);
#endif
}

static inline v128_t merge_eight(v128_t both, unsigned byte)
{
	return wasm_i8x16_swizzle(both, wasm_v128_load64_zero(qs_merge[byte]));
}

/* Merges nodes with at least one inner child. Constants say which, so that the compiler makes three loops. */
QS_ALWAYS_INLINE void merge(const uint8_t *bits, const uint8_t *end, qs_tree_branch branch[2],
                            const int inner_zeros, const int inner_ones, uint8_t *dst)
{
	const uint8_t *zeros = branch[0].from, *ones = branch[1].from;
	v128_t low = wasm_i8x16_splat((int8_t)branch[0].symbol),
	       high = wasm_i8x16_splat((int8_t)branch[1].symbol);
	for (; bits < end; bits += 8, dst += 64) {
#pragma GCC unroll 4
		for (unsigned k = 0; k < 8; k += 2) {
			v128_t merged[2];
#pragma GCC unroll 2
			for (unsigned i = 0; i < 2; i++) {
				unsigned byte = bits[k + i];
				v128_t both = inner_zeros ? load_eight(zeros + 8 * (k + i)) : low;
				both =
				    inner_ones ? wasm_v128_load64_lane(ones, both, 1) : wasm_i64x2_shuffle(both, high, 0, 2);
				merged[i] = merge_eight(both, byte);
				if (inner_ones)
					ones += __builtin_popcount(byte);
				if (inner_zeros)
					zeros -= __builtin_popcount(byte);
			}
			wasm_v128_store(dst + 8 * k, wasm_i64x2_shuffle(merged[0], merged[1], 0, 2));
		}
		if (inner_zeros)
			zeros += 64;
	}
	branch[0].from = zeros;
	branch[1].from = ones;
}

void qs_tree_simd128(const uint8_t *bits, size_t groups, qs_tree_branch branch[2], uint8_t *dst)
{
	const uint8_t *end = bits + 8 * groups;
	if (branch[0].from && branch[1].from)
		merge(bits, end, branch, 1, 1, dst);
	else if (branch[1].from)
		merge(bits, end, branch, 0, 1, dst);
	else if (branch[0].from)
		merge(bits, end, branch, 1, 0, dst);
	else
		merge_two_symbols_simd128(bits, end, wasm_i8x16_splat((int8_t)branch[0].symbol),
		                          wasm_i8x16_splat((int8_t)branch[1].symbol), dst);
}

#else
typedef int qs_translation_unit_is_empty;
#endif

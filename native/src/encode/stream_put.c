#include "stream_put.h"

#include "../core/bytes.h"
#include "../core/simd.h"

static inline __attribute__((always_inline)) uint8_t *
put(const uint8_t *src, size_t n, const uint32_t codes[256], uint8_t *dst, uint64_t bits, uint64_t used)
{
	/* Of `used` only the low 6 bits count: whole entries are added to it. */
	size_t i = 0;
	/* Up to 7 bits are left over, five codes add 55: one store of 8 bytes takes them. */
	for (; i + 5 <= n; i += 5) {
		for (size_t k = 0; k < 5; k++) {
			uint64_t code = codes[src[i + k]];
			bits |= code >> 8 << (used & 63);
			used += code;
		}
		qs_store64(dst, bits);
		dst += (used & 63) >> 3;
		bits >>= used & 56;
		used &= 7;
	}
	for (; i < n; i++) {
		bits |= (uint64_t)(codes[src[i]] >> 8) << used;
		used += codes[src[i]] & 255;
	}
	for (; used; used -= used < 8 ? used : 8, bits >>= 8)
		*dst++ = (uint8_t)bits;
	return dst;
}

uint8_t *qs_stream_put_rest(const uint8_t *src, size_t n, const uint32_t codes[256], uint8_t *dst,
                            uint64_t bits, unsigned used)
{
	return put(src, n, codes, dst, bits, used);
}

uint8_t *qs_stream_put_scalar(const uint8_t *src, size_t n, const uint32_t codes[256], uint8_t *dst)
{
	return put(src, n, codes, dst, 0, 0);
}

#if defined(__x86_64__)
/* Shifts by a register without the flags' cost. */
__attribute__((target("bmi2"))) uint8_t *qs_stream_put_bmi2(const uint8_t *src, size_t n,
                                                            const uint32_t codes[256], uint8_t *dst)
{
	return put(src, n, codes, dst, 0, 0);
}
#endif

qs_stream_put_kernel *qs_stream_put_best(void)
{
#if QS_HAVE_AVX512
	if (qs_cpu_has_avx512() && __builtin_cpu_supports("avx512vbmi"))
		return qs_stream_put_avx512;
#endif
#if defined(__x86_64__)
	if (__builtin_cpu_supports("bmi2"))
		return qs_stream_put_bmi2;
#endif
	return qs_stream_put_scalar;
}

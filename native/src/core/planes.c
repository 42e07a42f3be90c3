#include "check.h"
#include "planes.h"

#include "index.h"
#include "simd.h"

int qs_planes_rotated(uint32_t dtype)
{
	return dtype == QS_F16 || dtype == QS_BF16 || dtype == QS_F32 || dtype == QS_F64;
}

QS_ALWAYS_INLINE void weave(const uint8_t *const *planes, size_t n, unsigned size, int rotated, uint8_t *dst)
{
	if (size == 1) {
		memcpy(dst, planes[0], n);
	} else if (size == 2 && rotated) {
		const uint8_t *p0 = planes[0], *p1 = planes[1];
		for (size_t i = 0; i < n; i++) {
			uint16_t v = (uint16_t)(p0[i] << 8 | p1[i]);
			qs_store16(dst + 2 * i, (uint16_t)(v >> 1 | v << 15));
		}
	} else if (size == 4 && rotated) {
		const uint8_t *p0 = planes[0], *p1 = planes[1], *p2 = planes[2], *p3 = planes[3];
		for (size_t i = 0; i < n; i++) {
			uint32_t v = (uint32_t)p0[i] << 24 | (uint32_t)p1[i] << 16 | (uint32_t)p2[i] << 8 | p3[i];
			qs_store32(dst + 4 * i, v >> 1 | v << 31);
		}
	} else {
		for (size_t i = 0; i < n; i++) {
			uint64_t v = 0;
			QS_ASSERT(size > 0 && size <= 8);
			for (unsigned b = 0; b < size; b++)
				v = v << 8 | planes[b][i];
			if (rotated)
				v = v >> 1 | v << (8 * size - 1);
			memcpy(dst + i * size, &v, size);
		}
	}
}

#if QS_HAVE_AVX512
static __attribute__((target("avx512f,avx512bw,avx512vl"))) void
weave_avx512(const uint8_t *const *planes, size_t n, unsigned size, int rotated, uint8_t *dst)
{
	weave(planes, n, size, rotated, dst);
}
#endif

#if !defined(__wasm__) || defined(__wasm_simd128__)
typedef uint8_t bytes __attribute__((vector_size(16)));
typedef uint16_t words __attribute__((vector_size(16)));
typedef uint32_t doubles __attribute__((vector_size(16)));

static inline bytes load_bytes(const uint8_t *p)
{
	bytes v;
	memcpy(&v, p, sizeof v);
	return v;
}

/* Interleave the bytes of two vectors: low_pairs returns the first half of the pairs, high_pairs the
 * second. */
static inline words low_pairs(bytes a, bytes b)
{
	return (words)__builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}
static inline words high_pairs(bytes a, bytes b)
{
	return (words)__builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

static inline void store_two(uint8_t *dst, words v)
{
	v = v >> 1 | v << 15;
	memcpy(dst, &v, sizeof v);
}

/* Joins words of elements' lower and upper bytes to elements of four bytes, and stores them. */
static inline void store_four(uint8_t *dst, words low, words high)
{
	doubles a = (doubles)__builtin_shufflevector(low, high, 0, 8, 1, 9, 2, 10, 3, 11),
	        b = (doubles)__builtin_shufflevector(low, high, 4, 12, 5, 13, 6, 14, 7, 15);
	a = a >> 1 | a << 31;
	b = b >> 1 | b << 31;
	memcpy(dst, &a, sizeof a);
	memcpy(dst + 16, &b, sizeof b);
}

/* Joins rotated elements, 16 at a time, and returns their number. Compilers do not find the unpacking
 * instructions by themselves. */
static size_t weave_vectors(const uint8_t *const *planes, size_t n, unsigned size, uint8_t *dst)
{
	size_t i = 0;
	for (; size == 2 && n - i >= 16; i += 16) {
		bytes a = load_bytes(planes[0] + i), b = load_bytes(planes[1] + i);
		store_two(dst + 2 * i, low_pairs(b, a));
		store_two(dst + 2 * i + 16, high_pairs(b, a));
	}
	for (; size == 4 && n - i >= 16; i += 16) {
		bytes a = load_bytes(planes[0] + i), b = load_bytes(planes[1] + i), c = load_bytes(planes[2] + i),
		      d = load_bytes(planes[3] + i);
		store_four(dst + 4 * i, low_pairs(d, c), low_pairs(b, a));
		store_four(dst + 4 * i + 32, high_pairs(d, c), high_pairs(b, a));
	}
	return i;
}
#endif

void qs_planes_weave(const uint8_t *const *planes, size_t n, unsigned size, int rotated, uint8_t *dst)
{
#if QS_HAVE_AVX512
	if (qs_cpu_has_avx512()) {
		weave_avx512(planes, n, size, rotated, dst);
		return;
	}
#endif
#if !defined(__wasm__) || defined(__wasm_simd128__)
	size_t done = rotated ? weave_vectors(planes, n, size, dst) : 0;
	const uint8_t *rest[QS_PLANES_MAX];
	for (unsigned b = 0; b < size; b++)
		rest[b] = planes[b] + done;
	weave(rest, n - done, size, rotated, dst + done * size);
#else
	weave(planes, n, size, rotated, dst);
#endif
}

void qs_planes_join(const uint8_t *planes, size_t n, unsigned size, int rotated, uint8_t *dst)
{
	const uint8_t *all[QS_PLANES_MAX];
	for (unsigned b = 0; b < size; b++)
		all[b] = planes + b * n;
	qs_planes_weave(all, n, size, rotated, dst);
}

void qs_planes_split(const uint8_t *src, size_t n, unsigned size, int rotated, uint8_t *planes)
{
	if (size == 1) {
		memcpy(planes, src, n);
	} else if (size == 2 && rotated) {
		uint8_t *p0 = planes, *p1 = planes + n;
		for (size_t i = 0; i < n; i++) {
			uint16_t v = qs_load16(src + 2 * i);
			p0[i] = (uint8_t)(v >> 7);
			p1[i] = (uint8_t)(v << 1 | v >> 15);
		}
	} else {
		for (size_t i = 0; i < n; i++) {
			uint64_t v = 0;
			memcpy(&v, src + i * size, size);
			if (rotated)
				v = v << 1 | v >> (8 * size - 1);
			for (unsigned b = 0; b < size; b++)
				planes[b * n + i] = (uint8_t)(v >> (8 * (size - 1 - b)));
		}
	}
}

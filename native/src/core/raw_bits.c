#include "raw_bits.h"

#include "lanes.h"
#include "simd.h"

typedef qs_lanes lanes;
#if QS_LANES_ARE_WORDS
#define ALL_LANES(x) ((lanes)0x0101010101010101u * (x))
static inline lanes shift_left(lanes v, unsigned k)
{
	return (v & ALL_LANES(0xffu >> k)) << k;
}
static inline lanes shift_right(lanes v, unsigned k)
{
	return v >> k & ALL_LANES(0xffu >> k);
}
/* Sets all bits of each byte to its bit `from`. */
static inline lanes all_as(lanes v, unsigned from)
{
	return (v >> from & ALL_LANES(1)) * 255;
}
#else
#define ALL_LANES(x) ((uint8_t)(x))
/* Bytes are shifted by shifting 16-bit words and masking, for x86 has no shifts of bytes. */
typedef uint16_t words __attribute__((vector_size(16)));
typedef int8_t signs __attribute__((vector_size(16)));
static inline lanes shift_left(lanes v, unsigned k)
{
	return (lanes)((words)(v & (uint8_t)(0xffu >> k)) << k);
}
static inline lanes shift_right(lanes v, unsigned k)
{
	return (lanes)((words)v >> k) & (uint8_t)(0xffu >> k);
}
/* Sets all bits of each byte to its bit `from`, which a shift makes the sign of a number. */
static inline lanes all_as(lanes v, unsigned from)
{
	signs none = {0};
	KEEP_AS_IS(none);
	return (lanes)(none > (signs)((words)v << (7 - from)));
}
#endif

/* Returns bits [from, from + width) of each byte of a plane, moved up to bit `at`. With zigzag, it returns
 * their share of the zigzag-decoded byte: bits move down by one, and the lowest bit inverts all others. */
static inline __attribute__((always_inline)) lanes
field(const uint8_t *plane, const unsigned from, const unsigned width, const unsigned at, const int zigzag)
{
	lanes v = qs_load_lanes(plane);
	if (!zigzag)
		return shift_left(shift_right(v, from) & ALL_LANES((1u << width) - 1), at);
	if (at)
		return shift_left(shift_right(v, from) & ALL_LANES((1u << width) - 1), at - 1);
	lanes inverts = all_as(v, from);
	return width > 1 ? inverts ^ (shift_right(v, from + 1) & ALL_LANES((1u << (width - 1)) - 1)) : inverts;
}

/* Merges the low bits of one raw group. They are stored as a plane of 4 bits a symbol, one of 2 and one of 1;
 * `bits`, written in binary, says which of the three there are. It is a constant where this function is
 * inlined, so that the loop unrolls into straight SIMD. */
static inline __attribute__((always_inline)) void merge_group(uint8_t *v, const uint8_t *raw,
                                                              const unsigned bits, const int zigzag)
{
	const uint8_t *plane2 = raw + (bits & 4 ? 64 : 0), *plane1 = plane2 + (bits & 2 ? 32 : 0);
#pragma GCC unroll 16
	for (unsigned i = 0; i < QS_RAW_GROUP; i += (unsigned)sizeof(lanes)) {
		lanes u = qs_load_lanes(v + i);
		if (bits & 4)
			u ^= field(raw + (i & 63), i >> 6 << 2, 4, 0, zigzag);
		if (bits & 2)
			u ^= field(plane2 + (i & 31), i >> 5 << 1, 2, bits & 4, zigzag);
		if (bits & 1)
			u ^= field(plane1 + (i & 15), i >> 4, 1, bits & 6, zigzag);
		qs_store_lanes(v + i, u);
	}
}

static inline __attribute__((always_inline)) void merge_groups(uint8_t *v, const uint8_t *raw, size_t groups,
                                                               unsigned bits, int zigzag)
{
	for (; groups; groups--, v += QS_RAW_GROUP, raw += QS_RAW_GROUP / 8 * bits)
		merge_group(v, raw, bits, zigzag);
}

#define MERGE_CASE(k)                                                                                        \
	case k:                                                                                                  \
		merge_groups(dst, raw, groups, k, 0);                                                                \
		break;                                                                                               \
	case k + 8:                                                                                              \
		merge_groups(dst, raw, groups, k, 1);                                                                \
		break;

void qs_raw_bits_groups(uint8_t *dst, const uint8_t *raw, size_t groups, unsigned bits, int zigzag)
{
	switch (bits + (zigzag ? 8 : 0)) {
		MERGE_CASE(1)
		MERGE_CASE(2)
		MERGE_CASE(3)
		MERGE_CASE(4)
		MERGE_CASE(5)
		MERGE_CASE(6)
		MERGE_CASE(7)
	}
}

static qs_raw_bits_kernel *best_raw_bits_kernel(void)
{
#if QS_HAVE_AVX512
	if (qs_cpu_has_avx512() && __builtin_cpu_supports("gfni"))
		return qs_raw_bits_groups_avx512;
#endif
	return qs_raw_bits_groups;
}

void qs_raw_bits_merge(uint8_t *dst, size_t n, const uint8_t *raw, unsigned bits, int zigzag)
{
	size_t groups = n / QS_RAW_GROUP;
	if (!bits)
		return;
	best_raw_bits_kernel()(dst, raw, groups, bits, zigzag);
	dst += groups * QS_RAW_GROUP;
	raw += groups * (QS_RAW_GROUP / 8) * bits;
	n -= groups * QS_RAW_GROUP;
	for (size_t i = 0, bit = 0; i < n; i++) {
		unsigned u = 0;
		for (unsigned b = 0; b < bits; b++, bit++)
			u |= (unsigned)(raw[bit >> 3] >> (bit & 7) & 1) << b;
		dst[i] ^= qs_raw_bits_above(u, 0, zigzag);
	}
}

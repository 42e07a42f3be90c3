/* Little-endian loads and stores at any alignment, on any platform. */
#ifndef QS_BYTES_H
#define QS_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#error "qstore's codec writes native words: big-endian hosts need byte swaps in bytes.h"
#endif

/* Cells and predictions are right only if each operation on singles is rounded to a single. */
#if defined(__FLT_EVAL_METHOD__) &&                                                                          \
    (__FLT_EVAL_METHOD__ < 0 || __FLT_EVAL_METHOD__ == 1 || __FLT_EVAL_METHOD__ == 2)
#error "qstore's rules are in single precision: on 32-bit x86 compile with -msse2 -mfpmath=sse"
#endif

/* Marks functions that compilers turn into SIMD where arguments are constants, and functions that must be
 * compiled for their caller's instruction set. */
#define QS_ALWAYS_INLINE static inline __attribute__((always_inline))

static inline uint16_t qs_load16(const uint8_t *p)
{
	uint16_t v;
	memcpy(&v, p, sizeof v);
	return v;
}

static inline uint32_t qs_load32(const uint8_t *p)
{
	uint32_t v;
	memcpy(&v, p, sizeof v);
	return v;
}

static inline uint64_t qs_load64(const uint8_t *p)
{
	uint64_t v;
	memcpy(&v, p, sizeof v);
	return v;
}

static inline float qs_load_f32(const uint8_t *p)
{
	float v;
	memcpy(&v, p, sizeof v);
	return v;
}

static inline double qs_load_f64(const uint8_t *p)
{
	double v;
	memcpy(&v, p, sizeof v);
	return v;
}

static inline void qs_store16(uint8_t *p, uint16_t v)
{
	memcpy(p, &v, sizeof v);
}

static inline void qs_store32(uint8_t *p, uint32_t v)
{
	memcpy(p, &v, sizeof v);
}

static inline void qs_store64(uint8_t *p, uint64_t v)
{
	memcpy(p, &v, sizeof v);
}

/* Bytes that are read front to back. Reading past their end sets `bad` and returns 0. */
typedef struct qs_reader {
	const uint8_t *at, *end;
	int bad;
} qs_reader;

static inline size_t qs_reader_left(const qs_reader *r)
{
	return (size_t)(r->end - r->at);
}

static inline uint8_t qs_read8(qs_reader *r)
{
	if (r->at == r->end) {
		r->bad = 1;
		return 0;
	}
	return *r->at++;
}

/* Takes n bytes and returns their address; NULL if fewer are left. */
static inline const uint8_t *qs_read_bytes(qs_reader *r, size_t n)
{
	if (n > qs_reader_left(r)) {
		r->bad = 1;
		return NULL;
	}
	const uint8_t *p = r->at;
	r->at += n;
	return p;
}

/* Reads an unsigned LEB128 number of at most 32 bits. */
static inline uint32_t qs_read_varint(qs_reader *r)
{
	uint32_t v = 0;
	for (unsigned shift = 0; shift < 35; shift += 7) {
		uint8_t b = qs_read8(r);
		if (shift == 28 && b > 15) {
			r->bad = 1;
			return 0;
		}
		v |= (uint32_t)(b & 127) << shift;
		if (!(b & 128))
			return v;
	}
	r->bad = 1;
	return 0;
}

#endif

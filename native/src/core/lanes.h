/* Several bytes at once: a SIMD vector or, without SIMD, a 64-bit word. */
#ifndef QS_LANES_H
#define QS_LANES_H

#include "bytes.h"

#if defined(__wasm__) && !defined(__wasm_simd128__)
#define QS_LANES_ARE_WORDS 1
typedef uint64_t qs_lanes;
#else
#define QS_LANES_ARE_WORDS 0
typedef uint8_t qs_lanes __attribute__((vector_size(16)));
#endif

static inline qs_lanes qs_load_lanes(const uint8_t *p)
{
	qs_lanes v;
	memcpy(&v, p, sizeof v);
	return v;
}

static inline void qs_store_lanes(uint8_t *p, qs_lanes v)
{
	memcpy(p, &v, sizeof v);
}

#endif

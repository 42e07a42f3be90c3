/* 128-bit vectors in WebAssembly's words, and units that go to some of their lanes. */
#ifndef QS_EXPAND_H
#define QS_EXPAND_H

#include <stdint.h>

#include "simd.h"

#if QS_HAVE_SIMD128
#if defined(__wasm_simd128__)
#include <wasm_simd128.h>
#else
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/wasm/simd128.h>
#endif

/* Where each lane's 16 bits come from, for each set of lanes that take some: byte indices for swizzle, 0x80
 * for none. */
extern const uint8_t qs_expand[256][16];

#endif
#endif

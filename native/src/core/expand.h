/* 128-bit vectors by WebAssembly's intrinsics, and a table that distributes units among lanes. */
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

/* For each set of lanes that take a unit, the swizzle that brings units to these lanes in order: byte
 * indices, or 0x80 for lanes that take none. */
extern const uint8_t qs_expand[256][16];

#endif
#endif

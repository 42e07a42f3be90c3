/* Which SIMD kernels this build has, and whether this machine runs them. */
#ifndef QS_SIMD_H
#define QS_SIMD_H

/* The 128-bit kernels are one source, written with WebAssembly's intrinsics. Natively, SIMDe's headers
 * provide them (SSE4.1, NEON). Without these headers, or with QS_NO_SIMD128 defined, the build has none of
 * these kernels. */
#if defined(__wasm_simd128__)
#define QS_HAVE_SIMD128 1
#define qs_cpu_has_simd128() 1
#elif defined(__x86_64__) && defined(__has_include) && !defined(QS_NO_SIMD128)
#if __has_include(<simde/wasm/simd128.h>)
#define QS_HAVE_SIMD128 1
#define qs_cpu_has_simd128() (__builtin_cpu_supports("sse4.1") && __builtin_cpu_supports("popcnt"))
#endif
#elif defined(__aarch64__) && defined(__has_include) && !defined(QS_NO_SIMD128)
#if __has_include(<simde/wasm/simd128.h>)
#define QS_HAVE_SIMD128 1
#define qs_cpu_has_simd128() 1
#endif
#endif

#if defined(__x86_64__)
#define QS_HAVE_AVX2 1
#define qs_cpu_has_avx2()                                                                                    \
	(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt"))
#endif

#if defined(__x86_64__) && !defined(QS_NO_AVX512)
#define QS_HAVE_AVX512 1
#define qs_cpu_has_avx512()                                                                                  \
	(__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&                             \
	 __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vbmi2") &&                        \
	 __builtin_cpu_supports("popcnt"))
#endif

/* The kernels of cell_fields_vectors.h use the compiler's own vectors, and need no library. */
#if defined(__wasm_simd128__) || defined(__x86_64__) || defined(__aarch64__)
#define QS_HAVE_FIELDS 1
#if defined(__x86_64__)
#define qs_cpu_has_fields() __builtin_cpu_supports("sse4.1")
#else
#define qs_cpu_has_fields() 1
#endif
#else
#define QS_HAVE_FIELDS 0
#endif

#ifndef QS_HAVE_SIMD128
#define QS_HAVE_SIMD128 0
#endif
#ifndef QS_HAVE_AVX2
#define QS_HAVE_AVX2 0
#endif
#ifndef QS_HAVE_AVX512
#define QS_HAVE_AVX512 0
#endif

/* Hides from LLVM how a vector was made. LLVM would rewrite comparisons and choices into forms that take more
 * instructions in WebAssembly engines. */
#if defined(__wasm_simd128__) && __clang_major__ < 19 /* Clang 19 crashes on vectors in assembly */
#define KEEP_AS_IS(vector) __asm__("" : "+r"(vector))
#else
#define KEEP_AS_IS(vector) (void)(vector)
#endif

/* For functions that choose a kernel, the fastest first. Returns `kernel` if the build has it, this machine
 * runs it and `when` holds. */
#if QS_HAVE_AVX512
#define QS_RETURN_AVX512(when, kernel)                                                                       \
	if ((when) && qs_cpu_has_avx512())                                                                       \
	return kernel
#else
#define QS_RETURN_AVX512(when, kernel) (void)(when)
#endif
#if QS_HAVE_AVX2
#define QS_RETURN_AVX2(when, kernel)                                                                         \
	if ((when) && qs_cpu_has_avx2())                                                                         \
	return kernel
#else
#define QS_RETURN_AVX2(when, kernel) (void)(when)
#endif
#if QS_HAVE_SIMD128
#define QS_RETURN_SIMD128(when, kernel)                                                                      \
	if ((when) && qs_cpu_has_simd128())                                                                      \
	return kernel
#else
#define QS_RETURN_SIMD128(when, kernel) (void)(when)
#endif

#endif

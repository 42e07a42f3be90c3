/* Names the kernels that this build has and those that this machine uses, for users who wonder why a machine
 * is slow. Functions with several kernels choose among them by themselves (core/simd.h). */
#include "core/simd.h"
#include "qstore.h"

#if defined(__aarch64__)
#define SIMD128 " neon"
#else
#define SIMD128 " sse4.1"
#endif

enum { HAS_SIMD128 = 1, HAS_AVX2 = 2, HAS_AVX512 = 4 };

static const char *const names[] = {
    [0] = "scalar",
    [HAS_SIMD128] = "scalar" SIMD128,
    [HAS_AVX2] = "scalar avx2",
    [HAS_SIMD128 | HAS_AVX2] = "scalar" SIMD128 " avx2",
    [HAS_AVX512] = "scalar avx512",
    [HAS_SIMD128 | HAS_AVX512] = "scalar" SIMD128 " avx512",
    [HAS_AVX2 | HAS_AVX512] = "scalar avx2 avx512",
    [HAS_SIMD128 | HAS_AVX2 | HAS_AVX512] = "scalar" SIMD128 " avx2 avx512",
};

const char *qstore_kernels_built(void)
{
	return names[(QS_HAVE_SIMD128 ? HAS_SIMD128 : 0) | (QS_HAVE_AVX2 ? HAS_AVX2 : 0) |
	             (QS_HAVE_AVX512 ? HAS_AVX512 : 0)];
}

const char *qstore_kernels_used(void)
{
	int used = 0;
#if QS_HAVE_SIMD128
	if (qs_cpu_has_simd128())
		used |= HAS_SIMD128;
#endif
#if QS_HAVE_AVX2
	if (qs_cpu_has_avx2())
		used |= HAS_AVX2;
#endif
#if QS_HAVE_AVX512
	if (qs_cpu_has_avx512())
		used |= HAS_AVX512;
#endif
	return names[used];
}

/* Tests of kernels that not every machine runs: they say that they were skipped, and fail where a build lacks
 * kernels that the machine runs. */
#ifndef TESTS_KERNEL_HELP_H
#define TESTS_KERNEL_HELP_H

#include "core/simd.h"

enum {
	KERNEL_FIELDS = 1,  /* 128 bits, with the compiler's own vectors: x86-64 with SSE4.1, 64-bit ARM */
	KERNEL_SIMD128 = 2, /* 128 bits, with SIMDe's intrinsics: where SIMDe is installed */
	KERNEL_AVX2 = 4,
	KERNEL_AVX512 = 8,
	KERNEL_GFNI = 16 /* AVX-512 with GFNI */
};

/* Skips the running test unless this machine runs one of the kernels in the mask, which is a sum of the
 * above. Fails it if the machine runs a kernel in the mask that core/simd.h does not offer. /proc/cpuinfo
 * tells what the machine runs, so that core/simd.h's own question to the CPU is checked too. */
void need_kernels(unsigned mask);

#endif

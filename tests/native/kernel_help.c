#include "kernel_help.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#if defined(__has_include)
#if __has_include(<simde/wasm/simd128.h>)
#define HAVE_SIMDE 1
#endif
#endif
#ifndef HAVE_SIMDE
#define HAVE_SIMDE 0
#endif

#if defined(__x86_64__)
/* Whether /proc/cpuinfo's first list of flags has all of these words. */
static int cpu_has_all(const char *const words[])
{
	static char flags[16384];
	FILE *file = flags[0] ? NULL : fopen("/proc/cpuinfo", "r");
	while (file && !flags[0]) {
		char line[8192];
		if (!fgets(line, sizeof line, file))
			fail_msg("/proc/cpuinfo has no flags");
		if (strncmp(line, "flags", 5) == 0)
			snprintf(flags, sizeof flags, "%.*s ", (int)strcspn(line, "\n"), line);
	}
	if (file)
		fclose(file);
	if (!flags[0])
		fail_msg("/proc/cpuinfo cannot be read");
	for (; *words; words++) {
		char word[40];
		snprintf(word, sizeof word, " %s ", *words);
		if (!strstr(flags, word))
			return 0;
	}
	return 1;
}

static unsigned kernels_of_machine(void)
{
	static const char *const sse41[] = {"sse4_1", "popcnt", NULL}, *const avx2[] = {"avx2", "bmi2", NULL},
	                         *const avx512[] = {"avx512bw", "avx512vl", "avx512vbmi", "avx512_vbmi2", NULL},
	                         *const gfni[] = {"gfni", NULL};
	unsigned mask = 0;
	if (cpu_has_all(sse41))
		mask |= KERNEL_FIELDS | (HAVE_SIMDE ? KERNEL_SIMD128 : 0);
	if (cpu_has_all(avx2))
		mask |= KERNEL_AVX2;
#ifndef QS_NO_AVX512
	if (cpu_has_all(avx512))
		mask |= KERNEL_AVX512 | (cpu_has_all(gfni) ? KERNEL_GFNI : 0);
#else
	(void)avx512, (void)gfni;
#endif
	return mask;
}
#elif defined(__aarch64__)
static unsigned kernels_of_machine(void)
{
	return KERNEL_FIELDS | (HAVE_SIMDE ? KERNEL_SIMD128 : 0);
}
#else
static unsigned kernels_of_machine(void)
{
	return 0;
}
#endif

static unsigned kernels_of_build(void)
{
	unsigned mask = 0;
#if QS_HAVE_FIELDS
	mask |= qs_cpu_has_fields() ? KERNEL_FIELDS : 0;
#endif
#if QS_HAVE_SIMD128
	mask |= qs_cpu_has_simd128() ? KERNEL_SIMD128 : 0;
#endif
#if QS_HAVE_AVX2
	mask |= qs_cpu_has_avx2() ? KERNEL_AVX2 : 0;
#endif
#if QS_HAVE_AVX512
	mask |= qs_cpu_has_avx512() ? KERNEL_AVX512 : 0;
	mask |= qs_cpu_has_avx512() && __builtin_cpu_supports("gfni") ? KERNEL_GFNI : 0;
#endif
	return mask;
}

void need_kernels(unsigned mask)
{
	unsigned machine = kernels_of_machine() & mask, missing = machine & ~kernels_of_build();
	if (missing)
		fail_msg("this machine runs kernels %#x of %#x, but the build does not offer %#x of them", machine,
		         mask, missing);
	if (!machine)
		skip();
}

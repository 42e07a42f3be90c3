#define XXH_INLINE_ALL
#include <xxhash.h>

#include "checksum.h"
#include "simd.h"

/* Below this much the instructions do not matter. */
#define LONG_SIZE 1024

uint64_t qs_checksum(const void *src, size_t src_size)
{
#if QS_HAVE_AVX512
	if (src_size >= LONG_SIZE && qs_cpu_has_avx512())
		return qs_checksum_avx512(src, src_size);
#endif
#if QS_HAVE_AVX2
	if (src_size >= LONG_SIZE && qs_cpu_has_avx2())
		return qs_checksum_avx2(src, src_size);
#endif
	return XXH3_64bits(src, src_size);
}

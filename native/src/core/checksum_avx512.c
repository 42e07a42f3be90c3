#include "checksum.h"
#include "simd.h"

#if QS_HAVE_AVX512
/* xxhash.h chooses its code by the instruction set that this file is compiled for. */
#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t qs_checksum_avx512(const void *src, size_t src_size)
{
	return XXH3_64bits(src, src_size);
}
#endif

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "checksum.h"
#include "simd.h"

/* Below this many bytes the instruction set makes no difference. */
#define LONG_SIZE 1024

uint64_t qs_checksum(const void *src, size_t src_size)
{
	QS_RETURN_AVX512(src_size >= LONG_SIZE, qs_checksum_avx512(src, src_size));
	QS_RETURN_AVX2(src_size >= LONG_SIZE, qs_checksum_avx2(src, src_size));
	return XXH3_64bits(src, src_size);
}

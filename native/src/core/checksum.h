/* XXH3-64 with seed 0: of the index, of coded chunks, of what they decode to (FORMAT.md, "Index"). */
#ifndef QS_CHECKSUM_H
#define QS_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

uint64_t qs_checksum(const void *src, size_t src_size);

/* The same by the instructions of their names, whose machine has them; qs_checksum chooses. */
uint64_t qs_checksum_avx2(const void *src, size_t src_size);
uint64_t qs_checksum_avx512(const void *src, size_t src_size);

#endif

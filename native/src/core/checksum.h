/* XXH3-64 with seed 0, the checksum of the index, of coded chunks and of parts (FORMAT.md, "Index"). */
#ifndef QS_CHECKSUM_H
#define QS_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

uint64_t qs_checksum(const void *src, size_t src_size);

/* qs_checksum calls one of these two on machines that have the instruction set. */
uint64_t qs_checksum_avx2(const void *src, size_t src_size);
uint64_t qs_checksum_avx512(const void *src, size_t src_size);

#endif

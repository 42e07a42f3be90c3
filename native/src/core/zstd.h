/* zstd frames, decoded without allocation: the context lives in the caller's scratch memory. */
#ifndef QS_ZSTD_H
#define QS_ZSTD_H

#include <stddef.h>
#include <stdint.h>

#include "status.h"

/* Bytes of scratch memory qs_zstd_decode needs (8-byte aligned). */
size_t qs_zstd_workspace_size(void);

/* Decodes src, one zstd frame or more, into dst, which they must fill exactly. CORRUPT; MEMORY when work_size
 * is too small. */
qstore_status qs_zstd_decode(const uint8_t *src, size_t src_size, uint8_t *dst, size_t dst_size, void *work,
                             size_t work_size);

#endif

/* Decoding of zstd frames without allocation: the context is in the caller's scratch memory. */
#ifndef QS_ZSTD_H
#define QS_ZSTD_H

#include <stddef.h>
#include <stdint.h>

#include "status.h"

/* Returns the bytes of scratch memory that qs_zstd_decode needs; it must be 8-byte aligned. */
size_t qs_zstd_workspace_size(void);

/* Decodes src, one zstd frame or more, into dst, which they must fill exactly. Returns CORRUPT if they do
 * not, and MEMORY if work_size is too small. */
qstore_status qs_zstd_decode(const uint8_t *src, size_t src_size, uint8_t *dst, size_t dst_size, void *work,
                             size_t work_size);

/* Is the window of each frame in src at most window_max bytes? The blocks must be there as well, not only the
 * frame's header. */
int qs_zstd_fits_window(const uint8_t *src, size_t src_size, uint64_t window_max);

/* Is the window of the first frame in src at most window_max bytes? src has at least its header. */
int qs_zstd_first_fits_window(const uint8_t *src, size_t src_size, uint64_t window_max);

#endif

#define ZSTD_STATIC_LINKING_ONLY
#include "zstd.h"

#include <zstd.h>

size_t qs_zstd_workspace_size(void)
{
	return ZSTD_estimateDCtxSize();
}

qstore_status qs_zstd_decode(const uint8_t *src, size_t src_size, uint8_t *dst, size_t dst_size, void *work,
                             size_t work_size)
{
	ZSTD_DCtx *context = ZSTD_initStaticDCtx(work, work_size);
	if (!context)
		return QSTORE_MEMORY;
	size_t size = ZSTD_decompressDCtx(context, dst, dst_size, src, src_size);
	return !ZSTD_isError(size) && size == dst_size ? QSTORE_OK : QSTORE_CORRUPT;
}

int qs_zstd_first_fits_window(const uint8_t *src, size_t src_size, uint64_t window_max)
{
	ZSTD_frameHeader header;
	return ZSTD_getFrameHeader(&header, src, src_size) == 0 && header.windowSize <= window_max;
}

int qs_zstd_fits_window(const uint8_t *src, size_t src_size, uint64_t window_max)
{
	while (src_size > 0) {
		size_t size = ZSTD_findFrameCompressedSize(src, src_size);
		if (ZSTD_isError(size) || !qs_zstd_first_fits_window(src, src_size, window_max))
			return 0;
		src += size;
		src_size -= size;
	}
	return 1;
}

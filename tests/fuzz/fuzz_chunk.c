/* Coded chunks: any bytes under any description give a status, and touch nothing beyond their buffers. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/chunk.h"
#include "core/index.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t *copy(const uint8_t *src, size_t size)
{
	uint8_t *p = malloc(size + !size);
	if (!p)
		abort();
	memcpy(p, src, size);
	return p;
}

/* 16 bytes describe the chunk, then come scales and codes (refine), then the chunk. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum { DESC = 16 };
	if (size < DESC)
		return 0;
	qs_chunk_desc desc = {
	    .kind = data[0] % 4,
	    .dtype = data[1] % (QS_DTYPE_COUNT + 1),
	    .rule = data[2] % 3,
	    .n_elems = qs_load16(data + 4) & (data[3] & 1 ? 0xffff : 0xff),
	    .cols = qs_load16(data + 6),
	    .first_elem = qs_load32(data + 8),
	};
	const uint8_t *src = data + DESC;
	size_t left = size - DESC;
	uint8_t *coarse = NULL, *scales = NULL;
	if (desc.kind == QS_KIND_REFINE && desc.cols) {
		uint64_t rows = desc.n_elems ? (desc.first_elem % desc.cols + desc.n_elems - 1) / desc.cols + 1 : 0;
		size_t need = (size_t)rows * 4 + desc.n_elems;
		if (need > left)
			return 0;
		desc.scales_size = (size_t)rows * 4;
		desc.scales = scales = copy(src, desc.scales_size);
		desc.coarse = coarse = copy(src + desc.scales_size, desc.n_elems);
		src += need;
		left -= need;
	}
	size_t dst_size = (size_t)desc.n_elems * qs_dtype_size(desc.dtype), work_size = qs_chunk_workspace_size();
	uint8_t *in = copy(src, left), *dst = malloc(dst_size + !dst_size);
	void *work = malloc(work_size);
	if (dst && work)
		qs_chunk_decode(&desc, in, left, dst, dst_size, work, work_size);
	free(work);
	free(dst);
	free(in);
	free(coarse);
	free(scales);
	return 0;
}

/* Chunks. Any bytes under any description give a status, and touch nothing beyond their buffers; any values under any
 * description are encoded, and decoded to themselves. tests/fuzz/make-seeds.mjs writes the same layout:
 *   u8: bits 0-6 the kind, bit 7 encode; u8 dtype (refine: bit 0, BF16 or else F16); u16 elements; u16 columns − 1; u16 first
 *   element; refine: u8 elements (in place of those above), the codes, four scales; then the coded chunk, or the values. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../native/src/core/bytes.h"
#include "../../native/src/core/chunk.h"
#include "../../native/src/core/index.h"
#include "../../native/src/encode/encode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FUZZ_SCALES_SIZE = 16 };

static void require(int good)
{
	if (!good)
		abort();
}

/* An allocation of exactly size bytes, filled from src: the sanitizer sees any access beyond it. */
static uint8_t *exactly(const uint8_t *src, size_t size)
{
	uint8_t *p = malloc(size + !size);
	require(p != NULL);
	if (size)
		memcpy(p, src, size);
	return p;
}

static void fuzz_decode(const qs_chunk_desc *desc, const uint8_t *src, size_t src_size, size_t dst_size)
{
	size_t work_size = qs_chunk_workspace_size();
	uint8_t *dst = malloc(dst_size + !dst_size);
	void *work = malloc(work_size);
	require(dst && work);
	qs_chunk_decode(desc, src, src_size, dst, dst_size, work, work_size);
	free(work);
	free(dst);
}

static void fuzz_encode(const qs_chunk_desc *desc, const uint8_t *src, size_t src_size)
{
	size_t cap = qs_chunk_bound(src_size), size = 0, work_size = qs_chunk_workspace_size();
	uint8_t *coded = malloc(cap), *back = malloc(src_size + !src_size);
	void *work = malloc(work_size);
	qs_encoder *encoder = qs_encoder_create();
	require(coded && back && work && encoder);
	if (qs_chunk_encode(encoder, desc, src, src_size, coded, cap, &size, NULL) == QSTORE_OK) {
		uint8_t *exact = exactly(coded, size);
		require(size <= cap);
		require(qs_chunk_decode(desc, exact, size, back, src_size, work, work_size) == QSTORE_OK);
		require(!src_size || !memcmp(back, src, src_size));
		free(exact);
	}
	qs_encoder_destroy(encoder);
	free(work);
	free(back);
	free(coded);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 8)
		return 0;
	int encode = data[0] >> 7;
	qs_chunk_desc desc = {
	    .kind = data[0] & 127,
	    .dtype = data[1],
	    .n_elems = qs_load16(data + 2),
	    .cols = (uint64_t)qs_load16(data + 4) + 1,
	    .first_elem = qs_load16(data + 6),
	};
	const uint8_t *src = data + 8;
	size_t left = size - 8;
	uint8_t *codes = NULL, *scales = NULL;
	if (desc.kind == QS_KIND_REFINE) {
		desc.dtype = data[1] & 1 ? QS_BF16 : QS_F16;
		desc.rule = QS_RULE_LLM_INT8;
		desc.n_elems = left ? src[0] : 0;
		uint64_t rows = desc.n_elems ? (desc.first_elem % desc.cols + desc.n_elems - 1) / desc.cols + 1 : 0;
		if (left < 1 + (size_t)desc.n_elems + FUZZ_SCALES_SIZE || rows * 4 > FUZZ_SCALES_SIZE)
			return 0;
		src++;
		desc.coarse = codes = exactly(src, desc.n_elems);
		src += desc.n_elems;
		desc.scales_size = (size_t)rows * 4;
		desc.scales = scales = exactly(src, desc.scales_size);
		src += FUZZ_SCALES_SIZE;
		left -= 1 + (size_t)desc.n_elems + FUZZ_SCALES_SIZE;
	}
	uint8_t *in = exactly(src, left);
	size_t values_size = (size_t)desc.n_elems * qs_dtype_size(desc.dtype);
	if (!encode)
		fuzz_decode(&desc, in, left, values_size);
	else if (left == values_size)
		fuzz_encode(&desc, in, left);
	free(in);
	free(scales);
	free(codes);
	return 0;
}

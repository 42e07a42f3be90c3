/* The WebAssembly ABI: the core as functions of plain integers and pointers. 64-bit numbers go in as two
 * halves and out through memory, so that any engine can call. Every `out` and `work` is 8-byte aligned, as
 * qs_malloc gives it. js/wasm.js is the caller; the names are exported by wasm/build.mk. Functions return a
 * qstore_status unless said otherwise. */
#include <stdint.h>
#include <stdlib.h>

#include "../native/include/qstore.h"
#include "../native/src/core/bytes.h"
#include "../native/src/core/chunk.h"
#include "../native/src/core/index.h"
#include "../native/src/core/zstd.h"

uint32_t qs_version(void);
void *qs_malloc(size_t size);
void qs_free(void *p);
size_t qs_workspace_size(void);
int qs_header(const uint8_t *src, size_t src_size, uint8_t *out);
int qs_body(const uint8_t *src, size_t src_size, uint8_t *dst, size_t dst_size, void *work);
int qs_chunk(uint32_t kind, uint32_t dtype, uint32_t rule, uint32_t n_elems, uint32_t cols_low,
             uint32_t cols_high, uint32_t first_low, uint32_t first_high, const uint8_t *coarse,
             uint32_t coarse_dtype, const uint8_t *scales, size_t scales_size, uint32_t scales_dtype,
             const uint8_t *src, size_t src_size, uint8_t *dst, size_t dst_size, void *work);
void qs_xxh3(const uint8_t *src, size_t src_size, uint8_t *out);
int qs_zstd(const uint8_t *src, size_t src_size, uint8_t *dst, size_t dst_size, void *work);

/* major << 16 | minor << 8 | patch. */
uint32_t qs_version(void)
{
	return QSTORE_VERSION_MAJOR << 16 | QSTORE_VERSION_MINOR << 8 | QSTORE_VERSION_PATCH;
}

/* NULL when memory is out. */
void *qs_malloc(size_t size)
{
	return malloc(size);
}

void qs_free(void *p)
{
	free(p);
}

/* Bytes of scratch memory that `work` points to, in every call that takes it. */
size_t qs_workspace_size(void)
{
	return qs_chunk_workspace_size();
}

/* src: the index's header. out: u64 coded size of the body, size of the body, offset of the payload, size of
 * the payload. */
int qs_header(const uint8_t *src, size_t src_size, uint8_t *out)
{
	qs_index_header header;
	qstore_status status = qs_index_read_header(src, src_size, &header);
	if (status != QSTORE_OK)
		return status;
	qs_store64(out, header.body_coded_size);
	qs_store64(out + 8, header.body_size);
	qs_store64(out + 16, qs_index_payload_offset(&header));
	qs_store64(out + 24, header.payload_size);
	return QSTORE_OK;
}

/* src: the index's header and the coded body after it. dst: the body, every field of it checked. */
int qs_body(const uint8_t *src, size_t src_size, uint8_t *dst, size_t dst_size, void *work)
{
	qs_index_header header;
	qstore_status status = qs_index_read_header(src, src_size, &header);
	if (status != QSTORE_OK)
		return status;
	if (header.body_coded_size > src_size - QS_INDEX_HEADER_SIZE)
		return QSTORE_TRUNCATED;
	if (header.body_coded_size < src_size - QS_INDEX_HEADER_SIZE || header.body_size != dst_size)
		return QSTORE_USAGE;
	status = qs_index_decode_body(&header, src + QS_INDEX_HEADER_SIZE, src_size - QS_INDEX_HEADER_SIZE, dst,
	                              dst_size, work, qs_chunk_workspace_size());
	if (status != QSTORE_OK)
		return status;
	qs_index index;
	return qs_index_open(&index, dst, dst_size, header.payload_size);
}

/* One chunk (core/chunk.h). What it does not build on is 0. */
int qs_chunk(uint32_t kind, uint32_t dtype, uint32_t rule, uint32_t n_elems, uint32_t cols_low,
             uint32_t cols_high, uint32_t first_low, uint32_t first_high, const uint8_t *coarse,
             uint32_t coarse_dtype, const uint8_t *scales, size_t scales_size, uint32_t scales_dtype,
             const uint8_t *src, size_t src_size, uint8_t *dst, size_t dst_size, void *work)
{
	qs_chunk_desc desc = {
	    .kind = kind,
	    .dtype = dtype,
	    .rule = rule,
	    .n_elems = n_elems,
	    .cols = (uint64_t)cols_high << 32 | cols_low,
	    .first_elem = (uint64_t)first_high << 32 | first_low,
	    .coarse = coarse,
	    .coarse_dtype = coarse_dtype,
	    .scales = scales,
	    .scales_size = scales_size,
	    .scales_dtype = scales_dtype,
	};
	return qs_chunk_decode(&desc, src, src_size, dst, dst_size, work, qs_chunk_workspace_size());
}

/* out: u64, XXH3-64 with seed 0. */
void qs_xxh3(const uint8_t *src, size_t src_size, uint8_t *out)
{
	qs_store64(out, qs_checksum(src, src_size));
}

/* zstd frames that fill dst exactly. */
int qs_zstd(const uint8_t *src, size_t src_size, uint8_t *dst, size_t dst_size, void *work)
{
	return qs_zstd_decode(dst, dst_size, src, src_size, work, qs_chunk_workspace_size());
}

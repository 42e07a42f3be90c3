/* The WebAssembly ABI: the core as functions of plain integers and pointers. 64-bit numbers go in as two
 * halves and out through memory, so that any engine can call. Every `out`, `words` and `work` is
 * 8-byte aligned. js/wasm/decoder.js is the caller; the names are exported by wasm/build.mk. Functions return
 * a qstore_status unless said otherwise. */
#include <stddef.h>
#include <stdint.h>

#include <qstore.h>
#include "core/bytes.h"
#include "core/chunk.h"
#include "core/index.h"
#include "core/layout.h"
#include "core/zstd.h"

uint32_t qs_version(void);
uint8_t *qs_heap(void);
size_t qs_workspace_size(void);
void qs_workspace_init(void *work);
int qs_header(const uint8_t *src, size_t src_size, uint8_t *out);
int qs_body(const uint8_t *src, size_t src_size, uint8_t *dst, size_t dst_size, void *work);
int qs_chunk(const uint32_t *words, const uint8_t *src, size_t src_size, uint8_t *dst, size_t dst_size,
             void *work);
void qs_blocks(uint32_t dtype, uint32_t absmax, const uint8_t *codes, const uint8_t *scales, size_t n_blocks,
               uint8_t *dst);
void qs_words(uint32_t bits, const uint8_t *codes, size_t n_words, uint8_t *dst);
void qs_interleaved(const uint8_t *codes, size_t n_words, uint8_t *dst);
void qs_interleaved_columns(const uint8_t *codes, uint32_t rows, uint32_t cols, uint32_t first,
                            size_t n_words, uint8_t *dst);
void qs_words_transposed(uint32_t bits, const uint8_t *codes, uint32_t rows, uint32_t cols, uint32_t first,
                         size_t n_words, uint8_t *dst);
void qs_xxh3(const uint8_t *src, size_t src_size, uint8_t *out);
int qs_zstd(const uint8_t *src, size_t src_size, uint8_t *dst, size_t dst_size, void *work);

/* major << 16 | minor << 8 | patch. */
uint32_t qs_version(void)
{
	return QSTORE_VERSION_MAJOR << 16 | QSTORE_VERSION_MINOR << 8 | QSTORE_VERSION_PATCH;
}

/* Where the memory begins that is the caller's, to lay out and to grow: nothing here allocates. The linker's
 * symbol. */
uint8_t *qs_heap(void)
{
	extern uint8_t __heap_base;
	return &__heap_base;
}

/* Scratch memory: what `work` points to in every call that takes it, made ready once. */
size_t qs_workspace_size(void)
{
	return qs_chunk_workspace_size();
}

void qs_workspace_init(void *work)
{
	qs_chunk_workspace_init(work);
}

/* src: the index's header. out: u64 coded size of the body, size of the body, offset of the payload, size of
 * the payload. */
int qs_header(const uint8_t *src, size_t src_size, uint8_t *out)
{
	qs_index_header header;
	qstore_status status = qs_index_read_header(src, src_size, &header);
	if (status)
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
	if (status)
		return status;
	if (header.body_coded_size > src_size - QS_INDEX_HEADER_SIZE)
		return QSTORE_TRUNCATED;
	if (header.body_coded_size < src_size - QS_INDEX_HEADER_SIZE || header.body_size != dst_size)
		return QSTORE_USAGE;
	status = qs_index_decode_body(&header, src + QS_INDEX_HEADER_SIZE, src_size - QS_INDEX_HEADER_SIZE, dst,
	                              dst_size, work, qs_chunk_workspace_size());
	if (status)
		return status;
	qs_index index;
	return qs_index_open(&index, dst, dst_size, header.payload_size);
}

static uint64_t load_pair(const uint32_t *words)
{
	return (uint64_t)words[1] << 32 | words[0];
}

static const uint8_t *load_pointer(uint32_t word)
{
	return (const uint8_t *)(uintptr_t)word;
}

/* 16 words: rule, dtype of the codes, group, order, row stride (2), group stride (2), scales, bytes of
 * scales, dtype of scales, first scale (2), zero points, bytes of zero points, zero offset. */
static qs_grid load_grid(const uint32_t *words)
{
	return (qs_grid){
	    .rule = words[0],
	    .codes_dtype = words[1],
	    .group = words[2],
	    .order = load_pointer(words[3]),
	    .row_stride = load_pair(words + 4),
	    .group_stride = load_pair(words + 6),
	    .scales = load_pointer(words[8]),
	    .scales_size = words[9],
	    .scales_dtype = words[10],
	    .scales_first = load_pair(words + 11),
	    .zero_points = load_pointer(words[13]),
	    .zero_points_size = words[14],
	    .zero_offset = (int32_t)words[15],
	};
}

/* One chunk (core/chunk.h). 43 words, 0 for what there is not: kind, dtype, elements, columns (2), first
 * element (2), coarse, dtype of coarse, then the grid of the coarse codes and that of its own ones, factors,
 * and their dtype. */
int qs_chunk(const uint32_t *words, const uint8_t *src, size_t src_size, uint8_t *dst, size_t dst_size,
             void *work)
{
	qs_chunk_desc desc = {
	    .kind = words[0],
	    .dtype = words[1],
	    .n_elems = words[2],
	    .cols = load_pair(words + 3),
	    .first_elem = load_pair(words + 5),
	    .coarse = load_pointer(words[7]),
	    .coarse_dtype = words[8],
	    .coarse_grid = load_grid(words + 9),
	    .grid = load_grid(words + 25),
	    .factors = load_pointer(words[41]),
	    .factors_dtype = words[42],
	};
	return qs_chunk_decode(&desc, src, src_size, dst, dst_size, work, qs_chunk_workspace_size());
}

/* Layouts (core/layout.h). The caller has checked the sizes. */
void qs_blocks(uint32_t dtype, uint32_t absmax, const uint8_t *codes, const uint8_t *scales, size_t n_blocks,
               uint8_t *dst)
{
	qs_blocks_join(dtype, absmax, codes, scales, n_blocks, dst);
}

void qs_words(uint32_t bits, const uint8_t *codes, size_t n_words, uint8_t *dst)
{
	qs_words_pack(bits, codes, n_words, dst);
}

/* More than 8 bits: floats. */
void qs_words_transposed(uint32_t bits, const uint8_t *codes, uint32_t rows, uint32_t cols, uint32_t first,
                         size_t n_words, uint8_t *dst)
{
	if (bits > 8)
		qs_transpose_elems(bits / 8, codes, rows, cols, first, n_words, dst);
	else
		qs_words_pack_transposed(bits, codes, rows, cols, first, n_words, dst);
}

void qs_interleaved(const uint8_t *codes, size_t n_words, uint8_t *dst)
{
	qs_words_interleave(codes, n_words, dst);
}

void qs_interleaved_columns(const uint8_t *codes, uint32_t rows, uint32_t cols, uint32_t first,
                            size_t n_words, uint8_t *dst)
{
	qs_words_interleave_columns(codes, rows, cols, first, n_words, dst);
}

/* out: u64, XXH3-64 with seed 0. */
void qs_xxh3(const uint8_t *src, size_t src_size, uint8_t *out)
{
	qs_store64(out, qs_checksum(src, src_size));
}

/* zstd frames that fill dst exactly. */
int qs_zstd(const uint8_t *src, size_t src_size, uint8_t *dst, size_t dst_size, void *work)
{
	return qs_zstd_decode(src, src_size, dst, dst_size, work, qs_chunk_workspace_size());
}

/* The WebAssembly ABI: functions of plain integers and pointers that call the core. js/wasm/decoder.js is the
 * caller; wasm/build.mk exports the names.
 *
 * 64-bit numbers are passed as two 32-bit halves, the lower one first, and are returned through memory,
 * because not every engine has 64-bit arguments. `out`, `words` and `work` point to 8-byte aligned memory.
 * Functions that return int return a qstore_status. */
#include <stddef.h>
#include <stdint.h>

#include <qstore.h>
#include "core/bytes.h"
#include "core/chunk.h"
#include "core/dequantize.h"
#include "core/index.h"
#include "core/layout.h"
#include "core/zstd.h"

uint32_t qs_version(void);
uint8_t *qs_heap(void);
size_t qs_workspace_size(void);
void qs_workspace_init(void *work);
int qs_header(const uint8_t *src, size_t src_size, uint8_t *out);
int qs_body(const uint8_t *src, size_t src_size, uint8_t *dst, size_t dst_size, uint8_t *columns, void *work);
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
int qs_has_f32(uint32_t dtype);
void qs_to_f32(uint32_t dtype, const uint8_t *src, size_t n_blocks, uint8_t *dst);
void qs_xxh3(const uint8_t *src, size_t src_size, uint8_t *out);
int qs_zstd(const uint8_t *src, size_t src_size, uint8_t *dst, size_t dst_size, void *work);

/* Returns the library's version: major << 16 | minor << 8 | patch. */
uint32_t qs_version(void)
{
	return QSTORE_VERSION_MAJOR << 16 | QSTORE_VERSION_MINOR << 8 | QSTORE_VERSION_PATCH;
}

/* Returns the address behind the module's static data and its stack. The caller lays out the memory from
 * there on, and grows it: nothing here allocates. __heap_base is a symbol of the linker. */
uint8_t *qs_heap(void)
{
	extern uint8_t __heap_base;
	return &__heap_base;
}

/* Returns the bytes of scratch memory that `work` must point to in every call that takes it. */
size_t qs_workspace_size(void)
{
	return qs_chunk_workspace_size();
}

/* Makes scratch memory ready. One call is enough for all that follow. */
void qs_workspace_init(void *work)
{
	qs_chunk_workspace_init(work);
}

/* Reads the index's header in src. out: four u64, all in bytes: coded size of the body, size of the body,
 * offset of the payload in the archive, size of the payload. */
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

/* Decodes the index's body into dst and checks every field of it. src: the header, followed by the coded
 * body. columns: scratch memory of dst_size bytes. */
int qs_body(const uint8_t *src, size_t src_size, uint8_t *dst, size_t dst_size, uint8_t *columns, void *work)
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
	                              dst_size, columns, work, qs_chunk_workspace_size());
	if (status)
		return status;
	qs_index index;
	return qs_index_open_body(&index, &header, dst);
}

static uint64_t load_pair(const uint32_t *words)
{
	return (uint64_t)words[1] << 32 | words[0];
}

static const uint8_t *load_pointer(uint32_t word)
{
	return (const uint8_t *)(uintptr_t)word;
}

/* Reads a grid of 16 words: rule, dtype of the codes, columns of a group (or the number of groups, if there
 * is an order), pointer to the order, row stride (two words), group stride (two words), pointer to the
 * scales, their size in bytes, their dtype, number of the first scale (two words), pointer to the zero
 * points, their size in bytes, zero offset. Pointers to nothing are 0. */
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

/* Decodes one chunk (core/chunk.h). It is described by 43 words: kind, dtype, number of elements, columns
 * (two words), number of the first element (two words), pointer to the coarse elements, their dtype, the grid
 * of the coarse codes (16 words), the grid of the chunk's own codes (16 words), pointer to the column
 * factors, their dtype. Words that do not apply are 0. */
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

/* The functions from here to qs_interleaved_columns make bytes of layouts (core/layout.h). The caller has
 * checked all sizes. absmax: the dtype of the scales if they are the greatest magnitudes of blocks, else
 * BYTES. */
void qs_blocks(uint32_t dtype, uint32_t absmax, const uint8_t *codes, const uint8_t *scales, size_t n_blocks,
               uint8_t *dst)
{
	qs_blocks_join(dtype, absmax, codes, scales, n_blocks, dst);
}

void qs_words(uint32_t bits, const uint8_t *codes, size_t n_words, uint8_t *dst)
{
	qs_words_pack(bits, codes, n_words, dst);
}

/* bits: of a code, at most 8; or of a float, 16 or more, whose matrix is transposed as it is. */
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

/* Can elements of this dtype be made singles (core/dequantize.h)? */
int qs_has_f32(uint32_t dtype)
{
	return qs_dequantizes(dtype);
}

/* Makes singles of n_blocks blocks, or elements. */
void qs_to_f32(uint32_t dtype, const uint8_t *src, size_t n_blocks, uint8_t *dst)
{
	qs_dequantize(dtype, src, n_blocks, dst);
}

/* Writes the XXH3-64 checksum of src, with seed 0, to out as a u64. */
void qs_xxh3(const uint8_t *src, size_t src_size, uint8_t *out)
{
	qs_store64(out, qs_checksum(src, src_size));
}

/* Decodes the zstd frames of a file, which must fill dst exactly. */
int qs_zstd(const uint8_t *src, size_t src_size, uint8_t *dst, size_t dst_size, void *work)
{
	if (!qs_zstd_fits_window(src, src_size, UINT64_C(1) << QS_FILE_WINDOW_LOG))
		return QSTORE_CORRUPT;
	return qs_zstd_decode(src, src_size, dst, dst_size, work, qs_chunk_workspace_size());
}

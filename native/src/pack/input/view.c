/* The bytes of tensors, also where they are a view of another tensor's. */
#include <assert.h>
#include <string.h>

#include "core/bytes.h"
#include "core/index.h"
#include "core/layout.h"
#include "core/rules.h"
#include "quantize/llm_int8.h"
#include "quantize/q8_0.h"
#include "tensor.h"

/* Bytes of a view that are made at a time. Views of scales make fewer, because each is made of up to 64
 * bytes. */
#define SIZE_MAX_AT_ONCE ((size_t)1 << 17)
#define SCALES_SIZE_MAX (SIZE_MAX_AT_ONCE / 32)

/* These bytes may begin and end within a block of at most 256 elements; singles are four times as large as
 * codes.
 */
#define ELEMS_MAX (SIZE_MAX_AT_ONCE + 2 * 256)
_Static_assert(4 * ELEMS_MAX <= PACK_SCRATCH_SIZE / 2, "the elements that they are made of fit into half");
_Static_assert(ELEMS_MAX <= PACK_SCRATCH_SIZE / 8 * 2, "codes end before scales begin");
_Static_assert(SCALES_SIZE_MAX / 2 * 64 <= PACK_SCRATCH_SIZE / 2, "the floats of absolute maxima fit");

/* Bytes of the tensor that t is a view of: a tensor as it is, or a transposed one. */
static qstore_status read_viewed(const pack_tensor *t, uint8_t *dst, size_t size, uint64_t offset,
                                 qstore_error *error)
{
	/* The readers of these views need no scratch memory. */
	if (t->viewed->view == PACK_TRANSPOSED || t->viewed->view == PACK_COLUMNS)
		return pack_tensor_read(t->viewed, dst, size, offset, NULL, error);
	assert(t->viewed->view == PACK_AS_IS);
	return pack_read(t->viewed->source, dst, size, t->viewed->source_offset + offset, error);
}

/* A code takes one byte. Row slices are quantized one by one, each by the scale of its row. */
static qstore_status read_llm_int8(const pack_tensor *t, uint8_t *dst, size_t n, uint64_t offset,
                                   uint8_t *scratch, qstore_error *error)
{
	uint64_t cols = t->dims[1], first_row = offset / cols, n_rows = (offset + n - 1) / cols - first_row + 1;
	uint8_t *fine = scratch, *scales = scratch + PACK_SCRATCH_SIZE / 2;
	qstore_status status = read_viewed(t, fine, 2 * n, 2 * offset, error);
	if (!status)
		status = pack_read(t->coding.grid.scales->source, scales, (size_t)n_rows * sizeof(float),
		                   t->coding.grid.scales->source_offset + first_row * sizeof(float), error);
	for (size_t done = 0; done < n && !status;) {
		uint64_t row = (offset + done) / cols, left = (row + 1) * cols - (offset + done);
		size_t slice = left < n - done ? (size_t)left : n - done;
		qs_llm_int8_quantize(fine + 2 * done, slice, t->viewed->dtype,
		                     qs_load_f32(scales + (row - first_row) * sizeof(float)), (int8_t *)dst + done);
		done += slice;
	}
	return status;
}

/* Codes or scales: all blocks that bytes [offset, offset + size) belong to are read and split. */
static qstore_status read_split_blocks(const pack_tensor *t, uint8_t *dst, size_t size, uint64_t offset,
                                       uint8_t *scratch, qstore_error *error)
{
	uint32_t dtype = t->viewed->dtype, block = qs_block_size(dtype);
	int wants_codes = t->view == PACK_BLOCK_CODES;
	size_t unit = wants_codes ? qs_block_elems(dtype) : qs_blocks_scales_size(dtype, QS_BYTES);
	uint64_t first = offset / unit;
	size_t n = (size_t)((offset + size - 1) / unit - first + 1), skip = (size_t)(offset - first * unit);
	uint8_t *codes = scratch, *scales = scratch + PACK_SCRATCH_SIZE / 8 * 3,
	        *blocks = scratch + PACK_SCRATCH_SIZE / 2;
	qstore_status status = read_viewed(t, blocks, n * block, first * block, error);
	if (status)
		return status;
	qs_blocks_split(dtype, blocks, n, codes, scales);
	memcpy(dst, (wants_codes ? codes : scales) + skip, size);
	return QSTORE_OK;
}

static qstore_status read_absmax(const pack_tensor *t, uint8_t *dst, size_t size, uint64_t offset,
                                 uint8_t *scratch, qstore_error *error)
{
	size_t n = size / 2;
	qstore_status status = read_viewed(t, scratch, n * 64, offset / 2 * 64, error);
	for (size_t b = 0; b < n && !status; b++) {
		uint16_t most = 0;
		for (size_t i = 0; i < 32; i++) {
			uint16_t magnitude = qs_load16(scratch + b * 64 + 2 * i) & 0x7fff;
			most = magnitude > most ? magnitude : most;
		}
		qs_store16(dst + 2 * b, most);
	}
	return status;
}

static qstore_status read_words(const pack_tensor *t, uint8_t *dst, size_t size, uint64_t offset,
                                uint8_t *scratch, qstore_error *error)
{
	size_t per_word = 32 / t->code_bits;
	uint64_t first = offset / per_word;
	size_t n = (size_t)((offset + size - 1) / per_word - first + 1);
	uint8_t *codes = scratch + PACK_SCRATCH_SIZE / 2;
	qstore_status status = read_viewed(t, scratch, 4 * n, 4 * first, error);
	if (status)
		return status;
	if (t->view == PACK_NIBBLE_CODES)
		qs_words_deinterleave(scratch, n, codes);
	else
		qs_words_unpack(t->code_bits, scratch, n, codes);
	memcpy(dst, codes + (offset - first * per_word), size);
	return QSTORE_OK;
}

/* The elements that are read at a time: a range of one row, or many whole rows. */
typedef struct row_range {
	uint64_t row, column, n_rows, n_cols;
} row_range;

static row_range next_range(const pack_tensor *t, uint64_t offset, size_t size, uint64_t most_rows)
{
	uint64_t cols = t->dims[1];
	row_range range = {offset / cols, offset % cols, 1, cols - offset % cols};
	if (range.n_cols > size)
		range.n_cols = size;
	else if (range.column == 0)
		range.n_rows = size / cols < most_rows ? size / cols : most_rows;
	return range;
}

/* A line of words has 32 / code_bits columns of all rows; the words of the wanted rows are read from each
 * line. */
static qstore_status read_words_transposed(const pack_tensor *t, uint8_t *dst, size_t size, uint64_t offset,
                                           uint8_t *scratch, qstore_error *error)
{
	enum { ROWS = 512 };
	uint32_t per_word = 32 / t->code_bits;
	uint64_t rows = t->dims[0], cols = t->dims[1];
	uint8_t words[4 * ROWS], codes[8];
	(void)scratch;
	while (size > 0) {
		row_range range = next_range(t, offset, size, ROWS);
		uint64_t row = range.row, column = range.column, n_rows = range.n_rows, n_cols = range.n_cols;
		for (uint64_t line = column / per_word; line * per_word < column + n_cols; line++) {
			qstore_status status = read_viewed(t, words, (size_t)n_rows * 4, (line * rows + row) * 4, error);
			if (status)
				return status;
			for (uint64_t r = 0; r < n_rows; r++) {
				qs_words_unpack(t->code_bits, words + 4 * r, 1, codes);
				for (uint32_t i = 0; i < per_word; i++) {
					uint64_t c = line * per_word + i;
					if (c >= column && c < column + n_cols)
						dst[r * cols + c - column] = codes[i];
				}
			}
		}
		dst += n_rows * n_cols;
		offset += n_rows * n_cols;
		size -= (size_t)(n_rows * n_cols);
	}
	return QSTORE_OK;
}

/* A range of one row, or many whole rows at a time: their elements are neighbours in a row of the stored
 * floats, which is a column here. */
static qstore_status read_transposed(const pack_tensor *t, uint8_t *dst, size_t size, uint64_t offset,
                                     uint8_t *scratch, qstore_error *error)
{
	enum { ROWS = 512 };
	uint64_t rows = t->dims[0], cols = t->dims[1], elem = qs_dtype_size(t->dtype);
	uint8_t line[4 * ROWS];
	(void)scratch;
	while (size > 0) {
		uint64_t row = offset / elem / cols, column = offset / elem % cols, n_rows = 1,
		         n_cols = cols - column;
		if (n_cols > size / elem)
			n_cols = size / elem;
		else if (column == 0)
			n_rows = size / elem / cols < ROWS ? size / elem / cols : ROWS;
		for (uint64_t c = 0; c < n_cols; c++) {
			qstore_status status =
			    read_viewed(t, line, (size_t)(n_rows * elem), ((column + c) * rows + row) * elem, error);
			if (status)
				return status;
			for (uint64_t r = 0; r < n_rows; r++)
				memcpy(dst + (r * cols + c) * elem, line + r * elem, (size_t)elem);
		}
		dst += n_rows * n_cols * elem;
		offset += n_rows * n_cols * elem;
		size -= (size_t)(n_rows * n_cols * elem);
	}
	return QSTORE_OK;
}

/* A column is stored as words of 8 rows each; the words of the wanted rows are read from each column. */
static qstore_status read_nibbles_transposed(const pack_tensor *t, uint8_t *dst, size_t size, uint64_t offset,
                                             uint8_t *scratch, qstore_error *error)
{
	enum { WORDS = 64 };
	uint64_t rows = t->dims[0], cols = t->dims[1];
	uint8_t words[4 * WORDS], codes[8 * WORDS];
	(void)scratch;
	while (size > 0) {
		row_range range = next_range(t, offset, size, 8 * (WORDS - 1));
		uint64_t first = range.row / 8, n = (range.row + range.n_rows - 1) / 8 - first + 1;
		for (uint64_t c = 0; c < range.n_cols; c++) {
			qstore_status status =
			    read_viewed(t, words, (size_t)n * 4, ((range.column + c) * (rows / 8) + first) * 4, error);
			if (status)
				return status;
			qs_words_deinterleave(words, (size_t)n, codes);
			for (uint64_t r = 0; r < range.n_rows; r++)
				dst[r * cols + c] = codes[range.row - first * 8 + r];
		}
		dst += range.n_rows * range.n_cols;
		offset += range.n_rows * range.n_cols;
		size -= (size_t)(range.n_rows * range.n_cols);
	}
	return QSTORE_OK;
}

/* Blocks [first, first + n) of Q8_0, made of the viewed floats. */
static qstore_status make_q8_0(const pack_tensor *t, uint64_t first, size_t n, uint8_t *blocks,
                               uint8_t *scratch, qstore_error *error)
{
	float values[64 * QS_Q8_0_ELEMS];
	uint32_t dtype = t->viewed->dtype, size = qs_dtype_size(dtype);
	while (n > 0) {
		size_t some = n < 64 ? n : 64, n_values = some * QS_Q8_0_ELEMS;
		qstore_status status = read_viewed(t, scratch, n_values * size, first * QS_Q8_0_ELEMS * size, error);
		if (status)
			return status;
		for (size_t i = 0; i < n_values; i++)
			values[i] = dtype == QS_F32 ? qs_load_f32(scratch + 4 * i)
			                            : qs_half_value(qs_load16(scratch + 2 * i), dtype);
		if (!qs_q8_0_quantize(values, some, blocks))
			return qs_fail(error, QSTORE_INPUT,
			               "tensor %s: has values that Q8_0 cannot hold (infinite, NaN or too large); pack "
			               "with --quantize none",
			               t->name);
		blocks += some * QS_Q8_0_SIZE;
		first += some;
		n -= some;
	}
	return QSTORE_OK;
}

static qstore_status read_q8_0(const pack_tensor *t, uint8_t *dst, size_t size, uint64_t offset,
                               uint8_t *scratch, qstore_error *error)
{
	size_t unit = t->view == PACK_Q8_0 ? QS_Q8_0_SIZE : t->view == PACK_Q8_0_CODES ? QS_Q8_0_ELEMS : 2;
	uint64_t first = offset / unit;
	size_t n = (size_t)((offset + size - 1) / unit - first + 1), skip = (size_t)(offset - first * unit);
	uint8_t *codes = scratch + PACK_SCRATCH_SIZE / 8, *scales = scratch + PACK_SCRATCH_SIZE / 8 * 3,
	        *blocks = scratch + PACK_SCRATCH_SIZE / 2;
	qstore_status status = make_q8_0(t, first, n, blocks, scratch, error);
	if (status)
		return status;
	if (unit == QS_Q8_0_SIZE) {
		memcpy(dst, blocks + skip, size);
		return QSTORE_OK;
	}
	qs_blocks_split(QS_Q8_0, blocks, n, codes, scales);
	memcpy(dst, (unit == 2 ? scales : codes) + skip, size);
	return QSTORE_OK;
}

static qstore_status read_cast(const pack_tensor *t, uint8_t *dst, size_t size, uint64_t offset,
                               uint8_t *scratch, qstore_error *error)
{
	qstore_status status = read_viewed(t, scratch, 2 * size, 2 * offset, error);
	int is_bf16 = t->view == PACK_CAST_BF16;
	for (size_t i = 0; i < size / 2 && !status; i++) {
		uint32_t bits = qs_load32(scratch + 4 * i);
		qs_store16(dst + 2 * i, (uint16_t)(is_bf16 ? qs_bf16_of_single(bits) : qs_f16_of_single(bits)));
	}
	return status;
}

/* Reads some columns of each row. Narrow rows are read as a whole, many at once, and their columns copied. */
static qstore_status read_columns(const pack_tensor *t, uint8_t *dst, size_t size, uint64_t offset,
                                  uint8_t *scratch, qstore_error *error)
{
	uint64_t elem = qs_dtype_size(t->dtype), row_size = t->dims[1] * elem,
	         whole_size = pack_cols(t->viewed) * elem, skip = t->first_col * elem;
	while (size > 0) {
		uint64_t row = offset / row_size, at = offset % row_size;
		size_t n = row_size - at < size ? (size_t)(row_size - at) : size, n_rows = 1;
		qstore_status status;
		if (scratch && at == 0 && n == row_size && whole_size <= PACK_SCRATCH_SIZE / 2 &&
		    whole_size < 4 * row_size) {
			n_rows = size / row_size;
			if (n_rows > PACK_SCRATCH_SIZE / 2 / whole_size)
				n_rows = PACK_SCRATCH_SIZE / 2 / whole_size;
			status = read_viewed(t, scratch, n_rows * whole_size, row * whole_size, error);
			for (size_t i = 0; i < n_rows && !status; i++)
				memcpy(dst + i * row_size, scratch + i * whole_size + skip, row_size);
			n = n_rows * row_size;
		} else {
			status = read_viewed(t, dst, n, row * whole_size + skip + at, error);
		}
		if (status)
			return status;
		dst += n;
		offset += n;
		size -= n;
	}
	return QSTORE_OK;
}

typedef qstore_status view_reader(const pack_tensor *t, uint8_t *dst, size_t size, uint64_t offset,
                                  uint8_t *scratch, qstore_error *error);

qstore_status pack_tensor_read(const pack_tensor *tensor, uint8_t *dst, size_t size, uint64_t offset,
                               uint8_t *scratch, qstore_error *error)
{
	static view_reader *const readers[] = {
	    [PACK_LLM_INT8] = read_llm_int8,
	    [PACK_BLOCK_CODES] = read_split_blocks,
	    [PACK_BLOCK_SCALES] = read_split_blocks,
	    [PACK_BLOCK_ABSMAX] = read_absmax,
	    [PACK_WORD_CODES] = read_words,
	    [PACK_WORD_CODES_TRANSPOSED] = read_words_transposed,
	    [PACK_TRANSPOSED] = read_transposed,
	    [PACK_NIBBLE_CODES] = read_words,
	    [PACK_NIBBLE_CODES_TRANSPOSED] = read_nibbles_transposed,
	    [PACK_CAST_BF16] = read_cast,
	    [PACK_CAST_F16] = read_cast,
	    [PACK_Q8_0] = read_q8_0,
	    [PACK_Q8_0_CODES] = read_q8_0,
	    [PACK_Q8_0_SCALES] = read_q8_0,
	    [PACK_COLUMNS] = read_columns,
	};
	qstore_status status = QSTORE_OK;
	if (tensor->view == PACK_AS_IS)
		return pack_read(tensor->source, dst, size, tensor->source_offset + offset, error);
	int scales = tensor->view == PACK_BLOCK_SCALES || tensor->view == PACK_BLOCK_ABSMAX ||
	             tensor->view == PACK_Q8_0_SCALES;
	/* Transposed floats need no scratch memory, and are read by fewer calls when these are large. */
	size_t most = scales                            ? SCALES_SIZE_MAX
	              : tensor->view == PACK_TRANSPOSED ? QS_CHUNK_SIZE_MAX
	                                                : SIZE_MAX_AT_ONCE;
	while (size > 0 && !status) {
		size_t n = size < most ? size : most;
		status = readers[tensor->view](tensor, dst, n, offset, scratch, error);
		dst += n;
		offset += n;
		size -= n;
	}
	return status;
}

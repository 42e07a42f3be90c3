/* What is in a tensor: its shape, and its bytes, also where they are a view of another tensor's. */
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/layout.h"
#include "core/rules.h"
#include "quantize/llm_int8.h"
#include "quantize/q8_0.h"
#include "pack/pack.h"

struct pack_part {
	pack_tensor tensor;
	uint64_t dims[2];
};

pack_tensor *pack_add_part(packer *p, const pack_tensor *of, pack_view view, uint32_t dtype, uint64_t rows,
                           uint64_t cols)
{
	struct pack_part **larger = realloc(p->parts, (p->n_parts + 1) * sizeof(*larger));
	if (!larger)
		return NULL;
	p->parts = larger;
	struct pack_part *part = calloc(1, sizeof(*part));
	if (!part)
		return NULL;
	larger[p->n_parts++] = part;
	part->dims[0] = rows;
	part->dims[1] = cols;
	part->tensor = (pack_tensor){
	    .name = of->name,
	    .full = of->full,
	    .key = of->key,
	    .dtype = dtype,
	    .n_dims = 2,
	    .dims = part->dims,
	    .size = rows * cols * qs_dtype_size(dtype),
	    .role = PACK_PLAIN,
	    .owner = of->owner ? of->owner : of,
	    .view = view,
	    .of = of,
	    .object = QS_NONE,
	};
	return &part->tensor;
}

qstore_status pack_make_part(packer *p, const pack_tensor *of, uint32_t dtype, const uint8_t *elems,
                             uint64_t n, pack_tensor **made, qs_error *error)
{
	pack_tensor *part = pack_add_part(p, of, PACK_AS_IS, dtype, n, 1);
	if (!part)
		return pack_no_memory(error);
	qstore_status status = pack_generate(p, elems, (size_t)part->size, &part->source_offset, error);
	part->source = p->generated;
	*made = part;
	return status;
}

pack_tensor *pack_stored(pack_tensor *tensor)
{
	while (tensor->role == PACK_SHARED)
		tensor = tensor->coarse;
	return tensor;
}

pack_tensor *pack_part_tensor(const packer *p, size_t number)
{
	return &p->parts[number]->tensor;
}

void pack_set_layers(packer *p)
{
	for (size_t i = 0; i < p->n_parts; i++)
		p->parts[i]->tensor.layer = p->parts[i]->tensor.owner->layer;
}

uint32_t pack_group(uint64_t cols)
{
	return cols < UINT32_MAX ? (uint32_t)cols : UINT32_MAX;
}

uint64_t pack_cols(const pack_tensor *tensor)
{
	/* Rows are what the first dimension counts, of convolutions too. */
	uint64_t cols = tensor->n_dims > 1 ? 1 : 0;
	for (uint32_t i = 1; i < tensor->n_dims; i++)
		cols *= tensor->dims[i];
	return cols > 0 ? cols : 1;
}

uint64_t pack_rows(const pack_tensor *tensor)
{
	uint64_t cols = pack_cols(tensor), elems = pack_n_elems(tensor);
	return elems / cols + (elems % cols != 0);
}

void pack_geometry(const pack_tensor *tensor, uint64_t *cols, uint32_t *chunk_elems)
{
	uint32_t most = 1u << 18, block = qs_block_elems(tensor->dtype);
	if (block == 1 && most > QS_CHUNK_SIZE_MAX / qs_dtype_size(tensor->dtype))
		most = QS_CHUNK_SIZE_MAX / qs_dtype_size(tensor->dtype);
	*cols = pack_cols(tensor);
	*chunk_elems = *cols <= most ? most - most % (uint32_t)*cols : most;
}

uint64_t pack_n_elems(const pack_tensor *tensor)
{
	return tensor->size / qs_block_size(tensor->dtype) * qs_block_elems(tensor->dtype);
}

/* ---- Views ---- */

/* Elements of a view that are made at a time: whole blocks, and words. */
#define PIECE ((size_t)1 << 17)

static qstore_status read_of(const packer *p, const pack_tensor *t, uint8_t *dst, size_t size,
                             uint64_t offset, qs_error *error)
{
	if (t->of->view == PACK_TURNED) /* which takes no scratch memory */
		return pack_tensor_read(p, t->of, dst, size, offset, NULL, error);
	return pack_read(p, t->of->source, dst, size, t->of->source_offset + offset, error);
}

/* One byte a code; a piece of a row at a time. */
static qstore_status read_llm_int8(const packer *p, const pack_tensor *t, uint8_t *dst, size_t n,
                                   uint64_t offset, uint8_t *scratch, qs_error *error)
{
	uint64_t cols = t->dims[1], first_row = offset / cols, n_rows = (offset + n - 1) / cols - first_row + 1;
	uint8_t *fine = scratch, *scales = scratch + PACK_SCRATCH_SIZE / 2;
	qstore_status status = read_of(p, t, fine, 2 * n, 2 * offset, error);
	if (!status)
		status = pack_read(p, t->grid.scales->source, scales, (size_t)n_rows * sizeof(float),
		                   t->grid.scales->source_offset + first_row * sizeof(float), error);
	for (size_t done = 0; done < n && !status;) {
		uint64_t row = (offset + done) / cols, left = (row + 1) * cols - (offset + done);
		size_t piece = left < n - done ? (size_t)left : n - done;
		qs_llm_int8_quantize(fine + 2 * done, piece, t->of->dtype,
		                     qs_load_f32(scales + (row - first_row) * sizeof(float)), (int8_t *)dst + done);
		done += piece;
	}
	return status;
}

/* Codes or scales [offset, offset + size) of blocks: all blocks that they are in. */
static qstore_status read_blocks(const packer *p, const pack_tensor *t, uint8_t *dst, size_t size,
                                 uint64_t offset, uint8_t *scratch, qs_error *error)
{
	uint32_t dtype = t->of->dtype, block = qs_block_size(dtype);
	int wants_codes = t->view == PACK_BLOCK_CODES;
	size_t unit = wants_codes ? qs_block_elems(dtype) : qs_blocks_scales_size(dtype, QS_BYTES);
	uint64_t first = offset / unit;
	size_t n = (size_t)((offset + size - 1) / unit - first + 1), skip = (size_t)(offset - first * unit);
	uint8_t *codes = scratch, *scales = scratch + PACK_SCRATCH_SIZE / 8 * 3,
	        *blocks = scratch + PACK_SCRATCH_SIZE / 2;
	qstore_status status = read_of(p, t, blocks, n * block, first * block, error);
	if (status)
		return status;
	qs_blocks_split(dtype, blocks, n, codes, scales);
	memcpy(dst, (wants_codes ? codes : scales) + skip, size);
	return QSTORE_OK;
}

static qstore_status read_absmax(const packer *p, const pack_tensor *t, uint8_t *dst, size_t size,
                                 uint64_t offset, uint8_t *scratch, qs_error *error)
{
	size_t n = size / 2;
	qstore_status status = read_of(p, t, scratch, n * 64, offset / 2 * 64, error);
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

static qstore_status read_words(const packer *p, const pack_tensor *t, uint8_t *dst, size_t size,
                                uint64_t offset, uint8_t *scratch, qs_error *error)
{
	size_t per_word = 32 / t->bits;
	uint64_t first = offset / per_word;
	size_t n = (size_t)((offset + size - 1) / per_word - first + 1);
	uint8_t *codes = scratch + PACK_SCRATCH_SIZE / 2;
	qstore_status status = read_of(p, t, scratch, 4 * n, 4 * first, error);
	if (status)
		return status;
	if (t->view == PACK_NIBBLES)
		qs_words_deinterleave(scratch, n, codes);
	else
		qs_words_unpack(t->bits, scratch, n, codes);
	memcpy(dst, codes + (offset - first * per_word), size);
	return QSTORE_OK;
}

/* What is read at a time: a piece of a row, or many whole rows. */
typedef struct row_piece {
	uint64_t row, column, n_rows, n_cols;
} row_piece;

static row_piece next_piece(const pack_tensor *t, uint64_t offset, size_t size, uint64_t most_rows)
{
	uint64_t cols = t->dims[1];
	row_piece piece = {offset / cols, offset % cols, 1, cols - offset % cols};
	if (piece.n_cols > size)
		piece.n_cols = size;
	else if (piece.column == 0)
		piece.n_rows = size / cols < most_rows ? size / cols : most_rows;
	return piece;
}

/* From each line of words those of these rows. */
static qstore_status read_words_transposed(const packer *p, const pack_tensor *t, uint8_t *dst, size_t size,
                                           uint64_t offset, uint8_t *scratch, qs_error *error)
{
	enum { ROWS = 512 };
	uint32_t per_word = 32 / t->bits;
	uint64_t rows = t->dims[0], cols = t->dims[1];
	uint8_t words[4 * ROWS], codes[8];
	(void)scratch;
	while (size > 0) {
		row_piece piece = next_piece(t, offset, size, ROWS);
		uint64_t row = piece.row, column = piece.column, n_rows = piece.n_rows, n_cols = piece.n_cols;
		for (uint64_t line = column / per_word; line * per_word < column + n_cols; line++) {
			qstore_status status = read_of(p, t, words, (size_t)n_rows * 4, (line * rows + row) * 4, error);
			if (status)
				return status;
			for (uint64_t r = 0; r < n_rows; r++) {
				qs_words_unpack(t->bits, words + 4 * r, 1, codes);
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

/* Pieces of rows, or many whole rows at a time: from each row of the floats as they are those of a few
 * columns. */
static qstore_status read_turned(const packer *p, const pack_tensor *t, uint8_t *dst, size_t size,
                                 uint64_t offset, uint8_t *scratch, qs_error *error)
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
			    read_of(p, t, line, (size_t)(n_rows * elem), ((column + c) * rows + row) * elem, error);
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

/* From each column the words of these rows. */
static qstore_status read_nibbles_transposed(const packer *p, const pack_tensor *t, uint8_t *dst, size_t size,
                                             uint64_t offset, uint8_t *scratch, qs_error *error)
{
	enum { WORDS = 64 };
	uint64_t rows = t->dims[0], cols = t->dims[1];
	uint8_t words[4 * WORDS], codes[8 * WORDS];
	(void)scratch;
	while (size > 0) {
		row_piece piece = next_piece(t, offset, size, 8 * (WORDS - 1));
		uint64_t first = piece.row / 8, n = (piece.row + piece.n_rows - 1) / 8 - first + 1;
		for (uint64_t c = 0; c < piece.n_cols; c++) {
			qstore_status status =
			    read_of(p, t, words, (size_t)n * 4, ((piece.column + c) * (rows / 8) + first) * 4, error);
			if (status)
				return status;
			qs_words_deinterleave(words, (size_t)n, codes);
			for (uint64_t r = 0; r < piece.n_rows; r++)
				dst[r * cols + c] = codes[piece.row - first * 8 + r];
		}
		dst += piece.n_rows * piece.n_cols;
		offset += piece.n_rows * piece.n_cols;
		size -= (size_t)(piece.n_rows * piece.n_cols);
	}
	return QSTORE_OK;
}

/* Blocks [first, first + n) of Q8_0 made of `of`, which is floats as they are. */
static qstore_status make_q8_0(const packer *p, const pack_tensor *t, uint64_t first, size_t n,
                               uint8_t *blocks, uint8_t *scratch, qs_error *error)
{
	float values[64 * QS_Q8_0_ELEMS];
	uint32_t dtype = t->of->dtype, size = qs_dtype_size(dtype);
	while (n > 0) {
		size_t some = n < 64 ? n : 64, n_values = some * QS_Q8_0_ELEMS;
		qstore_status status = read_of(p, t, scratch, n_values * size, first * QS_Q8_0_ELEMS * size, error);
		if (status)
			return status;
		for (size_t i = 0; i < n_values; i++)
			values[i] = dtype == QS_F32 ? qs_load_f32(scratch + 4 * i)
			                            : qs_half_value(qs_load16(scratch + 2 * i), dtype);
		if (!qs_q8_0_quantize(values, some, blocks))
			return qs_fail(error, QSTORE_INPUT, "%s: has values that Q8_0 cannot have", t->name);
		blocks += some * QS_Q8_0_SIZE;
		first += some;
		n -= some;
	}
	return QSTORE_OK;
}

static qstore_status read_q8_0(const packer *p, const pack_tensor *t, uint8_t *dst, size_t size,
                               uint64_t offset, uint8_t *scratch, qs_error *error)
{
	size_t unit = t->view == PACK_Q8_0 ? QS_Q8_0_SIZE : t->view == PACK_Q8_0_CODES ? QS_Q8_0_ELEMS : 2;
	uint64_t first = offset / unit;
	size_t n = (size_t)((offset + size - 1) / unit - first + 1), skip = (size_t)(offset - first * unit);
	uint8_t *codes = scratch + PACK_SCRATCH_SIZE / 8, *scales = scratch + PACK_SCRATCH_SIZE / 8 * 3,
	        *blocks = scratch + PACK_SCRATCH_SIZE / 2;
	qstore_status status = make_q8_0(p, t, first, n, blocks, scratch, error);
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

static qstore_status read_cast(const packer *p, const pack_tensor *t, uint8_t *dst, size_t size,
                               uint64_t offset, uint8_t *scratch, qs_error *error)
{
	qstore_status status = read_of(p, t, scratch, 2 * size, 2 * offset, error);
	for (size_t i = 0; i < size / 2 && !status; i++) {
		uint32_t bits = qs_load32(scratch + 4 * i);
		if ((bits & 0x7fffffff) > 0x7f800000) /* NaN stays one */
			bits |= 0x400000;
		else
			bits += 0x7fff + (bits >> 16 & 1);
		qs_store16(dst + 2 * i, (uint16_t)(bits >> 16));
	}
	return status;
}

typedef qstore_status view_reader(const packer *p, const pack_tensor *t, uint8_t *dst, size_t size,
                                  uint64_t offset, uint8_t *scratch, qs_error *error);

qstore_status pack_tensor_read(const packer *p, const pack_tensor *tensor, uint8_t *dst, size_t size,
                               uint64_t offset, uint8_t *scratch, qs_error *error)
{
	static view_reader *const readers[] = {
	    [PACK_LLM_INT8] = read_llm_int8,
	    [PACK_BLOCK_CODES] = read_blocks,
	    [PACK_BLOCK_SCALES] = read_blocks,
	    [PACK_BLOCK_ABSMAX] = read_absmax,
	    [PACK_WORD_CODES] = read_words,
	    [PACK_WORD_CODES_T] = read_words_transposed,
	    [PACK_TURNED] = read_turned,
	    [PACK_NIBBLES] = read_words,
	    [PACK_NIBBLES_T] = read_nibbles_transposed,
	    [PACK_CAST_BF16] = read_cast,
	    [PACK_Q8_0] = read_q8_0,
	    [PACK_Q8_0_CODES] = read_q8_0,
	    [PACK_Q8_0_SCALES] = read_q8_0,
	};
	qstore_status status = QSTORE_OK;
	if (tensor->view == PACK_AS_IS)
		return pack_read(p, tensor->source, dst, size, tensor->source_offset + offset, error);
	/* So many bytes that what they are made of fits into half of the scratch memory. */
	int scales = tensor->view == PACK_BLOCK_SCALES || tensor->view == PACK_BLOCK_ABSMAX ||
	             tensor->view == PACK_Q8_0_SCALES;
	size_t most = scales ? PIECE / 32 : PIECE;
	while (size > 0 && !status) {
		size_t n = size < most ? size : most;
		status = readers[tensor->view](p, tensor, dst, n, offset, scratch, error);
		dst += n;
		offset += n;
		size -= n;
	}
	return status;
}

/* Layouts: bytes of formats that pack codes, or interleave them with scales (FORMAT.md, "Layouts"). */
#ifndef QS_LAYOUT_H
#define QS_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#include "index.h"

/* Is this one of ggml's block types that are split into codes and scales (those that a rule names)? */
int qs_blocks_are_modelled(uint32_t dtype);

/* Bytes of a block's scales as the scales object has them: of one element, or of a record. absmax: Q8_0's
 * scales are floats of that dtype, which d is made from; QS_BYTES: they are d. */
uint32_t qs_blocks_scales_size(uint32_t dtype, uint32_t absmax);

/* n_blocks blocks of ggml's type dtype (index.h) from their codes, a byte each, and scales. */
void qs_blocks_join(uint32_t dtype, uint32_t absmax, const uint8_t *codes, const uint8_t *scales,
                    size_t n_blocks, uint8_t *dst);

/* The inverse of qs_blocks_join: takes codes and scales out of blocks. */
void qs_blocks_split(uint32_t dtype, const uint8_t *blocks, size_t n_blocks, uint8_t *codes, uint8_t *scales);

/* n_words words of codes of `bits` bits (4 or 8), the first in the lowest bits, little-endian; the codes of a
 * word are neighbours in a row. Higher bits of codes are dropped. */
void qs_words_pack(uint32_t bits, const uint8_t *codes, size_t n_words, uint8_t *dst);
void qs_words_unpack(uint32_t bits, const uint8_t *words, size_t n_words, uint8_t *codes);

/* Words of 4-bit codes in the order of AWQ's kernels: the codes of a word are in its nibbles 0, 4, 1, 5, 2,
 * 6, 3, 7. */
void qs_words_interleave(const uint8_t *codes, size_t n_words, uint8_t *dst);
void qs_words_deinterleave(const uint8_t *words, size_t n_words, uint8_t *codes);

/* Words [first, first + n) of the matrix [cols, rows / 8] whose word (column, i) has, interleaved, the codes
 * of rows 8 i … of a column. codes: the whole matrix, rows × cols. */
void qs_words_interleave_columns(const uint8_t *codes, uint64_t rows, uint64_t cols, uint64_t first, size_t n,
                                 uint8_t *dst);

/* Words [first, first + n) of the matrix [cols / per word, rows] whose word (i, row) has the codes of columns
 * i × per word … of a row, and back. codes: the whole matrix, rows × cols. */
void qs_words_pack_transposed(uint32_t bits, const uint8_t *codes, uint64_t rows, uint64_t cols,
                              uint64_t first, size_t n, uint8_t *dst);
void qs_words_unpack_transposed(uint32_t bits, const uint8_t *words, uint64_t rows, uint64_t cols,
                                uint8_t *codes);

/* Elements [first, first + n) of the matrix [cols, rows] that src, rows × cols elements of `size` bytes (2 or
 * 4), is when its rows become columns. */
void qs_transpose_elems(uint32_t size, const uint8_t *src, uint64_t rows, uint64_t cols, uint64_t first,
                        size_t n, uint8_t *dst);

#endif

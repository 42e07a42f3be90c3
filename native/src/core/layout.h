/* Layouts: the bytes of file formats that pack codes or interleave them with scales, made from codes and
 * scales (FORMAT.md, "Layouts"). */
#ifndef QS_LAYOUT_H
#define QS_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#include "index.h"

/* Is this one of ggml's block types that are split into codes and scales, because a rule models them? */
int qs_blocks_are_modelled(uint32_t dtype);

/* Returns the bytes that the scales object has for a block: those of one float, or of a record. absmax: the
 * dtype of the scales if they are the absmax that Q8_0's d is made from; else QS_BYTES. */
uint32_t qs_blocks_scales_size(uint32_t dtype, uint32_t absmax);

/* Makes n_blocks blocks of ggml's type `dtype` from their codes, a byte each, and their scales. */
void qs_blocks_join(uint32_t dtype, uint32_t absmax, const uint8_t *codes, const uint8_t *scales,
                    size_t n_blocks, uint8_t *dst);

/* Takes codes and scales out of blocks: the inverse of qs_blocks_join. */
void qs_blocks_split(uint32_t dtype, const uint8_t *blocks, size_t n_blocks, uint8_t *codes, uint8_t *scales);

/* Packs codes of `bits` bits (4 or 8) into n_words little-endian words, the first code in the lowest bits.
 * The codes of a word are neighbours in a row. Higher bits of codes are dropped. */
void qs_words_pack(uint32_t bits, const uint8_t *codes, size_t n_words, uint8_t *dst);
void qs_words_unpack(uint32_t bits, const uint8_t *words, size_t n_words, uint8_t *codes);

/* Packs 4-bit codes into words in the order of AWQ's kernels: the codes of a word are in its nibbles 0, 4, 1,
 * 5, 2, 6, 3, 7. */
void qs_words_interleave(const uint8_t *codes, size_t n_words, uint8_t *dst);
void qs_words_deinterleave(const uint8_t *words, size_t n_words, uint8_t *codes);

/* Packs codes like qs_words_interleave, but eight neighbours of a column into a word. The words are a matrix
 * [cols, rows / 8], whose word (column, i) has the codes of rows 8 i to 8 i + 7. Makes its words [first,
 * first + n). codes: the whole matrix, rows × cols. */
void qs_words_interleave_columns(const uint8_t *codes, uint64_t rows, uint64_t cols, uint64_t first, size_t n,
                                 uint8_t *dst);

/* Pack codes like qs_words_pack, and unpack them, where the file has the words column by column. With p codes
 * a word, the words are a matrix [cols / p, rows], whose word (i, row) has the codes of columns i p to i p +
 * p − 1. These make, or take, its words [first, first + n). codes: the whole matrix, rows × cols. */
void qs_words_pack_transposed(uint32_t bits, const uint8_t *codes, uint64_t rows, uint64_t cols,
                              uint64_t first, size_t n, uint8_t *dst);
void qs_words_unpack_transposed(uint32_t bits, const uint8_t *words, uint64_t rows, uint64_t cols,
                                uint8_t *codes);

/* Transposes a matrix of rows × cols elements of `size` bytes (2 or 4). Makes elements [first, first + n) of
 * the result, a matrix [cols, rows]. */
void qs_transpose_elems(uint32_t size, const uint8_t *src, uint64_t rows, uint64_t cols, uint64_t first,
                        size_t n, uint8_t *dst);

/* Rows of left_size bytes and rows of right_size bytes, side by side. */
void qs_join_rows(const uint8_t *left, size_t left_size, const uint8_t *right, size_t right_size,
                  size_t n_rows, uint8_t *dst);

#endif

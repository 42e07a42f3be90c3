/* Matrices whose codes are not stored as a tensor of one byte a code. Their codes, scales and zero points
 * become derived tensors, and the tensors of their files layouts of these. Each family of formats has a file;
 * ggml's blocks are in matrix.c. */
#ifndef QS_PACK_MATRIX_H
#define QS_PACK_MATRIX_H

#include "match.h"

/* A tensor of ggml's blocks, or some rows of one. (matrix.c) */
qstore_status pack_take_blocks(pack_derived *derived, pack_tensor *t, qstore_error *error);

/* A tensor of codes that are packed in words, found by its name; others are left as they are. map: the
 * variant's tensors, by full name. (matrix_words.c) */
qstore_status pack_take_words(pack_derived *derived, const pack_map *map, pack_tensor *t,
                              qstore_error *error);

/* The matrices that the graphs of a variant's ONNX files quantize. (matrix_onnx.c) */
qstore_status pack_take_onnx(const pack_input *input, pack_derived *derived, const pack_map *map,
                             uint32_t variant, qstore_error *error);

/* ---- Helpers (matrix_help.c) ---- */

/* Makes t the file's form of codes with this grid. bits: of a code; 0 for blocks. */
void pack_set_matrix(pack_tensor *t, pack_tensor *codes, const pack_grid *grid, uint32_t bits);

/* A view of zero points of so many bits that are packed in words; `packed` becomes a layout of it. NULL when
 * out of memory. */
pack_tensor *pack_derive_zero_points(pack_derived *derived, pack_tensor *packed, pack_view view,
                                     uint32_t bits, uint64_t rows, uint64_t cols);

/* Makes t->bytes of a tensor whose name is one of zero points and whose elements are integers of 32 or 64
 * bits, as PyTorch's q_per_channel_zero_points() are, if a byte holds each of them. Grids have only bytes. */
qstore_status pack_narrow_zero_points(pack_derived *derived, pack_tensor *t, qstore_error *error);

/* "PREFIX/NAME" where the file has a prefix, else the name; NULL when out of memory. */
const char *pack_with_prefix(pack_derived *derived, const char *prefix, const char *name);

#endif

/* Parts of tensors that have a partner of their own: some first rows and columns, or slices of three
 * dimensions. The file's tensor is then its parts, one behind the other; a part with a partner for some
 * columns only is two matrices side by side. */
#ifndef QS_PACK_PARTS_H
#define QS_PACK_PARTS_H

#include "pack/input/derived.h"

/* Fewer elements that two tensors have in common are not worth an object. */
#define PACK_COMMON_MIN 1024

/* May the tensor become parts: is it as it is in its file, coded on its own, and used by no other? */
int pack_can_be_split(const pack_tensor *tensor);

/* *part: the first `rows` rows and `cols` columns of a tensor; itself when these are all. The tensor stays as
 * it is until pack_use_part. (pack_rows and pack_cols say what rows and columns are.) */
qstore_status pack_make_part(pack_derived *derived, pack_tensor *tensor, uint64_t rows, uint64_t cols,
                             pack_tensor **part, qstore_error *error);
/* Makes a tensor be coded as this part, which has its coding by now, and the rest. */
void pack_use_part(pack_tensor *tensor, pack_tensor *part);

#define PACK_SLICES_MAX 4u /* slices of what the first dimension counts */

/* Splits a tensor of `cols` columns into slices, tensor->parts: n times slices of these numbers of rows. */
qstore_status pack_make_slices(pack_derived *derived, pack_tensor *tensor, size_t n, const uint64_t *rows,
                               size_t n_rows, uint64_t cols, qstore_error *error);

/* Makes a tensor be coded as its slices. */
void pack_use_slices(pack_tensor *tensor);

/* Splits a tensor of as many elements as `other` has where that is split. */
qstore_status pack_split_like(pack_derived *derived, pack_tensor *tensor, const pack_tensor *other,
                              qstore_error *error);

/* The scales or zero points of a part of a matrix: those of the whole, or those of its rows where the matrix
 * has slices. NULL when they cannot be split likewise, or memory is out. */
pack_tensor *pack_scales_of_part(pack_derived *derived, pack_tensor *scales, const pack_tensor *part);

#endif

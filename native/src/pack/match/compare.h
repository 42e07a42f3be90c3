/* Tensors that are equal to others, or close to them. */
#ifndef QS_PACK_COMPARE_H
#define QS_PACK_COMPARE_H

#include "encode/encode.h"
#include "pack/input/progress.h"
#include "pack/input/tensor.h"

/* Are the bytes of two tensors of the same size equal? Both are as they are in their files, or columns of
 * these. buffer: 2 * QS_IO_BLOCK bytes. */
qstore_status pack_are_equal(const pack_tensor *a, const pack_tensor *b, const pack_progress *progress,
                             uint8_t *buffer, int *equal, qstore_error *error);

/* Does it save 2 % to code a sample of the middle chunk of `fine` as differences to `coarse`? */
qstore_status pack_delta_pays(qs_encoder *encoder, const pack_tensor *fine, const pack_tensor *coarse,
                              int *pays, qstore_error *error);

/* May `fine` be coded from coarser floats? With them a sample of it must take at most 1.1 times as much as
 * alone, because wider floats can have bits that readers of `fine` would download in vain. */
qstore_status pack_narrow_pays(qs_encoder *encoder, const pack_tensor *fine, const pack_tensor *coarse,
                               int *pays, qstore_error *error);

/* Does it save 2 % to code a sample of `fine`, in 16 bits, as a refinement of codes that have a grid? */
qstore_status pack_refine_pays(qs_encoder *encoder, const pack_tensor *fine, const pack_tensor *codes,
                               int *pays, qstore_error *error);

/* Are the scales proportional to the largest magnitudes of the rows or columns of `fine`, in 16 bits? Then
 * codes are of these values, whatever their order is. Large matrices are not looked at. */
qstore_status pack_scales_follow(const pack_tensor *fine, const pack_tensor *scales, int *follow,
                                 qstore_error *error);

/* *size: bytes that a sample of singles takes as differences to their cast `half`, which is a refinement of
 * codes that have a grid. */
qstore_status pack_cast_size(qs_encoder *encoder, const pack_tensor *fine, const pack_tensor *half,
                             const pack_tensor *codes, size_t *size, qstore_error *error);

/* The square of the correlation of a sample of two tensors of floats that have the same elements. */
qstore_status pack_correlate_floats(const pack_tensor *a, const pack_tensor *b, double *correlation,
                                    qstore_error *error);

/* The squared correlation with a coarser tensor in FP8, whose scales are not known: the mean over groups of
 * 32 weights, which have one scale. */
qstore_status pack_correlate_fp8(const pack_tensor *fine, const pack_tensor *fp8, double *correlation,
                                 qstore_error *error);

#endif

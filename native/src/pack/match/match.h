/* The second stage: how each tensor is coded, from which others. Its output is the pack_coding of every
 * tensor, and derived tensors; a variant's tensors are coded from coarser variants, or from the base.
 *
 * match/ depends on input/ alone of the stages, on encode/ to see whether differences pay, and on read/ for a
 * base that is an archive. In this folder, sums.h, compare.h and mismatch.h depend on no other; rule.h
 * depends on sums.h; the steps below and base.h depend on these. */
#ifndef QS_PACK_MATCH_H
#define QS_PACK_MATCH_H

#include "pack/input/input.h"

/* Gives every tensor its full name and its key, and finds the matrices whose codes are packed in words or
 * stored in blocks. (matrix.c) */
qstore_status pack_find_matrices(const pack_input *input, pack_derived *derived, qstore_error *error);

/* Finds for each variant's tensors those of coarser variants that they are equal to, refine or are close to.
 * from: name of the variant that the finest one builds on, or NULL: the next coarser one. (pair.c) */
qstore_status pack_pair_variants(pack_input *input, pack_derived *derived, const char *from,
                                 const pack_progress *progress, qstore_error *error);

#endif

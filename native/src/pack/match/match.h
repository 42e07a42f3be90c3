/* The second stage: how each tensor is coded, from which others. Its output is the pack_coding of every
 * tensor, and derived tensors; a variant's tensors are coded from coarser variants, or from the base.
 *
 * match/ depends on input/ alone of the stages, on encode/ to see whether differences pay, and on read/ for a
 * base that is an archive. In this folder, sums.h, compare.h and apart.h depend on no other; rule.h
 * depends on sums.h, equal.h on rule.h and compare.h; the steps below and base.h depend on these. */
#ifndef QS_PACK_MATCH_H
#define QS_PACK_MATCH_H

#include "apart.h"

/* Gives every tensor its full name and its key, and finds the matrices whose codes are packed in words or
 * stored in blocks. (matrix.c) */
qstore_status pack_find_matrices(const pack_input *input, pack_derived *derived, qstore_error *error);

/* Finds for each variant's tensors those of coarser variants that they are equal to, refine or are close to.
 * Tensors that fit no coarser tensor, though one has their name, are noted in *apart. Fails with MISMATCH if
 * the models do not belong together, unless the options allow that. (pair.c) */
qstore_status pack_pair_variants(pack_input *input, pack_derived *derived, pack_apart *apart,
                                 const qstore_pack_options *options, const pack_progress *progress,
                                 qstore_error *error);

#endif

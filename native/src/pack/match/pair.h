/* One pair: a tensor, and the coarser one that it may be coded from. */
#ifndef QS_PACK_PAIR_H
#define QS_PACK_PAIR_H

#include "apart.h"
#include "encode/encode.h"
#include "rule.h"

/* The state of pairing; what it points at belongs to the caller. */
typedef struct pack_pairing {
	pack_input *input;
	pack_derived *derived;
	const pack_progress *progress;
	pack_map names[QS_VARIANTS_MAX], keys[QS_VARIANTS_MAX]; /* of each variant */
	pack_search search;
	qs_encoder *encoder;
	uint32_t fine_variant; /* whose tensors are paired */
	pack_apart *apart;
	pack_tally tally; /* of fine_variant */
} pack_pairing;

/* Squared correlation of a pair. Tensors that do not belong together have at most a sixth of it. */
#define PACK_CONTENT_MIN 0.25

/* The matrix of codes that a tensor is the file's form of; NULL when it can be none. */
pack_tensor *pack_matrix_of(pack_tensor *tensor);

/* Is the tensor a matrix of weights that is stored on its own? Scales are none. */
int pack_is_plain_weights(const pack_tensor *tensor);

/* Is it decided what the tensor is coded from? */
int pack_is_paired(pack_tensor *tensor);

/* *half: the floats themselves, or the cast of singles to BF16, to which these are differences. */
qstore_status pack_cast_to_16_bits(pack_derived *derived, pack_tensor *fine, pack_tensor **half,
                                   qstore_error *error);

/* Makes both be coded in chunks of the same elements, as differences need them. False when that is not
 * possible: doubles have chunks of fewer elements than other floats. coarse: a variant's or the base's. */
int pack_share_chunks(pack_tensor *fine, pack_tensor *coarse);

/* Codes `given`, of q->fine_variant, from `coarse`, of coarse_variant, when that is possible: as it is,
 * transposed, or some part of it. (pair_tensors.c) */
qstore_status pack_pair_tensors(pack_pairing *q, pack_tensor *given, pack_tensor *coarse,
                                uint32_t coarse_variant, pack_match *match, qstore_error *error);

/* Pairs the rows and columns that two tensors have in common, or their slices, each of them transposed. The
 * match is left as it was when these do not fit either. (pair_parts.c) */
qstore_status pack_pair_parts(pack_pairing *q, pack_tensor *given, pack_tensor *coarse,
                              uint32_t coarse_variant, pack_match *match, qstore_error *error);

#endif

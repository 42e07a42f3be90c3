/* Names that differ between two variants although the tensors are the same: other prefixes, experts that are
 * fused in one and apart in the other. */
#ifndef QS_PACK_NAMES_H
#define QS_PACK_NAMES_H

#include "pair.h"

/* Gives the tensors of *own, a map by key, whose names have another prefix in the other map ("model." and
 * "model.language_model.") the keys that they have there. (names.c) */
qstore_status pack_rename_prefixes(pack_map *own, const pack_map *other, qs_arena *arena,
                                   qstore_error *error);

/* Pairs experts that are one tensor of three dimensions in one variant, "P.experts.gate_up_proj", with those
 * that are matrices in the other, "P.experts.0.gate_proj.weight" and so on. (experts.c) */
qstore_status pack_pair_experts(pack_pairing *q, uint32_t coarse, size_t *n_common, qstore_error *error);

#endif

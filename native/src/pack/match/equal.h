/* Tensors with the same bytes as others, anywhere in the archive: they share one object. */
#ifndef QS_PACK_EQUAL_H
#define QS_PACK_EQUAL_H

#include "pack/input/derived.h"
#include "pack/input/input.h"

/* Finds the tensors of files that are equal, by a checksum of samples first, then by all bytes, and links
 * them (tensor->equal). Sets the layers of all tensors of files. */
qstore_status pack_find_equal(const pack_input *input, const pack_progress *progress, qstore_error *error);

/* The tensor of one of the variants [last, first) that equals this one, or NULL. */
pack_tensor *pack_equal_in(const pack_tensor *tensor, uint32_t first, uint32_t last);
/* May the tensor become a duplicate before it is known which tensors are scales? */
int pack_is_shared_early(const pack_tensor *tensor);

/* Marks the tensors that are in a grid: their objects have to be plain. */
void pack_mark_needed(const pack_input *input, const pack_derived *derived);

/* Makes equal tensors of a variant duplicates of the one that is coded from a coarser variant, or else of the
 * first one; before finer variants are coded from them. */
void pack_share_variant(const pack_input *input, uint32_t variant);

/* Makes equal tensors duplicates of one another, and floats layouts of those that they are transposed from;
 * when it is decided how all others are coded. */
qstore_status pack_share_all(const pack_input *input, pack_derived *derived, const pack_progress *progress,
                             qstore_error *error);

#endif

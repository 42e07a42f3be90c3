/* Finding the centres of columns or rows, which codes with zero points have (FORMAT.md, "Centred codes"). */
#ifndef QS_CENTRES_H
#define QS_CENTRES_H

#include "core/mode.h"

typedef struct qs_centres {
	uint32_t n; /* centres: one for each column of the object, or for each row of the chunk */
	int by_row;
	uint8_t centre[QS_CENTRES_MAX];
	int32_t sums[QS_CENTRES_MAX]; /* scratch */
} qs_centres;

/* Finds the mean codes of columns or of rows, whichever gains more. Returns 0 if neither gains enough. */
int qs_find_centres(qs_centres *centres, const qs_chunk_desc *desc, const uint8_t *codes);

/* Writes each code less its centre, n_elems bytes, to dst. */
void qs_subtract_centres(const qs_centres *centres, const qs_chunk_desc *desc, const uint8_t *codes,
                         uint8_t *dst);

#endif

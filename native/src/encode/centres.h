/* Codes whose columns or rows have centres of their own, as zero points make them (FORMAT.md, "Centred
 * codes"). */
#ifndef QS_CENTRES_H
#define QS_CENTRES_H

#include "core/mode.h"

typedef struct qs_centres {
	uint32_t n; /* columns of the object, or rows of the chunk */
	int by_row;
	uint8_t centre[QS_CENTRES_MAX];
	int32_t sums[QS_CENTRES_MAX]; /* scratch */
} qs_centres;

/* Mean codes of columns or of rows. Returns 0 when distances to them promise too little. */
int qs_find_centres(qs_centres *centres, const qs_chunk_desc *desc, const uint8_t *codes);

/* codes less their centres, n_elems bytes. */
void qs_subtract_centres(const qs_centres *centres, const qs_chunk_desc *desc, const uint8_t *codes,
                         uint8_t *dst);

#endif

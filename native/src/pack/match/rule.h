/* Which rule and which scales made a matrix's codes: found by trying what there is on parts of the floats. */
#ifndef QS_PACK_RULE_H
#define QS_PACK_RULE_H

#include "pack/pack.h"

#define PACK_GRIDS_MAX 96

typedef struct pack_candidate {
	pack_grid grid;
	int named; /* like scales */
	uint64_t mismatches;
	pack_sums sums;
} pack_candidate;

/* What a search works in. */
typedef struct pack_search {
	packer *p;
	uint8_t *fine, *coarse; /* a chunk each; coarse has 2 * QS_IO_BLOCK bytes at least */
	uint8_t *scratch;
	pack_grid_memory grid;
	pack_candidate candidates[PACK_GRIDS_MAX];
	size_t n_candidates;
} pack_search;

int pack_search_init(pack_search *search, packer *p); /* 0: out of memory; free it even so */
void pack_search_free(pack_search *search);

/* Is this, or a part of it, the name of scales? */
int pack_is_scales_name(const char *name);
/* Is there a tensor that is named like scales of these codes? map: their variant's, by name. */
int pack_has_scales(const pack_map *map, const pack_tensor *codes);

/* What codes and scales say of values. */
typedef enum pack_fit {
	PACK_FITS,
	PACK_LOOSE,   /* a quarter of the codes and more are others than the rule's */
	PACK_RELATED, /* values that codes are not near to, but belong to */
	PACK_WRONG
} pack_fit;

/* Tries every grid on the first, the middle and the last chunk; the fewest mismatches win. `found` is 0 when
 * there is no candidate; codes->grid is set else. */
qstore_status pack_find_rule(pack_search *search, const pack_tensor *fine, pack_tensor *codes,
                             const pack_map *map, int *found, pack_fit *fit, qs_error *error);

/* Looks for factors that these values' columns were multiplied by before they became codes (SmoothQuant,
 * AWQ): fine->factors, and the rule of codes->grid, are set when there are some. fine: in 16 bits.
 * (pack_factors.c)
 */
qstore_status pack_find_factors(pack_search *search, pack_tensor *fine, pack_tensor *codes, int *found,
                                qs_error *error);

/* The grid of codes in I8 which nothing has shown yet, by the names of their scales. 0: none. */
int pack_guess_grid(pack_search *search, const pack_map *map, pack_tensor *codes);

/* Takes these values' absmax as the scales of Q8_0 blocks, if all of them are what it gives. */
qstore_status pack_use_absmax(pack_search *search, const pack_tensor *fine, pack_tensor *codes,
                              qs_error *error);

/* The square of the correlation of a piece of the values with what the codes are worth. Optimizers rename an
 * ONNX graph's weights; this tells those that belong together. */
#define PACK_CONTENT_ELEMS 4096u
qstore_status pack_correlate(pack_search *search, const pack_tensor *fine, const pack_tensor *codes,
                             double *correlation, qs_error *error);

#endif

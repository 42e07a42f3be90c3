/* Which rule and which scales made a matrix's codes: found by trying all that fit on samples of the floats.
 */
#ifndef QS_PACK_RULE_H
#define QS_PACK_RULE_H

#include "pack/input/grid.h"
#include "pack/input/input.h"
#include "sums.h"

#define PACK_CANDIDATES_MAX 96

/* A grid that a matrix of codes may have. */
typedef struct pack_candidate {
	pack_grid grid;
	uint64_t cols; /* of the matrix, for scales along another axis than the first; 0: as it is */
	int is_named;  /* its scales are named like scales */
	uint64_t mismatches;
	pack_sums sums;
} pack_candidate;

/* Memory of a search. */
typedef struct pack_search {
	pack_derived *derived;
	const pack_progress *progress;
	uint8_t *fine, *coarse; /* a chunk each; coarse has 2 * QS_IO_BLOCK bytes at least */
	uint8_t *scratch;
	pack_grid_memory grid;
	pack_candidate candidates[PACK_CANDIDATES_MAX];
	size_t n_candidates;
	/* The rule of the last pair for which all were tried (or QS_RULE_NONE), and the share of its codes that
	 * differ. */
	uint32_t last_rule;
	double last_mismatches;
	/* The share of codes that the rule found last makes differently, and whether all codes of its sample are
	 * zero. */
	double differing;
	int is_zero;
} pack_search;

/* A zeroed search; free it even after MEMORY. */
qstore_status pack_search_init(pack_search *search, pack_derived *derived, const pack_progress *progress,
                               qstore_error *error);
void pack_search_free(pack_search *search);

/* Is this, or a part of it, a name that scales have? */
int pack_is_scales_name(const char *name);
/* Is there a tensor that is named like scales of these codes? map: their variant's, by name. */
int pack_has_scales(const pack_map *map, const pack_tensor *codes);
/* A tensor that may be these floats' codes under a name, or packed in a way, that is not known; or NULL. It
 * is named like a part of the floats' module, and has a bit for each value at least. map: of a coarser
 * variant, by name. */
const pack_tensor *pack_find_unknown_codes(const pack_map *map, const pack_tensor *fine);

/* How well codes fit the values that they may have been made of. */
typedef enum pack_fit {
	PACK_FITS,
	PACK_LOOSE,   /* the rule gives another code for a quarter of the values or more */
	PACK_RELATED, /* codes are far from the values, but correlated with them */
	PACK_WRONG    /* codes have nothing to do with the values */
} pack_fit;

/* Tries every candidate on the first, the middle and the last chunk; the one with the fewest mismatches wins.
 * The rule of the last pair is tried first, on fewer elements, and taken if it does as well as there. *found
 * is 0 when there is no candidate; else `codes` get the winner's grid. map: of the codes' variant, by name.
 */
qstore_status pack_find_rule(pack_search *search, const pack_tensor *fine, pack_tensor *codes,
                             const pack_map *map, int *found, pack_fit *fit, qstore_error *error);

/* Looks for factors by which the columns of the values were multiplied before they became codes (SmoothQuant,
 * AWQ). When *found, fine->coding.factors and the rule of codes->coding.grid are set. fine: in 16 bits.
 * (factors.c) */
qstore_status pack_find_factors(pack_search *search, pack_tensor *fine, pack_tensor *codes, int *found,
                                qstore_error *error);

/* Gives codes in I8 or U8 a grid by the names of their scales, unless they have one. False when none fits. */
int pack_guess_grid(pack_search *search, const pack_map *map, pack_tensor *codes);

/* Makes the absolute maxima of the values' blocks the scales of Q8_0 codes, if each stored scale follows from
 * its maximum: a maximum says more about the values than the scale that was rounded from it. */
qstore_status pack_use_absmax(pack_search *search, const pack_tensor *fine, pack_tensor *codes,
                              qstore_error *error);

/* The square of the correlation of PACK_CONTENT_ELEMS of the values with their codes. Optimizers rename an
 * ONNX graph's weights; this tells which tensors belong together. */
#define PACK_CONTENT_ELEMS 4096u
qstore_status pack_correlate(pack_search *search, const pack_tensor *fine, const pack_tensor *codes,
                             double *correlation, qstore_error *error);

#endif

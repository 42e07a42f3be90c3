/* Decoding of ranks, the positions of values in the cells of their codes (FORMAT.md, "Ranks"). They are coded
 * by range ANS, all ranks of a cell being equally likely, in 8 or 64 interleaved lanes that are laid out for
 * SIMD. (The ANS family: Duda, arXiv 1311.2540; interleaving: Giesen, arXiv 1402.3392.) */
#ifndef QS_RANKS_H
#define QS_RANKS_H

#include "bytes.h"
#include "cell_fields.h"

enum {
	QS_LANES_MIN = 8,
	QS_LANES_MAX = 64,
	QS_LANES_STEP = 32,      /* elements that kernels decode at a time, with QS_LANES_MAX lanes */
	QS_LANE_START = 1 << 16, /* state that the encoder starts from and the decoder must end at */
	QS_UNITS_ROOM = 128,     /* bytes of units that kernels load at a time; they may need fewer */
	QS_ESCAPES_SLACK = 64
};

_Static_assert(QS_UNITS_ROOM >= QS_LANES_MAX * sizeof(uint16_t), "a unit for each lane, twice QS_LANES_STEP");
_Static_assert(QS_LANES_MAX % QS_LANES_STEP == 0 && QS_LANES_MIN <= QS_LANES_STEP, "steps divide the lanes");
_Static_assert(QS_ESCAPES_SLACK >= QS_LANES_STEP * sizeof(uint16_t),
               "kernels load a vector of escaped values");

/* The decoder's state: lane i's 32-bit state is high[i] << 16 | low[i], and at least 2^16 between symbols. */
typedef struct qs_ranks {
	_Alignas(64) uint16_t low[QS_LANES_MAX], high[QS_LANES_MAX];
	/* The 16-bit units. From addresses up to src_last, kernels may load QS_UNITS_ROOM bytes. */
	const uint8_t *src, *src_end, *src_last;
	/* The values of the escapes, in order, 2 bytes each. Kernels may read QS_ESCAPES_SLACK bytes beyond
	 * them. */
	const uint8_t *escapes;
	unsigned lanes, next;             /* next: the lane of the next element */
	uint8_t units[2 * QS_UNITS_ROOM]; /* a copy of the last units, with room behind them */
} qs_ranks;

/* Sets the units to decode from: `size` bytes, an even number. */
void qs_ranks_begin(qs_ranks *ranks, const uint8_t *src, size_t size);

/* Copies the last units into ranks->units, where kernels may load bytes beyond them. Returns 0 if there are
 * no units left. Only qs_ranks_room calls it. */
int qs_ranks_last_units(qs_ranks *ranks);

/* Makes sure that a kernel may load QS_UNITS_ROOM bytes from *src on, for which *src may be moved to a copy
 * of the units. Returns 0 if the units run out. */
static inline int qs_ranks_room(qs_ranks *ranks, const uint8_t **src)
{
	if (*src <= ranks->src_last)
		return 1;
	ranks->src = *src;
	if (!qs_ranks_last_units(ranks))
		return 0;
	*src = ranks->src;
	return 1;
}

/* Kernels take multiples of this many elements. */
static inline unsigned qs_ranks_step(unsigned lanes)
{
	return lanes < QS_LANES_STEP ? lanes : QS_LANES_STEP;
}

/* Decodes runs of elements into dst, 2 bytes each: counts[r] elements by the cells cells[r]. The lanes take
 * turns, beginning with `next`. indexes: cell indexes; an element with index 0 gets the next value of
 * `escapes`. counts and `next` are multiples of qs_ranks_step, except for qs_ranks_scalar. Returns 0 when the
 * units run out. Any state is safe: bad data gives wrong values, never a bad access. */
typedef int qs_ranks_kernel(qs_ranks *ranks, const qs_cells *cells, const uint32_t *counts, uint32_t n_runs,
                            const uint8_t *indexes, uint8_t *dst);

qs_ranks_kernel qs_ranks_scalar;  /* the oracle: any number of lanes */
qs_ranks_kernel qs_ranks_simd128; /* WebAssembly SIMD, SSE4.1, NEON */
qs_ranks_kernel qs_ranks_avx2;    /* 64 lanes */
qs_ranks_kernel qs_ranks_avx512;  /* 64 lanes, and tables of signed codes around 0 only */

/* Decodes n elements, of which each has a cell of its own. An element with g = 0 gets the next value of
 * `escapes`. */
typedef int qs_ranks_fields_kernel(qs_ranks *ranks, const qs_cell_fields *cells, size_t n, uint8_t *dst);

qs_ranks_fields_kernel qs_ranks_fields_scalar; /* the oracle: any number of lanes and elements */
qs_ranks_fields_kernel qs_ranks_fields_simd128;
qs_ranks_fields_kernel qs_ranks_fields_avx2;   /* 64 lanes */
qs_ranks_fields_kernel qs_ranks_fields_avx512; /* 64 lanes */

/* Writes the values of the escapes among n elements, for kernels that leave them out: escapes are rare, so
 * that finding them afterwards takes less time than handling them in each vector. Returns the address of the
 * next value. */
const uint8_t *qs_ranks_place_escapes(const uint8_t *escapes, const uint8_t *indexes, size_t n, uint8_t *dst);

qs_ranks_fields_kernel *qs_ranks_fields_best(unsigned lanes);

/* Return the fastest kernel that runs on this machine. plain: is the grid plain (qs_grid_is_plain)? */
qs_ranks_kernel *qs_ranks_best(unsigned lanes, int plain);

#endif

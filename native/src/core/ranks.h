/* Ranks: the position of each value in the cell of its code, range-ANS coded with all ranks of a cell equally
 * likely, in 8 or 64 interleaved lanes laid out for SIMD (FORMAT.md, "Ranks"; the ANS family: Duda, arXiv
 * 1311.2540; interleaving: Giesen, arXiv 1402.3392). */
#ifndef QS_RANKS_H
#define QS_RANKS_H

#include "bytes.h"
#include "cell_fields.h"

enum {
	QS_LANES_MIN = 8,
	QS_LANES_MAX = 64,
	QS_LANES_STEP = 32,      /* elements that kernels decode at a time, with QS_LANES_MAX lanes */
	QS_LANE_START = 1 << 16, /* state that the encoder starts from and the decoder must end at */
	QS_UNITS_ROOM = 128,     /* bytes of units that kernels load at a time, whether they take them or not */
	QS_ESCAPES_SLACK = 64
};

_Static_assert(QS_UNITS_ROOM >= QS_LANES_MAX * sizeof(uint16_t), "a unit for each lane, twice QS_LANES_STEP");
_Static_assert(QS_LANES_MAX % QS_LANES_STEP == 0 && QS_LANES_MIN <= QS_LANES_STEP, "steps divide the lanes");
_Static_assert(QS_ESCAPES_SLACK >= QS_LANES_STEP * sizeof(uint16_t),
               "kernels load a vector of escaped values");

/* The decoder's state: lane i's 32-bit state is high[i] << 16 | low[i], and at least 2^16 between symbols. */
typedef struct qs_ranks {
	_Alignas(64) uint16_t low[QS_LANES_MAX], high[QS_LANES_MAX];
	const uint8_t *src, *src_end, *src_last; /* 16-bit units; up to src_last kernels may load QS_UNITS_ROOM */
	const uint8_t *escapes; /* values of the elements with index 0, in order, 2 bytes each; kernels may read
	                         QS_ESCAPES_SLACK bytes beyond the last */
	unsigned lanes, next;   /* next: the lane of the next element */
	uint8_t units[2 * QS_UNITS_ROOM]; /* the last ones, and room behind them */
} qs_ranks;

/* Units to decode from, an even number of bytes. */
void qs_ranks_begin(qs_ranks *ranks, const uint8_t *src, size_t size);

/* For qs_ranks_room: moves the last units to where there is room behind them. Returns 0 when they have run
 * out.
 */
int qs_ranks_last_units(qs_ranks *ranks);

/* For kernels: whether they may load QS_UNITS_ROOM from src on; it may be another place then. */
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

/* Decodes runs of elements into dst, 2 bytes each, by one lane after the other from `next` on: counts[r] of
 * them by cells[r]. But for qs_ranks_scalar, counts and `next` are multiples of qs_ranks_step. indexes: of
 * cells; 0 takes a value from escapes. Returns 0 when the units run out.
 * Any state is safe: bad data gives wrong values, never a bad access. */
typedef int qs_ranks_kernel(qs_ranks *ranks, const qs_cells *cells, const uint32_t *counts, uint32_t n_runs,
                            const uint8_t *indexes, uint8_t *dst);

qs_ranks_kernel qs_ranks_scalar;  /* the oracle: any number of lanes */
qs_ranks_kernel qs_ranks_simd128; /* WebAssembly SIMD, SSE4.1, NEON */
qs_ranks_kernel qs_ranks_avx2;    /* 64 lanes */
qs_ranks_kernel qs_ranks_avx512;  /* 64 lanes, and tables of signed codes around 0 only */

/* Decodes n elements with a cell for each, given field by field. An element with g = 0 takes a value from
 * escapes. */
typedef int qs_ranks_fields_kernel(qs_ranks *ranks, const qs_cell_fields *cells, size_t n, uint8_t *dst);

qs_ranks_fields_kernel qs_ranks_fields_scalar; /* the oracle: any number of lanes and elements */
qs_ranks_fields_kernel qs_ranks_fields_simd128;
qs_ranks_fields_kernel qs_ranks_fields_avx2;   /* 64 lanes */
qs_ranks_fields_kernel qs_ranks_fields_avx512; /* 64 lanes */

/* Writes the escaped values of n elements, for kernels that leave them out. Escapes are rare, so that finding
 * them afterwards takes less time than handling them in each vector. Returns the place of the next escaped
 * value. */
const uint8_t *qs_ranks_place_escapes(const uint8_t *escapes, const uint8_t *indexes, size_t n, uint8_t *dst);

qs_ranks_fields_kernel *qs_ranks_fields_best(unsigned lanes);

/* The fastest kernel that runs on this machine. plain: for tables of signed codes around 0, the negative ones
 * the same as the positive ones. */
qs_ranks_kernel *qs_ranks_best(unsigned lanes, int plain);

#endif

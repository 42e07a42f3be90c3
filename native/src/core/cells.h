/* Cells: for one scale, which 16-bit values a quantizer maps to each code (FORMAT.md, "Rules").
 *
 * A float's bit pattern without its sign is an ordered integer, so the values of one code are an interval of
 * patterns [first, first + count); the refinement only says which of them. */
#ifndef QS_CELLS_H
#define QS_CELLS_H

#include <stdint.h>

#include "grid.h"
#include "rules.h"
#include "simd.h"

/* What decoding needs of the cell of a code, in one word:
 * bits 0–15 the pattern of its first value, sign included; 16–31 G = floor(65536 / F); 32–47 F = min(65535,
 * floor(65536 / n)); 48–63 n, the number of values (1 for index 0 and for empty cells, whose rank says
 * nothing). */
typedef uint64_t qs_cell;

#define QS_CELL_FIRST(c) ((uint16_t)(c))
#define QS_CELL_G(c) ((uint32_t)((c) >> 16 & 0xffff))
#define QS_CELL_F(c) ((uint32_t)((c) >> 32 & 0xffff))
#define QS_CELL_COUNT(c) ((uint32_t)((c) >> 48))

/* floor(65536 / n) for 1 ≤ n < 2^16, by a single: the quotient is no integer by less than 2^-16, or is one,
 * and adding this number rounds (quotient − ½) half to even; integers above 1 are even, being powers of two.
 * No conversion, for which WebAssembly takes six instructions. */
QS_ALWAYS_INLINE uint32_t qs_divide_65536(uint32_t n)
{
	return qs_f32_bits(65536.0f / (float)(int32_t)n + (0x1p23f - 0.5f)) - 0x4b000000;
}

/* The cell of `count` values from pattern `first` on. */
QS_ALWAYS_INLINE qs_cell qs_make_cell(uint32_t first, uint32_t count)
{
	uint32_t n = count ? count : 1;
	uint32_t f = qs_divide_65536(n);
	f = f > 65535 ? 65535 : f;
	uint32_t g = qs_divide_65536(f);
	return (qs_cell)(first | g << 16) | (qs_cell)(f | n << 16) << 32;
}

enum { QS_CELL_TABLE = 256, QS_CELL_FIELDS = 128 };

/* The cells of one scale. Index: the code less `zero`, modulo 256; index 0 is the code whose cell holds the
 * value 0, and whose values are not coded as ranks. */
typedef struct qs_cell_table {
#if QS_HAVE_AVX512
	/* Of caches that are `wide`: the same field by field, of codes 0 to 127; but g and count are 0 for index
	 * 0, and for all of them with QS_ALL_ZERO. Signed codes have the cells of positive ones, except −128.
	 * small: counts again, likewise, where none is above 255, and from code 32 on none above 31. */
	uint16_t first[QS_CELL_FIELDS];
	uint8_t small[QS_CELL_FIELDS];
	uint8_t f_low[QS_CELL_FIELDS], f_high[QS_CELL_FIELDS]; /* bytes of f */
	uint16_t f[QS_CELL_FIELDS], g[QS_CELL_FIELDS], count[QS_CELL_FIELDS];
#endif
	qs_cell cells[QS_CELL_TABLE];
	int32_t zero; /* QS_ALL_ZERO: all elements are coded as those of index 0 are */
	int is_small;
	uint8_t to_next_line[56];
} qs_cell_table;

_Static_assert(sizeof(qs_cell_table) % 64 == 0, "tables begin at cache lines");

enum { QS_ALL_ZERO = 1 << 20 };

/* The cells of a scale, by the table of one that is 2^e times it: `move` is added to the first pattern of
 * each cell, modulo 2^16. The other fields are the same. */
typedef struct qs_cells {
	const qs_cell_table *table;
	uint16_t move; /* also flips the sign where the two scales' signs differ */
	uint16_t is_small;
} qs_cells;

QS_ALWAYS_INLINE qs_cell qs_cells_at(qs_cells cells, uint8_t index)
{
	qs_cell cell = cells.table->cells[index];
	return (cell & ~(qs_cell)0xffff) | (uint16_t)(cell + cells.move);
}

/* Tables by scale, in a direct-mapped cache in the caller's memory. Scales that are values of a 16-bit type,
 * as absmaxima are, have 128 or 1,024 mantissas: there is a slot for each. */
enum { QS_CELL_CACHE_SLOTS = 1024 };

/* Identifies the table in a slot. */
typedef struct qs_cell_key {
	uint32_t scale,
	    zero;         /* bits of its scale, or its mantissa if the table is movable; zero point and shift */
	uint32_t offset;  /* bits */
	uint16_t place;   /* of a movable table: sign and exponent of its scale, as those of dtype */
	uint8_t reach;    /* indexes up to this, and down from 256 less this, are there; 0: no table */
	uint8_t is_small; /* see qs_cell_table */
} qs_cell_key;

typedef struct qs_cell_cache {
	qs_cell_table tables[QS_CELL_CACHE_SLOTS];
	qs_cell_key keys[QS_CELL_CACHE_SLOTS];
	uint32_t dtype, rule, codes_dtype;
	/* Scales whose tables fit those 2^e times theirs: their bits, less movable_min, are at most movable_span,
	 * once they have gone through movable_mask, which takes the sign off where the other one's do, too. */
	uint32_t movable_min, movable_span, movable_mask;
	uint32_t exponent_shift; /* by which a single's exponent becomes that of dtype */
	int shared; /* whether borders are shared: a value at a border belongs to both cells; 0 at first */
	int wide;   /* whether tables are built for and by AVX-512; the cells are the same */
} qs_cell_cache;

/* dtype: of the values, QS_F16 or QS_BF16. */
void qs_cell_cache_init(qs_cell_cache *cache, uint32_t dtype, uint32_t rule, uint32_t codes_dtype);

/* The same of a cache that is ready already, and whether borders are shared; its tables stay if they are
 * such. */
void qs_cell_cache_use(qs_cell_cache *cache, uint32_t dtype, uint32_t rule, uint32_t codes_dtype, int shared);

/* The table for a scale, for codes that are at most `reach` from the zero point (1 to 255; other rules than
 * the symmetric ones have always all); valid until the next call. IEEE single operations only, so that every
 * platform finds the same cells. */
const qs_cell_table *qs_cell_cache_get(qs_cell_cache *cache, const qs_step *step, uint32_t reach);

/* The same by a table that may be that of a scale 2^e times as large, where one does for both: symmetric
 * rules know only products and quotients, which scale with powers of two, and so do floats, as long as none
 * of the numbers is subnormal or infinite. */
qs_cells qs_cell_cache_find(qs_cell_cache *cache, const qs_step *step, uint32_t reach);

enum { QS_CELL_MOVABLE = 1 << 30 }; /* in a key's `zero` */

QS_ALWAYS_INLINE uint32_t qs_cell_key_zero(const qs_step *step)
{
	return ((uint32_t)step->zero << 8 & 0xffff00) | (uint8_t)step->shift;
}

/* The slot of a movable table; the 128 mantissas of BF16 stand together. */
QS_ALWAYS_INLINE uint32_t qs_cell_slot(uint32_t mantissa, uint32_t zero)
{
	return ((mantissa >> 16 | (mantissa >> 6 & 7 << 7)) ^ zero * 389) % QS_CELL_CACHE_SLOTS;
}

QS_ALWAYS_INLINE uint32_t qs_cell_place(const qs_cell_cache *cache, uint32_t bits)
{
	return ((bits & 0x7f800000) >> cache->exponent_shift) + (bits >> 31 << 15);
}

/* Finds the cells only if their table is in the cache and movable; returns 0 otherwise. Changes nothing. */
QS_ALWAYS_INLINE int qs_cell_cache_has(const qs_cell_cache *cache, const qs_step *step, uint32_t reach,
                                       qs_cells *cells)
{
	uint32_t bits = qs_f32_bits(step->scale), mantissa = bits & 0x7fffff, zero = qs_cell_key_zero(step),
	         slot = qs_cell_slot(mantissa, zero);
	const qs_cell_key *key = &cache->keys[slot];
	if ((bits & cache->movable_mask) - cache->movable_min > cache->movable_span || key->scale != mantissa ||
	    key->zero != (zero | QS_CELL_MOVABLE) || key->reach < reach)
		return 0;
	*cells =
	    (qs_cells){&cache->tables[slot], (uint16_t)(qs_cell_place(cache, bits) - key->place), key->is_small};
	return 1;
}

/* Is this a scale that codes can be made with? If not, all elements are coded as those of index 0 are. */
int qs_step_is_usable(uint32_t rule, const qs_step *step);

/* The least `reach` for these indexes. */
uint32_t qs_cell_reach(uint32_t codes_dtype, int32_t zero, const uint8_t *indexes, uint32_t n);

/* The code that the rule gives a value of dtype, before it is clamped to the codes' range; QS_NO_CODE for
 * what is not finite or far outside. */
enum { QS_NO_CODE = 1 << 20 };
int qs_cell_code(uint32_t dtype, uint32_t rule, const qs_step *step, uint16_t value);

#endif

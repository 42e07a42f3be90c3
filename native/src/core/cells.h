/* Cells: the 16-bit values that a rule maps to each code under one scale (FORMAT.md, "Rules").
 *
 * A float's bit pattern without its sign is an integer that rises with the magnitude. So the values of one
 * code are an interval of patterns [first, first + count), and the refinement only says which of them an
 * element has. */
#ifndef QS_CELLS_H
#define QS_CELLS_H

#include <stdint.h>

#include "grid.h"
#include "rules.h"
#include "simd.h"

/* A cell in one word, as decoding needs it. Bits 0–15: the pattern of its first value, with the sign; bits
 * 16–31: G = floor(65536 / F); bits 32–47: F = min(65535, floor(65536 / n)); bits 48–63: n, the number of
 * values, which is 1 for index 0 and for empty cells. */
typedef uint64_t qs_cell;

#define QS_CELL_FIRST(c) ((uint16_t)(c))
#define QS_CELL_G(c) ((uint32_t)((c) >> 16 & 0xffff))
#define QS_CELL_F(c) ((uint32_t)((c) >> 32 & 0xffff))
#define QS_CELL_COUNT(c) ((uint32_t)((c) >> 48))

/* Returns floor(65536 / n) for 1 ≤ n < 2^16, computed as a single. The quotient is an integer, or at least
 * 2^-16 away from one. Adding the constant rounds (quotient − ½) half to even; integer quotients above 1 are
 * powers of two, hence even. This avoids a conversion, which takes six instructions in WebAssembly. */
QS_ALWAYS_INLINE uint32_t qs_divide_65536(uint32_t n)
{
	return qs_f32_bits(65536.0f / (float)(int32_t)n + (0x1p23f - 0.5f)) - 0x4b000000;
}

/* Makes the cell of `count` values from pattern `first` on. */
QS_ALWAYS_INLINE qs_cell qs_make_cell(uint32_t first, uint32_t count)
{
	uint32_t n = count ? count : 1;
	uint32_t f = qs_divide_65536(n);
	f = f > 65535 ? 65535 : f;
	uint32_t g = qs_divide_65536(f);
	return (qs_cell)(first | g << 16) | (qs_cell)(f | n << 16) << 32;
}

enum { QS_CELL_TABLE = 256, QS_CELL_FIELDS = 128 };

/* The cells of one scale, by cell index: the code less `zero`, modulo 256. Index 0 belongs to the code whose
 * cell holds the value 0. Elements with index 0 are escapes: their values are not coded as ranks. */
typedef struct qs_cell_table {
#if QS_HAVE_AVX512
	/* Tables of wide caches also have each field in an array of its own, for codes 0 to 127; negative codes
	 * have the cells of positive ones, except −128. In these arrays g and count are 0 for index 0, and for
	 * all indexes if zero is QS_ALL_ZERO. The table is small if no count is above 255 and, from code 32 on,
	 * none is above 31; `small` then has the counts. */
	uint16_t first[QS_CELL_FIELDS];
	uint8_t small[QS_CELL_FIELDS];
	uint8_t f_low[QS_CELL_FIELDS], f_high[QS_CELL_FIELDS]; /* bytes of f */
	uint16_t f[QS_CELL_FIELDS], g[QS_CELL_FIELDS], count[QS_CELL_FIELDS];
#endif
	qs_cell cells[QS_CELL_TABLE];
	int32_t zero; /* or QS_ALL_ZERO: all elements have index 0 */
	int is_small;
	uint8_t to_next_line[56];
} qs_cell_table;

_Static_assert(sizeof(qs_cell_table) % 64 == 0, "tables begin at cache lines");

enum { QS_ALL_ZERO = 1 << 20 };

/* The cells of a scale, taken from the table of a scale 2^e times as large: `move` is added to the first
 * pattern of each cell, modulo 2^16. The other fields are the same for both scales. */
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

/* A direct-mapped cache of tables, by scale, in the caller's memory. Scales that are values of a 16-bit type
 * have 128 or 1,024 mantissas, so that each mantissa can have a slot of its own. */
enum { QS_CELL_CACHE_SLOTS = 1024 };

/* Identifies the table in a slot. */
typedef struct qs_cell_key {
	uint32_t scale;  /* the bits of its scale; of a movable table, only the mantissa */
	uint32_t zero;   /* its zero point and shift (qs_cell_key_zero), and QS_CELL_MOVABLE */
	uint32_t offset; /* the bits of its offset */
	uint16_t place;  /* of a movable table: sign and exponent of its scale, where a value of dtype has them */
	uint8_t reach;   /* it has the indexes 0 to reach, and 256 - reach to 255; 0: the slot has no table */
	uint8_t is_small; /* see qs_cell_table */
} qs_cell_key;

typedef struct qs_cell_cache {
	qs_cell_table tables[QS_CELL_CACHE_SLOTS];
	qs_cell_key keys[QS_CELL_CACHE_SLOTS];
	uint32_t dtype, rule, codes_dtype;
	/* A scale's table is movable, that is, it also serves scales 2^e times as large, if the scale's bits AND
	 * movable_mask, less movable_min, are at most movable_span. The mask drops the sign for rules under which
	 * a negative scale only flips signs. */
	uint32_t movable_min, movable_span, movable_mask;
	uint32_t exponent_shift; /* moves a single's exponent to the place of dtype's exponent */
	int shared; /* are borders shared? A value at a border then belongs to both cells; 0 at first */
	int wide;   /* are tables built by AVX-512, with fields as arrays? The cells are the same */
} qs_cell_cache;

/* dtype: of the values, QS_F16 or QS_BF16. */
void qs_cell_cache_init(qs_cell_cache *cache, uint32_t dtype, uint32_t rule, uint32_t codes_dtype);

/* Prepares an initialised cache for these types and this rule, and for shared borders or not. Tables that fit
 * are kept. */
void qs_cell_cache_use(qs_cell_cache *cache, uint32_t dtype, uint32_t rule, uint32_t codes_dtype, int shared);

/* Returns the table of a scale, valid until the next call. It has at least the cells of codes that are at
 * most `reach` (1 to 255) from the zero point; under rules that are not symmetric it has all. Only IEEE
 * single precision is used, so that every platform finds the same cells. */
const qs_cell_table *qs_cell_cache_get(qs_cell_cache *cache, const qs_step *step, uint32_t reach);

/* Finds the cells of a scale, perhaps by the table of a scale 2^e times as large. Symmetric rules use only
 * products and quotients, which scale with powers of two, and so do floats as long as no number is subnormal
 * or infinite. */
qs_cells qs_cell_cache_find(qs_cell_cache *cache, const qs_step *step, uint32_t reach);

enum { QS_CELL_MOVABLE = 1 << 30 }; /* in a key's `zero` */

QS_ALWAYS_INLINE uint32_t qs_cell_key_zero(const qs_step *step)
{
	return ((uint32_t)step->zero << 8 & 0xffff00) | (uint8_t)step->shift;
}

/* Returns the slot of a movable table. The tables of BF16's 128 mantissas are neighbours. */
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

/* Can codes have been made with this scale? If not, all elements have index 0. */
int qs_step_is_usable(uint32_t rule, const qs_step *step);

/* Returns the least `reach` of a table that has the cells of these indexes. */
uint32_t qs_cell_reach(uint32_t codes_dtype, int32_t zero, const uint8_t *indexes, uint32_t n);

/* Returns the code that the rule gives a value of dtype, before it is clamped to the codes' range; QS_NO_CODE
 * for values that are not finite or far outside. */
enum { QS_NO_CODE = 1 << 20 };
int qs_cell_code(uint32_t dtype, uint32_t rule, const qs_step *step, uint16_t value);

#endif

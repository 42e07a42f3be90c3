/* Cells: for one scale, which 16-bit values a quantizer maps to each code (FORMAT.md, "Rules" and "Cells").
 *
 * A float's bit pattern without its sign is an ordered integer, so the values of one code are an interval of
 * patterns [first, first + count); the refinement only says which of them. */
#ifndef QS_CELLS_H
#define QS_CELLS_H

#include <stdint.h>

/* What decoding needs of the cell of a code, in one word:
 * bits 0–15 the pattern of its first value, sign included; 16–31 G = floor(65536 / F); 32–47 F = min(65535,
 * floor(65536 / n)); 48–63 n, the number of values (1 for code 0, −128 and for empty cells, whose rank says
 * nothing). */
typedef uint64_t qs_cell;

#define QS_CELL_FIRST(c) ((uint16_t)(c))
#define QS_CELL_G(c) ((uint32_t)((c) >> 16 & 0xffff))
#define QS_CELL_F(c) ((uint32_t)((c) >> 32 & 0xffff))
#define QS_CELL_COUNT(c) ((uint32_t)((c) >> 48))

enum { QS_CELL_TABLE = 256 };

/* The cells of all 256 codes (index: the code as a byte) for values of dtype (QS_F16 or QS_BF16) under rule
 * and scale. IEEE single operations only, so that every platform finds the same cells. */
void qs_cells_build(qs_cell cells[QS_CELL_TABLE], uint32_t dtype, uint32_t rule, float scale);

/* The code that the rule gives a value of dtype under this scale, before it is clamped to the codes' range;
 * QS_NO_CODE for what is not finite or far outside. */
enum { QS_NO_CODE = 1 << 20 };
int qs_cell_code(uint32_t dtype, uint32_t rule, float scale, uint16_t value);

/* Tables by scale: rows often share one. A direct-mapped cache in the caller's memory. */
enum { QS_CELL_CACHE_SLOTS = 256 };

typedef struct qs_cell_cache {
	uint32_t dtype, rule;
	uint32_t key[QS_CELL_CACHE_SLOTS]; /* the scale's bits */
	uint8_t used[QS_CELL_CACHE_SLOTS];
	qs_cell cells[QS_CELL_CACHE_SLOTS][QS_CELL_TABLE];
} qs_cell_cache;

void qs_cell_cache_init(qs_cell_cache *cache, uint32_t dtype, uint32_t rule);

/* The table for a scale; valid until the next call. */
const qs_cell *qs_cell_cache_get(qs_cell_cache *cache, float scale);

#endif

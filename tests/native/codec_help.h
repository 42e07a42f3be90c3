/* Shared by the tests of the codec: buffers that end at a page nobody may touch, random data, and the
 * arithmetic of LLM.int8 in double precision, written from FORMAT.md alone. */
#ifndef QS_CODEC_HELP_H
#define QS_CODEC_HELP_H

/* cmocka wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/cells.h"
#include "core/chunk.h"
#include "core/index.h"
#include "core/mode.h"

/* Memory whose last byte is followed by a page that cannot be read or written. */
typedef struct guarded {
	uint8_t *map, *end;
	size_t map_size;
} guarded;

void guarded_create(guarded *g, size_t capacity);
void guarded_destroy(guarded *g);
uint8_t *guarded_place(const guarded *g, size_t n);                 /* the last n bytes before the page */
uint8_t *guarded_copy(const guarded *g, const void *src, size_t n); /* the same, filled */

/* splitmix64 */
typedef struct rng {
	uint64_t state;
} rng;

uint64_t rng_next(rng *r);
uint32_t rng_below(rng *r, uint32_t n);
double rng_normal(rng *r);
void rng_bytes(rng *r, uint8_t *dst, size_t n);

/* The value of a 16-bit pattern (QS_F16 or QS_BF16). */
double ref_value(uint32_t bits, uint32_t dtype);
/* The nearest FP16 value, half to even; infinite from 65520 on. */
double ref_cast_half(double value);
/* The nearest number with the dtype's precision, half to even, its exponents without an upper end. */
double ref_round_half(double value, uint32_t dtype);
/* The pattern of the nearest value of the dtype; the value must be finite and in its range. */
uint32_t ref_pattern(double value, uint32_t dtype);
/* h(m): the value of magnitude m cast to FP16. */
double ref_half_of(uint32_t magnitude, uint32_t dtype);
/* The number that a rule rounds to the code's magnitude, for value ≥ 0 (rule 1: after the cast); NAN or
 * infinite where single precision gives that. shift: ulps of the factor, all of whose neighbours must be
 * finite. */
double ref_scaled(uint32_t rule, uint32_t dtype, double value, float scale, int shift);
/* That number rounded. */
double ref_round(uint32_t rule, double scaled);
/* The code that a rule gives a pattern; 0 for NaN, saturated at ±127. */
int ref_shifted_code(uint32_t rule, uint32_t pattern, uint32_t dtype, float scale, int shift);
int ref_rule_code(uint32_t rule, uint32_t pattern, uint32_t dtype, float scale);
/* The code that LLM.int8 gives a pattern. */
int ref_code(uint32_t pattern, uint32_t dtype, float scale);

/* Codes and scales for n 16-bit values of rows of cols, the first one at index first_elem: absmax of each
 * part of a row. A scale whose row is all zero is 0. */
void ref_quantize(const uint8_t *values, uint32_t dtype, size_t n, uint64_t cols, uint64_t first_elem,
                  uint8_t *codes, uint8_t *scales);

/* The same cells, by a table that is moved: *table becomes that. */
qs_cells moved_cells(qs_cell_table *table, uint16_t move);

static inline void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

static inline uint32_t get16(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8;
}

/* The dtypes that differences are allowed for. */
typedef struct delta_pair {
	uint32_t fine, coarse;
} delta_pair;

#define DELTA_PAIRS 16
extern const delta_pair delta_pairs[DELTA_PAIRS];

/* With QSTORE_SEEDS set to a folder, a coded chunk becomes a seed of tests/fuzz/fuzz_chunk.c, whose layout
 * this is, unless that cannot describe it: more than 255 bytes it builds on, or 16 of scales. Only the first
 * four column factors are written; the others have to repeat them. */
void write_chunk_seed(const qs_chunk_desc *desc, const uint8_t *coded, size_t size, const char *name);

#endif

/* Random numbers that are the same on every platform: integer arithmetic, IEEE basic operations, no libm. */
#ifndef GENERATE_RANDOM_H
#define GENERATE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* xoshiro256** (Blackman and Vigna), seeded through splitmix64. */
typedef struct rng {
	uint64_t state[4];
} rng;

/* Begins a stream of random numbers. Each seed, name and row has a stream of its own, so that rows can be
 * made in any order. */
void rng_seed(rng *r, uint64_t seed, const char *name, uint64_t row);

static inline uint64_t rng_next(rng *r)
{
	uint64_t *s = r->state, out = s[1] * 5, t = s[1] << 17;
	out = (out << 7 | out >> 57) * 9;
	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = s[3] << 45 | s[3] >> 19;
	return out;
}

/* Returns a number below n; its slight bias does not matter here. */
static inline uint64_t rng_below(rng *r, uint64_t n)
{
	return (rng_next(r) >> 32) * n >> 32;
}

/* Quantiles of |z|, for a standard normal z, in units of 2^-26: 4096 intervals of equal probability, of which
 * the last is divided again. */
#define NORMAL_ONE (1 << 26)
typedef struct normal_table {
	int32_t body[4096], tail[4097];
} normal_table;

void normal_table_init(normal_table *table);

/* Makes a standard normal number in units of 2^-26 from 32 random bits, and in the tail from r too. */
static inline int32_t normal_from_bits(const normal_table *table, uint32_t bits, rng *r)
{
	uint32_t at = bits >> 19 & 4095, fraction = bits & 0x7ffff;
	const int32_t *quantiles = table->body;
	if (at == 4095) {
		uint64_t more = rng_next(r);
		at = (uint32_t)(more >> 52);
		fraction = (uint32_t)more & 0x7ffff;
		quantiles = table->tail;
	}
	int32_t low = quantiles[at];
	int32_t value = low + (int32_t)((int64_t)(quantiles[at + 1] - low) * fraction >> 19);
	return bits >> 31 ? -value : value;
}

static inline double normal_next(const normal_table *table, rng *r)
{
	return normal_from_bits(table, (uint32_t)(rng_next(r) >> 32), r) * (1.0 / NORMAL_ONE);
}

/* Returns 2^x for |x| < 1000, to about 1e-15, by basic operations only. */
double exp2_portable(double x);

/* Round any single to the nearest number, ties to even. */
uint16_t f32_to_bf16(float value);
uint16_t f32_to_f16(float value);

#endif

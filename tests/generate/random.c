#include "random.h"

#include <string.h>

#define GOLDEN 0x9e3779b97f4a7c15u

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

void rng_seed(rng *r, uint64_t seed, const char *name, uint64_t row)
{
	uint64_t x = mix(seed + GOLDEN);
	for (; *name; name++)
		x = mix((x ^ (unsigned char)*name) + GOLDEN);
	x = mix((x ^ row) + GOLDEN);
	for (int i = 0; i < 4; i++)
		r->state[i] = mix(x += GOLDEN);
}

double exp2_portable(double x)
{
	int whole = (int)x - (x < (int)x);
	double y = (x - whole) * 0.69314718055994530942, sum = 1, scale;
	uint64_t bits = (uint64_t)(1023 + whole) << 52;
	for (int i = 22; i > 0; i--)
		sum = 1 + sum * y / i;
	memcpy(&scale, &bits, sizeof scale);
	return sum * scale;
}

/* Returns the density of |z|: e^(-x²/2) × sqrt(2/π). */
static double density(double x)
{
	return 0.79788456080286535588 * exp2_portable(-0.72134752044448170368 * x * x);
}

#define STEPS_PER_UNIT 1024
#define STEPS (7 * STEPS_PER_UNIT)

/* Walks down from the last step, integrating the density by Simpson's rule, until the probability of being
 * beyond is at least `beyond`. *step and *reached carry on from the call before. */
static int32_t quantile(double beyond, int *step, double *reached)
{
	const double h = 1.0 / STEPS_PER_UNIT;
	double x, piece;
	for (;;) {
		x = (*step - 1) * h;
		piece = (density(x) + 4 * density(x + h / 2) + density(x + h)) * h / 6;
		if (*step == 1 || *reached + piece >= beyond)
			break;
		*reached += piece;
		--*step;
	}
	x += h * (1 - (beyond - *reached) / piece);
	return x <= 0 ? 0 : (int32_t)(x * NORMAL_ONE + 0.5);
}

void normal_table_init(normal_table *table)
{
	int step = STEPS;
	double reached = 2.56e-12; /* the probability that |z| is beyond 7 */
	for (int i = 4096; i >= 0; i--)
		table->tail[i] = quantile((i == 4096 ? 1.0 / 8 : 4096 - i) / 4096.0 / 4096.0, &step, &reached);
	for (int i = 4095; i >= 0; i--)
		table->body[i] = quantile((4096 - i) / 4096.0, &step, &reached);
	table->body[0] = 0;
}

uint16_t f32_to_bf16(float value)
{
	uint32_t bits;
	memcpy(&bits, &value, sizeof bits);
	if ((bits & 0x7fffffff) > 0x7f800000)
		return (uint16_t)(bits >> 16 | 0x40);
	return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

uint16_t f32_to_f16(float value)
{
	uint32_t bits, sign, half;
	memcpy(&bits, &value, sizeof bits);
	sign = bits >> 16 & 0x8000;
	bits &= 0x7fffffff;
	if (bits > 0x7f800000)
		return (uint16_t)(sign | 0x7e00);
	if (bits >= 0x47800000) /* 65536 */
		return (uint16_t)(sign | 0x7c00);
	if (bits < 0x38800000) { /* below 2^-14: the result is a multiple of 2^-24 */
		float magnitude;
		memcpy(&magnitude, &bits, sizeof magnitude);
		magnitude += 0.5f;
		memcpy(&half, &magnitude, sizeof half);
		return (uint16_t)(sign | (half & 0xffff));
	}
	half = bits - (112u << 23);
	return (uint16_t)(sign | (half + 0xfff + (half >> 13 & 1)) >> 13);
}

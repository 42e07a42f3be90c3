#include "ans_encode.h"

#include "core/simd.h"

/* Returns the symbol for which lowering its frequency by one costs the fewest bits or, with `more`, raising
 * it gains most. The change in bits is about count / frequency. */
static unsigned least_hurt(const uint32_t *counts, unsigned n, const uint16_t *frequencies, int more)
{
	unsigned best = 256;
	uint64_t best_count = 0, best_frequency = 1;
	for (unsigned s = 0; s < n; s++) {
		uint64_t f = more ? 2u * frequencies[s] + 1u : 2u * frequencies[s] - 1u;
		if (!counts[s] || (!more && frequencies[s] < 2))
			continue;
		int larger = counts[s] * best_frequency > best_count * f;
		if (best == 256 || larger == more) {
			best = s;
			best_count = counts[s];
			best_frequency = f;
		}
	}
	return best;
}

void qs_ans_frequencies(const uint32_t *counts, unsigned n, unsigned log, uint16_t *frequencies)
{
	uint64_t total = 0;
	for (unsigned s = 0; s < n; s++)
		total += counts[s];
	int32_t left = 1 << log;
	for (unsigned s = 0; s < n; s++) {
		uint64_t f = (((uint64_t)counts[s] << log) + total / 2) / total;
		frequencies[s] = (uint16_t)(counts[s] && !f ? 1 : f);
		left -= frequencies[s];
	}
	for (; left > 0; left--)
		frequencies[least_hurt(counts, n, frequencies, 1)]++;
	for (; left < 0; left++)
		frequencies[least_hurt(counts, n, frequencies, 0)]--;
}

uint8_t *qs_ans_put_scalar(uint32_t *states, const uint8_t *src, size_t n, const uint32_t of[256],
                           unsigned log, unsigned lanes, uint8_t *at)
{
	/* There is no branch, because whether a unit is due is random. */
	for (size_t i = n; i-- > 0;) {
		uint32_t *state = &states[i & (lanes - 1)], x = *state, f = of[src[i]] & 0xffff,
		         first = of[src[i]] >> 16;
		uint32_t due = x >> (32 - log) >= f;
		qs_store16(at - 2, (uint16_t)x);
		at -= 2 * due;
		x >>= 16 * due;
		uint32_t quotient = x / f;
		*state = (quotient << log) + first + (x - quotient * f);
	}
	return at;
}

static qs_ans_put_kernel *best_ans_put_kernel(void)
{
	QS_RETURN_AVX512(1, qs_ans_put_avx512);
	return qs_ans_put_scalar;
}

uint8_t *qs_ans_put(const uint8_t *src, size_t n, const uint32_t of[256], unsigned log, uint8_t *end)
{
	unsigned lanes = qs_ans_lanes(n);
	uint32_t states[QS_ANS_LANES_MAX] = {0};
	for (unsigned lane = 0; lane < lanes; lane++)
		states[lane] = QS_ANS_START;
	/* Units are written back to front, because the decoder reads the last one first. */
	uint8_t *at = best_ans_put_kernel()(states, src, n, of, log, lanes, end);
	at -= 4 * lanes;
	for (unsigned lane = 0; lane < lanes; lane++)
		qs_store32(at + 4 * lane, states[lane]);
	return at;
}

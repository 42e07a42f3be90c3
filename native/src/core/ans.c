#include "ans.h"

#include "simd.h"

void qs_ans_entries(qs_ans_entry *entries, const uint16_t *frequencies, const uint8_t *symbols, unsigned n)
{
	for (unsigned s = 0; s < n; s++)
		for (uint32_t k = 0, f = frequencies[s], base = f | (uint32_t)symbols[s] << 24; k < f; k++)
			*entries++ = base | k << 12;
}

/* Decodes the symbol of one lane. at: the address of the next unit, which the lane takes if one is due. */
#define DECODE(lane, at)                                                                                     \
	{                                                                                                        \
		uint32_t x = ans->state[lane], e = entries[x & mask];                                                \
		dst[lane] = (uint8_t)QS_ANS_SYMBOL(e);                                                               \
		x = QS_ANS_FREQUENCY(e) * (x >> log) + QS_ANS_DISTANCE(e);                                           \
		uint32_t due = x < 1u << 16;                                                                         \
		ans->state[lane] = x << 16 * due | (qs_load16(at) & (0u - due));                                     \
		at += 2 * due;                                                                                       \
	}

int qs_ans_scalar(qs_ans *ans, uint8_t *dst, size_t n)
{
	const qs_ans_entry *entries = ans->entries;
	const unsigned log = ans->log, lanes = ans->lanes;
	const uint32_t mask = (1u << log) - 1;
	const uint8_t *src = ans->src, *end = ans->src_end;
	size_t i = 0;
	/* Whether a unit is due is random, so a branch would often be mispredicted. Only the last loop has
	 * one. */
	for (; n - i >= lanes && (size_t)(end - src) >= 2 * lanes + 2; i += lanes, dst += lanes)
		for (unsigned lane = 0; lane < lanes; lane += 8) {
			DECODE(lane, src)
			DECODE(lane + 1, src)
			DECODE(lane + 2, src)
			DECODE(lane + 3, src)
			DECODE(lane + 4, src)
			DECODE(lane + 5, src)
			DECODE(lane + 6, src)
			DECODE(lane + 7, src)
		}
	const uint8_t none[2] = {0};
	for (unsigned lane = 0; i < n; i++, lane = lane + 1 == lanes ? 0 : lane + 1, dst += lane ? 0 : lanes) {
		const uint8_t *at = src == end ? none : src, *unit = at;
		DECODE(lane, at)
		if (at != unit) {
			if (src == end)
				return 0;
			src += 2;
		}
	}
	ans->src = src;
	return 1;
}

static qs_ans_kernel *best_ans_kernel(unsigned lanes)
{
	QS_RETURN_AVX512(lanes == QS_ANS_LANES_MAX, qs_ans_avx512);
	QS_RETURN_SIMD128(1, qs_ans_simd128);
	return qs_ans_scalar;
}

int qs_ans_decode(const qs_ans_entry *entries, unsigned log, const uint8_t *src, size_t src_size,
                  uint8_t *dst, size_t n)
{
	qs_ans ans = {.entries = entries, .log = log, .lanes = qs_ans_lanes(n)};
	size_t states = 4 * (size_t)ans.lanes, whole = n - n % ans.lanes;
	if (src_size < states || src_size & 1)
		return 0;
	for (unsigned lane = 0; lane < ans.lanes; lane++)
		ans.state[lane] = qs_load32(src + 4 * lane);
	ans.src = src + states;
	ans.src_end = src + src_size;
	if (!best_ans_kernel(ans.lanes)(&ans, dst, whole) || !qs_ans_scalar(&ans, dst + whole, n - whole))
		return 0;
	for (unsigned lane = 0; lane < ans.lanes; lane++)
		if (ans.state[lane] != QS_ANS_START)
			return 0;
	return ans.src == ans.src_end;
}

#include "huffman.h"

#include <string.h>

/* Ascending by count, then by symbol: the same code on every run. */
static unsigned sort_symbols(const uint32_t *counts, unsigned n, uint16_t *order)
{
	unsigned used = 0;
	for (unsigned s = 0; s < n; s++)
		if (counts[s])
			order[used++] = (uint16_t)s;
	for (unsigned gap = used / 2; gap; gap = gap == 2 ? 1 : gap * 5 / 11) /* shell sort */
		for (unsigned i = gap; i < used; i++) {
			uint16_t x = order[i];
			unsigned j = i;
			for (; j >= gap; j -= gap) {
				uint16_t y = order[j - gap];
				if (counts[y] < counts[x] || (counts[y] == counts[x] && y < x))
					break;
				order[j] = y;
			}
			order[j] = x;
		}
	return used;
}

uint64_t qs_huffman_lengths(const uint32_t *counts, unsigned n, unsigned limit, uint8_t *lengths)
{
	uint16_t order[256], parent[512];
	uint64_t weight[512];
	uint32_t per_length[64] = {0};
	memset(lengths, 0, n);
	unsigned used = sort_symbols(counts, n, order);
	if (used < 2)
		return 0;
	/* Two queues: leaves ascending, inner nodes in order of creation, which ascend too. */
	for (unsigned i = 0; i < used; i++)
		weight[i] = counts[order[i]];
	unsigned leaf = 0, inner = used, end = used;
	for (; end < 2 * used - 1; end++) {
		uint64_t sum = 0;
		for (int k = 0; k < 2; k++) {
			unsigned least =
			    leaf < used && (inner == end || weight[leaf] <= weight[inner]) ? leaf++ : inner++;
			sum += weight[least];
			parent[least] = (uint16_t)end;
		}
		weight[end] = sum;
	}
	uint8_t depth[512];
	depth[end - 1] = 0;
	for (unsigned i = end - 1; i-- > 0;) {
		depth[i] = (uint8_t)(depth[parent[i]] + 1);
		if (i < used)
			per_length[depth[i] < limit ? depth[i] : limit]++;
	}
	/* Codes cut to the limit over-subscribe the code space: give back by lengthening the longest that are
	 * shorter. */
	uint64_t space = 0;
	for (unsigned l = 1; l <= limit; l++)
		space += (uint64_t)per_length[l] << (limit - l);
	while (space > (uint64_t)1 << limit) {
		unsigned l = limit - 1;
		while (!per_length[l])
			l--;
		per_length[l]--;
		per_length[l + 1]++;
		space -= (uint64_t)1 << (limit - l - 1);
	}
	/* The last step may have given back too much: shorten again where it fits exactly. */
	while (space < (uint64_t)1 << limit) {
		uint64_t room = ((uint64_t)1 << limit) - space;
		unsigned l = limit;
		while (!per_length[l] || ((uint64_t)1 << (limit - l)) > room)
			l--;
		per_length[l]--;
		per_length[l - 1]++;
		space += (uint64_t)1 << (limit - l);
	}
	uint64_t bits = 0;
	unsigned i = 0;
	for (unsigned l = limit; l; l--)
		for (uint32_t k = per_length[l]; k; k--, i++) {
			lengths[order[i]] = (uint8_t)l;
			bits += (uint64_t)counts[order[i]] * l;
		}
	return bits;
}

void qs_huffman_codes(const uint8_t *lengths, unsigned n, uint16_t *codes)
{
	uint32_t code = 0;
	for (unsigned length = 1; length < 16; length++, code <<= 1)
		for (unsigned s = 0; s < n; s++)
			if (lengths[s] == length) {
				uint32_t reversed = 0;
				for (unsigned b = 0; b < length; b++)
					reversed |= (code >> b & 1) << (length - 1 - b);
				codes[s] = (uint16_t)reversed;
				code++;
			}
}

#include "huffman.h"

#include <string.h>

enum { INSERT_BELOW = 24 }; /* insertion sort is fastest for fewer symbols than this */

/* Sorts by bits shift to shift + 7, and keeps the order of equals. */
static void sort_by_byte(const uint32_t *from, uint32_t *to, unsigned n, unsigned shift)
{
	uint16_t at[256] = {0};
	for (unsigned i = 0; i < n; i++)
		at[from[i] >> shift & 255]++;
	for (unsigned v = 0, sum = 0; v < 256; v++) {
		unsigned count = at[v];
		at[v] = (uint16_t)sum;
		sum += count;
	}
	for (unsigned i = 0; i < n; i++)
		to[at[from[i] >> shift & 255]++] = from[i];
}

/* Sorts the used symbols by count, then by symbol, so that the code is deterministic. sorted: count << 8 |
 * symbol; counts are below 2^24. */
static unsigned sort_symbols(const uint32_t *counts, unsigned n, uint32_t sorted[256])
{
	uint32_t other[256], used = 0, most = 0;
	for (unsigned s = 0; s < n; s++) {
		sorted[used] = counts[s] << 8 | s;
		used += counts[s] > 0;
		most |= counts[s];
	}
	if (used < INSERT_BELOW) {
		for (unsigned i = 1; i < used; i++) {
			uint32_t x = sorted[i];
			unsigned j = i;
			for (; j && sorted[j - 1] > x; j--)
				sorted[j] = sorted[j - 1];
			sorted[j] = x;
		}
		return used;
	}
	/* Equal counts need no sorting, for symbols ascend already. */
	sort_by_byte(sorted, other, used, 8);
	sort_by_byte(other, sorted, used, 16);
	if (most >> 16) {
		sort_by_byte(sorted, other, used, 24);
		memcpy(sorted, other, used * sizeof *sorted);
	}
	return used;
}

uint64_t qs_huffman_lengths(const uint32_t *counts, unsigned n, unsigned limit, uint8_t *lengths)
{
	uint32_t sorted[256], weight[512];
	uint16_t parent[512];
	uint32_t per_length[64] = {0};
	memset(lengths, 0, n);
	unsigned used = sort_symbols(counts, n, sorted);
	if (used < 2)
		return 0;
	/* Leaves are sorted by count, and inner nodes are made in ascending order. So the least two nodes are
	 * always at the fronts of two queues, and no heap is needed. */
	for (unsigned i = 0; i < used; i++)
		weight[i] = sorted[i] >> 8;
	unsigned leaf = 0, inner = used, end = used;
	for (; end < 2 * used - 1; end++) {
		uint32_t sum = 0;
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
	/* Codes that were cut to the limit take more than the code space. The longest codes below the limit are
	 * lengthened until all fit. */
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
	/* The last step may have left code space free: codes are shortened where that fits exactly. */
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
			lengths[sorted[i] & 255] = (uint8_t)l;
			bits += (uint64_t)(sorted[i] >> 8) * l;
		}
	return bits;
}

/* Package-merge (Larmore, Hirschberg, "A fast algorithm for optimal length-limited Huffman codes", 1990). A
 * level holds, by weight, all symbols and the pairs of items of the level below. A symbol's length is the
 * number of times that it is contained in the lightest 2 · used − 2 items of the top level. */
uint64_t qs_huffman_best_lengths(const uint32_t *counts, unsigned n, unsigned limit, uint8_t *lengths)
{
	uint32_t sorted[256], weight[2][512];
	uint8_t is_pair[15][512] = {{0}};
	memset(lengths, 0, n);
	unsigned used = sort_symbols(counts, n, sorted), size = 0;
	if (used < 2)
		return 0;
	for (unsigned level = 0; level < limit; level++) {
		const uint32_t *below = weight[~level & 1];
		uint32_t *to = weight[level & 1];
		unsigned n_pairs = size / 2, pair = 0, symbol = 0;
		for (size = 0; pair < n_pairs || symbol < used; size++) {
			uint32_t both = pair < n_pairs ? below[2 * pair] + below[2 * pair + 1] : UINT32_MAX;
			int takes_pair = symbol == used || both < sorted[symbol] >> 8;
			is_pair[level][size] = (uint8_t)takes_pair;
			to[size] = takes_pair ? both : sorted[symbol] >> 8;
			pair += (unsigned)takes_pair;
			symbol += (unsigned)!takes_pair;
		}
	}
	uint64_t bits = 0;
	for (unsigned level = limit, take = 2 * used - 2; level-- > 0;) {
		unsigned pairs = 0;
		for (unsigned i = 0; i < take; i++)
			pairs += is_pair[level][i];
		for (unsigned i = 0; i < take - pairs; i++) {
			lengths[sorted[i] & 255]++;
			bits += sorted[i] >> 8;
		}
		take = 2 * pairs;
	}
	return bits;
}

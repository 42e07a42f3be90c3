#include "tree_encode.h"

#include "core/simd.h"

/* Numbers the leaves from left to right. Finds the least leaf below each node, and each symbol's leaf. */
static void number_leaves(const qs_tree *t, unsigned node, unsigned *next, uint8_t least[QS_TREE_NODES],
                          uint8_t leaf[256])
{
	least[node] = (uint8_t)*next;
	for (unsigned bit = 0; bit < 2; bit++) {
		unsigned child = t->node[node].child[bit];
		if (child < QS_TREE_NODES)
			number_leaves(t, child, next, least, leaf);
		else
			leaf[child - QS_TREE_LEAF] = (uint8_t)(*next)++;
	}
}

void qs_tree_leaves(const qs_tree *t, uint8_t leaf[256])
{
	uint8_t least[QS_TREE_NODES];
	unsigned next = 0;
	memset(leaf, 0, 256);
	number_leaves(t, 0, &next, least, leaf);
}

size_t qs_tree_padding(size_t n, unsigned tops, size_t coded)
{
	size_t segments = (n + QS_TREE_SEGMENT - 1) / QS_TREE_SEGMENT, nodes = segments * (tops - 1);
	return 7 * (segments + (nodes < coded / QS_TREE_GROUP ? nodes : coded / QS_TREE_GROUP));
}

void qs_tree_number_scalar(const uint8_t *src, size_t n, const uint8_t leaf[256], uint8_t *dst)
{
	for (size_t i = 0; i < n; i++)
		dst[i] = leaf[src[i]];
}

size_t qs_tree_mark_scalar(const uint8_t *src, size_t groups, uint8_t from, uint8_t *bits)
{
	size_t ones = 0;
	for (size_t n = 8 * groups; n; n--, src += 8) {
		unsigned byte = 0;
		for (unsigned i = 0; i < 8; i++) {
			unsigned bit = src[i] >= from;
			byte |= bit << i;
			ones += bit;
		}
		*bits++ = (uint8_t)byte;
	}
	return ones;
}

void qs_tree_split_scalar(const uint8_t *src, const uint8_t *bits, size_t groups, uint8_t *to[2])
{
	uint8_t nowhere = 0, *zeros = to[0] ? to[0] : &nowhere, *ones = to[1] ? to[1] : &nowhere;
	const size_t step_zeros = to[0] ? 1 : 0, step_ones = to[1] ? 1 : 0;
	for (size_t n = 8 * groups; n; n--, src += 8) {
		unsigned byte = *bits++;
		for (unsigned i = 0; i < 8; i++) {
			size_t bit = byte >> i & 1;
			*zeros = *ones = src[i];
			ones += bit & step_ones;
			zeros += ~bit & step_zeros;
		}
	}
	to[0] = step_zeros ? zeros : NULL;
	to[1] = step_ones ? ones : NULL;
}

typedef struct kernels {
	qs_tree_number_kernel *number;
	qs_tree_mark_kernel *mark;
	qs_tree_split_kernel *split;
} kernels;

static kernels best_kernels(void)
{
	QS_RETURN_AVX512(1, ((kernels){qs_tree_number_avx512, qs_tree_mark_avx512, qs_tree_split_avx512}));
	return (kernels){qs_tree_number_scalar, qs_tree_mark_scalar, qs_tree_split_scalar};
}

/* Writes `count` (1 to 64) bits from bit `at` on, and bits of 0 behind them up to the end of the byte. */
static void put_bits(uint8_t *dst, size_t at, uint64_t word, size_t count)
{
	unsigned before = at & 7;
	dst += at >> 3;
	unsigned first = (before ? *dst & ((1u << before) - 1) : 0) | ((unsigned)word << before & 255);
	*dst++ = (uint8_t)first;
	word >>= 8 - before;
	for (size_t done = 8 - before; done < count; done += 8, word >>= 8)
		*dst++ = (uint8_t)word;
}

uint8_t *qs_tree_write(qs_tree_scratch *s, const uint8_t *src, size_t n, const uint8_t leaf[256],
                       uint8_t *dst)
{
	qs_tree *t = &s->tree;
	const kernels k = best_kernels();
	uint8_t least[QS_TREE_NODES], leaf_of[256];
	unsigned next = 0;
	size_t at = 0;
	number_leaves(t, 0, &next, least, leaf_of);
	k.number(src, n, leaf, s->leaves);
	t->node[0].count = (uint32_t)n;
	for (unsigned level = 0; level < t->levels; level++) {
		uint8_t *children = s->symbols[~level & 1];
		uint32_t begin = 0;
		for (unsigned v = t->level[level]; v < t->level[level + 1]; v++) {
			const qs_tree_node *node = &t->node[v];
			const uint8_t *symbols = level ? s->symbols[level & 1] + node->begin : s->leaves;
			const size_t count = node->count, groups = count / QS_TREE_GROUP, rest = count % QS_TREE_GROUP;
			const unsigned ones_child = node->child[1];
			const uint8_t from =
			    ones_child < QS_TREE_NODES ? least[ones_child] : leaf_of[ones_child - QS_TREE_LEAF];
			at = qs_tree_place(at, count);
			uint8_t *bits = dst + at / 8, last_bits[8] = {0};
			size_t ones = groups ? k.mark(symbols, groups, from, bits) : 0;
			at += count;
			if (rest) {
				k.mark(symbols + groups * QS_TREE_GROUP, 1, from, last_bits);
				uint64_t word = qs_load64(last_bits) & (((uint64_t)1 << rest) - 1);
				ones += (unsigned)__builtin_popcountll(word);
				put_bits(dst, at - rest, word, rest);
			}
			const size_t counts[2] = {count - ones, ones};
			uint8_t *to[2] = {NULL, NULL};
			for (unsigned bit = 0; bit < 2; bit++)
				if (node->child[bit] < QS_TREE_NODES) {
					qs_tree_node *child = &t->node[node->child[bit]];
					child->count = (uint32_t)counts[bit];
					child->begin = begin;
					to[bit] = children + begin;
					/* Room is left for one group more, because symbols are written in whole groups. */
					begin += ((uint32_t)(counts[bit] + 2 * QS_TREE_GROUP - 1)) & ~(QS_TREE_GROUP - 1u);
				}
			if (!to[0] && !to[1])
				continue;
			k.split(symbols, bits, groups, to);
			if (rest)
				k.split(symbols + groups * QS_TREE_GROUP, last_bits, 1, to);
		}
	}
	return dst + (at + 7) / 8;
}

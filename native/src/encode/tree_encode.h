/* Writing Huffman-coded symbols by the nodes of the code's tree, the inverse of core/tree.h. */
#ifndef QS_TREE_ENCODE_H
#define QS_TREE_ENCODE_H

#include "core/tree.h"

/* Scratch memory of qs_tree_write. leaves: the number of each symbol's leaf; symbols: those of nodes of odd
 * and of even levels. */
typedef struct qs_tree_scratch {
	qs_tree tree;
	uint8_t leaves[QS_TREE_SEGMENT + QS_TREE_SLACK];
	uint8_t symbols[2][QS_TREE_SEGMENT + QS_TREE_NODES * 2 * QS_TREE_GROUP + QS_TREE_SLACK];
} qs_tree_scratch;

/* Numbers the leaves of the tree from left to right; leaf[symbol] gets the number. */
void qs_tree_leaves(const qs_tree *t, uint8_t leaf[256]);

/* Returns the most bits that segments of n symbols can take beside the bits of their codes, because nodes and
 * segments begin at bytes. tops: the number of different symbols; coded: the bits of the codes. */
size_t qs_tree_padding(size_t n, unsigned tops, size_t coded);

/* Writes a segment of n symbols (1 to QS_TREE_SEGMENT) and returns its end. leaf: for each byte of src, the
 * number of its symbol's leaf. May write up to 16 bytes behind the end. */
uint8_t *qs_tree_write(qs_tree_scratch *s, const uint8_t *src, size_t n, const uint8_t leaf[256],
                       uint8_t *dst);

/* Looks up the leaves of n symbols. May write up to QS_TREE_SLACK bytes more. */
typedef void qs_tree_number_kernel(const uint8_t *src, size_t n, const uint8_t leaf[256], uint8_t *dst);

/* Writes a bit for each of groups × QS_TREE_GROUP leaves: 1 if the leaf is `from` or above. Returns the
 * number of ones. */
typedef size_t qs_tree_mark_kernel(const uint8_t *src, size_t groups, uint8_t from, uint8_t *bits);

/* Copies symbols with bit 0 to to[0], the others to to[1], and advances both pointers. Symbols for a NULL
 * pointer are dropped. May write up to QS_TREE_SLACK bytes more to each. */
typedef void qs_tree_split_kernel(const uint8_t *src, const uint8_t *bits, size_t groups, uint8_t *to[2]);

qs_tree_number_kernel qs_tree_number_scalar, qs_tree_number_avx512;
qs_tree_mark_kernel qs_tree_mark_scalar, qs_tree_mark_avx512;
qs_tree_split_kernel qs_tree_split_scalar, qs_tree_split_avx512;

#endif

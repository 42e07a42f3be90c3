/* Huffman-coded symbols whose bits are stored node by node of the code's tree, so that whole vectors are
 * decoded without a look-up and without waiting for the previous symbol (FORMAT.md, "Symbol blocks"). Such a
 * tree is a Huffman-shaped wavelet tree (Grossi, Gupta, Vitter, "High-order entropy-compressed text indexes",
 * 2003). Decoding goes from the longest codes' nodes up to the root: a node's symbols are those of its two
 * children, merged as its bits say. */
#ifndef QS_TREE_H
#define QS_TREE_H

#include "bytes.h"
#include "check.h"

enum {
	QS_TREE_DEPTH = 15,           /* longest code */
	QS_TREE_NODES = 255,          /* of 256 symbols */
	QS_TREE_SEGMENT = 1 << 16,    /* symbols of a segment, whose bits are stored together */
	QS_TREE_GROUP = 64,           /* symbols of a kernel's step; nodes with as many bits begin at a byte */
	QS_TREE_LEAF = 256,           /* qs_tree_node.child: added to the symbol of a leaf */
	QS_TREE_SLACK = QS_TREE_GROUP /* bytes behind children's symbols that kernels may read */
};

_Static_assert(QS_TREE_GROUP == 64, "a group's bits are one word of 64");

typedef struct qs_tree_node {
	uint16_t child[2]; /* for a bit of 0 and of 1: a node's number, or QS_TREE_LEAF + symbol */
	/* In the segment that is being decoded: */
	uint32_t count; /* its symbols */
	uint32_t begin; /* their place in the level's buffer */
	size_t at;      /* its first bit */
} qs_tree_node;

/* Nodes by level, the root (0) first, then by code; level d has the numbers level[d] to level[d + 1] − 1. */
typedef struct qs_tree {
	unsigned levels;
	uint16_t level[QS_TREE_DEPTH + 1];
	qs_tree_node node[QS_TREE_NODES];
} qs_tree;

/* Scratch memory for decoding. */
typedef struct qs_tree_work {
	qs_tree tree;
	/* Symbols of odd and of even levels' nodes, each node's at a multiple of QS_TREE_GROUP. */
	uint8_t symbols[2][QS_TREE_SEGMENT + QS_TREE_NODES * QS_TREE_GROUP + QS_TREE_SLACK];
} qs_tree_work;

/* lengths: of the codes of n symbols; 0 for "not used", else at most QS_TREE_DEPTH. Returns 0 unless they
 * form a complete prefix code of two symbols at least. */
int qs_tree_build(qs_tree *t, const uint8_t *lengths, const uint8_t *symbols, unsigned n);

/* Where a node's bits begin: at the next bit, or byte, after those of the node before. */
static inline size_t qs_tree_place(size_t at, size_t count)
{
	return count < QS_TREE_GROUP ? at : (at + 7) & ~(size_t)7;
}

/* Addresses that are needed after a segment: their cache lines are fetched while it is decoded, evenly, since
 * memory is idle then. */
typedef struct qs_ahead {
	uintptr_t read, read_end, write, write_end;
} qs_ahead;

/* Decodes a segment: n symbols (1 to QS_TREE_SEGMENT) of w->tree into dst, which it fills exactly. Returns
 * the end of its bits, NULL when they do not end before src_end. */
const uint8_t *qs_tree_decode(qs_tree_work *w, const uint8_t *src, const uint8_t *src_end, uint8_t *dst,
                              size_t n, qs_ahead ahead);

/* A child's symbols, from the next one on; or NULL and the one symbol that they all are. */
typedef struct qs_tree_branch {
	const uint8_t *from;
	uint8_t symbol;
} qs_tree_branch;

/* Merges two children's symbols into `groups` × QS_TREE_GROUP of a node's, by as many bits, and advances
 * `from`. Up to QS_TREE_SLACK bytes from there on are read, whatever is needed of them. */
typedef void qs_tree_kernel(const uint8_t *bits, size_t groups, qs_tree_branch branch[2], uint8_t *dst);

/* For each byte of bits, a shuffle that merges two lists of eight symbols: a bit of 0 takes the next symbol
 * of the list at 0, a bit of 1 that of the list at 8. */
extern const uint8_t qs_merge[256][8];

qs_tree_kernel qs_tree_scalar; /* the oracle */
qs_tree_kernel qs_tree_simd128, qs_tree_avx512;

#endif

/* Decoding of Huffman-coded symbols whose bits are stored node by node of the code's tree (FORMAT.md, "Symbol
 * blocks"). So whole vectors are decoded without a look-up, and without waiting for the previous symbol. This
 * is a Huffman-shaped wavelet tree (Grossi, Gupta, Vitter, "High-order entropy-compressed text indexes",
 * 2003). Decoding goes from the nodes of the longest codes up to the root: the symbols of a node are those of
 * its two children, merged in the order that the node's bits say. */
#ifndef QS_TREE_H
#define QS_TREE_H

#include "bytes.h"
#include "check.h"

enum {
	QS_TREE_DEPTH = 15,        /* bits of the longest code */
	QS_TREE_NODES = 255,       /* inner nodes of a tree of 256 symbols */
	QS_TREE_SEGMENT = 1 << 16, /* symbols of a segment, whose bits are stored together */
	QS_TREE_GROUP = 64, /* symbols of a kernel's step; the bits of nodes with as many begin at a byte */
	QS_TREE_LEAF = 256, /* a child that is a leaf is this plus its symbol */
	QS_TREE_SLACK = QS_TREE_GROUP /* bytes behind children's symbols that kernels may read */
};

_Static_assert(QS_TREE_GROUP == 64, "a group's bits are one word of 64");

typedef struct qs_tree_node {
	uint16_t child[2]; /* for a bit of 0 and of 1: a node's number, or QS_TREE_LEAF + symbol */
	/* The other fields are those of the segment that is being decoded. */
	uint32_t count; /* symbols of the node */
	uint32_t begin; /* index of the first one in the buffer of its level */
	size_t at;      /* its first bit, counted from the segment's start */
} qs_tree_node;

/* A code's tree. Nodes are sorted by level, the root (number 0) first, and within a level by code. Level d
 * has the nodes level[d] to level[d + 1] − 1. */
typedef struct qs_tree {
	unsigned levels;
	uint16_t level[QS_TREE_DEPTH + 1];
	qs_tree_node node[QS_TREE_NODES];
} qs_tree;

/* Scratch memory for decoding. */
typedef struct qs_tree_work {
	qs_tree tree;
	/* The symbols of nodes of odd and of even levels; those of each node begin at a multiple of
	 * QS_TREE_GROUP. */
	uint8_t symbols[2][QS_TREE_SEGMENT + QS_TREE_NODES * QS_TREE_GROUP + QS_TREE_SLACK];
} qs_tree_work;

/* Builds the tree of the code in which n symbols have these lengths: 0 for "not used", else at most
 * QS_TREE_DEPTH. Returns 0 unless they are a complete prefix code of at least two symbols. */
int qs_tree_build(qs_tree *t, const uint8_t *lengths, const uint8_t *symbols, unsigned n);

/* Returns where the bits of a node of `count` symbols begin: at bit `at`, behind those of the node before, or
 * at the next byte. */
static inline size_t qs_tree_place(size_t at, size_t count)
{
	return count < QS_TREE_GROUP ? at : (at + 7) & ~(size_t)7;
}

/* Addresses that are needed after a segment. Their cache lines are fetched while the segment is decoded, when
 * memory is idle. */
typedef struct qs_ahead {
	uintptr_t read, read_end, write, write_end;
} qs_ahead;

/* Decodes a segment of n symbols (1 to QS_TREE_SEGMENT) by w->tree into dst, which it fills exactly. Returns
 * the end of its bits, or NULL if they do not end before src_end. */
const uint8_t *qs_tree_decode(qs_tree_work *w, const uint8_t *src, const uint8_t *src_end, uint8_t *dst,
                              size_t n, qs_ahead ahead);

/* The symbols of a child that are not merged yet. If the child is a leaf, `from` is NULL and `symbol` is its
 * symbol. */
typedef struct qs_tree_branch {
	const uint8_t *from;
	uint8_t symbol;
} qs_tree_branch;

/* Merges the symbols of two children into `groups` × QS_TREE_GROUP symbols of a node, one for each bit, and
 * advances their `from`. May read up to QS_TREE_SLACK bytes beyond the symbols that it merges. */
typedef void qs_tree_kernel(const uint8_t *bits, size_t groups, qs_tree_branch branch[2], uint8_t *dst);

/* For each byte of bits, the shuffle that merges two lists of eight symbols: a bit of 0 takes the next symbol
 * of the list at indices 0 to 7, a bit of 1 the next symbol of the list at 8 to 15. */
extern const uint8_t qs_merge[256][8];

qs_tree_kernel qs_tree_scalar; /* the oracle */
qs_tree_kernel qs_tree_simd128, qs_tree_avx512;

#endif

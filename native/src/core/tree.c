#include "tree.h"

#include "simd.h"

int qs_tree_build(qs_tree *t, const uint8_t *lengths, const uint8_t *symbols, unsigned n)
{
	/* Symbols are sorted by the length of their codes, because the first codes of a level are leaves. */
	unsigned count[QS_TREE_DEPTH + 1] = {0}, next[QS_TREE_DEPTH + 1], used = 0;
	uint8_t leaves[256];
	for (unsigned s = 0; s < n; s++)
		count[lengths[s]]++;
	for (unsigned length = 1; length <= QS_TREE_DEPTH; length++) {
		next[length] = used;
		used += count[length];
	}
	for (unsigned s = 0; s < n; s++)
		if (lengths[s])
			leaves[next[lengths[s]]++] = symbols[s];
	unsigned begin = 0, end = 1, leaf = 0;
	for (t->levels = 0; begin < end; t->levels++) {
		t->level[t->levels] = (uint16_t)begin;
		if (t->levels == QS_TREE_DEPTH || count[t->levels + 1] > 2 * (end - begin))
			return 0;
		unsigned inner = end, leaves_left = count[t->levels + 1];
		for (unsigned v = begin; v < end; v++)
			for (unsigned bit = 0; bit < 2; bit++) {
				if (leaves_left) {
					t->node[v].child[bit] = (uint16_t)(QS_TREE_LEAF + leaves[leaf++]);
					leaves_left--;
				} else if (inner < QS_TREE_NODES)
					t->node[v].child[bit] = (uint16_t)inner++;
				else
					return 0;
			}
		begin = end;
		end = inner;
	}
	t->level[t->levels] = (uint16_t)end;
	return leaf == used;
}

/* Returns `count` (1 to 64) bits from bit `at` of src on. Reads no byte behind them. */
static uint64_t read_bits(const uint8_t *src, size_t at, size_t count)
{
	unsigned have = 8 - (at & 7);
	uint64_t word = src[at >> 3] >> (at & 7);
	for (src += (at >> 3) + 1; have < count; have += 8)
		word |= (uint64_t)*src++ << have;
	return count < 64 ? word & (((uint64_t)1 << count) - 1) : word;
}

QS_ALWAYS_INLINE unsigned ones_of_64(const uint8_t *src)
{
	return (unsigned)__builtin_popcountll(qs_load64(src));
}

QS_ALWAYS_INLINE size_t count_ones_body(const uint8_t *src, size_t at, size_t count)
{
	size_t ones = 0;
	src += at >> 3;
	/* The loop is unrolled by hand. LLVM would turn the simple loop into vectors, which count bits more
	 * slowly. */
	for (; count >= 256; count -= 256, src += 32)
		ones += ones_of_64(src) + ones_of_64(src + 8) + ones_of_64(src + 16) + ones_of_64(src + 24);
	for (; count >= 64; count -= 64, src += 8)
		ones += ones_of_64(src);
	return count ? ones + (unsigned)__builtin_popcountll(read_bits(src, at & 7, count)) : ones;
}

#if defined(__x86_64__)
static __attribute__((target("popcnt"))) size_t count_ones_popcnt(const uint8_t *src, size_t at, size_t count)
{
	return count_ones_body(src, at, count);
}
#endif

/* Counts the ones among `count` bits from bit `at` on. `at` must be a multiple of 8 if count is 64 or more.
 */
static size_t count_ones(const uint8_t *src, size_t at, size_t count)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("popcnt"))
		return count_ones_popcnt(src, at, count);
#endif
	return count_ones_body(src, at, count);
}

/* Finds where the bits and the symbols of each node begin. Returns the end of the bits, or 0 if it is beyond
 * n_bits. */
static size_t find_nodes(qs_tree *t, const uint8_t *src, size_t n_bits, size_t n)
{
	size_t at = 0;
	t->node[0].count = (uint32_t)n;
	for (unsigned level = 0; level < t->levels; level++) {
		uint32_t begin = 0;
		for (unsigned v = t->level[level]; v < t->level[level + 1]; v++) {
			qs_tree_node *node = &t->node[v];
			size_t count = node->count;
			node->at = at = qs_tree_place(at, count);
			at += count;
			if (at > n_bits)
				return 0;
			if (node->child[0] >= QS_TREE_NODES && node->child[1] >= QS_TREE_NODES)
				continue;
			size_t ones = count_ones(src, node->at, count);
			const size_t counts[2] = {count - ones, ones};
			for (unsigned bit = 0; bit < 2; bit++)
				if (node->child[bit] < QS_TREE_NODES) {
					qs_tree_node *child = &t->node[node->child[bit]];
					child->count = (uint32_t)counts[bit];
					child->begin = begin;
					begin += (uint32_t)(counts[bit] + QS_TREE_GROUP - 1) & ~(QS_TREE_GROUP - 1u);
				}
		}
	}
	return at;
}

/* Writes the symbols of a node of two leaves, a byte of bits at a time. */
static void merge_two_symbols(const uint8_t *bits, const uint8_t *end, uint8_t zero, uint8_t one,
                              uint8_t *dst)
{
	const uint64_t each = 0x0101010101010101u, change = zero ^ one;
	for (; bits < end; bits++, dst += 8) {
		uint64_t set = ((*bits * each & 0x8040201008040201u) + 0x7f * each) >> 7 & each;
		qs_store64(dst, set * change ^ zero * each);
	}
}

void qs_tree_scalar(const uint8_t *bits, size_t groups, qs_tree_branch branch[2], uint8_t *dst)
{
	const uint8_t *zeros = branch[0].from, *ones = branch[1].from, *end = bits + groups * (QS_TREE_GROUP / 8);
	if (!zeros && !ones) {
		merge_two_symbols(bits, end, branch[0].symbol, branch[1].symbol, dst);
		return;
	}
	uint8_t both[16];
	memset(both, branch[0].symbol, 8);
	memset(both + 8, branch[1].symbol, 8);
	for (; bits < end; bits++, dst += 8) {
		unsigned byte = *bits, n_ones = (unsigned)__builtin_popcount(byte);
		if (zeros) {
			memcpy(both, zeros, 8);
			zeros += 8 - n_ones;
		}
		if (ones) {
			memcpy(both + 8, ones, 8);
			ones += n_ones;
		}
		for (unsigned i = 0; i < 8; i++)
			dst[i] = both[qs_merge[byte][i]];
	}
	branch[0].from = zeros;
	branch[1].from = ones;
}

static qs_tree_kernel *best_tree_kernel(void)
{
	QS_RETURN_AVX512(1, qs_tree_avx512);
	QS_RETURN_SIMD128(1, qs_tree_simd128);
	return qs_tree_scalar;
}

enum {
	LINE = 64,
#if defined(__wasm__) /* which has no instruction to fetch with */
	GROUPS_AT_ONCE = QS_TREE_SEGMENT / QS_TREE_GROUP
#else
	GROUPS_AT_ONCE = 32
#endif
};

/* Fetches the share of the addresses that `groups` are of all groups. */
static void fetch(qs_ahead *a, size_t groups, size_t all)
{
#if defined(__wasm__)
	(void)a, (void)groups, (void)all;
#else
	uintptr_t read = a->read + (a->read_end - a->read) * groups / all;
	uintptr_t write = a->write + (a->write_end - a->write) * groups / all;
	for (; a->read + LINE <= read; a->read += LINE)
		__builtin_prefetch((const void *)a->read, 0, 2);
	for (; a->write + LINE <= write; a->write += LINE)
		__builtin_prefetch((const void *)a->write, 1, 2);
#endif
}

/* Merges the symbols of a node's children into dst. The root fills dst exactly, other nodes up to a multiple
 * of QS_TREE_GROUP. groups_left: of all nodes that are not merged yet. */
static void merge_node(const qs_tree_node *node, int is_root, const uint8_t *src, qs_tree_branch branch[2],
                       qs_tree_kernel *kernel, uint8_t *dst, qs_ahead *ahead, size_t *groups_left)
{
	size_t groups = node->count / QS_TREE_GROUP, rest = node->count % QS_TREE_GROUP;
	for (size_t done = 0, some; done < groups; done += some) {
		some = groups - done < GROUPS_AT_ONCE ? groups - done : GROUPS_AT_ONCE;
		kernel(src + node->at / 8 + 8 * done, some, branch, dst + QS_TREE_GROUP * done);
		fetch(ahead, some, *groups_left);
		*groups_left -= some;
	}
	if (!rest)
		return;
	uint8_t bits[8], last[QS_TREE_GROUP];
	qs_store64(bits, read_bits(src, node->at + groups * QS_TREE_GROUP, rest));
	dst += groups * QS_TREE_GROUP;
	kernel(bits, 1, branch, is_root ? last : dst);
	if (is_root)
		memcpy(dst, last, rest);
}

const uint8_t *qs_tree_decode(qs_tree_work *w, const uint8_t *src, const uint8_t *src_end, uint8_t *dst,
                              size_t n, qs_ahead ahead)
{
	QS_ASSERT(n >= 1 && n <= QS_TREE_SEGMENT);
	qs_tree *t = &w->tree;
	qs_tree_kernel *kernel = best_tree_kernel();
	size_t end = find_nodes(t, src, 8 * (size_t)(src_end - src), n);
	if (!end)
		return NULL;
	size_t groups = end / QS_TREE_GROUP;
	for (unsigned level = t->levels; level-- > 0;) {
		const uint8_t *children = w->symbols[~level & 1];
		uint8_t *symbols = level ? w->symbols[level & 1] : dst;
		for (unsigned v = t->level[level]; v < t->level[level + 1]; v++) {
			const qs_tree_node *node = &t->node[v];
			qs_tree_branch branch[2];
			for (unsigned bit = 0; bit < 2; bit++) {
				unsigned child = node->child[bit];
				branch[bit] = (qs_tree_branch){child < QS_TREE_NODES ? children + t->node[child].begin : NULL,
				                               (uint8_t)child};
			}
			merge_node(node, !level, src, branch, kernel, level ? symbols + node->begin : symbols, &ahead,
			           &groups);
		}
	}
	return src + (end + 7) / 8;
}

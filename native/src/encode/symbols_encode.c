#include "symbols_encode.h"

#include "ans_encode.h"
#include "tree_encode.h"

void qs_write8(qs_writer *w, uint8_t value)
{
	qs_write_bytes(w, &value, 1);
}

void qs_write_bytes(qs_writer *w, const void *src, size_t n)
{
	if (n > (size_t)(w->end - w->at)) {
		w->bad = 1;
		return;
	}
	memcpy(w->at, src, n);
	w->at += n;
}

void qs_write_varint(qs_writer *w, uint32_t value)
{
	for (; value > 127; value >>= 7)
		qs_write8(w, (uint8_t)(value | 128));
	qs_write8(w, (uint8_t)value);
}

typedef struct bit_writer {
	uint8_t *at;
	uint64_t bits;
	unsigned n;
} bit_writer;

static uint8_t *flush_bits(bit_writer *b)
{
	for (; b->n; b->n -= b->n < 8 ? b->n : 8, b->bits >>= 8)
		*b->at++ = (uint8_t)b->bits;
	return b->at;
}

/* Writes raw bits, the inverse of qs_raw_bits_merge. FORMAT.md, "Symbol blocks", has their layout. */
static void write_raw_bits(const uint8_t *v, size_t n, unsigned bits, uint8_t *dst)
{
	for (; n >= QS_RAW_GROUP; n -= QS_RAW_GROUP, v += QS_RAW_GROUP) {
		unsigned at = 0;
		if (bits & 4) {
			for (unsigned i = 0; i < 64; i++)
				dst[i] = (uint8_t)((v[i] & 15) | v[64 + i] << 4);
			dst += 64;
			at = 4;
		}
		if (bits & 2) {
			for (unsigned i = 0; i < 32; i++)
				dst[i] = (uint8_t)((v[i] >> at & 3) | (v[32 + i] >> at & 3) << 2 |
				                   (v[64 + i] >> at & 3) << 4 | (v[96 + i] >> at & 3) << 6);
			dst += 32;
			at += 2;
		}
		if (bits & 1) {
			for (unsigned i = 0; i < 16; i++) {
				unsigned byte = 0;
				for (unsigned f = 0; f < 8; f++)
					byte |= (v[16 * f + i] >> at & 1u) << f;
				dst[i] = (uint8_t)byte;
			}
			dst += 16;
		}
	}
	bit_writer b = {.at = dst};
	for (size_t i = 0; i < n; i++) {
		b.bits |= (uint64_t)(v[i] & ((1u << bits) - 1)) << b.n;
		for (b.n += bits; b.n >= 8; b.n -= 8, b.bits >>= 8)
			*b.at++ = (uint8_t)b.bits;
	}
	flush_bits(&b);
}

/* The range of top symbols in a block. */
typedef struct block_head {
	unsigned first, last;
} block_head;

/* Writes the head that Huffman and ANS blocks have in common. used[top symbol] is not 0 if it occurs. */
static block_head write_head(qs_writer *w, const qs_block_plan *plan, unsigned table_log, const uint8_t *used)
{
	block_head head = {.first = 255};
	for (unsigned t = 0; t < 256u >> plan->raw_bits; t++)
		if (used[t]) {
			head.first = t < head.first ? t : head.first;
			head.last = t;
		}
	qs_write8(w, (uint8_t)(plan->raw_bits | plan->zigzag << 3 | table_log << 4));
	qs_write8(w, (uint8_t)head.first);
	qs_write8(w, (uint8_t)head.last);
	return head;
}

static void write_nibbles(qs_writer *w, const block_head *head, const uint8_t *nibbles)
{
	for (unsigned t = head->first; t <= head->last; t += 2)
		qs_write8(w, (uint8_t)(nibbles[t] | (t < head->last ? nibbles[t + 1] << 4 : 0)));
}

/* Writes the raw bits of src. */
static void put_raw_bits(qs_writer *w, const uint8_t *src, size_t n, const qs_block_plan *plan,
                         uint8_t *scratch)
{
	if (plan->zigzag && plan->raw_bits) {
		for (size_t i = 0; i < n; i++)
			scratch[i] =
			    (uint8_t)((unsigned)src[i] << 1 ^
			              (src[i] & 128 ? 255u : 0)); /* on bytes, which compilers turn into vectors */
		src = scratch;
	}
	write_raw_bits(src, n, plan->raw_bits, w->at);
	w->at += qs_raw_bits_size(n, plan->raw_bits);
}

static int has_room(qs_writer *w, size_t n)
{
	w->bad |= (size_t)(w->end - w->at) < n;
	return !w->bad;
}

static void write_huffman(qs_writer *w, const uint8_t *src, size_t n, const qs_block_plan *plan,
                          uint8_t *scratch)
{
	unsigned raw_bits = plan->raw_bits;
	uint8_t one[256] = {0}, tops[256], by_top[256], leaves[256];
	one[n ? qs_top_symbol(src[0], plan->zigzag, raw_bits) : 0] = 1;
	block_head head = write_head(w, plan, 0, plan->table_log ? plan->lengths : one);
	if (plan->table_log)
		write_nibbles(w, &head, plan->lengths);
	/* The room is enough for codes of at most two bytes, and for the bits that are lost because nodes begin
	 * at a byte. */
	if (!has_room(w, qs_raw_bits_size(n, raw_bits) + 3 * n + 1024))
		return;
	put_raw_bits(w, src, n, plan, scratch);
	if (!plan->table_log)
		return;
	qs_tree_scratch tree;
	for (unsigned t = 0; t < 256; t++)
		tops[t] = (uint8_t)t;
	qs_tree_build(&tree.tree, plan->lengths, tops, 256u >> raw_bits);
	qs_tree_leaves(&tree.tree, by_top);
	for (unsigned s = 0; s < 256; s++)
		leaves[s] = by_top[qs_top_symbol(s, plan->zigzag, raw_bits)];
	for (size_t segment; n; n -= segment, src += segment) {
		segment = n < QS_TREE_SEGMENT ? n : QS_TREE_SEGMENT;
		w->at = qs_tree_write(&tree, src, segment, leaves, w->at);
	}
}

static void write_ans(qs_writer *w, const uint8_t *src, size_t n, const qs_block_plan *plan, uint8_t *scratch)
{
	const uint16_t *frequencies = plan->frequencies;
	uint32_t codes[256];
	uint16_t firsts[256] = {0};
	uint8_t lengths[256];
	unsigned n_tops = 256u >> plan->raw_bits, sum = 0;
	for (unsigned t = 0; t < n_tops; t++) {
		firsts[t] = (uint16_t)sum;
		sum += frequencies[t];
		lengths[t] = 0;
		while (frequencies[t] >> lengths[t])
			lengths[t]++;
	}
	block_head head = write_head(w, plan, plan->table_log, lengths);
	write_nibbles(w, &head, lengths);
	size_t room = 2 * n + 4 * QS_ANS_LANES_MAX, others = qs_raw_bits_size(n, plan->raw_bits) + 1024;
	if (!has_room(w, room + others))
		return;
	bit_writer b = {.at = w->at};
	for (unsigned t = head.first; t <= head.last; t++)
		for (unsigned bit = lengths[t]; bit > 1; bit--) {
			b.bits |= (uint64_t)(frequencies[t] >> (bit - 2) & 1) << b.n;
			for (b.n++; b.n >= 8; b.n -= 8, b.bits >>= 8)
				*b.at++ = (uint8_t)b.bits;
		}
	w->at = flush_bits(&b);
	for (unsigned s = 0; s < 256; s++) {
		unsigned top = qs_top_symbol(s, plan->zigzag, plan->raw_bits);
		codes[s] = frequencies[top] | (uint32_t)firsts[top] << 16;
	}
	/* Units are first written at the end of the buffer, because their size must come before them. */
	uint8_t *coded = qs_ans_put(src, n, codes, plan->table_log, w->end);
	size_t size = (size_t)(w->end - coded);
	qs_write_varint(w, (uint32_t)size);
	put_raw_bits(w, src, n, plan, scratch);
	memmove(w->at, coded, size);
	w->at += size;
}

static void write_dense(qs_writer *w, const uint8_t *src, size_t n, uint8_t *scratch)
{
	uint32_t counts[256];
	qs_block_plan plan;
	qs_histogram(src, n, counts);
	qs_symbols_plan_dense(counts, n, QS_PREFER_SPEED, &plan);
	qs_symbols_write(w, src, n, &plan, scratch);
}

static void write_sparse(qs_writer *w, const uint8_t *src, size_t n, uint8_t *scratch)
{
	uint32_t counts[256];
	unsigned common = 0;
	qs_histogram(src, n, counts);
	for (unsigned s = 1; s < 256; s++)
		if (counts[s] > counts[common])
			common = s;
	/* At most n / 16 bytes are not the common one. They and their gaps take less than half of the scratch
	 * memory. */
	size_t n_gaps = 0, n_others = 0, gap = 0;
	uint8_t *others = scratch, *gaps = scratch + n / 8;
	for (size_t i = 0; i < n; i++) {
		if (src[i] == common) {
			if (++gap == QS_SPARSE_SKIP) {
				gaps[n_gaps++] = QS_SPARSE_SKIP;
				gap = 0;
			}
			continue;
		}
		gaps[n_gaps++] = (uint8_t)gap;
		others[n_others++] = src[i];
		gap = 0;
	}
	qs_write8(w, (uint8_t)common);
	qs_write_varint(w, (uint32_t)n_gaps);
	write_dense(w, gaps, n_gaps, scratch + n / 2);
	write_dense(w, others, n_others, scratch + n / 2);
}

void qs_symbols_write(qs_writer *w, const uint8_t *src, size_t n, const qs_block_plan *plan, uint8_t *scratch)
{
	qs_write8(w, (uint8_t)plan->type);
	if (plan->type == QS_SYMBOLS_RAW)
		qs_write_bytes(w, src, n);
	else if (plan->type == QS_SYMBOLS_CONSTANT)
		qs_write8(w, n ? src[0] : 0);
	else if (plan->type == QS_SYMBOLS_SPARSE)
		write_sparse(w, src, n, scratch);
	else if (plan->type == QS_SYMBOLS_ANS)
		write_ans(w, src, n, plan, scratch);
	else
		write_huffman(w, src, n, plan, scratch);
}

void qs_symbols_encode(qs_writer *w, const uint8_t *src, size_t n, qs_prefer prefer, uint8_t *scratch)
{
	uint32_t counts[256];
	qs_block_plan plan;
	qs_histogram(src, n, counts);
	qs_symbols_plan(counts, n, prefer, &plan);
	qs_symbols_write(w, src, n, &plan, scratch);
}

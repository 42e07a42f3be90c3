#include "symbols_encode.h"

#include "ans_encode.h"
#include "huffman.h"
#include "stream_put.h"

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

/* The inverse of qs_raw_bits_merge: the layout is described in FORMAT.md, "Symbol blocks". */
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

/* What Huffman and ANS blocks begin with, the bits kept raw, and room for what is coded, which is written
 * there first because its size goes in front of it. */
typedef struct block_parts {
	unsigned first, last; /* top symbols */
	uint8_t *coded;       /* 2 n + 4 · QS_ANS_LANES_MAX bytes up to the writer's end */
} block_parts;

/* used: by top symbol, not 0 where it occurs. */
static block_parts write_head(qs_writer *w, size_t n, const qs_block_plan *plan, const uint8_t *used)
{
	block_parts parts = {.first = 255};
	for (unsigned t = 0; t < 256u >> plan->raw_bits; t++)
		if (used[t]) {
			parts.first = t < parts.first ? t : parts.first;
			parts.last = t;
		}
	qs_write8(w, (uint8_t)(plan->raw_bits | plan->zigzag << 3 | plan->table_log << 4));
	qs_write8(w, (uint8_t)parts.first);
	qs_write8(w, (uint8_t)parts.last);
	size_t coded = 2 * n + 4 * QS_ANS_LANES_MAX, others = qs_raw_bits_size(n, plan->raw_bits) + 1024;
	if ((size_t)(w->end - w->at) < coded + others)
		w->bad = 1;
	else
		parts.coded = w->end - coded;
	return parts;
}

static void write_nibbles(qs_writer *w, const block_parts *parts, const uint8_t *nibbles)
{
	for (unsigned t = parts->first; t <= parts->last; t += 2)
		qs_write8(w, (uint8_t)(nibbles[t] | (t < parts->last ? nibbles[t + 1] << 4 : 0)));
}

/* The raw bits of src, and then what was coded. */
static void write_bodies(qs_writer *w, const uint8_t *src, size_t n, const qs_block_plan *plan,
                         const uint8_t *coded, size_t coded_size, uint8_t *scratch)
{
	if (plan->zigzag && plan->raw_bits) {
		for (size_t i = 0; i < n; i++)
			scratch[i] = (uint8_t)((unsigned)src[i] << 1 ^ (src[i] & 128 ? 255u : 0)); /* of bytes: faster */
		src = scratch;
	}
	write_raw_bits(src, n, plan->raw_bits, w->at);
	w->at += qs_raw_bits_size(n, plan->raw_bits);
	memmove(w->at, coded, coded_size);
	w->at += coded_size;
}

static void write_huffman(qs_writer *w, const uint8_t *src, size_t n, const qs_block_plan *plan,
                          uint8_t *scratch)
{
	unsigned raw_bits = plan->raw_bits;
	uint8_t one[256] = {0};
	one[n ? qs_top_symbol(src[0], plan->zigzag, raw_bits) : 0] = 1;
	block_parts parts = write_head(w, n, plan, plan->table_log ? plan->lengths : one);
	if (w->bad)
		return;
	if (plan->table_log)
		write_nibbles(w, &parts, plan->lengths);
	size_t sizes[QS_STREAMS], per_stream = qs_stream_symbols(n);
	unsigned n_streams = !plan->table_log ? 0 : n < QS_SINGLE_STREAM_BELOW ? 1 : QS_STREAMS;
	uint16_t top_codes[256];
	uint32_t codes[256];
	qs_huffman_codes(plan->lengths, 256u >> raw_bits, top_codes);
	for (unsigned s = 0; s < 256; s++) {
		unsigned top = qs_top_symbol(s, plan->zigzag, raw_bits);
		codes[s] = plan->table_log ? (uint32_t)top_codes[top] << 8 | plan->lengths[top] : 0;
	}
	uint8_t *at = parts.coded;
	qs_stream_put_kernel *put = qs_stream_put_best();
	for (unsigned k = 0; k < n_streams; k++) {
		size_t begin = k * per_stream, end = begin + per_stream < n ? begin + per_stream : n;
		uint8_t *stream_end = put(src + begin, end - begin, codes, at);
		sizes[k] = (size_t)(stream_end - at);
		at = stream_end;
		qs_write_varint(w, (uint32_t)sizes[k]);
	}
	write_bodies(w, src, n, plan, parts.coded, (size_t)(at - parts.coded), scratch);
}

static void write_ans(qs_writer *w, const uint8_t *src, size_t n, const qs_block_plan *plan, uint8_t *scratch)
{
	const uint16_t *frequencies = plan->frequencies;
	uint32_t codes[256];
	uint16_t firsts[256];
	uint8_t lengths[256];
	unsigned n_tops = 256u >> plan->raw_bits, sum = 0;
	for (unsigned t = 0; t < n_tops; t++) {
		firsts[t] = (uint16_t)sum;
		sum += frequencies[t];
		lengths[t] = 0;
		while (frequencies[t] >> lengths[t])
			lengths[t]++;
	}
	block_parts parts = write_head(w, n, plan, lengths);
	if (w->bad)
		return;
	write_nibbles(w, &parts, lengths);
	bit_writer b = {.at = w->at};
	for (unsigned t = parts.first; t <= parts.last; t++)
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
	uint8_t *coded = qs_ans_put(src, n, codes, plan->table_log, w->end);
	qs_write_varint(w, (uint32_t)(w->end - coded));
	write_bodies(w, src, n, plan, coded, (size_t)(w->end - coded), scratch);
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
	/* At most n / 16 others: they and their gaps fit the scratch memory, and leave half of it. */
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
	if (plan->type == QS_BLOCK_RAW)
		qs_write_bytes(w, src, n);
	else if (plan->type == QS_BLOCK_CONST)
		qs_write8(w, n ? src[0] : 0);
	else if (plan->type == QS_BLOCK_SPARSE)
		write_sparse(w, src, n, scratch);
	else if (plan->type == QS_BLOCK_ANS)
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

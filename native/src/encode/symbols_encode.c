#include "symbols_encode.h"

#include <math.h>

#include "huffman.h"

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

void qs_histogram(const uint8_t *src, size_t n, uint32_t counts[256])
{
	/* Four tables, so that runs of one value do not wait for each other's stores. */
	uint32_t part[4][256];
	memset(part, 0, sizeof part);
	size_t i = 0;
	for (; i + 8 <= n; i += 8) {
		uint64_t eight = qs_load64(src + i);
		for (unsigned k = 0; k < 8; k++)
			part[k & 3][eight >> (8 * k) & 255]++;
	}
	for (; i < n; i++)
		part[0][src[i]]++;
	for (int s = 0; s < 256; s++)
		counts[s] = part[0][s] + part[1][s] + part[2][s] + part[3][s];
}

double qs_entropy_bits(const uint32_t counts[256])
{
	double n = 0, bits = 0;
	for (int s = 0; s < 256; s++)
		if (counts[s]) {
			n += counts[s];
			bits -= counts[s] * log2(counts[s]);
		}
	return n > 0 ? bits + n * log2(n) : 0;
}

static unsigned transformed(unsigned value, unsigned zigzag)
{
	/* Two's complement to sign in the lowest bit. */
	return zigzag ? (value << 1 & 255) ^ (value & 128 ? 255 : 0) : value;
}

static void transform(const uint8_t *src, size_t n, unsigned zigzag, uint8_t *dst)
{
	if (!zigzag)
		memcpy(dst, src, n);
	else
		for (size_t i = 0; i < n; i++)
			dst[i] = (uint8_t)((unsigned)src[i] << 1 ^ (src[i] & 128 ? 255u : 0));
}

/* Tables cost time to build: short blocks get small ones. */
static unsigned table_limit(size_t n)
{
	unsigned log = 0;
	while (n >> (log + 1))
		log++;
	unsigned limit = log > 5 ? log - 5 : 0;
	return limit < 8 ? 8 : limit > QS_TABLE_LOG_MAX ? QS_TABLE_LOG_MAX : limit;
}

/* What a coded bit costs in decoding time against a raw one, in bits: a bias towards raw bits (tests/bench
 * shows what it buys). */
static const double speed_bias = 0.009;

static void plan_dense(const uint32_t counts[256], size_t n, qs_block_plan *plan)
{
	unsigned used = 0;
	for (unsigned s = 0; s < 256; s++)
		used += counts[s] > 0;
	*plan = (qs_block_plan){.type = QS_BLOCK_RAW, .size = 1 + n};
	if (used <= 1) {
		*plan = (qs_block_plan){.type = QS_BLOCK_CONST, .size = 2};
		return;
	}
	double best = 8.0 * (double)plan->size;
	for (unsigned zigzag = 0; zigzag < 2; zigzag++)
		for (unsigned raw_bits = 0; raw_bits < 8; raw_bits++) {
			uint32_t top[256] = {0};
			unsigned first = 255, last = 0, tops = 0, limit = table_limit(n);
			for (unsigned s = 0; s < 256; s++) {
				unsigned t = transformed(s, zigzag) >> raw_bits;
				if (!counts[s])
					continue;
				tops += !top[t];
				top[t] += counts[s];
				first = t < first ? t : first;
				last = t > last ? t : last;
			}
			qs_block_plan p = {.type = QS_BLOCK_HUFFMAN, .raw_bits = raw_bits, .zigzag = zigzag};
			uint64_t coded = 0;
			p.size = 4 + qs_raw_bits_size(n, raw_bits);
			if (first < last) {
				while (1u << limit < tops)
					limit++;
				coded = qs_huffman_lengths(top, 256u >> raw_bits, limit, p.lengths);
				for (unsigned t = first; t <= last; t++)
					p.table_log = p.lengths[t] > p.table_log ? p.lengths[t] : p.table_log;
				/* Short codes still get a table that decodes several symbols a look-up. */
				p.table_log = p.table_log < limit ? limit : p.table_log;
				p.size += (last - first + 2) / 2 + (coded + 7) / 8 + (n < QS_SINGLE_STREAM_BELOW ? 2 : 15);
			}
			double score = 8.0 * (double)p.size + speed_bias * (double)coded;
			if (score < best) {
				best = score;
				*plan = p;
			}
		}
}

/* Size of a sparse block, estimated: gaps between the others take what geometric ones would. 0 when it does
 * not apply. */
static uint64_t sparse_estimate(const uint32_t counts[256], size_t n)
{
	uint32_t most = 0, left[256];
	unsigned common = 0;
	for (unsigned s = 0; s < 256; s++)
		if (counts[s] > most) {
			most = counts[s];
			common = s;
		}
	size_t others = n - most;
	if (n < 256 || others > n / 16 || others + n / QS_SPARSE_SKIP > QS_SPARSE_MAX)
		return 0;
	memcpy(left, counts, sizeof left);
	left[common] = 0;
	double gap_bits = (double)others * (log2((double)n / (double)others) + 1.6);
	return 48 + (uint64_t)((gap_bits + qs_entropy_bits(left)) / 8);
}

void qs_symbols_plan(const uint32_t counts[256], size_t n, qs_block_plan *plan)
{
	plan_dense(counts, n, plan);
	uint64_t size = plan->type == QS_BLOCK_HUFFMAN ? sparse_estimate(counts, n) : 0;
	if (size && size < plan->size)
		*plan = (qs_block_plan){.type = QS_BLOCK_SPARSE, .size = size};
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

/* codes: for each byte of src its code's length in bits 0–7, the code above. */
static inline __attribute__((always_inline)) uint8_t *write_stream_body(const uint8_t *src, size_t n,
                                                                        const uint32_t *codes, uint8_t *dst)
{
	uint64_t bits = 0, used = 0; /* of `used` only the low 6 bits count: whole entries are added to it */
	size_t i = 0;
	/* Up to 7 bits are left over, five codes add 55: one store of 8 bytes takes them. */
	for (; i + 5 <= n; i += 5) {
		for (size_t k = 0; k < 5; k++) {
			uint64_t code = codes[src[i + k]];
			bits |= code >> 8 << (used & 63);
			used += code;
		}
		qs_store64(dst, bits);
		dst += (used & 63) >> 3;
		bits >>= used & 56;
		used &= 7;
	}
	bit_writer b = {.at = dst, .bits = bits, .n = (unsigned)used};
	for (; i < n; i++) {
		b.bits |= (uint64_t)(codes[src[i]] >> 8) << b.n;
		b.n += codes[src[i]] & 255;
	}
	return flush_bits(&b);
}

#if defined(__x86_64__)
/* Shifts by a register without the flags' cost. */
static __attribute__((target("bmi2"))) uint8_t *write_stream_bmi2(const uint8_t *src, size_t n,
                                                                  const uint32_t *codes, uint8_t *dst)
{
	return write_stream_body(src, n, codes, dst);
}
#endif

static uint8_t *write_stream(const uint8_t *src, size_t n, const uint32_t *codes, uint8_t *dst)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("bmi2"))
		return write_stream_bmi2(src, n, codes, dst);
#endif
	return write_stream_body(src, n, codes, dst);
}

static void write_huffman(qs_writer *w, const uint8_t *src, size_t n, const qs_block_plan *plan, uint8_t *v)
{
	unsigned first = 255, last = 0, raw_bits = plan->raw_bits;
	transform(src, n, plan->zigzag, v);
	for (unsigned t = 0; t < 256u >> raw_bits; t++)
		if (plan->lengths[t]) {
			first = t < first ? t : first;
			last = t;
		}
	if (!plan->table_log)
		first = last = n ? v[0] >> raw_bits : 0;
	qs_write8(w, (uint8_t)(raw_bits | plan->zigzag << 3 | plan->table_log << 4));
	qs_write8(w, (uint8_t)first);
	qs_write8(w, (uint8_t)last);
	if (plan->table_log)
		for (unsigned t = first; t <= last; t += 2)
			qs_write8(w, (uint8_t)(plan->lengths[t] | (t < last ? plan->lengths[t + 1] << 4 : 0)));
	size_t raw_size = qs_raw_bits_size(n, raw_bits);
	/* Streams go first to where they can be longest, then to their place behind their sizes. */
	size_t room = (size_t)(w->end - w->at), need = raw_size + n * 2 + 64;
	if (room < need) {
		w->bad = 1;
		return;
	}
	uint8_t *streams = w->end - (n * 2 + 32), *at = streams;
	size_t sizes[QS_STREAMS], per_stream = qs_stream_symbols(n);
	unsigned n_streams = !plan->table_log ? 0 : n < QS_SINGLE_STREAM_BELOW ? 1 : QS_STREAMS;
	uint16_t top_codes[256];
	uint32_t codes[256];
	qs_huffman_codes(plan->lengths, 256u >> raw_bits, top_codes);
	for (unsigned s = 0; s < 256; s++) {
		unsigned top = transformed(s, plan->zigzag) >> raw_bits;
		codes[s] = plan->table_log ? (uint32_t)top_codes[top] << 8 | plan->lengths[top] : 0;
	}
	for (unsigned k = 0; k < n_streams; k++) {
		size_t begin = k * per_stream, end = begin + per_stream < n ? begin + per_stream : n;
		uint8_t *stream_end = write_stream(src + begin, end - begin, codes, at);
		sizes[k] = (size_t)(stream_end - at);
		at = stream_end;
		qs_write_varint(w, (uint32_t)sizes[k]);
	}
	write_raw_bits(v, n, raw_bits, w->at);
	w->at += raw_size;
	memmove(w->at, streams, (size_t)(at - streams));
	w->at += at - streams;
}

static void write_dense(qs_writer *w, const uint8_t *src, size_t n, uint8_t *scratch)
{
	uint32_t counts[256];
	qs_block_plan plan;
	qs_histogram(src, n, counts);
	plan_dense(counts, n, &plan);
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
	else
		write_huffman(w, src, n, plan, scratch);
}

void qs_symbols_encode(qs_writer *w, const uint8_t *src, size_t n, uint8_t *scratch)
{
	uint32_t counts[256];
	qs_block_plan plan;
	qs_histogram(src, n, counts);
	qs_symbols_plan(counts, n, &plan);
	qs_symbols_write(w, src, n, &plan, scratch);
}

#include "symbols.h"

#include "zstd.h"

/* One look-up decodes up to six symbols. Entry, from the low end: 8 bits: bits consumed (so that a shift by
 * the entry is a shift by them); 6 symbols of 8 bits; 4 bits: length of the first symbol; 4 bits: number of
 * symbols. */
enum { ENTRY_SYMBOLS = 6 };

#define ENTRY_BITS(e) ((unsigned)((e)&63))
#define ENTRY_STORE(e) ((e) >> 8)
#define ENTRY_FIRST(e) ((unsigned)((e) >> 56) & 15)
#define ENTRY_COUNT(e) ((unsigned)((e) >> 60))

typedef struct decode_tables {
	uint64_t entry[1u << QS_TABLE_LOG_MAX];
	/* While they are built: for each index, the next eight symbols if zero bits follow it, and how many bits
	 * they take up to each. */
	uint64_t symbols[1u << QS_TABLE_LOG_MAX], ends[1u << QS_TABLE_LOG_MAX];
	uint16_t single[1u << QS_TABLE_LOG_MAX];            /* symbol, and length << 8 */
	uint8_t gaps[QS_SPARSE_MAX], others[QS_SPARSE_MAX]; /* of a sparse block */
} decode_tables;

size_t qs_symbols_workspace_size(void)
{
	return sizeof(decode_tables);
}

/* Codes are canonical: by length, then by symbol; a stream is read from its low bits on, so codes stand
 * bit-reversed in the table's index. */
static int fill_single(uint16_t *single, const uint8_t *lengths, unsigned first, unsigned n,
                       unsigned table_log)
{
	uint32_t size = 1u << table_log, code = 0, filled = 0;
	for (unsigned length = 1; length <= table_log; length++, code <<= 1)
		for (unsigned s = 0; s < n; s++) {
			if (lengths[s] != length)
				continue;
			if (code >> length)
				return 0; /* over-subscribed */
			uint32_t reversed = 0;
			for (unsigned b = 0; b < length; b++)
				reversed |= (code >> b & 1) << (length - 1 - b);
			for (uint32_t i = reversed; i < size; i += 1u << length)
				single[i] = (uint16_t)(length << 8 | (first + s));
			filled += size >> length;
			code++;
		}
	return filled == size; /* complete */
}

static int build_tables(decode_tables *t, const uint8_t *lengths, unsigned first, unsigned n,
                        unsigned table_log)
{
	const uint64_t ones = 0x0101010101010101u;
	if (!fill_single(t->single, lengths, first, n, table_log))
		return 0;
	/* Index 0 is one symbol again and again; what follows the first symbol of any other index is a smaller
	 * index. */
	t->symbols[0] = ones * (t->single[0] & 255u);
	t->ends[0] = 0x0807060504030201u * (t->single[0] >> 8);
	for (uint32_t i = 0; i < 1u << table_log; i++) {
		uint32_t symbol = t->single[i] & 255, length = t->single[i] >> 8, rest = i >> length;
		uint64_t symbols = t->symbols[rest] << 8 | symbol, ends = (t->ends[rest] << 8) + ones * length;
		if (i == 0) {
			symbols = t->symbols[0];
			ends = t->ends[0];
		}
		t->symbols[i] = symbols;
		t->ends[i] = ends;
		/* Symbols that end inside the index, at most ENTRY_SYMBOLS: bytes of `ends`, ascending and below 128,
		 * up to table_log. */
		uint64_t inside = (((ones * table_log | ones << 7) - ends) & ones << 7) >> 7;
		uint64_t count = (inside & 0xffffffffffffu) * ones >> 56;
		uint64_t bits = ends >> (8 * (count - 1)) & 255;
		t->entry[i] = bits | (symbols & 0xffffffffffffu) << 8 | (uint64_t)length << 56 | count << 60;
	}
	return 1;
}

typedef struct stream {
	const uint8_t *src, *src_end; /* of the bits */
	unsigned bit;                 /* 0 to 7: bits of *src already used */
	uint8_t *dst, *dst_end;
} stream;

/* Exact at both ends: whole look-ups while eight bytes may be stored, then one symbol at a time. */
static int finish_stream(stream *s, const uint64_t *table, unsigned mask)
{
	const uint8_t *src = s->src;
	unsigned bit = s->bit;
	while (s->dst_end - s->dst >= 8 && s->src_end - src >= 4) {
		uint64_t entry = table[qs_load32(src) >> bit & mask];
		qs_store64(s->dst, ENTRY_STORE(entry));
		s->dst += ENTRY_COUNT(entry);
		bit += ENTRY_BITS(entry);
		src += bit >> 3;
		bit &= 7;
	}
	while (s->dst < s->dst_end) {
		uint64_t word = 0;
		if (src > s->src_end)
			return 0;
		size_t left = (size_t)(s->src_end - src);
		if (left >= 4)
			word = qs_load32(src);
		else
			for (size_t i = 0; i < left; i++)
				word |= (uint64_t)src[i] << (8 * i);
		word >>= bit;
		uint64_t entry = table[word & mask];
		*s->dst++ = (uint8_t)ENTRY_STORE(entry);
		bit += ENTRY_FIRST(entry);
		src += bit >> 3;
		bit &= 7;
	}
	/* All bits used, the padding zero. */
	if (bit == 0)
		return src == s->src_end;
	return src + 1 == s->src_end && (*src >> bit) == 0;
}

/* A stream's 64-bit word holds at least 57 fresh bits: five look-ups of at most 11. Each look-up stores 8
 * bytes and advances at most 6; each round reads 8 bytes of src and advances by at most 7. A one in the
 * word's top bit travels down with the shifts and tells in the end how many bits were used. */
enum { LOOKUPS = 5, ROUND_DST = LOOKUPS * ENTRY_SYMBOLS + 8, ROUND_SRC = 7 };

#define REFILL(k) uint64_t w##k = qs_load64(p##k) >> b##k | (uint64_t)1 << 63
#define LOOKUP(k)                                                                                            \
	{                                                                                                        \
		uint64_t e = table[w##k & mask];                                                                     \
		qs_store64(d##k, ENTRY_STORE(e));                                                                    \
		d##k += ENTRY_COUNT(e);                                                                              \
		w##k >>= ENTRY_BITS(e);                                                                              \
	}
#define ADVANCE(k)                                                                                           \
	b##k += (unsigned)__builtin_clzll(w##k);                                                                 \
	p##k += b##k >> 3;                                                                                       \
	b##k &= 7

static size_t rounds_possible(const stream *s, const uint8_t *src_limit)
{
	size_t dst_left = (size_t)(s->dst_end - s->dst),
	       src_left = s->src < src_limit ? (size_t)(src_limit - s->src) : 0;
	if (dst_left < ROUND_DST || src_left < 8)
		return 0;
	size_t by_dst = (dst_left - ROUND_DST) / (LOOKUPS * ENTRY_SYMBOLS) + 1,
	       by_src = (src_left - 8) / ROUND_SRC + 1;
	return by_dst < by_src ? by_dst : by_src;
}

/* All four streams in step, for as long as none can run over its end. */
static inline __attribute__((always_inline)) void fast_streams_body(stream *s, const uint64_t *table,
                                                                    uint64_t mask, const uint8_t *src_limit)
{
	for (;;) {
		size_t rounds = rounds_possible(&s[0], src_limit);
		for (int k = 1; k < QS_STREAMS; k++) {
			size_t r = rounds_possible(&s[k], src_limit);
			rounds = r < rounds ? r : rounds;
		}
		if (!rounds)
			return;
		const uint8_t *p0 = s[0].src, *p1 = s[1].src, *p2 = s[2].src, *p3 = s[3].src;
		uint8_t *d0 = s[0].dst, *d1 = s[1].dst, *d2 = s[2].dst, *d3 = s[3].dst;
		unsigned b0 = s[0].bit, b1 = s[1].bit, b2 = s[2].bit, b3 = s[3].bit;
		do {
			REFILL(0);
			REFILL(1);
			REFILL(2);
			REFILL(3);
			LOOKUP(0)
			LOOKUP(1) LOOKUP(2) LOOKUP(3) LOOKUP(0) LOOKUP(1) LOOKUP(2) LOOKUP(3) LOOKUP(0) LOOKUP(1)
			    LOOKUP(2) LOOKUP(3) LOOKUP(0) LOOKUP(1) LOOKUP(2) LOOKUP(3) LOOKUP(0) LOOKUP(1) LOOKUP(2)
			        LOOKUP(3) ADVANCE(0);
			ADVANCE(1);
			ADVANCE(2);
			ADVANCE(3);
		} while (--rounds);
		s[0] = (stream){p0, s[0].src_end, b0, d0, s[0].dst_end};
		s[1] = (stream){p1, s[1].src_end, b1, d1, s[1].dst_end};
		s[2] = (stream){p2, s[2].src_end, b2, d2, s[2].dst_end};
		s[3] = (stream){p3, s[3].src_end, b3, d3, s[3].dst_end};
	}
}

#if defined(__x86_64__)
/* Shifts by a register without the flags' cost. */
static __attribute__((target("bmi,bmi2,lzcnt"))) void
fast_streams_bmi2(stream *s, const uint64_t *table, uint64_t mask, const uint8_t *src_limit)
{
	fast_streams_body(s, table, mask, src_limit);
}
#endif

static void fast_streams(stream *s, const uint64_t *table, uint64_t mask, const uint8_t *src_limit)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("bmi2")) {
		fast_streams_bmi2(s, table, mask, src_limit);
		return;
	}
#endif
	fast_streams_body(s, table, mask, src_limit);
}

/* Bytes side by side: a SIMD vector, or where there is no SIMD a 64-bit word. */
#if defined(__wasm__) && !defined(__wasm_simd128__)
typedef uint64_t lanes;
#define ALL_LANES(x) ((lanes)0x0101010101010101u * (x))
static inline lanes shift_left(lanes v, unsigned k)
{
	return (v & ALL_LANES(0xffu >> k)) << k;
}
static inline lanes shift_right(lanes v, unsigned k)
{
	return v >> k & ALL_LANES(0xffu >> k);
}
static inline lanes all_bits(lanes one)
{
	return one * 255;
}
#else
typedef uint8_t lanes __attribute__((vector_size(16)));
#define ALL_LANES(x) ((uint8_t)(x))
static inline lanes shift_left(lanes v, unsigned k)
{
	return v << k;
}
static inline lanes shift_right(lanes v, unsigned k)
{
	return v >> k;
}
static inline lanes all_bits(lanes one)
{
	return -one;
}
#endif

static inline lanes load_lanes(const uint8_t *p)
{
	lanes v;
	memcpy(&v, p, sizeof v);
	return v;
}

/* The low bits of one group: a plane of 4 bits a symbol, one of 2 and one of 1, as far as `bits` has them.
 * With `bits` a constant this unrolls into straight SIMD. */
static inline __attribute__((always_inline)) void merge_group(uint8_t *v, const uint8_t *raw,
                                                              const unsigned bits, const int zigzag)
{
	const uint8_t *plane2 = raw + (bits & 4 ? 64 : 0), *plane1 = plane2 + (bits & 2 ? 32 : 0);
	const unsigned at2 = bits & 4, at1 = bits & 6;
#pragma GCC unroll 16
	for (unsigned i = 0; i < QS_RAW_GROUP; i += (unsigned)sizeof(lanes)) {
		lanes u = shift_left(load_lanes(v + i), bits);
		if (bits & 4)
			u |= shift_right(load_lanes(raw + (i & 63)), i >> 6 << 2) & ALL_LANES(15);
		if (bits & 2)
			u |= shift_left(shift_right(load_lanes(plane2 + (i & 31)), i >> 5 << 1) & ALL_LANES(3), at2);
		if (bits & 1)
			u |= shift_left(shift_right(load_lanes(plane1 + (i & 15)), i >> 4) & ALL_LANES(1), at1);
		if (zigzag)
			u = shift_right(u, 1) ^ all_bits(u & ALL_LANES(1));
		memcpy(v + i, &u, sizeof u);
	}
}

static inline __attribute__((always_inline)) void merge_groups(uint8_t *v, const uint8_t *raw, size_t groups,
                                                               unsigned bits, int zigzag)
{
	for (; groups; groups--, v += QS_RAW_GROUP, raw += QS_RAW_GROUP / 8 * bits)
		merge_group(v, raw, bits, zigzag);
}

#define MERGE_CASE(k)                                                                                        \
	case k:                                                                                                  \
		merge_groups(dst, raw, groups, k, 0);                                                                \
		break;                                                                                               \
	case k + 8:                                                                                              \
		merge_groups(dst, raw, groups, k, 1);                                                                \
		break;

/* Puts the raw low bits below the decoded top bits, and undoes the zigzag. */
static void merge_raw(uint8_t *dst, size_t n, const uint8_t *raw, unsigned bits, int zigzag)
{
	size_t groups = n / QS_RAW_GROUP;
	switch (bits + (zigzag ? 8 : 0)) {
		MERGE_CASE(1)
		MERGE_CASE(2)
		MERGE_CASE(3)
		MERGE_CASE(4)
		MERGE_CASE(5)
		MERGE_CASE(6)
		MERGE_CASE(7)
	case 8:
		merge_groups(dst, raw, groups, 0, 1);
		break;
	default:
		return; /* no raw bits, no zigzag */
	}
	dst += groups * QS_RAW_GROUP;
	raw += groups * (QS_RAW_GROUP / 8) * bits;
	n -= groups * QS_RAW_GROUP;
	for (size_t i = 0, bit = 0; i < n; i++) {
		unsigned u = (uint8_t)(dst[i] << bits);
		for (unsigned b = 0; b < bits; b++, bit++)
			u |= (unsigned)(raw[bit >> 3] >> (bit & 7) & 1) << b;
		dst[i] = zigzag ? (uint8_t)((u >> 1) ^ (uint8_t) - (u & 1)) : (uint8_t)u;
	}
}

static qstore_status decode_huffman(qs_reader *r, uint8_t *dst, size_t n, void *work)
{
	unsigned params = qs_read8(r), raw_bits = params & 7, zigzag = params >> 3 & 1, table_log = params >> 4;
	unsigned first = qs_read8(r), last = qs_read8(r);
	if (r->bad || last < first || last >= 256u >> raw_bits)
		return QSTORE_CORRUPT;
	unsigned n_lengths = last - first + 1;
	decode_tables *t = work;
	if (n_lengths > 1) {
		if (table_log < QS_TABLE_LOG_MIN || table_log > QS_TABLE_LOG_MAX)
			return QSTORE_CORRUPT;
		const uint8_t *packed = qs_read_bytes(r, (n_lengths + 1) / 2);
		if (!packed)
			return QSTORE_CORRUPT;
		uint8_t lengths[256];
		for (unsigned i = 0; i < n_lengths; i++)
			lengths[i] = packed[i / 2] >> (4 * (i & 1)) & 15;
		if (n_lengths & 1 && packed[n_lengths / 2] >> 4)
			return QSTORE_CORRUPT;
		if (!build_tables(t, lengths, first, n_lengths, table_log))
			return QSTORE_CORRUPT;
	} else if (table_log)
		return QSTORE_CORRUPT;

	size_t sizes[QS_STREAMS] = {0};
	int n_streams = n_lengths == 1 ? 0 : n < QS_SINGLE_STREAM_BELOW ? 1 : QS_STREAMS;
	for (int k = 0; k < n_streams; k++)
		sizes[k] = qs_read_varint(r);
	const uint8_t *raw = qs_read_bytes(r, qs_raw_bits_size(n, raw_bits));
	if (r->bad)
		return QSTORE_CORRUPT;
	if (n_streams == 0)
		memset(dst, (int)first, n);
	stream s[QS_STREAMS];
	size_t per_stream = qs_stream_symbols(n);
	for (int k = 0; k < n_streams; k++) {
		const uint8_t *bits = qs_read_bytes(r, sizes[k]);
		if (!bits)
			return QSTORE_CORRUPT;
		size_t begin = (size_t)k * per_stream, end = begin + per_stream < n ? begin + per_stream : n;
		s[k] = (stream){bits, bits + sizes[k], 0, dst + begin, dst + end};
	}
	unsigned mask = (1u << table_log) - 1;
	if (n_streams == QS_STREAMS)
		fast_streams(s, t->entry, mask, r->at);
	for (int k = 0; k < n_streams; k++)
		if (!finish_stream(&s[k], t->entry, mask))
			return QSTORE_CORRUPT;
	merge_raw(dst, n, raw, raw_bits, (int)zigzag);
	return QSTORE_OK;
}

/* One symbol everywhere, but where gaps lead to another one. */
static qstore_status place_others(uint8_t *dst, size_t n, const uint8_t *gaps, size_t n_gaps,
                                  const uint8_t *others)
{
	size_t at = 0;
	for (size_t i = 0; i < n_gaps; i++) {
		at += gaps[i];
		if (gaps[i] == QS_SPARSE_SKIP)
			continue;
		if (at >= n)
			return QSTORE_CORRUPT;
		dst[at++] = *others++;
	}
	return QSTORE_OK;
}

static qstore_status decode_block(qs_reader *r, unsigned type, uint8_t *dst, size_t n, void *work,
                                  void *zstd_work, size_t zstd_work_size)
{
	switch (type) {
	case QS_BLOCK_RAW: {
		const uint8_t *p = qs_read_bytes(r, n);
		if (r->bad)
			return QSTORE_CORRUPT;
		memcpy(dst, p, n);
		return QSTORE_OK;
	}
	case QS_BLOCK_CONST: {
		uint8_t value = qs_read8(r);
		if (r->bad)
			return QSTORE_CORRUPT;
		memset(dst, value, n);
		return QSTORE_OK;
	}
	case QS_BLOCK_HUFFMAN:
		return decode_huffman(r, dst, n, work);
	case QS_BLOCK_ZSTD: {
		size_t size = qs_read_varint(r);
		const uint8_t *p = qs_read_bytes(r, size);
		if (r->bad)
			return QSTORE_CORRUPT;
		return qs_zstd_decode(dst, n, p, size, zstd_work, zstd_work_size);
	}
	default:
		return QSTORE_CORRUPT;
	}
}

static qstore_status decode_sparse(qs_reader *r, uint8_t *dst, size_t n, decode_tables *t, void *zstd_work,
                                   size_t zstd_work_size)
{
	uint8_t common = qs_read8(r);
	size_t n_gaps = qs_read_varint(r), n_others = 0;
	if (r->bad || n_gaps > QS_SPARSE_MAX)
		return QSTORE_CORRUPT;
	/* Blocks in a block are not sparse again. */
	qstore_status status = decode_block(r, qs_read8(r), t->gaps, n_gaps, t, zstd_work, zstd_work_size);
	if (status)
		return status;
	for (size_t i = 0; i < n_gaps; i++)
		n_others += t->gaps[i] != QS_SPARSE_SKIP;
	status = decode_block(r, qs_read8(r), t->others, n_others, t, zstd_work, zstd_work_size);
	if (status)
		return status;
	memset(dst, common, n);
	return place_others(dst, n, t->gaps, n_gaps, t->others);
}

qstore_status qs_symbols_decode(qs_reader *r, uint8_t *dst, size_t n, void *work, void *zstd_work,
                                size_t zstd_work_size)
{
	unsigned type = qs_read8(r);
	if (type == QS_BLOCK_SPARSE)
		return decode_sparse(r, dst, n, work, zstd_work, zstd_work_size);
	return decode_block(r, type, dst, n, work, zstd_work, zstd_work_size);
}

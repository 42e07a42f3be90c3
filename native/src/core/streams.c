#include "streams.h"

/* One look-up decodes up to six symbols. Entry, from the low end: 8 bits: bits consumed (so that a shift by
 * the entry is a shift by them); 6 symbols of 8 bits; 4 bits of nothing; 4 bits: number of symbols. */
enum { ENTRY_SYMBOLS = 6 };

#define ENTRY_BITS(e) ((unsigned)((e)&63))
/* Rotated: one instruction where a shift takes two. What comes in at the top is overwritten by the next
 * store. */
#define ENTRY_STORE(e) ((e) >> 8 | (e) << 56)
#define ENTRY_COUNT(e) ((e) >> 60)

typedef struct code {
	uint16_t reversed;
	uint8_t symbol, length;
} code;

/* length: at most 16. */
static uint16_t reverse_bits(uint32_t bits, unsigned length)
{
	bits = (bits & 0x5555) << 1 | (bits >> 1 & 0x5555);
	bits = (bits & 0x3333) << 2 | (bits >> 2 & 0x3333);
	bits = (bits & 0x0f0f) << 4 | (bits >> 4 & 0x0f0f);
	bits = (bits & 0x00ff) << 8 | bits >> 8;
	return (uint16_t)(bits >> (16 - length));
}

/* Codes are canonical: by length, then by symbol; a stream is read from its low bits on, so codes stand
 * bit-reversed in the table's index. Returns how many there are; 0 when they do not fill the code space
 * exactly. */
static unsigned assign_codes(code *codes, const uint8_t *lengths, unsigned first, unsigned n,
                             unsigned table_log)
{
	uint32_t next = 0;
	unsigned used = 0;
	for (unsigned length = 1; length <= table_log; length++, next <<= 1)
		for (unsigned s = 0; s < n; s++) {
			if (lengths[s] != length)
				continue;
			if (next >> length)
				return 0; /* over-subscribed */
			codes[used++] = (code){reverse_bits(next, length), (uint8_t)(first + s), (uint8_t)length};
			next++;
		}
	return next == 2u << table_log ? used : 0;
}

/* An entry with one symbol in front of those of another, of which at most ENTRY_SYMBOLS − 1 stay. */
static inline uint64_t in_front(uint64_t one, uint64_t tail)
{
	return one + (tail & 0xf0000000000000ffu) + (tail << 8 & 0x00ffffffffff0000u);
}

/* All entries of `bits` bits that begin with these codes, of which the first is a shortest. */
static void fill_entries(uint64_t *to, unsigned bits, const code *codes, unsigned n, const uint64_t *tails,
                         const uint8_t *lengths)
{
	int all_fit = codes->length * (ENTRY_SYMBOLS + 1u) > bits;
	for (const code *c = codes; c < codes + n && c->length <= bits; c++) {
		uint64_t one = c->length | (uint64_t)c->symbol << 8 | (uint64_t)1 << 60;
		uint32_t count = 1u << (bits - c->length);
		const uint64_t *tail = tails + count;
		uint64_t *at = to + c->reversed;
		if (all_fit) {
			for (uint32_t i = 0; i < count; i++)
				at[(size_t)i << c->length] = in_front(one, tail[i]);
			continue;
		}
		for (uint32_t i = 0; i < count; i++) {
			uint64_t rest = tail[i];
			if (ENTRY_COUNT(rest) == ENTRY_SYMBOLS)
				rest -= (uint64_t)1 << 60 | lengths[rest >> 48 & 255];
			at[(size_t)i << c->length] = in_front(one, rest);
		}
	}
}

int qs_stream_tables_build(qs_stream_tables *t, const uint8_t *lengths, unsigned first, unsigned n,
                           unsigned table_log)
{
	code codes[256];
	unsigned used = assign_codes(codes, lengths, first, n, table_log);
	if (!used)
		return 0;
	memcpy(t->lengths + first, lengths, n);
	/* What may stand behind a shortest code is all that is asked for. */
	unsigned most = table_log - codes[0].length;
	memset(t->tails, 0, (sizeof *t->tails << 1) << most);
	for (unsigned bits = codes[0].length; bits <= most; bits++)
		fill_entries(t->tails + (1u << bits), bits, codes, used, t->tails, t->lengths);
	fill_entries(t->entry, table_log, codes, used, t->tails, t->lengths);
	return 1;
}

/* Exact at both ends: whole look-ups while eight bytes may be stored, then one symbol at a time. */
static int finish_stream(qs_stream *s, const qs_stream_tables *t, unsigned mask)
{
	const uint64_t *table = t->entry;
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
		uint8_t symbol = (uint8_t)ENTRY_STORE(table[word & mask]);
		*s->dst++ = symbol;
		bit += t->lengths[symbol];
		src += bit >> 3;
		bit &= 7;
	}
	/* All bits used, the padding zero. */
	if (bit == 0)
		return src == s->src_end;
	return src + 1 == s->src_end && (*src >> bit) == 0;
}

/* A stream's 64-bit word holds at least 56 fresh bits below a one in its top bit. That travels down with the
 * shifts and tells in the end how many bits were used, those of the last round among them. Each look-up
 * stores 8 bytes and advances at most ENTRY_SYMBOLS; each round reads 8 bytes of src and advances by at
 * most 7. */
enum { ROUND_SRC = 7 };

#define REFILL(k) w##k = (qs_load64(p##k) | (uint64_t)1 << 63) >> (w##k & 63)
#define LOOKUP(k)                                                                                            \
	{                                                                                                        \
		uint64_t e = table[w##k & mask];                                                                     \
		qs_store64(d##k, ENTRY_STORE(e));                                                                    \
		d##k += ENTRY_COUNT(e);                                                                              \
		w##k >>= ENTRY_BITS(e);                                                                              \
	}
#define ADVANCE(k)                                                                                           \
	w##k = (uint64_t)__builtin_clzll(w##k);                                                                  \
	p##k += w##k >> 3;                                                                                       \
	w##k &= 7;
#define EACH(what)                                                                                           \
	{                                                                                                        \
		what(0) what(1) what(2) what(3)                                                                      \
	}

enum { LINE = 64 };

static inline void fetch_ahead(qs_ahead *next)
{
#if defined(__wasm__) /* has nothing to say it with */
	(void)next;
#else
	__builtin_prefetch((const void *)next->read, 0, 2);
	next->read += LINE;
	if (next->write < next->write_end) {
		__builtin_prefetch((const void *)next->write, 1, 2);
		if (next->twice)
			__builtin_prefetch((const void *)(next->write + LINE), 1, 2);
		next->write += LINE << next->twice;
	}
#endif
}

static size_t rounds_possible(const qs_stream *s, unsigned lookups, const uint8_t *src_limit)
{
	size_t dst_left = (size_t)(s->dst_end - s->dst), round_dst = lookups * ENTRY_SYMBOLS,
	       src_left = s->src < src_limit ? (size_t)(src_limit - s->src) : 0;
	if (dst_left < round_dst + 8 || src_left < 8)
		return 0;
	size_t by_dst = (dst_left - 8) / round_dst, by_src = (src_left - 8) / ROUND_SRC + 1;
	return by_dst < by_src ? by_dst : by_src;
}

/* All four streams in step, for as long as none can run over its end. */
static inline __attribute__((always_inline)) void fast_streams_body(qs_stream *s, const uint64_t *table,
                                                                    unsigned table_log,
                                                                    const uint8_t *src_limit, qs_ahead *ahead)
{
	const uint64_t mask = ((uint64_t)1 << table_log) - 1;
	const unsigned lookups = table_log > 9 ? 5 : table_log > 8 ? 6 : 7;
	qs_ahead next = *ahead;
	for (;;) {
		size_t rounds = SIZE_MAX;
		for (int k = 0; k < QS_STREAMS; k++) {
			size_t r = rounds_possible(&s[k], lookups, src_limit);
			rounds = r < rounds ? r : rounds;
		}
		if (!rounds) {
			*ahead = next;
			return;
		}
		const uint8_t *p0 = s[0].src, *p1 = s[1].src, *p2 = s[2].src, *p3 = s[3].src;
		uint8_t *d0 = s[0].dst, *d1 = s[1].dst, *d2 = s[2].dst, *d3 = s[3].dst;
		uint64_t w0 = s[0].bit, w1 = s[1].bit, w2 = s[2].bit, w3 = s[3].bit;
		do {
			REFILL(0);
			REFILL(1);
			REFILL(2);
			REFILL(3);
			EACH(LOOKUP)
			EACH(LOOKUP)
			EACH(LOOKUP)
			EACH(LOOKUP)
			EACH(LOOKUP)
			if (lookups > 5) {
				EACH(LOOKUP)
				if (lookups > 6)
					EACH(LOOKUP)
			}
			EACH(ADVANCE)
			fetch_ahead(&next);
		} while (--rounds);
		s[0] = (qs_stream){p0, s[0].src_end, (unsigned)w0, d0, s[0].dst_end};
		s[1] = (qs_stream){p1, s[1].src_end, (unsigned)w1, d1, s[1].dst_end};
		s[2] = (qs_stream){p2, s[2].src_end, (unsigned)w2, d2, s[2].dst_end};
		s[3] = (qs_stream){p3, s[3].src_end, (unsigned)w3, d3, s[3].dst_end};
	}
}

#if defined(__x86_64__)
/* Shifts by a register without the flags' cost. */
static __attribute__((target("bmi,bmi2,lzcnt"))) void fast_streams_bmi2(qs_stream *s, const uint64_t *table,
                                                                        unsigned table_log,
                                                                        const uint8_t *src_limit,
                                                                        qs_ahead *ahead)
{
	fast_streams_body(s, table, table_log, src_limit, ahead);
}
#endif

static void fast_streams(qs_stream *s, const uint64_t *table, unsigned table_log, const uint8_t *src_limit,
                         qs_ahead *ahead)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("bmi2")) {
		fast_streams_bmi2(s, table, table_log, src_limit, ahead);
		return;
	}
#endif
	fast_streams_body(s, table, table_log, src_limit, ahead);
}

int qs_streams_decode(qs_stream *streams, int n, const qs_stream_tables *t, unsigned table_log,
                      const uint8_t *src_limit, qs_ahead *ahead)
{
	if (n == QS_STREAMS)
		fast_streams(streams, t->entry, table_log, src_limit, ahead);
	for (int k = 0; k < n; k++)
		if (!finish_stream(&streams[k], t, (1u << table_log) - 1))
			return 0;
	return 1;
}

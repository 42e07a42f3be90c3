/* How a symbol block is best coded. */
#include <math.h>

#include "ans_encode.h"
#include "huffman.h"
#include "symbols_encode.h"

enum { ANS_FROM = 512 }; /* symbols below which states and frequencies take too much */

void qs_count(const uint8_t *src, size_t n, uint32_t parts[QS_COUNT_PARTS][256])
{
	size_t i = 0;
	for (; i + 8 <= n; i += 8) {
		uint64_t eight = qs_load64(src + i);
		for (unsigned k = 0; k < 8; k++)
			parts[k % QS_COUNT_PARTS][eight >> (8 * k) & 255]++;
	}
	for (; i < n; i++)
		parts[0][src[i]]++;
}

void qs_count_sum(uint32_t parts[QS_COUNT_PARTS][256], uint32_t counts[256])
{
	for (int s = 0; s < 256; s++) {
		uint32_t sum = 0;
		for (int part = 0; part < QS_COUNT_PARTS; part++)
			sum += parts[part][s];
		counts[s] = sum;
	}
}

void qs_histogram(const uint8_t *src, size_t n, uint32_t counts[256])
{
	uint32_t parts[QS_COUNT_PARTS][256];
	memset(parts, 0, sizeof parts);
	qs_count(src, n, parts);
	qs_count_sum(parts, counts);
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

static void count_tops(const uint32_t counts[256], unsigned zigzag, unsigned raw_bits, uint32_t top[256])
{
	memset(top, 0, 256 * sizeof *top);
	for (unsigned s = 0; s < 256; s++)
		top[qs_top_symbol(s, zigzag, raw_bits)] += counts[s];
}

/* The best lengths for a plan whose longest codes were cut: a block's are worth the time, all plans' were
 * not. */
static void improve_lengths(const uint32_t counts[256], qs_block_plan *plan)
{
	uint32_t top[256];
	uint64_t bits = 0;
	int cut = 0;
	count_tops(counts, plan->zigzag, plan->raw_bits, top);
	for (unsigned t = 0; t < 256u >> plan->raw_bits; t++) {
		bits += (uint64_t)top[t] * plan->lengths[t];
		cut |= plan->lengths[t] == plan->table_log;
	}
	if (cut && plan->table_log)
		plan->size -=
		    (bits - qs_huffman_best_lengths(top, 256u >> plan->raw_bits, plan->table_log, plan->lengths)) / 8;
}

/* Huffman, where it is smaller than the plan. */
static void plan_huffman(const uint32_t counts[256], size_t n, qs_block_plan *plan)
{
	double best = 8.0 * (double)plan->size;
	for (unsigned zigzag = 0; zigzag < 2; zigzag++)
		for (unsigned raw_bits = 0; raw_bits < 8; raw_bits++) {
			uint32_t top[256] = {0};
			unsigned first = 255, last = 0, tops = 0, limit = table_limit(n);
			for (unsigned s = 0; s < 256; s++) {
				unsigned t = qs_top_symbol(s, zigzag, raw_bits);
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

/* Bits a symbol that ANS has to gain over Huffman's: it takes two to three times as long to decode. */
static const double ans_gain[] = {[QS_PREFER_SPEED] = 0.1, [QS_PREFER_BOTH] = 0.03, [QS_PREFER_SIZE] = 0.008};

/* Shorter tables for shorter blocks, as long as each symbol has a slot. */
static unsigned ans_table_log(size_t n, unsigned tops)
{
	unsigned log = 8;
	while (log < QS_ANS_LOG_MAX && (n >> (log + 3) || 1u << log < tops))
		log++;
	return log;
}

/* Bits of an ANS block but for its symbols and raw bits: head, size, states, about three bits for what four
 * do not say of a frequency. */
static double ans_overhead(const uint32_t top[256], size_t n, unsigned *tops)
{
	unsigned first = 255, last = 0;
	*tops = 0;
	for (unsigned t = 0; t < 256; t++)
		if (top[t]) {
			first = t < first ? t : first;
			last = t;
			++*tops;
		}
	return 8.0 * (8 + 4 * (double)qs_ans_lanes(n)) + 4.0 * (last - first + 1) + 3.0 * *tops;
}

/* Bits of symbols with these frequencies: the lanes add about a thousandth. */
static double ans_bits(const uint32_t top[256], unsigned n_tops, unsigned log)
{
	uint16_t frequencies[256];
	double bits = 0;
	qs_ans_frequencies(top, n_tops, log, frequencies);
	for (unsigned t = 0; t < n_tops; t++)
		if (top[t])
			bits += top[t] * (log - log2(frequencies[t]));
	return 1.001 * bits;
}

/* An ANS block in place of the plan, where that gains enough; its size is an estimate. */
static void plan_ans(const uint32_t counts[256], size_t n, qs_prefer prefer, qs_block_plan *plan)
{
	double most = 8.0 * (double)plan->size - ans_gain[prefer] * (double)n, best = most;
	if (n < ANS_FROM || qs_entropy_bits(counts) > most)
		return;
	qs_block_plan found = {.type = QS_BLOCK_ANS};
	uint32_t top[256];
	unsigned tops;
	for (unsigned zigzag = 0; zigzag < 2; zigzag++)
		for (unsigned raw_bits = zigzag; raw_bits < 8; raw_bits++) {
			count_tops(counts, zigzag, raw_bits, top);
			double bits = ans_overhead(top, n, &tops) + 8.0 * (double)qs_raw_bits_size(n, raw_bits) +
			              qs_entropy_bits(top);
			if (tops < 2)
				break;
			if (bits < best) {
				best = bits;
				found.raw_bits = raw_bits;
				found.zigzag = zigzag;
				found.table_log = ans_table_log(n, tops);
			}
		}
	if (!found.table_log)
		return;
	count_tops(counts, found.zigzag, found.raw_bits, top);
	double bits = ans_overhead(top, n, &tops) + 8.0 * (double)qs_raw_bits_size(n, found.raw_bits) +
	              ans_bits(top, 256u >> found.raw_bits, found.table_log);
	found.size = (uint64_t)(bits / 8) + 1;
	if (bits < most)
		*plan = found;
}

void qs_symbols_plan_dense(const uint32_t counts[256], size_t n, qs_prefer prefer, qs_block_plan *plan)
{
	unsigned used = 0;
	for (unsigned s = 0; s < 256; s++)
		used += counts[s] > 0;
	*plan = (qs_block_plan){.type = QS_BLOCK_RAW, .size = 1 + n};
	if (used <= 1) {
		*plan = (qs_block_plan){.type = QS_BLOCK_CONST, .size = 2};
		return;
	}
	plan_huffman(counts, n, plan);
	if (plan->type == QS_BLOCK_HUFFMAN)
		improve_lengths(counts, plan);
	plan_ans(counts, n, prefer, plan);
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

void qs_symbols_plan(const uint32_t counts[256], size_t n, qs_prefer prefer, qs_block_plan *plan)
{
	qs_symbols_plan_dense(counts, n, prefer, plan);
	uint64_t size =
	    plan->type == QS_BLOCK_HUFFMAN || plan->type == QS_BLOCK_ANS ? sparse_estimate(counts, n) : 0;
	/* Sparse blocks are the fastest of all. */
	double room = plan->type == QS_BLOCK_ANS ? ans_gain[prefer] * (double)n / 8 : 0;
	if (size && (double)size < (double)plan->size + room)
		*plan = (qs_block_plan){.type = QS_BLOCK_SPARSE, .size = size};
}

/* Planning of a symbol block: the choice of its type, of the number of raw bits, and of its table. */
#include <math.h>

#include "ans_encode.h"
#include "huffman.h"
#include "symbols_encode.h"
#include "tree_encode.h"

enum { ANS_FROM = 512 }; /* in blocks of fewer symbols, states and frequencies take too many bytes */

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

static double entropy_bits(const uint32_t *counts, unsigned n_counts)
{
	double n = 0, bits = 0;
	for (unsigned s = 0; s < n_counts; s++)
		if (counts[s]) {
			n += counts[s];
			bits -= counts[s] * log2(counts[s]);
		}
	return n > 0 ? bits + n * log2(n) : 0;
}

double qs_entropy_bits(const uint32_t counts[256])
{
	return entropy_bits(counts, 256);
}

/* A coded bit decodes more slowly than a raw one, so each coded bit costs this much more; `make bench` shows
 * the effect. */
static const double speed_bias = 0.02;

/* The search for the number of raw bits ends after WORSE_MOST plans in a row that were no better, if by the
 * entropy less than room_left bits a symbol could be gained. */
enum { WORSE_MOST = 2 };
static const double room_left = 0.04;

/* Counts of top symbols for each number of raw bits. Each count for r + 1 raw bits is the sum of two
 * neighbours for r. */
typedef struct top_counts {
	uint32_t of[512]; /* the counts with r raw bits begin at 512 - (512 >> r) */
} top_counts;

static void count_tops(const uint32_t counts[256], unsigned zigzag, top_counts *tops)
{
	for (unsigned s = 0; s < 256; s++)
		tops->of[qs_top_symbol(s, zigzag, 0)] = counts[s];
	for (unsigned t = 0; t < 255; t++)
		tops->of[256 + t] = tops->of[2 * t] + tops->of[2 * t + 1];
}

static const uint32_t *tops_of(const top_counts *tops, unsigned raw_bits)
{
	return tops->of + 512 - (512 >> raw_bits);
}

/* Finds the best lengths for the chosen plan, if its longest codes were cut to the limit. This would take too
 * long for every plan that is tried. */
static void improve_lengths(const top_counts tops[2], qs_block_plan *plan)
{
	const uint32_t *top = tops_of(&tops[plan->zigzag], plan->raw_bits);
	uint64_t bits = 0;
	for (unsigned t = 0; t < 256u >> plan->raw_bits; t++)
		bits += (uint64_t)top[t] * plan->lengths[t];
	if (plan->table_log == QS_TREE_DEPTH)
		plan->size -=
		    (bits - qs_huffman_best_lengths(top, 256u >> plan->raw_bits, QS_TREE_DEPTH, plan->lengths)) / 8;
}

/* Makes a Huffman plan. Returns its cost in bits: its size, and the bias for its decoding time. */
static double huffman_plan(const uint32_t *top, size_t n, unsigned zigzag, unsigned raw_bits,
                           qs_block_plan *plan)
{
	unsigned n_tops = 256u >> raw_bits, first = n_tops, last = 0, used = 0;
	for (unsigned t = 0; t < n_tops; t++)
		if (top[t]) {
			first = t < first ? t : first;
			last = t;
			used++;
		}
	*plan = (qs_block_plan){.type = QS_SYMBOLS_HUFFMAN, .raw_bits = raw_bits, .zigzag = zigzag};
	uint64_t coded = 0;
	plan->size = 4 + qs_raw_bits_size(n, raw_bits);
	if (first < last) {
		coded = qs_huffman_lengths(top, n_tops, QS_TREE_DEPTH, plan->lengths);
		for (unsigned t = first; t <= last; t++)
			plan->table_log = plan->lengths[t] > plan->table_log ? plan->lengths[t] : plan->table_log;
		plan->size += (last - first + 2) / 2 + (coded + qs_tree_padding(n, used, coded) + 7) / 8;
	}
	return 8.0 * (double)plan->size + speed_bias * (double)coded;
}

/* Replaces the plan by the Huffman plan that costs least, if it costs less. entropy: of the block, in
 * bits. */
static void plan_huffman(const top_counts tops[2], size_t n, double entropy, qs_block_plan *plan)
{
	double best = 8.0 * (double)plan->size;
	for (unsigned zigzag = 0; zigzag < 2; zigzag++) {
		/* Plans with many top symbols take longest to make. So the search begins with few, and ends when more
		 * top symbols gain nothing and could gain little. */
		double least = INFINITY;
		unsigned worse = 0;
		for (unsigned raw_bits = 8; raw_bits-- > 0;) {
			double bound = entropy + speed_bias * (entropy - (double)raw_bits * (double)n);
			if (bound >= best || (worse >= WORSE_MOST && bound >= best - room_left * (double)n))
				break;
			qs_block_plan p;
			double score = huffman_plan(tops_of(&tops[zigzag], raw_bits), n, zigzag, raw_bits, &p);
			worse = score < least ? 0 : worse + 1;
			least = score < least ? score : least;
			if (score < best) {
				best = score;
				*plan = p;
			}
		}
	}
}

/* ANS takes two to three times as long to decode as Huffman, so it must gain this many bits for each
 * symbol. */
static const double ans_gain[] = {[QS_PREFER_SPEED] = 0.1, [QS_PREFER_BOTH] = 0.03, [QS_PREFER_SIZE] = 0.008};

/* Returns the log2 of the number of slots: fewer for shorter blocks, but one for each symbol at least. */
static unsigned ans_table_log(size_t n, unsigned tops)
{
	unsigned log = 8;
	while (log < QS_ANS_LOG_MAX && (n >> (log + 3) || 1u << log < tops))
		log++;
	return log;
}

/* Estimates the bits of an ANS block without its symbols and raw bits: head, size, states, and for each
 * frequency four bits and about three more. */
static double ans_overhead(const uint32_t *top, unsigned n_tops, size_t n, unsigned *used)
{
	unsigned first = n_tops, last = 0;
	*used = 0;
	for (unsigned t = 0; t < n_tops; t++)
		if (top[t]) {
			first = t < first ? t : first;
			last = t;
			++*used;
		}
	return 8.0 * (8 + 4 * (double)qs_ans_lanes(n)) + 4.0 * (last - first + 1) + 3.0 * *used;
}

/* Estimates the bits of symbols with these frequencies. Lanes add about a thousandth. */
static double ans_bits(const uint32_t *top, unsigned n_tops, unsigned log, const uint16_t *frequencies)
{
	double bits = 0;
	for (unsigned t = 0; t < n_tops; t++)
		if (top[t])
			bits += top[t] * (log - log2(frequencies[t]));
	return 1.001 * bits;
}

/* Replaces the plan by an ANS plan, whose size is an estimate, if that gains enough. */
static void plan_ans(const top_counts tops[2], size_t n, double entropy, qs_prefer prefer,
                     qs_block_plan *plan)
{
	double most = 8.0 * (double)plan->size - ans_gain[prefer] * (double)n, best = most;
	if (n < ANS_FROM || entropy > most)
		return;
	qs_block_plan found = {.type = QS_SYMBOLS_ANS};
	unsigned used;
	for (unsigned zigzag = 0; zigzag < 2; zigzag++)
		for (unsigned raw_bits = 0; raw_bits < 8; raw_bits++) {
			const uint32_t *top = tops_of(&tops[zigzag], raw_bits);
			unsigned n_tops = 256u >> raw_bits;
			double bits = ans_overhead(top, n_tops, n, &used) + 8.0 * (double)qs_raw_bits_size(n, raw_bits);
			if (used < 2)
				break;
			bits += entropy_bits(top, n_tops);
			if (bits < best) {
				best = bits;
				found.raw_bits = raw_bits;
				found.zigzag = zigzag;
				found.table_log = ans_table_log(n, used);
			}
		}
	if (!found.table_log)
		return;
	const uint32_t *top = tops_of(&tops[found.zigzag], found.raw_bits);
	unsigned n_tops = 256u >> found.raw_bits;
	qs_ans_frequencies(top, n_tops, found.table_log, found.frequencies);
	double bits = ans_overhead(top, n_tops, n, &used) + 8.0 * (double)qs_raw_bits_size(n, found.raw_bits) +
	              ans_bits(top, n_tops, found.table_log, found.frequencies);
	found.size = (uint64_t)(bits / 8) + 1;
	if (bits < most)
		*plan = found;
}

void qs_symbols_plan_dense(const uint32_t counts[256], size_t n, qs_prefer prefer, qs_block_plan *plan)
{
	unsigned used = 0;
	top_counts tops[2];
	for (unsigned s = 0; s < 256; s++)
		used += counts[s] > 0;
	*plan = (qs_block_plan){.type = QS_SYMBOLS_RAW, .size = 1 + n};
	if (used <= 1) {
		*plan = (qs_block_plan){.type = QS_SYMBOLS_CONSTANT, .size = 2};
		return;
	}
	double entropy = qs_entropy_bits(counts);
	count_tops(counts, 0, &tops[0]);
	count_tops(counts, 1, &tops[1]);
	plan_huffman(tops, n, entropy, plan);
	if (plan->type == QS_SYMBOLS_HUFFMAN)
		improve_lengths(tops, plan);
	plan_ans(tops, n, entropy, prefer, plan);
}

/* Estimates the size of a sparse block, as if gaps were distributed geometrically. Returns 0 if no byte is
 * common enough. */
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
	    plan->type == QS_SYMBOLS_HUFFMAN || plan->type == QS_SYMBOLS_ANS ? sparse_estimate(counts, n) : 0;
	/* Sparse blocks are the fastest to decode, so they replace ANS even if they are a bit larger. */
	double room = plan->type == QS_SYMBOLS_ANS ? ans_gain[prefer] * (double)n / 8 : 0;
	if (size && (double)size < (double)plan->size + room)
		*plan = (qs_block_plan){.type = QS_SYMBOLS_SPARSE, .size = size};
}

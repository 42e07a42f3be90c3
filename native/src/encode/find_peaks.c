#include "find_peaks.h"

#include "core/lanes.h"
#include "symbols_encode.h"

enum {
	SMALLEST = 1 << QS_PEAKS_LOG_MIN,
	LARGEST = 1 << QS_PEAKS_LOG_MAX,
	SAMPLES = 64, /* samples of LARGEST codes each, in which groups and their peaks are looked for */
	PARTS = SAMPLES * LARGEST / SMALLEST,
	WIDE = 32,            /* codes with so many values or more have more than 5 bits */
	NONE_TAKEN = LARGEST, /* a place that no group has */
	COUNTED = 1024        /* about this many groups, at least half of it, are counted to estimate the gain */
};

/* The values that the peaks of nearly all groups have. */
typedef struct targets {
	unsigned group_log, n;                             /* n: peaks of a group; 0: there are none */
	uint8_t least, centre;                             /* the least code, and the middle of all codes */
	int is_wide;                                       /* codes have more than 5 bits */
	uint8_t either[QS_PEAKS_MAX], other[QS_PEAKS_MAX]; /* peak i is one of these two */
} targets;

/* Finds the least and the greatest of n codes. flip: 128 for signed codes, which puts them in order. */
static void extremes(const uint8_t *codes, uint32_t n, uint8_t flip, uint8_t *low, uint8_t *high)
{
	*low = 255;
	*high = 0;
	for (uint32_t i = 0; i < n; i++) {
		uint8_t code = codes[i] ^ flip;
		*low = code < *low ? code : *low;
		*high = code > *high ? code : *high;
	}
}

static uint8_t flip_of(const qs_chunk_desc *desc)
{
	return desc->dtype == QS_I8 ? 128 : 0;
}

static int nearly_all(uint32_t part, uint32_t all)
{
	return all && part >= all - all / 8;
}

/* Finds the smallest group size with which nearly all groups of a sample contain one of the extreme codes. */
static targets find_targets(const qs_chunk_desc *desc, const uint8_t *codes)
{
	uint32_t n_pieces = desc->n_elems / LARGEST, n_samples = n_pieces < SAMPLES ? n_pieces : SAMPLES;
	uint8_t low[PARTS], high[PARTS], flip = flip_of(desc), least = 255, greatest = 0;
	uint32_t n = n_samples * (LARGEST / SMALLEST), sizes = desc->n_elems;
	/* A group must not cross the end of a row or of the chunk. */
	sizes |= (uint32_t)(desc->cols | desc->first_elem);
	for (uint32_t i = 0; i < n; i++) {
		size_t at = (size_t)n_pieces * (i / (LARGEST / SMALLEST)) / n_samples * LARGEST;
		at += i % (LARGEST / SMALLEST) * SMALLEST;
		extremes(codes + at, SMALLEST, flip, &low[i], &high[i]);
		least = low[i] < least ? low[i] : least;
		greatest = high[i] > greatest ? high[i] : greatest;
	}
	targets t = {.is_wide = greatest - least >= WIDE,
	             .least = least ^ flip,
	             .centre = (uint8_t)((least + greatest + 1) / 2) ^ flip};
	for (unsigned log = QS_PEAKS_LOG_MIN; log <= QS_PEAKS_LOG_MAX && !(sizes & ((1u << log) - 1)); log++) {
		uint32_t lows = 0, highs = 0, any = 0, all = 0;
		for (uint32_t i = 0; i < n; i++) {
			all += low[i] != high[i]; /* groups of zeros have no extremes, and are not counted */
			lows += low[i] == least;
			highs += high[i] == greatest;
			any += low[i] == least || high[i] == greatest;
		}
		uint8_t a = least ^ flip, b = greatest ^ flip;
		int each_low = nearly_all(lows, all), each_high = nearly_all(highs, all);
		t.group_log = log;
		t.n = each_low && each_high ? 2 : nearly_all(any, all);
		t.either[0] = t.n == 1 && each_high ? b : a;
		t.other[0] = each_low ? a : b;
		t.either[1] = t.other[1] = b;
		if (t.n)
			return t;
		n /= 2;
		for (uint32_t i = 0; i < n; i++) {
			low[i] = low[2 * i] < low[2 * i + 1] ? low[2 * i] : low[2 * i + 1];
			high[i] = high[2 * i] > high[2 * i + 1] ? high[2 * i] : high[2 * i + 1];
		}
	}
	return t;
}

#if QS_LANES_ARE_WORDS
#error "the encoder is for machines whose compiler has vectors"
#endif

typedef uint64_t words __attribute__((vector_size(sizeof(qs_lanes))));

/* Returns a mask of SMALLEST bits: bit i is 1 if code i is a or b. */
static uint32_t find_codes(const uint8_t *codes, uint8_t a, uint8_t b)
{
	uint32_t found = 0;
	for (unsigned at = 0; at < SMALLEST; at += (unsigned)sizeof(qs_lanes)) {
		qs_lanes v = qs_load_lanes(codes + at), all = {0};
		v = (qs_lanes)(v == all + a) | (qs_lanes)(v == all + b);
		for (unsigned half = 0; half < 2; half++) {
			/* The product gathers one bit of each byte in the top byte. */
			uint64_t bits = ((words)v)[half] & 0x8040201008040201;
			found |= (uint32_t)(bits * 0x0101010101010101 >> 56) << (at + 8 * half);
		}
	}
	return found;
}

/* Returns the first place, other than `taken`, that has code a or b; LARGEST if there is none. */
static unsigned find_place(const uint8_t *codes, unsigned size, uint8_t a, uint8_t b, unsigned taken)
{
	for (unsigned at = 0; at < size; at += SMALLEST) {
		uint32_t found = find_codes(codes + at, a, b);
		if (taken - at < SMALLEST)
			found &= ~(1u << (taken - at));
		if (found)
			return at + (unsigned)__builtin_ctz(found);
	}
	return LARGEST;
}

/* Returns the place of the extreme code of a group that has none of the usual peaks. */
static unsigned find_own(const qs_chunk_desc *desc, const targets *t, unsigned i, const uint8_t *codes,
                         unsigned taken)
{
	uint8_t low, high, flip = flip_of(desc);
	unsigned size = 1u << t->group_log;
	extremes(codes, size, flip, &low, &high);
	int is_low = t->other[i] == t->least;
	if (t->either[i] != t->other[i])
		is_low = low + high < 2 * (t->centre ^ flip);
	uint8_t value = (is_low ? low : high) ^ flip;
	return find_place(codes, size, value, value, taken);
}

/* Finds the i-th peak of every group. Returns 0 if peaks have too many different values. */
static int find_places(qs_found_peaks *found, const qs_chunk_desc *desc, const targets *t, unsigned i,
                       const uint8_t *codes)
{
	unsigned log = t->group_log, size = 1u << log, n_values = 0, most = (unsigned)QS_PEAK_PLACES >> log;
	uint8_t *values = found->peaks.values[i], numbers[256], known[256] = {0};
	for (uint32_t g = 0; g < found->n_groups; g++, codes += size) {
		unsigned taken = i ? found->places[0][g] & (size - 1) : NONE_TAKEN;
		unsigned place = find_place(codes, size, t->either[i], t->other[i], taken);
		if (place == LARGEST) {
			place = find_own(desc, t, i, codes, taken);
			found->n_odd++;
		}
		uint8_t value = codes[place];
		if (!known[value]) {
			if (n_values == most)
				return 0;
			known[value] = 1;
			numbers[value] = (uint8_t)n_values;
			values[n_values++] = value;
		}
		found->places[i][g] = (uint8_t)((unsigned)numbers[value] << log | place);
	}
	found->n_values[i] = n_values;
	found->peaks.places[i] = found->places[i];
	return 1;
}

/* Returns the bits that peaks must gain for each code, because putting them in place takes time. Under codes
 * of 8 bits the other codes decode so much faster that no gain is needed. */
static double least_gain(const targets *t)
{
	return t->is_wide ? 0 : 0.015;
}

/* Says whether coding the peaks apart takes fewer bits than leaving them among the codes, judged by
 * entropies. */
static int gains(const qs_found_peaks *found, const targets *t, const uint8_t *codes)
{
	uint32_t all[256] = {0}, others[256], counted = 0;
	unsigned log = found->peaks.group_log, size = 1u << log, per_group = found->peaks.per_group;
	uint32_t step = found->n_groups / COUNTED + 1;
	double bits = 0;
	for (uint32_t g = 0; g < found->n_groups; g += step, counted++)
		for (unsigned i = 0; i < size; i++)
			all[codes[((size_t)g << log) + i]]++;
	memcpy(others, all, sizeof others);
	for (unsigned i = 0; i < per_group; i++) {
		uint32_t places[256] = {0};
		for (uint32_t g = 0; g < found->n_groups; g += step) {
			uint8_t place = found->places[i][g];
			others[codes[((size_t)g << log) + (place & (size - 1))]]--;
			places[place]++;
		}
		bits += qs_entropy_bits(places);
		/* A sample's entropy is too low by about half a nat, 0.72 bit, for each value (Miller and Madow). */
		for (unsigned p = 0; p < QS_PEAK_PLACES; p++)
			bits += places[p] ? 0.72 : 0;
	}
	bits += counted * (double)size * least_gain(t);
	return bits + qs_entropy_bits(others) < qs_entropy_bits(all);
}

int qs_find_peaks(qs_found_peaks *found, const qs_chunk_desc *desc, const uint8_t *codes)
{
	targets t = find_targets(desc, codes);
	found->n_groups = desc->n_elems >> t.group_log;
	found->n_odd = 0;
	found->peaks = (qs_peaks){.group_log = t.group_log, .per_group = t.n, .centre = t.centre};
	for (unsigned i = 0; i < t.n; i++)
		if (!find_places(found, desc, &t, i, codes))
			return 0;
	return t.n && gains(found, &t, codes);
}

static void copy_codes(uint8_t *dst, const uint8_t *src, unsigned size)
{
	for (unsigned at = 0; at < size; at += SMALLEST)
		memcpy(dst + at, src + at, SMALLEST);
}

void qs_leave_out_peaks(const qs_found_peaks *found, const uint8_t *codes, uint8_t *dst)
{
	unsigned size = 1u << found->peaks.group_log, per_group = found->peaks.per_group;
	size_t n = (size_t)found->n_groups * (size - per_group);
	uint8_t *to = dst;
	for (uint32_t g = 0; g < found->n_groups; g++, codes += size, to += size - per_group) {
		unsigned first = found->places[0][g] & (size - 1), second = size;
		if (per_group > 1) {
			unsigned other = found->places[1][g] & (size - 1);
			second = first < other ? other : first;
			first = first < other ? first : other;
		}
		if (g + 2 < found->n_groups) {
			/* Whole groups are copied, because that is faster. The next group overwrites the bytes beyond. */
			copy_codes(to, codes, size);
			copy_codes(to + first, codes + first + 1, size);
			if (per_group > 1)
				copy_codes(to + second - 1, codes + second + 1, size);
		} else {
			memcpy(to, codes, first);
			memcpy(to + first, codes + first + 1, second - first - 1);
			if (second < size)
				memcpy(to + second - 1, codes + second + 1, size - second - 1);
		}
	}
	for (size_t i = 0; i < n; i++)
		dst[i] = (uint8_t)(dst[i] - found->peaks.centre);
}

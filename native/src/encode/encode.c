#include "encode.h"

#include <math.h>
#include <stdlib.h>
#include <zstd.h>

#include "core/delta.h"
#include "core/planes.h"
#include "core/workspace.h"
#include "centres.h"
#include "find_peaks.h"
#include "ranks_encode.h"
#include "symbols_encode.h"

enum {
	CANDIDATE_SIZE = 8 * QS_CHUNK_SIZE_MAX, /* a candidate may grow to this size while it is written */
	SAMPLE_PIECES = 4,      /* pieces of a chunk that decide whether zstd is tried on numbers, … */
	SAMPLE_PIECE = 1 << 13, /* … and their bytes */
	REPEATS_SHARE = 32,     /* data have repetition if one word of so many, or more, occurred before */
	SHORT_CODES = 1 << 14,  /* in chunks of fewer codes, the head of peaks may cost more than they gain */
	ODD_SHARE = 512, /* peaks are unusual if more than one code of so many is a peak unlike most others */
	/* Levels of zstd. */
	LEVEL_TABLES = 1, /* for data without repetition, which higher levels make no smaller */
	LEVEL_FAST = 9,   /* for trials */
	LEVEL_BEST = 19,  /* for chunks that zstd codes best, and for literal bytes, which are few */
	/* Rows, and values of each, that tell whether rows differ little. */
	COLUMNS_SAMPLES = 16,
	COLUMNS_SAMPLE = 256,
	SPREADS = 33, /* rows are classed by their mean |code|; each class is a quarter of an octave wide */
	/* Long rows are cut into rows of 2^FOLD_LOG codes. A sample of each says whether that is tried: one row
	 * of FOLD_SHARE must have a spread that is FOLD_APART classes or more from the median. */
	FOLD_LOG = 10,
	FOLD_SAMPLE = 256,
	FOLD_APART = 2,
	FOLD_SHARE = 16
};

/* zstd decodes numbers at an eighth of the speed of symbol blocks, so it is taken only if it makes a chunk
 * smaller than this share of the best candidate's size. */
static const double zstd_share = 0.992;

/* zstd is tried on floats though their sample takes up to so many times the best candidate's share: all of a
 * chunk has more repetition, since rows of position embeddings are far from those that they resemble. */
static const double zstd_sample_room = 1.2;

struct qs_encoder {
	ZSTD_CCtx *zstd;
	uint8_t *candidate, *best; /* CANDIDATE_SIZE each */
	size_t best_size;
	uint8_t planes[QS_CHUNK_SIZE_MAX], rows[QS_CHUNK_SIZE_MAX], symbols[QS_CHUNK_SIZE_MAX];
	uint8_t differences[QS_CHUNK_SIZE_MAX];
	uint32_t counts[SPREADS][QS_COUNT_PARTS][256];
	qs_centres centres;
	qs_found_peaks peaks;
	qs_ranks_scratch ranks;
};

qs_encoder *qs_encoder_create(void)
{
	qs_encoder *encoder = calloc(1, sizeof *encoder);
	if (!encoder)
		return NULL;
	encoder->zstd = ZSTD_createCCtx();
	encoder->candidate = malloc(CANDIDATE_SIZE);
	encoder->best = malloc(CANDIDATE_SIZE);
	if (!encoder->zstd || !encoder->candidate || !encoder->best) {
		qs_encoder_destroy(encoder);
		return NULL;
	}
	return encoder;
}

void qs_encoder_destroy(qs_encoder *encoder)
{
	if (!encoder)
		return;
	ZSTD_freeCCtx(encoder->zstd);
	free(encoder->candidate);
	free(encoder->best);
	free(encoder);
}

size_t qs_chunk_bound(size_t src_size)
{
	return src_size + 1;
}

static qs_writer begin_candidate(qs_encoder *encoder)
{
	return (qs_writer){encoder->candidate, encoder->candidate + CANDIDATE_SIZE, 0};
}

/* Keeps the candidate if it is the smallest so far. */
static void end_candidate(qs_encoder *encoder, const qs_writer *w)
{
	size_t size = (size_t)(w->at - encoder->candidate);
	if (w->bad || size >= encoder->best_size)
		return;
	uint8_t *swap = encoder->best;
	encoder->best = encoder->candidate;
	encoder->candidate = swap;
	encoder->best_size = size;
}

/* Keeps a zstd frame if it is smaller than `share` of the smallest candidate so far. */
static void try_zstd(qs_encoder *encoder, const uint8_t *src, size_t src_size, int level, double share)
{
	qs_writer w = begin_candidate(encoder);
	qs_write8(&w, QS_MODE_ZSTD);
	size_t size = ZSTD_compressCCtx(encoder->zstd, w.at, (size_t)(w.end - w.at), src, src_size, level);
	if (ZSTD_isError(size) || (double)size >= share * (double)encoder->best_size)
		return;
	w.at += size;
	end_candidate(encoder, &w);
}

/* Says whether four bytes that occurred before are at one place of REPEATS_SHARE, or at more. Without such
 * repetition zstd gains nothing over symbol blocks, and trying it would take most of the encoder's time. */
static int repeats(const uint8_t *src, size_t n)
{
	enum { LOG = 12 };
	uint16_t last[1 << LOG] = {0}; /* by hash: the last place of a word with it, plus 1; 0: none */
	size_t found = 0;
	for (size_t i = 0; i + 4 <= n; i++) {
		uint32_t word = qs_load32(src + i);
		uint16_t *at = &last[word * 2654435761u >> (32 - LOG)]; /* Knuth's multiplicative hash */
		found += *at && qs_load32(src + *at - 1) == word;
		*at = (uint16_t)(i + 1);
	}
	return found * REPEATS_SHARE >= n;
}

/* Says whether zstd may be smaller than the best candidate because it has a Huffman table for each of its
 * blocks. Judges by the entropy of samples of each block. */
static int block_tables_promise(const uint8_t *src, size_t src_size, size_t best_size)
{
	/* Bytes of a block of zstd, and of a sample. Every fourth sample is counted, in short blocks each one. */
	enum { BLOCK = 1 << 17, SAMPLE = 1 << 10, EVERY = 4 };
	double bits = 0;
	for (size_t begin = 0; begin < src_size; begin += BLOCK) {
		uint32_t parts[QS_COUNT_PARTS][256] = {{0}}, counts[256];
		size_t n = src_size - begin < BLOCK ? src_size - begin : BLOCK, counted = 0;
		size_t step = n < BLOCK / EVERY ? SAMPLE : EVERY * SAMPLE;
		for (size_t i = 0; i < n; i += step) {
			size_t size = n - i < SAMPLE ? n - i : SAMPLE;
			qs_count(src + begin + i, size, parts);
			counted += size;
		}
		qs_count_sum(parts, counts);
		bits += qs_entropy_bits(counts) * (double)n / (double)counted;
	}
	return bits / 8 < zstd_share * (double)best_size;
}

/* Copies pieces of a chunk, the first and the last among them, to dst. Returns their size. */
static size_t take_sample(const uint8_t *src, size_t src_size, uint8_t dst[SAMPLE_PIECES * SAMPLE_PIECE])
{
	if (src_size <= SAMPLE_PIECES * SAMPLE_PIECE) {
		memcpy(dst, src, src_size);
		return src_size;
	}
	for (size_t i = 0; i < SAMPLE_PIECES; i++)
		memcpy(dst + i * SAMPLE_PIECE, src + (src_size - SAMPLE_PIECE) / (SAMPLE_PIECES - 1) * i,
		       SAMPLE_PIECE);
	return SAMPLE_PIECES * SAMPLE_PIECE;
}

/* Codes numbers by zstd if that makes the chunk smaller. Symbol blocks do not see repetition, which sparse,
 * tied or integer data and position embeddings have; a sample shows it. */
static void try_zstd_on_numbers(qs_encoder *encoder, const uint8_t *src, size_t src_size, int is_float)
{
	uint8_t *sample = encoder->rows;
	size_t n = take_sample(src, src_size, sample);
	if (!repeats(sample, n)) {
		if (!is_float && block_tables_promise(src, src_size, encoder->best_size))
			try_zstd(encoder, src, src_size, LEVEL_TABLES, zstd_share);
		return;
	}
	double share = (is_float ? zstd_sample_room : 1) * (double)encoder->best_size / (double)src_size;
	size_t size = ZSTD_compressCCtx(encoder->zstd, encoder->candidate, CANDIDATE_SIZE, sample, n, LEVEL_FAST);
	if (ZSTD_isError(size) || (double)size >= share * (double)n)
		return;
	try_zstd(encoder, src, src_size, LEVEL_FAST, zstd_share);
	if (encoder->best[0] == QS_MODE_ZSTD)
		try_zstd(encoder, src, src_size, LEVEL_BEST, 1);
}

/* Writes each plane in encoder->planes as one symbol block. */
static void write_planes(qs_encoder *encoder, qs_writer *w, size_t n, unsigned size, qs_prefer prefer)
{
	for (unsigned b = 0; b < size; b++)
		qs_symbols_encode(w, encoder->planes + b * n, n, prefer, encoder->symbols);
}

static void try_planes(qs_encoder *encoder, uint32_t dtype, const uint8_t *src, size_t n)
{
	unsigned size = qs_dtype_size(dtype);
	qs_writer w = begin_candidate(encoder);
	qs_planes_split(src, n, size, qs_planes_rotated(dtype), encoder->planes);
	/* FP16 and FP8 prefer size, because coding gains little where the exponent is short; FP32 and FP64 do,
	 * because decoding the exponent's byte takes a small part of their time. BF16 must decode fast. */
	int small = dtype != QS_BF16 && qs_planes_rotated(dtype);
	small |= dtype == QS_F8_E4M3 || dtype == QS_F8_E5M2;
	qs_write8(&w, QS_MODE_PLANES);
	write_planes(encoder, &w, n, size, small ? QS_PREFER_SIZE : QS_PREFER_SPEED);
	end_candidate(encoder, &w);
}

/* Writes a plane as the smallest symbol block, which may be one of zstd. scratch: QS_CHUNK_SIZE_MAX bytes. */
static void write_smallest(qs_encoder *encoder, qs_writer *w, const uint8_t *src, size_t n, uint8_t *scratch)
{
	uint8_t *start = w->at;
	qs_symbols_encode(w, src, n, QS_PREFER_SIZE, encoder->symbols);
	size_t size = ZSTD_compressCCtx(encoder->zstd, scratch, QS_CHUNK_SIZE_MAX, src, n, LEVEL_BEST);
	/* The block's head is its type and a number of at most 3 bytes. */
	if (ZSTD_isError(size) || size + 4 >= (size_t)(w->at - start))
		return;
	w->at = start;
	qs_write8(w, QS_SYMBOLS_ZSTD);
	qs_write_varint(w, (uint32_t)size);
	qs_write_bytes(w, scratch, size);
}

/* Says whether values are so near those of the row above that differences take fewer bits than the best
 * candidate: tables of sines do, weights do not. */
static int rows_are_near(const qs_encoder *encoder, const qs_chunk_desc *desc, const uint8_t *src)
{
	size_t size = qs_dtype_size(desc->dtype), cols = (size_t)desc->cols, n = desc->n_elems;
	if (cols < 2 || desc->first_elem % desc->cols || n % cols || n / cols < COLUMNS_SAMPLES)
		return 0;
	size_t rows = n / cols, some = cols < COLUMNS_SAMPLE ? cols : COLUMNS_SAMPLE;
	uint64_t bits = 0;
	for (size_t i = 0; i < COLUMNS_SAMPLES; i++) {
		uint8_t row[4 * COLUMNS_SAMPLE];
		size_t at = (1 + (rows - 2) * i / (COLUMNS_SAMPLES - 1)) * cols + (cols - some) * (i & 1);
		memcpy(row, src + size * at, size * some);
		qs_delta_subtract(src + size * (at - cols), desc->dtype, some, desc->dtype, row);
		for (size_t k = 0; k < some; k++) {
			uint32_t u = size == 4 ? qs_load32(row + 4 * k) : qs_load16(row + 2 * k);
			if (!u)
				continue;
			bits += 32 - (uint32_t)__builtin_clz(u);
			/* Low bits of 16-bit floats that were made F32 are zero, but for the sign, which zigzag puts into
			 * all of them; it costs a bit for each byte. */
			uint32_t n_low = (uint32_t)__builtin_ctz((u >> 1) + (u & 1));
			bits -= n_low >= 8 ? n_low - n_low / 8 : 0;
		}
	}
	/* Columns may take fewer bits than the lengths of these numbers, since neighbours are alike. Where rows
	 * repeat so much that zstd is best, they often do. */
	double room = encoder->best[0] == QS_MODE_ZSTD ? 1.5 : 1;
	return (double)bits / (double)(COLUMNS_SAMPLES * some) <
	       room * 8.0 * (double)encoder->best_size / (double)n;
}

static void try_columns(qs_encoder *encoder, const qs_chunk_desc *desc, const uint8_t *src)
{
	size_t size = qs_dtype_size(desc->dtype), cols = (size_t)desc->cols, n = desc->n_elems;
	uint8_t *rows = encoder->rows, *planes = encoder->planes;
	qs_writer w = begin_candidate(encoder);
	memcpy(rows, src, size * n);
	for (size_t i = cols; i < n; i += cols)
		qs_delta_subtract(src + size * (i - cols), desc->dtype, cols, desc->dtype, rows + size * i);
	memset(planes, 0, size * cols);
	qs_delta_subtract(planes, desc->dtype, cols, desc->dtype, rows);
	for (size_t b = size; b-- > 0;)
		for (size_t c = 0; c < cols; c++)
			for (size_t i = c; i < n; i += cols)
				*planes++ = rows[size * i + b];
	qs_write8(&w, QS_MODE_COLUMNS);
	for (size_t b = 0; b < size; b++)
		write_smallest(encoder, &w, encoder->planes + b * n, n, encoder->differences);
	end_candidate(encoder, &w);
}

static void try_delta(qs_encoder *encoder, const qs_chunk_desc *desc, const uint8_t *src, size_t src_size)
{
	unsigned size = qs_dtype_size(desc->dtype);
	size_t n = desc->n_elems;
	qs_writer w = begin_candidate(encoder);
	memcpy(encoder->rows, src, src_size);
	qs_delta_subtract(desc->coarse, desc->coarse_dtype, n, desc->dtype, encoder->rows);
	qs_planes_split(encoder->rows, n, size, 0, encoder->planes);
	qs_write8(&w, QS_MODE_DELTA);
	write_planes(encoder, &w, n, size, QS_PREFER_SPEED);
	end_candidate(encoder, &w);
}

static void try_records(qs_encoder *encoder, const qs_chunk_desc *desc, const uint8_t *src)
{
	if (desc->cols > QS_RECORD_SIZE_MAX || desc->first_elem % desc->cols || desc->n_elems % desc->cols)
		return;
	unsigned size = (unsigned)desc->cols;
	size_t n = desc->n_elems / size;
	qs_writer w = begin_candidate(encoder);
	for (unsigned c = 0; c < size; c++)
		for (size_t i = 0; i < n; i++)
			encoder->planes[c * n + i] = src[i * size + c];
	qs_write8(&w, QS_MODE_RECORDS);
	write_planes(encoder, &w, n, size, QS_PREFER_SPEED);
	end_candidate(encoder, &w);
}

/* Returns the most frequent code in samples: the first SAMPLE of each EVERY codes. */
static uint32_t middle_code(const uint8_t *codes, size_t n)
{
	enum { EVERY = 1 << 13, SAMPLE = 1 << 10 };
	uint32_t parts[QS_COUNT_PARTS][256] = {{0}}, counts[256], best = 0;
	for (size_t i = 0; i < n; i += EVERY)
		qs_count(codes + i, n - i < SAMPLE ? n - i : SAMPLE, parts);
	qs_count_sum(parts, counts);
	for (uint32_t s = 1; s < 256; s++)
		best = counts[s] > counts[best] ? s : best;
	return best;
}

typedef struct row_class {
	uint32_t counts[256];
	uint32_t n_rows, n_elems;
	double bits;      /* that an ideal coder takes for its codes */
	uint8_t from, to; /* the spreads of its rows */
} row_class;

static unsigned row_spread(const uint8_t *codes, size_t n, uint32_t zero)
{
	uint32_t sum = 0;
	for (size_t i = 0; i < n; i++)
		sum += (uint32_t)abs((int8_t)(codes[i] - zero));
	/* Only integers are used, so that every machine makes the same archive. Thresholds of sum / n are
	 * 2^(k/4) / 16. */
	static const uint16_t quarter[4] = {16384, 19484, 23170, 27554}; /* 2^14 · 2^(k/4) */
	uint64_t mean = n ? ((uint64_t)sum << 14) / n : 0;               /* at most 2^21 */
	unsigned octave = 0;
	while (mean >> (octave + 15))
		octave++;
	mean >>= octave;
	if (mean < quarter[0])
		return 0;
	unsigned k = 0;
	while (k < 3 && mean >= quarter[k + 1])
		k++;
	return 1 + octave * 4 + k;
}

static void merge_classes(row_class *a, const row_class *b)
{
	for (int s = 0; s < 256; s++)
		a->counts[s] += b->counts[s];
	a->n_rows += b->n_rows;
	a->n_elems += b->n_elems;
	a->bits = qs_entropy_bits(a->counts);
	a->to = b->to;
}

/* Returns the bits that are lost when a class and the next one share a table. */
static double merge_loss(const row_class *c)
{
	row_class both = c[0];
	merge_classes(&both, &c[1]);
	return both.bits - c[0].bits - c[1].bits;
}

/* Merges neighbouring classes as long as the bits that are lost cost less than a table, whose cost is its
 * bytes and the time to build it. */
static unsigned find_classes(row_class *classes, unsigned n, uint32_t n_elems)
{
	double table_cost = 320 + 0.0004 * 8 * n_elems, loss[SPREADS];
	for (unsigned c = 0; c + 1 < n; c++)
		loss[c] = merge_loss(&classes[c]);
	while (n > 1) {
		unsigned best = 0;
		for (unsigned c = 1; c + 1 < n; c++)
			if (loss[c] < loss[best])
				best = c;
		if (loss[best] > table_cost && n <= QS_CLASSES_MAX && n_elems <= QS_CLASSES_ELEMS_MAX)
			break;
		merge_classes(&classes[best], &classes[best + 1]);
		memmove(&classes[best + 1], &classes[best + 2], (n - best - 2) * sizeof *classes);
		memmove(&loss[best], &loss[best + 1], (n - best - 2) * sizeof *loss);
		n--;
		if (best + 1 < n)
			loss[best] = merge_loss(&classes[best]);
		if (best > 0)
			loss[best - 1] = merge_loss(&classes[best - 1]);
	}
	return n;
}

static int few_values(const row_class *classes, unsigned n)
{
	unsigned values = 0;
	for (int s = 0; s < 256; s++) {
		uint32_t count = 0;
		for (unsigned c = 0; c < n; c++)
			count |= classes[c].counts[s];
		values += count > 0;
	}
	return values <= 32;
}

static void write_peaks(qs_encoder *encoder, qs_writer *w)
{
	const qs_found_peaks *found = &encoder->peaks;
	qs_write8(w, (uint8_t)(found->peaks.group_log | (found->peaks.per_group - 1) << 4));
	qs_write8(w, found->peaks.centre);
	for (unsigned i = 0; i < found->peaks.per_group; i++) {
		qs_write8(w, (uint8_t)found->n_values[i]);
		qs_write_bytes(w, found->peaks.values[i], found->n_values[i]);
		qs_symbols_encode(w, found->places[i], found->n_groups, QS_PREFER_BOTH, encoder->symbols);
	}
}

/* Says whether rows are so long, and their spread changes so much along them, that folding them may pay. */
static int spread_changes(const qs_chunk_desc *desc, const uint8_t *codes, uint32_t zero)
{
	enum { COLS = 1 << FOLD_LOG };
	uint32_t n_pieces = 0, n_apart = 0;
	if (desc->cols <= 2 * COLS)
		return 0;
	for (qs_row_slice slice = qs_first_row(desc); slice.count; slice = qs_next_row(desc, slice)) {
		const uint8_t *row = codes + slice.begin;
		uint32_t n = slice.count / COLS, histogram[SPREADS] = {0};
		unsigned middle = 0;
		for (uint32_t i = 0; i < n; i++)
			histogram[row_spread(row + (size_t)i * COLS, FOLD_SAMPLE, zero)]++;
		for (uint32_t sum = 0; middle + 1 < SPREADS && 2 * (sum + histogram[middle]) < n; middle++)
			sum += histogram[middle];
		for (unsigned s = 0; s < SPREADS; s++)
			n_apart += s + FOLD_APART <= middle || s >= middle + FOLD_APART ? histogram[s] : 0;
		n_pieces += n;
	}
	return n_apart * FOLD_SHARE > n_pieces;
}

/* Tries to code src in classes of rows. mode says which bytes src has: codes (CODES, FOLDED), codes without
 * their peaks (PEAKS), or differences (RECODED, CENTRED). zero: the byte in the middle of their distribution.
 */
static void try_codes(qs_encoder *encoder, const qs_chunk_desc *desc, const uint8_t *src, uint8_t mode,
                      uint32_t zero)
{
	uint32_t n_rows = qs_chunk_rows(desc), used = 0;
	row_class classes[SPREADS];
	uint8_t *spread = encoder->planes, class_of[SPREADS] = {0};
	memset(classes, 0, sizeof classes);
	for (qs_row_slice slice = qs_first_row(desc); slice.count; slice = qs_next_row(desc, slice)) {
		unsigned s = row_spread(src + slice.begin, slice.count, zero);
		spread[slice.row] = (uint8_t)s;
		if (!classes[s].n_rows++)
			memset(encoder->counts[s], 0, sizeof encoder->counts[s]);
		qs_count(src + slice.begin, slice.count, encoder->counts[s]);
		classes[s].n_elems += slice.count;
	}
	for (unsigned s = 0; s < SPREADS; s++)
		if (classes[s].n_rows) {
			classes[used] = classes[s];
			qs_count_sum(encoder->counts[s], classes[used].counts);
			classes[used].from = classes[used].to = (uint8_t)s;
			classes[used].bits = qs_entropy_bits(classes[used].counts);
			used++;
		}
	/* Codes of 8 bits must decode fast. A Huffman code, whose lengths are whole bits, loses more where there
	 * are few values, and most for differences. Codes without their peaks are spread evenly, so that some of
	 * their bits are stored raw. */
	int few = mode != QS_MODE_PEAKS && few_values(classes, used);
	qs_prefer prefer = mode == QS_MODE_RECODED ? QS_PREFER_SIZE : few ? QS_PREFER_BOTH : QS_PREFER_SPEED;
	unsigned n_classes = find_classes(classes, used, desc->n_elems);
	qs_writer w = begin_candidate(encoder);
	qs_write8(&w, mode);
	if (mode == QS_MODE_CENTRED) {
		const qs_centres *centres = &encoder->centres;
		qs_write8(&w, centres->by_row ? QS_CENTRED_ROWS : 0);
		qs_symbols_encode(&w, centres->centre, centres->n, QS_PREFER_SIZE, encoder->symbols);
	}
	if (mode == QS_MODE_PEAKS)
		write_peaks(encoder, &w);
	if (mode == QS_MODE_FOLDED)
		qs_write8(&w, FOLD_LOG);
	qs_write8(&w, (uint8_t)n_classes);
	for (unsigned c = 0; c < n_classes; c++)
		for (unsigned s = classes[c].from; s <= classes[c].to; s++)
			class_of[s] = (uint8_t)c;
	for (uint32_t row = 0; row < n_rows; row++)
		spread[row] = class_of[spread[row]];
	if (n_classes > 1)
		qs_symbols_encode(&w, spread, n_rows, QS_PREFER_SPEED, encoder->symbols);
	for (unsigned c = 0; c < n_classes; c++) {
		uint8_t *to = encoder->rows;
		for (qs_row_slice slice = qs_first_row(desc); slice.count; slice = qs_next_row(desc, slice))
			if (spread[slice.row] == c) {
				memcpy(to, src + slice.begin, slice.count);
				to += slice.count;
			}
		qs_block_plan plan;
		qs_symbols_plan(classes[c].counts, classes[c].n_elems, prefer, &plan);
		qs_symbols_write(&w, encoder->rows, classes[c].n_elems, &plan, encoder->symbols);
	}
	end_candidate(encoder, &w);
}

/* Tries all that codes may gain by: peaks, classes of rows, centres, coarser codes. */
static void try_ways_of_codes(qs_encoder *encoder, const qs_chunk_desc *desc, const uint8_t *src)
{
	size_t n = desc->n_elems;
	uint8_t *differences = encoder->differences;
	int peaks = qs_find_peaks(&encoder->peaks, desc, src);
	if (peaks) {
		qs_leave_out_peaks(&encoder->peaks, src, differences);
		qs_chunk_desc others = qs_peaks_rest(&encoder->peaks.peaks, desc);
		try_codes(encoder, &others, differences, QS_MODE_PEAKS, 0);
	}
	/* qs_find_peaks estimates a gain without the head of peaks and without classes of rows, so the other way
	 * is tried where that matters. The most frequent of unsigned codes is near their zero point. */
	if (!peaks || n < SHORT_CODES || encoder->peaks.n_odd > n / ODD_SHARE) {
		uint32_t zero = desc->dtype == QS_U8 ? middle_code(src, n) : 0;
		try_codes(encoder, desc, src, QS_MODE_CODES, zero);
		if (spread_changes(desc, src, zero)) {
			qs_chunk_desc folded = qs_folded(desc, FOLD_LOG);
			try_codes(encoder, &folded, src, QS_MODE_FOLDED, zero);
		}
	}
	if (qs_find_centres(&encoder->centres, desc, src)) {
		qs_subtract_centres(&encoder->centres, desc, src, differences);
		try_codes(encoder, desc, differences, QS_MODE_CENTRED, 0);
	}
	if (desc->coarse) {
		qs_predict_codes(desc, differences);
		for (size_t i = 0; i < n; i++)
			differences[i] = (uint8_t)(src[i] - differences[i]);
		try_codes(encoder, desc, differences, QS_MODE_RECODED, 0);
	}
}

/* Estimates the size of try_planes for n 16-bit floats by order-0 entropy, in bytes, to decide whether it is
 * worth trying beside ranks. */
static double planes_estimate(qs_encoder *encoder, const uint8_t *src, size_t n)
{
	double bits = 0;
	qs_planes_split(src, n, 2, 1, encoder->planes);
	for (unsigned b = 0; b < 2; b++) {
		uint32_t counts[256];
		qs_histogram(encoder->planes + b * n, n, counts);
		bits += qs_entropy_bits(counts);
	}
	return bits / 8;
}

/* Makes the estimate of planes_estimate from a few samples of SAMPLE floats. */
static double planes_guess(qs_encoder *encoder, const uint8_t *src, size_t n)
{
	enum { SAMPLES = 8, SAMPLE = 1 << 11 };
	if (n <= SAMPLES * SAMPLE)
		return planes_estimate(encoder, src, n);
	for (size_t i = 0; i < SAMPLES; i++)
		memcpy(encoder->rows + 2 * i * SAMPLE, src + 2 * (n / SAMPLES * i), 2 * SAMPLE);
	return planes_estimate(encoder, encoder->rows, SAMPLES * SAMPLE) * (double)n / (SAMPLES * SAMPLE);
}

qstore_status qs_chunk_encode(qs_encoder *encoder, const qs_chunk_desc *desc, const uint8_t *src,
                              size_t src_size, uint8_t *dst, size_t dst_cap, size_t *dst_size,
                              qs_chunk_stats *stats)
{
	uint32_t n_exceptions = 0, dtype = desc->dtype;
	size_t n = desc->n_elems;
	if (qs_chunk_desc_check(desc) || src_size != n * qs_dtype_size(dtype) ||
	    dst_cap < qs_chunk_bound(src_size))
		return QSTORE_USAGE;
	encoder->best[0] = QS_MODE_RAW;
	encoder->best_size = src_size + 1;
	if (n) {
		int is_float = qs_planes_rotated(dtype);
		if (desc->kind == QS_KIND_REFINE) {
			qs_writer w = begin_candidate(encoder);
			qs_ranks_encode(&w, desc, src, 0, &encoder->ranks, &n_exceptions);
			end_candidate(encoder, &w);
			/* This many exceptions mean that the codes were probably made from finer values than src. If
			 * there are more, the quantizer's error feedback has probably moved codes. */
			if (n_exceptions > n / 512 && n_exceptions < n / 10) {
				uint32_t outside;
				w = begin_candidate(encoder);
				qs_ranks_encode(&w, desc, src, 1, &encoder->ranks, &outside);
				end_candidate(encoder, &w);
			}
			double best_size = (double)encoder->best_size;
			if (planes_guess(encoder, src, n) < 1.25 * best_size &&
			    planes_estimate(encoder, src, n) < 1.01 * best_size)
				try_planes(encoder, dtype, src, n);
		} else if (qs_dtype_is_codes(dtype)) {
			try_ways_of_codes(encoder, desc, src);
		} else {
			try_planes(encoder, dtype, src, n);
			if (dtype == QS_BYTES && desc->cols > 1)
				try_records(encoder, desc, src);
			if (desc->kind == QS_KIND_DELTA)
				try_delta(encoder, desc, src, src_size);
		}
		if (dtype == QS_BYTES)
			try_zstd(encoder, src, src_size, LEVEL_BEST, 1);
		else
			try_zstd_on_numbers(encoder, src, src_size, is_float);
		if (qs_dtype_is_float(dtype) && rows_are_near(encoder, desc, src))
			try_columns(encoder, desc, src);
	}
	if (encoder->best[0] == QS_MODE_RAW) {
		dst[0] = QS_MODE_RAW;
		memcpy(dst + 1, src, src_size);
	} else
		memcpy(dst, encoder->best, encoder->best_size);
	*dst_size = encoder->best_size;
	if (stats)
		*stats = (qs_chunk_stats){.n_exceptions = n_exceptions, .mode = dst[0]};
	return QSTORE_OK;
}

/* Limits and flags of chunks that decoder and encoder must agree on (FORMAT.md, "Chunks"). */
#ifndef QS_MODE_H
#define QS_MODE_H

#include "chunk.h"
#include "index.h"

enum {
	QS_SHIFTS_MAX = 1 << 16, /* runs of a chunk with shifts */
	QS_CLASSES_MAX = 16,     /* classes of rows */
	QS_RECORD_SIZE_MAX = 64, /* bytes of a record in a chunk of records */
	/* Elements of a chunk with several classes of rows: scratch memory must hold classes and rows. */
	QS_CLASSES_ELEMS_MAX = QS_CHUNK_SIZE_MAX / 2
};

/* The flags byte of a RANKS chunk. */
enum {
	QS_RANKS_WIDE = 1,       /* 64 lanes, else 8 */
	QS_RANKS_EXCEPTIONS = 2, /* a list of values outside their cells follows */
	QS_RANKS_RESIDUAL = 4,   /* a symbol block of differences to the codes follows */
	QS_RANKS_SHIFTS = 8,     /* a symbol block of the runs' shifts follows */
	QS_RANKS_SHARED = 16,    /* shared borders: bits that say which cell a value at a border is of follow */
	QS_RANKS_FLAGS = 31
};

/* The flags byte of a CENTRED chunk. */
enum {
	QS_CENTRED_ROWS = 1, /* each row has a centre, else each column */
	QS_CENTRED_FLAGS = 1,
	QS_CENTRES_MAX = 1 << 16
};

/* log2 of the columns of a FOLDED chunk. */
enum { QS_FOLD_LOG_MIN = 6, QS_FOLD_LOG_MAX = 16 };

/* A row slice: the elements of a chunk that lie in one row of the object. */
typedef struct qs_row_slice {
	uint32_t row;          /* counted from the chunk's first row */
	uint32_t begin, count; /* elements, from the chunk's start */
} qs_row_slice;

/* Returns the number of rows of which the chunk has elements. */
static inline uint32_t qs_chunk_rows(const qs_chunk_desc *desc)
{
	if (!desc->n_elems)
		return 0;
	return (uint32_t)((desc->first_elem % desc->cols + desc->n_elems - 1) / desc->cols) + 1;
}

static inline qs_row_slice qs_chunk_row(const qs_chunk_desc *desc, uint32_t row)
{
	/* The first row may start before the chunk, the last one end after it. */
	uint64_t skipped = desc->first_elem % desc->cols, begin = row * desc->cols, end = begin + desc->cols;
	begin = begin > skipped ? begin - skipped : 0;
	end = end - skipped < desc->n_elems ? end - skipped : desc->n_elems;
	return (qs_row_slice){row, (uint32_t)begin, (uint32_t)(end - begin)};
}

/* Find all row slices in order, without a division for each: for (slice = qs_first_row(desc); slice.count;
 * slice = qs_next_row(desc, slice)). */
static inline qs_row_slice qs_first_row(const qs_chunk_desc *desc)
{
	return desc->n_elems ? qs_chunk_row(desc, 0) : (qs_row_slice){0};
}

static inline qs_row_slice qs_next_row(const qs_chunk_desc *desc, qs_row_slice slice)
{
	uint32_t begin = slice.begin + slice.count, left = desc->n_elems - begin;
	return (qs_row_slice){slice.row + 1, begin, left < desc->cols ? left : (uint32_t)desc->cols};
}

/* Describes a chunk's codes as rows of 2^log columns, the first of which begins with the chunk. */
static inline qs_chunk_desc qs_folded(const qs_chunk_desc *desc, uint32_t log)
{
	qs_chunk_desc folded = *desc;
	folded.cols = (uint64_t)1 << log;
	folded.first_elem = 0;
	return folded;
}

/* Returns USAGE unless a valid index can have such a description. */
qstore_status qs_chunk_desc_check(const qs_chunk_desc *desc);

#endif

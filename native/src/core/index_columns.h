/* The arrays of an index's body, and the body's columns: the form in which it is compressed. Bytes that have
 * the same place in all records of an array follow one another there, and numbers that rise from record to
 * record are differences, so that a record costs few bits (FORMAT.md, "Columns"). */
#ifndef QS_INDEX_COLUMNS_H
#define QS_INDEX_COLUMNS_H

#include <stddef.h>
#include <stdint.h>

#include "status.h"

/* The arrays of the body, in their order. */
enum {
	QS_ARRAY_VARIANTS,
	QS_ARRAY_FILES,
	QS_ARRAY_EXTENTS,
	QS_ARRAY_TENSORS,
	QS_ARRAY_OBJECTS,
	QS_ARRAY_PARTS,
	QS_ARRAY_SEALS,
	QS_ARRAY_CHECKSUMS,
	QS_ARRAY_SIZES,
	QS_ARRAY_DIMS,
	QS_ARRAY_STRINGS,
	QS_ARRAY_COUNT
};

typedef struct qs_index_array {
	size_t at, n;         /* offset in the body in bytes; number of records */
	uint32_t record_size; /* bytes */
	uint32_t rising;      /* bit i: word i (32 bits) of the columns is the difference to the record before */
	int has_columns;      /* or are the columns of the array its bytes as they are? */
} qs_index_array;

/* Finds the arrays by the counts with which a body, and its columns too, begin. Returns 0 if they do not fill
 * size bytes, at least QS_COUNTS_SIZE, exactly. */
int qs_index_arrays(const uint8_t *counts, size_t size, qs_index_array out[QS_ARRAY_COUNT]);

/* Makes the body from its columns. Both have size bytes. Returns CORRUPT if the counts do not fit that size.
 */
qstore_status qs_index_from_columns(const uint8_t *src, size_t size, uint8_t *dst);

#endif

/* Parts of an archive's objects: reading their coded chunks, comparing them with checksums, and decoding
 * them. */
#ifndef QS_PART_H
#define QS_PART_H

#include "archive.h"
#include "core/chunk.h"
#include "error.h"

/* A part of an object: the elements of one chunk. Objects of kind LAYOUT and BASE have parts, but no chunks.
 */
typedef struct qs_part {
	const qstore_archive *archive;
	uint32_t object_number;
	uint32_t number; /* of the part, counted from 0 within the object */
	qs_object object;
} qs_part;

/* Returns part `number` of an object, which must be below qs_object_n_parts. */
qs_part qs_part_of(const qstore_archive *archive, uint32_t object_number, uint32_t number);

uint64_t qs_part_first(const qs_part *part); /* its first element, counted within the object */
uint32_t qs_part_elems(const qs_part *part);
uint32_t qs_part_size(const qs_part *part); /* bytes, decoded */

/* Bytes [skip, skip + size) of part `part` of object `object`. */
typedef struct qs_part_range {
	uint32_t object, part, skip, size;
} qs_part_range;

/* Goes over the parts that bytes of an assembled file are made of. */
typedef struct qs_part_walk {
	const qstore_archive *archive;
	qs_file file;
	uint32_t extent; /* counted through all files */
	uint64_t offset; /* of the next byte, in the file */
	uint64_t left;   /* bytes */
} qs_part_walk;

/* Bytes [offset, offset + size), which must be within the file. */
qs_part_walk qs_part_walk_start(const qstore_archive *archive, const qs_file *file, uint64_t offset,
                                uint64_t size);

/* Sets *range to the next bytes, which are in one part; 0: there are no more. */
int qs_part_walk_next(qs_part_walk *walk, qs_part_range *range);

/* One thread's memory for decoding chunks. */
typedef struct qs_chunk_memory {
	uint8_t *coded; /* QS_CHUNK_CODED_MAX bytes: the coded chunk that was read last */
	void *work;     /* scratch memory of core/chunk.h */
	size_t work_size;
	qs_pin_memory pin;
	int check_coded; /* compare coded bytes with their checksum before they are decoded */
} qs_chunk_memory;

int qs_chunk_memory_create(qs_chunk_memory *memory); /* 0: out of memory; free it all the same */
void qs_chunk_memory_free(qs_chunk_memory *memory);

/* Reads the part's chunk into memory->coded. Fails with TRUNCATED, IO, or CORRUPT if `check` is set and the
 * checksum differs. */
qstore_status qs_part_read(const qs_part *part, qs_chunk_memory *memory, int check, size_t *coded_size,
                           qstore_error *error);

/* Returns the description of a part's chunk, without the fields for the object that it builds on. If there is
 * one, the caller sets them. */
qs_chunk_desc qs_part_describe(const qs_part *part);

/* Reads and decodes the part's chunk into dst, which has room for qs_part_size bytes. */
qstore_status qs_part_decode(const qs_part *part, const qs_chunk_desc *desc, qs_chunk_memory *memory,
                             uint8_t *dst, qstore_error *error);

#endif

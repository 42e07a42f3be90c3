/* Indexes that tests change and read: a small one, one with a base, and one with all that objects can build
 * on. */
#ifndef TESTS_INDEX_HELP_H
#define TESTS_INDEX_HELP_H

#include "container/index_build.h"

#define PAYLOAD_SIZE 8192

/* The parts of all objects, as they are now. */
void number_index_parts(qs_index_builder *builder);

/* Adds as many seals, all zero, as there are stretches of chunks. */
void seal_index(qs_index_builder *builder);

/* Two variants of a matrix of 40 × 30, its scales, a norm that they share, and four small files. */
void build_index(qs_index_builder *builder);

/* Builds build_index's index with a file of another model, 40 elements of it, and a difference to them. */
void build_index_with_base(qs_index_builder *builder);

/* Objects of build_index_chain. */
enum {
	SCALE = 6,
	RECODED,
	DELTA,
	ZERO_POINTS,
	ZEROED,
	PACKED,
	TRANSPOSED,
	ORDER,
	ORDERED,
	BLOCK_SCALES,
	BLOCK_CODES,
	BLOCKS,
	RECORDS,
	RECORD_CODES,
	RECORD_BLOCKS,
	FREE_SCALES,
	FREE_CODES,
	NIBBLES,
	TRANSPOSED_FLOATS,
	FACTORS,
	FACTORED,
	INTERLEAVED,
	COLUMN_CODES,
	INTERLEAVED_COLUMNS
};

/* A third variant: codes given coarser ones, FP32 from BF16, and each kind of grid and of layout. */
void build_index_chain(qs_index_builder *builder);

/* A body in memory of exactly its size, so that the sanitizer sees each byte beyond; of build_index. */
uint8_t *build_body_of(void (*make)(qs_index_builder *builder), size_t *size);
uint8_t *build_body(size_t *size);

#endif

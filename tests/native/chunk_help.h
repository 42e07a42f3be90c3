/* Shared by the tests of chunks: an encoder with buffers that end at guard pages, descriptions and values of
 * chunks, and samples of coded chunks that are damaged in every way. */
#ifndef TESTS_CHUNK_HELP_H
#define TESTS_CHUNK_HELP_H

#include "codec_help.h"
#include "encode/encode.h"

enum { FULL = 1 << 18, BOUND = QS_CHUNK_SIZE_MAX + 64 };

typedef struct fixture {
	qs_encoder *encoder;
	guarded src, dst, coarse, scales;
	uint8_t *work[2]; /* two workspaces of different content: results must not depend on it */
	uint8_t *values, *codes, *row_scales, *coded, *again;
	size_t work_size;
} fixture;

/* cmocka's set-up and tear-down: *state is a fixture. */
int chunk_set_up(void **state);
int chunk_tear_down(void **state);

size_t decoded_size(const qs_chunk_desc *desc);

/* Decodes with work[which]; everything that is read or written ends at a guard page. */
qstore_status decode_chunk(fixture *f, const qs_chunk_desc *desc, const uint8_t *src, size_t src_size,
                           int which);
/* The values that decode_chunk wrote. */
const uint8_t *decoded_chunk(const fixture *f, const qs_chunk_desc *desc);

/* Encodes into f->coded, twice, and decodes; fails the test unless both codings and all values are equal.
 * Returns the coded size. */
size_t round_trip(fixture *f, const qs_chunk_desc *desc, const uint8_t *values);

/* ---- Descriptions of chunks ---- */

qs_chunk_desc plain_desc(uint32_t dtype, size_t n, uint64_t cols);
qs_chunk_desc codes_desc(size_t n, uint64_t cols, uint64_t first_elem);
/* Built on f->codes, with f->row_scales by LLM.int8. */
qs_chunk_desc refine_desc(const fixture *f, uint32_t dtype, size_t n, uint64_t cols, uint64_t first_elem);
/* Built on f->codes, which hold values of coarse_dtype. */
qs_chunk_desc delta_desc(const fixture *f, uint32_t dtype, uint32_t coarse_dtype, size_t n);

/* Sets the grid of a chunk's I8 codes: a scale for each row from the chunk's first row on, or one for all
 * rows. */
void set_scales(qs_chunk_desc *d, uint32_t rule, const uint8_t *scales, uint32_t dtype, int one);
void put_scale(uint8_t *scales, uint32_t dtype, size_t row, float scale);
float get_scale(const uint8_t *scales, uint32_t dtype, size_t row);

/* ---- Values ---- */

enum style { RANDOM, CONSTANT, SPARSE, CLEAN, GAUSSIAN, SKEWED, TEXT, STYLES };

/* Stores a number as an element of this dtype. */
void put_float(uint8_t *dst, uint32_t dtype, double v);

void fill_values(rng *r, uint8_t *dst, uint32_t dtype, size_t n, enum style style);

/* A table as of positions: each column is a sine, the later the slower; each second one is negative. */
void fill_sines(uint8_t *values, uint32_t dtype, size_t n, uint64_t cols);

/* 16-bit weights: rows differ in spread, and some rows are zero. */
void fill_weights(rng *r, uint8_t *values, uint32_t dtype, size_t n, uint64_t cols, uint64_t first_elem);

/* Makes codes and scales as the desc's rule does, with scales of the grid's dtype, one for each row or one
 * for all. */
void quantize_rows(rng *r, const qs_chunk_desc *desc, const uint8_t *values, uint8_t *codes, uint8_t *scales);

/* ---- Damage ---- */

/* A chunk with all that describes it. */
typedef struct sample {
	const char *name;
	qs_chunk_desc desc;
	uint8_t values[4096], codes[2048], scales[4096], coded[8192];
	size_t size;
} sample;

/* A sample without values; free() releases it. */
sample *new_sample(const char *name, qs_chunk_desc desc);

/* Encodes the sample's values; fails the test unless the chunk has this mode. */
void encode_sample(fixture *f, sample *s, unsigned mode);

/* Truncates the sample at each length, flips each bit, and changes bytes, codes and scales: decoding must say
 * that the chunk is corrupt, or give values that do not depend on the workspace's old content. */
void damage_sample(fixture *f, sample *s);

#endif

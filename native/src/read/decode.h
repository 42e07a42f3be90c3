/* Decoding of an archive's objects and assembled files. */
#ifndef QS_DECODE_H
#define QS_DECODE_H

#include "archive.h"
#include "part.h"
#include "whole.h"

/* One thread's memory for decoding one archive, which must outlive it. */
typedef struct qs_decoder qs_decoder;

/* Returns NULL if memory is out. wholes: the matrices that the threads of a job share (whole.h), which must
 * outlive the decoder; with NULL the decoder has its own. check_coded: should the coded bytes of each chunk
 * be compared with their checksum too? Decoded parts are always compared with theirs. */
qs_decoder *qs_decoder_create(const qstore_archive *archive, qs_wholes *wholes, int check_coded);
void qs_decoder_destroy(qs_decoder *decoder); /* NULL is allowed */

/* Decodes the range into dst, and compares the whole part with its checksum. A range that is a whole part is
 * decoded without a copy. Fails with TRUNCATED, CORRUPT, IO, MEMORY, or NOT_FOUND if the archive needs a base
 * and has none; the error names the tensor. */
qstore_status qs_decoder_read(qs_decoder *decoder, const qs_part_range *range, uint8_t *dst,
                              qstore_error *error);

/* How a chunk is coded. */
typedef struct qs_chunk_view {
	uint32_t coded_size;
	uint32_t mode;
	uint32_t n_blocks;    /* symbol blocks */
	const uint8_t *types; /* of these blocks, in order; in the decoder's memory */
} qs_chunk_view;

/* Decodes part `part` of an object that has chunks, and sets *view to how the part's own chunk is coded. This
 * is for debugging. Fails like qs_decoder_read. */
qstore_status qs_decoder_view(qs_decoder *decoder, uint32_t object, uint32_t part, qs_chunk_view *view,
                              qstore_error *error);

/* Decodes bytes [offset, offset + size) of an assembled file into dst. Fails like qs_decoder_read. */
qstore_status qs_decoder_read_file(qs_decoder *decoder, uint32_t file, uint64_t offset, uint8_t *dst,
                                   size_t size, qstore_error *error);

#endif

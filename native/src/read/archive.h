/* An open archive, and restoring from it. */
#ifndef QS_ARCHIVE_H
#define QS_ARCHIVE_H

#include <qstore.h>

#include "core/chunk.h"
#include "core/index.h"
#include "error.h"

struct qstore_archive {
	char *path;
	int fd;
	uint64_t file_size, payload_offset;
	qs_index_header header;
	uint8_t *body;
	qs_index index;
	uint64_t *chunk_offsets; /* in the file */
	struct qs_base *base;    /* base.h; or NULL */
};

/* Does the archive need a base? NOT_FOUND with a line that names its files unless it has one by now. */
qstore_status qs_archive_check_base(const qstore_archive *archive, qs_error *error);

/* As the public functions, with the library's own error. */
qstore_status qs_archive_open(const char *path, qstore_archive **archive, qs_error *error);

qstore_status qs_public_error(qstore_error *to, const qs_error *from, qstore_status status);

/* The variant by name, or QS_NONE. */
uint32_t qs_archive_variant(const qstore_archive *archive, const char *name);

/* Bytes of the archive up to the end of a variant's layer. */
uint64_t qs_archive_download_size(const qstore_archive *archive, uint32_t variant);

/* One thread's memory for decoding. NULL when out of memory. wholes: what the threads of a job share
 * (whole.h), which must outlive it; NULL: nothing is shared. check_coded: each chunk is compared with its own
 * checksum too before it is decoded, though what it decodes to is checked anyway. */
typedef struct qs_decoder qs_decoder;
struct qs_wholes;
qs_decoder *qs_decoder_create(struct qs_wholes *wholes, int check_coded);
void qs_decoder_destroy(qs_decoder *decoder);

/* Bytes [skip, skip + size) of part `part` of an object, counted within it: of a chunk, decoded with what it
 * builds on, or made of such, and compared with its checksum. All of a part is decoded straight into dst. The
 * error names the tensor. */
qstore_status qs_decoder_read(qs_decoder *decoder, const qstore_archive *archive, uint32_t object,
                              uint32_t part, uint32_t skip, uint32_t size, uint8_t *dst, qs_error *error);

/* True when name matches pattern, in which '*' stands for any bytes. */
int qs_wildcard_match(const char *pattern, const char *name);

#endif

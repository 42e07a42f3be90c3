/* Sources of bytes: input files, spools, and whatever else a stage gives a reader for. */
#ifndef QS_PACK_SOURCE_H
#define QS_PACK_SOURCE_H

#include <time.h>

#include "error.h"
#include "os/arena.h"

struct stat;

/* Reads `size` bytes at `offset`, exactly; any number of threads may call it at once. */
typedef qstore_status pack_reader(void *state, void *dst, size_t size, uint64_t offset, qstore_error *error);

/* A source owns its reader and does not move, so that tensors can point at it. */
typedef struct pack_source {
	pack_reader *read;
	void *state;
} pack_source;

static inline qstore_status pack_read(const pack_source *source, void *dst, size_t size, uint64_t offset,
                                      qstore_error *error)
{
	return source->read(source->state, dst, size, offset, error);
}

/* Bytes [offset, offset + size) of a source. */
typedef struct pack_range {
	const pack_source *source;
	uint64_t offset, size;
} pack_range;

/* ---- Input files, which must not change while they are packed ---- */

typedef struct pack_source_file pack_source_file;

typedef struct pack_sources {
	pack_source_file **files;
	size_t n_files;
} pack_sources;

/* Opens a file of `size` bytes. INPUT when it has another size by now. path is kept, not copied. */
qstore_status pack_open_source(pack_sources *sources, qs_arena *arena, const char *path, uint64_t size,
                               const pack_source **opened, qstore_error *error);
/* INPUT when a file has changed since it was opened. */
qstore_status pack_check_sources(const pack_sources *sources, qstore_error *error);
/* Is this file one of the sources? */
int pack_is_source(const pack_sources *sources, const struct stat *file);
void pack_close_sources(pack_sources *sources);

/* ---- Spools: unnamed temporary files beside the output ---- */

typedef struct pack_spool {
	pack_source source; /* reads what was written */
	int fd;
	uint64_t size;
	const char *output; /* path of the archive, for messages */
} pack_spool;

qstore_status pack_open_spool(pack_spool *spool, const char *output, qstore_error *error);
void pack_close_spool(pack_spool *spool); /* a zeroed or a closed one is allowed */
/* Room for `size` bytes, which are to be written later. Returns their offset. */
uint64_t pack_spool_reserve(pack_spool *spool, uint64_t size);
qstore_status pack_spool_write(const pack_spool *spool, const void *src, size_t size, uint64_t offset,
                               qstore_error *error);
/* Reserves and writes. *offset: where. */
qstore_status pack_spool_append(pack_spool *spool, const void *src, size_t size, uint64_t *offset,
                                qstore_error *error);

#endif

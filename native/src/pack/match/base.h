/* The base: an earlier version of the model, or the model that it was made from; a model or an archive. */
#ifndef QS_PACK_BASE_H
#define QS_PACK_BASE_H

#include <pthread.h>

#include "pack/input/input.h"
#include "read/decode.h"

/* A file of the base. */
typedef struct pack_base_file {
	const char *name;
	uint64_t size;
	uint64_t rank; /* of equal tensors, that in the file of the highest rank is used */
	uint8_t sha256[32];
	const pack_source *source;
	pack_source archived; /* the source of a file in an archive */
	struct pack_base *base;
	uint32_t number; /* of a file in an archive */
	int is_used;     /* objects are part of it */
	size_t n_tensors;
	pack_tensor *tensors;
} pack_base_file;

/* Zeroed: there is no base. It does not move, because sources point at it. */
typedef struct pack_base {
	const char *path;
	qs_model model;          /* either a model … */
	qstore_archive *archive; /* … or an archive, and its decoder, which threads use one at a time: */
	qs_decoder *decoder;
	pthread_mutex_t lock;
	int has_lock;
	pack_base_file **files;
	size_t n_files;
} pack_base;

/* Opens the base at path. sources: a model's files become some of them. Close it even after errors. */
qstore_status pack_open_base(pack_base *base, const char *path, pack_sources *sources, qs_arena *arena,
                             qstore_error *error);
void pack_close_base(pack_base *base);

/* Is the file that `info` describes one of the base's, weights or not? */
int pack_is_in_base(const pack_base *base, const struct stat *info);

/* Codes tensors of the input as duplicates of the base's, or as differences to them: all of a tensor, or the
 * rows that it has in common with the base's. The base is not used, with a warning, if hardly any are. */
qstore_status pack_pair_base(pack_base *base, pack_input *input, pack_derived *derived,
                             const pack_progress *progress, qstore_error *error);

/* Does the archive need the base? */
int pack_is_base_used(const pack_base *base);

/* Computes the SHA-256 of the used files that have none yet. */
qstore_status pack_hash_base(pack_base *base, const pack_progress *progress, qstore_error *error);

#endif

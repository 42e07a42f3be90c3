/* qstore_read_file and qstore_read_tensor, which read any bytes of a file or tensor into the caller's memory.
 *
 * A part that is wanted as a whole is decoded straight into that memory. Other parts are decoded into the
 * cache, since the next read will often want more of them. */
#include "access.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "archive.h"
#include "cache.h"
#include "decode.h"
#include "download.h"
#include "error.h"
#include "member.h"
#include "options.h"
#include "os/array.h"
#include "os/pool.h"
#include "part.h"

/* The bound of the cache, in bytes of decoded parts, unless the caller sets another one. */
#define CACHE_DEFAULT ((size_t)32 << 20)

/* Decoders that are kept for the next reads; each has about 4 MiB. */
#define IDLE_MAX 16

struct qs_access {
	const qstore_archive *archive;
	qs_cache *cache;
	qs_wholes *wholes;
	pthread_mutex_t lock; /* of the fields below */
	qs_decoder *idle[IDLE_MAX];
	size_t n_idle;
	uint64_t download_sizes[QS_VARIANTS_MAX]; /* 0: not counted yet */
};

qs_access *qs_access_create(const qstore_archive *archive)
{
	qs_access *access = calloc(1, sizeof(*access));
	if (!access)
		return NULL;
	access->archive = archive;
	pthread_mutex_init(&access->lock, NULL);
	access->cache = qs_cache_create(CACHE_DEFAULT);
	access->wholes = qs_wholes_create(archive);
	if (!access->cache || !access->wholes) {
		qs_access_destroy(access);
		return NULL;
	}
	return access;
}

static void drop_decoders(qs_access *access)
{
	while (access->n_idle > 0)
		qs_decoder_destroy(access->idle[--access->n_idle]);
}

void qs_access_reset(qs_access *access)
{
	drop_decoders(access);
	qs_cache_clear(access->cache);
}

void qs_access_destroy(qs_access *access)
{
	if (!access)
		return;
	drop_decoders(access);
	qs_wholes_destroy(access->wholes);
	qs_cache_destroy(access->cache);
	pthread_mutex_destroy(&access->lock);
	free(access);
}

uint64_t qs_access_download_size(qs_access *access, uint32_t variant)
{
	const qstore_archive *archive = access->archive;
	pthread_mutex_lock(&access->lock);
	uint64_t size = access->download_sizes[variant];
	if (size == 0) {
		if (qs_download_size(&archive->index, archive->payload_offset, variant, &size, NULL))
			size = qs_archive_prefix_size(archive, variant); /* out of memory */
		else
			access->download_sizes[variant] = size;
	}
	pthread_mutex_unlock(&access->lock);
	return size;
}

void qstore_set_cache(qstore_archive *archive, size_t bytes)
{
	qs_cache_set_bound(archive->access->cache, bytes);
}

/* Returns a decoder that no other thread uses; NULL if memory is out. */
static qs_decoder *take_decoder(qs_access *access)
{
	qs_decoder *decoder = NULL;
	pthread_mutex_lock(&access->lock);
	if (access->n_idle > 0)
		decoder = access->idle[--access->n_idle];
	pthread_mutex_unlock(&access->lock);
	return decoder ? decoder : qs_decoder_create(access->archive, access->wholes, 0);
}

static void put_decoder(qs_access *access, qs_decoder *decoder)
{
	pthread_mutex_lock(&access->lock);
	if (decoder && access->n_idle < IDLE_MAX) {
		access->idle[access->n_idle++] = decoder;
		decoder = NULL;
	}
	pthread_mutex_unlock(&access->lock);
	qs_decoder_destroy(decoder);
}

/* ---- Parts ---- */

/* A part that is to be decoded into the cache. */
typedef struct part_fill {
	qs_decoder *decoder;
	qs_part_range all;
} part_fill;

static qstore_status fill_part(void *user, uint8_t *dst, qstore_error *error)
{
	part_fill *f = user;
	return qs_decoder_read(f->decoder, &f->all, dst, error);
}

/* Reads bytes of a part, from the cache if it has them. */
static qstore_status read_part(qs_access *access, qs_decoder *decoder, const qs_part_range *range,
                               uint8_t *dst, qstore_error *error)
{
	qs_part part = qs_part_of(access->archive, range->object, range->part);
	qs_cache_key key = {range->object, range->part};
	uint32_t part_size = qs_part_size(&part);
	if (dst && range->size == part_size)
		return qs_cache_copy(access->cache, key, dst, part_size)
		           ? QSTORE_OK
		           : qs_decoder_read(decoder, range, dst, error);
	part_fill fill = {decoder, {range->object, range->part, 0, part_size}};
	return qs_cache_read(access->cache, key, part_size, fill_part, &fill, range->skip, range->size, dst,
	                     error);
}

/* ---- Assembled files ---- */

static qstore_status read_parts(qs_access *access, qs_part_walk *walk, uint8_t *dst, qstore_error *error)
{
	qs_decoder *decoder = take_decoder(access);
	qstore_status status = decoder ? QSTORE_OK : qs_no_memory(error);
	for (qs_part_range range; !status && qs_part_walk_next(walk, &range);) {
		status = read_part(access, decoder, &range, dst, error);
		dst = dst ? dst + range.size : NULL;
	}
	put_decoder(access, decoder);
	return status;
}

/* ---- Assembled files, on several threads ---- */

typedef struct parallel_piece {
	qs_part_range range;
	uint8_t *dst;
} parallel_piece;

typedef struct parallel_read {
	qs_access *access;
	parallel_piece *pieces;
	size_t n_pieces;
	const qstore_work *work;
	pthread_mutex_t lock; /* of progress */
	qstore_progress progress;
} parallel_read;

static void *create_thread(void *user)
{
	return take_decoder(((parallel_read *)user)->access);
}

static void destroy_thread(void *user, void *thread)
{
	put_decoder(((parallel_read *)user)->access, thread);
}

static qstore_status read_piece(void *user, void *thread, uint64_t job, qstore_error *error)
{
	parallel_read *p = user;
	const parallel_piece *piece = &p->pieces[job];
	qstore_status status = read_part(p->access, thread, &piece->range, piece->dst, error);
	if (status || !p->work->on_progress)
		return status;
	pthread_mutex_lock(&p->lock);
	p->progress.done += piece->range.size;
	p->work->on_progress(p->work->user, &p->progress);
	pthread_mutex_unlock(&p->lock);
	return QSTORE_OK;
}

static qstore_status read_in_parallel(qs_access *access, qs_part_walk *walk, uint8_t *dst,
                                      const qstore_work *work, qstore_error *error)
{
	parallel_read p = {.access = access, .work = work, .progress = {"reading", 0, walk->left}};
	qstore_status status = QSTORE_OK;
	for (qs_part_range range; !status && qs_part_walk_next(walk, &range);) {
		parallel_piece *piece = qs_array_add(&p.pieces, &p.n_pieces, sizeof(*piece));
		if (piece)
			*piece = (parallel_piece){range, dst};
		else
			status = qs_no_memory(error);
		dst = dst ? dst + range.size : NULL;
	}
	pthread_mutex_init(&p.lock, NULL);
	if (!status) {
		qs_jobs jobs = {.n_jobs = p.n_pieces,
		                .user = &p,
		                .create = create_thread,
		                .destroy = destroy_thread,
		                .work = read_piece,
		                .cancel = work->cancel};
		status = qs_pool_run(&jobs, work->threads, error);
	}
	pthread_mutex_destroy(&p.lock);
	free(p.pieces);
	return status;
}

/* ---- Members ---- */

/* Where the bytes of a member go. dst NULL: they are only compared with its SHA-256. */
typedef struct member_taker {
	const qstore_archive *archive;
	const qs_file *file;
	uint8_t *dst;
} member_taker;

static qstore_status take_bytes(void *user, const uint8_t *data, size_t size, qstore_error *error)
{
	member_taker *taker = user;
	(void)error;
	if (taker->dst) {
		memcpy(taker->dst, data, size);
		taker->dst += size;
	}
	return QSTORE_OK;
}

static qstore_status fill_member(void *user, uint8_t *dst, qstore_error *error)
{
	member_taker taker = *(member_taker *)user;
	taker.dst = dst;
	return qs_member_read(taker.archive, taker.file, take_bytes, &taker, error);
}

static qstore_status read_member(qs_access *access, uint32_t number, const qs_file *file, uint64_t offset,
                                 size_t size, uint8_t *dst, qstore_error *error)
{
	if (size == 0)
		return QSTORE_OK;
	member_taker taker = {access->archive, file, NULL};
	return qs_cache_read(access->cache, (qs_cache_key){QS_NONE, number}, (size_t)file->size, fill_member,
	                     &taker, (size_t)offset, size, dst, error);
}

/* ---- The public functions ---- */

static qstore_status read_range(const qstore_archive *archive, uint32_t number, uint64_t offset, size_t size,
                                uint8_t *dst, const qstore_work *work, qstore_error *error)
{
	qs_access *access = archive->access;
	qs_file file;
	qs_index_file(&archive->index, number, &file);
	if (file.kind == QS_FILE_BASE)
		return qs_fail(error, QSTORE_USAGE, "%s: file %.400s is the base's, not this archive's",
		               archive->path, file.name);
	if (file.kind != QS_FILE_ASSEMBLED)
		return read_member(access, number, &file, offset, size, dst, error);
	qs_part_walk walk = qs_part_walk_start(archive, &file, offset, size);
	return work && work->threads != 1 ? read_in_parallel(access, &walk, dst, work, error)
	                                  : read_parts(access, &walk, dst, error);
}

qstore_status qstore_read_file(const qstore_archive *archive, uint32_t number, uint64_t offset, size_t size,
                               void *dst, const qstore_work *work, qstore_error *error)
{
	qs_file file;
	qs_error_clear(error);
	if (number >= archive->index.n_files)
		return qs_fail(error, QSTORE_USAGE, "%s: has %u files, and no number %u", archive->path,
		               archive->index.n_files, number);
	qs_index_file(&archive->index, number, &file);
	if (offset > file.size || size > file.size - offset)
		return qs_fail(error, QSTORE_USAGE, "%s: file %.400s has %llu bytes, and not %zu from byte %llu on",
		               archive->path, file.name, (unsigned long long)file.size, size,
		               (unsigned long long)offset);
	return read_range(archive, number, offset, size, dst, work, error);
}

qstore_status qstore_read_tensor(const qstore_archive *archive, uint32_t number, uint64_t offset, size_t size,
                                 void *dst, const qstore_work *work, qstore_error *error)
{
	qs_tensor tensor;
	qs_error_clear(error);
	if (number >= archive->index.n_tensors)
		return qs_fail(error, QSTORE_USAGE, "%s: has %u tensors, and no number %u", archive->path,
		               archive->index.n_tensors, number);
	qs_index_tensor(&archive->index, number, &tensor);
	if (offset > tensor.size || size > tensor.size - offset)
		return qs_fail(error, QSTORE_USAGE, "%s: tensor %.400s has %llu bytes, and not %zu from byte %llu on",
		               archive->path, tensor.name, (unsigned long long)tensor.size, size,
		               (unsigned long long)offset);
	return read_range(archive, tensor.file, tensor.offset + offset, size, dst, work, error);
}

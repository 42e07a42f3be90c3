#include "restore.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "io.h"
#include "pool.h"
#include "whole.h"

/* A model of 16 TB; more come only of archives made to exhaust memory, whose extents repeat the same bytes.
 */
#define PIECES_MAX ((size_t)1 << 26)

/* One job: bytes [skip, skip + size) of a decoded chunk. */
typedef struct piece {
	uint32_t output, object, chunk, skip, size;
} piece;

/* A file that is being written. The one who lets go of it last closes it: the restorer, or a thread that has
 * bytes to write into it. */
typedef struct target {
	int fd;
	char *path;
	atomic_uint users;
} target;

typedef struct restorer {
	const qstore_archive *archive;
	const qs_output *outputs;
	size_t n_outputs;
	const char *folder;
	const qstore_work *work;
	qstore_progress progress;
	piece *pieces;
	size_t n_pieces, cap_pieces;
	qs_wholes *wholes; /* that the threads share */

	/* The output that is being written. */
	size_t current; /* n_outputs when there is none */
	size_t next;    /* to begin */
	target *target; /* NULL when restoring to nowhere */
	uint64_t written;
	qs_sha256 *sha256;
} restorer;

int qs_outputs_add(qs_output **outputs, size_t *n_outputs, qs_output **added)
{
	qs_output *larger = realloc(*outputs, (*n_outputs + 1) * sizeof(**outputs));
	if (larger == NULL)
		return 0;
	*outputs = larger;
	*added = &larger[(*n_outputs)++];
	memset(*added, 0, sizeof(**added));
	return 1;
}

void qs_outputs_free(qs_output *outputs, size_t n_outputs)
{
	for (size_t i = 0; i < n_outputs; i++) {
		free(outputs[i].name);
		free(outputs[i].header);
		free(outputs[i].ranges);
	}
	free(outputs);
}

static const char *display_name(const restorer *r)
{
	return r->target != NULL ? r->target->path : r->outputs[r->current].name;
}

static qstore_status target_leave(target *t, qs_error *error)
{
	qstore_status status = QSTORE_OK;
	if (t == NULL || atomic_fetch_sub(&t->users, 1) > 1)
		return QSTORE_OK;
	/* Some filesystems report a full disk only here. */
	if (t->fd >= 0 && close(t->fd) != 0)
		status = qs_fail(error, QSTORE_IO, "%s: cannot write: %s", t->path, strerror(errno));
	free(t->path);
	free(t);
	return status;
}

/* Data that comes next in the output, which somebody writes. */
static qstore_status output_count(restorer *r, const uint8_t *data, size_t size, qs_error *error)
{
	if (!qs_sha256_update(r->sha256, data, size))
		return qs_fail(error, QSTORE_MEMORY, "%s: SHA-256 failed", display_name(r));
	r->written += size;
	r->progress.done += size;
	if (r->work != NULL && r->work->on_progress != NULL)
		r->work->on_progress(r->work->user, &r->progress);
	return QSTORE_OK;
}

static qstore_status output_data(restorer *r, const uint8_t *data, size_t size, qs_error *error)
{
	if (r->target != NULL) {
		qstore_status status = qs_pwrite_all(r->target->fd, data, size, r->written, display_name(r), error);
		if (status != QSTORE_OK)
			return status;
	}
	return output_count(r, data, size, error);
}

static int is_cancelled(const restorer *r)
{
	return r->work != NULL && r->work->cancel != NULL && *r->work->cancel;
}

/* A member of the archive, verbatim or one zstd frame, block by block. */
static qstore_status output_member(restorer *r, const qs_file *file, qs_error *error)
{
	const qstore_archive *archive = r->archive;
	uint64_t offset = archive->payload_offset + file->offset, left = file->coded_size;
	uint8_t *block = malloc(QS_IO_BLOCK), *plain = NULL;
	ZSTD_DCtx *context = NULL;
	qstore_status status = QSTORE_OK;
	size_t more = 0;
	if (file->kind == QS_FILE_ZSTD) {
		plain = malloc(QS_IO_BLOCK);
		context = ZSTD_createDCtx();
		more = 1;
	}
	if (block == NULL || (file->kind == QS_FILE_ZSTD && (plain == NULL || context == NULL)))
		status = qs_fail(error, QSTORE_MEMORY, "%s: out of memory", file->name);
	while (status == QSTORE_OK && left > 0) {
		size_t size = left < QS_IO_BLOCK ? (size_t)left : QS_IO_BLOCK;
		if (is_cancelled(r)) {
			status = qs_fail(error, QSTORE_CANCELLED, "cancelled");
			break;
		}
		status = qs_pread_all(archive->fd, block, size, offset, archive->path, error);
		if (status != QSTORE_OK)
			break;
		offset += size;
		left -= size;
		if (context == NULL) {
			status = output_data(r, block, size, error);
			continue;
		}
		ZSTD_inBuffer in = {block, size, 0};
		ZSTD_outBuffer out;
		do {
			out = (ZSTD_outBuffer){plain, QS_IO_BLOCK, 0};
			/* After the frame's end nothing may follow. */
			more = more == 0 ? (size_t)-1 : ZSTD_decompressStream(context, &out, &in);
			if (ZSTD_isError(more) || out.pos > file->size - r->written)
				status = qs_fail(error, QSTORE_CORRUPT, "%s: file %.400s is damaged: it does not decompress",
				                 archive->path, file->name);
			else
				status = output_data(r, plain, out.pos, error);
		} while (status == QSTORE_OK && (in.pos < in.size || (out.pos == out.size && more != 0)));
	}
	if (status == QSTORE_OK && (more != 0 || r->written != file->size))
		status = qs_fail(error, QSTORE_CORRUPT, "%s: file %.400s is damaged: it has another size",
		                 archive->path, file->name);
	free(block);
	free(plain);
	ZSTD_freeDCtx(context);
	return status;
}

static qstore_status output_end(restorer *r, qs_error *error)
{
	if (r->current == r->n_outputs)
		return QSTORE_OK;
	const qs_output *output = &r->outputs[r->current];
	uint8_t digest[32];
	qs_file file;
	qstore_status status = target_leave(r->target, error);
	r->target = NULL;
	if (status == QSTORE_OK && output->file != QS_NONE) {
		qs_index_file(&r->archive->index, output->file, &file);
		if (!qs_sha256_final(r->sha256, digest))
			status = qs_fail(error, QSTORE_MEMORY, "%s: SHA-256 failed", display_name(r));
		else if (memcmp(digest, file.sha256, sizeof(digest)) != 0)
			status = qs_fail(error, QSTORE_CORRUPT, "%s: file %.400s is damaged: its SHA-256 differs",
			                 r->archive->path, file.name);
	}
	r->current = r->n_outputs;
	return status;
}

static qstore_status target_open(restorer *r, const qs_output *output, qs_error *error)
{
	target *t = malloc(sizeof(*t));
	if (t == NULL)
		return qs_fail(error, QSTORE_MEMORY, "%s: out of memory", output->name);
	t->fd = -1;
	t->path = qs_path_join(r->folder, output->name);
	atomic_init(&t->users, 1);
	qstore_status status = t->path == NULL ? qs_fail(error, QSTORE_MEMORY, "%s: out of memory", output->name)
	                                       : qs_make_parents(t->path, strlen(r->folder) + 1, error);
	if (status == QSTORE_OK) {
		t->fd = open(t->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
		if (t->fd < 0)
			status = qs_fail(error, QSTORE_IO, "%s: cannot create: %s", t->path, strerror(errno));
	}
	if (status == QSTORE_OK)
		r->target = t;
	else
		target_leave(t, error);
	return status;
}

static qstore_status output_begin(restorer *r, size_t number, qs_error *error)
{
	const qs_output *output = &r->outputs[number];
	r->current = number;
	r->written = 0;
	if (!qs_sha256_reset(r->sha256))
		return qs_fail(error, QSTORE_MEMORY, "%s: SHA-256 failed", output->name);
	if (r->folder != NULL) {
		qstore_status status = target_open(r, output, error);
		if (status != QSTORE_OK)
			return status;
	}
	if (output->header_size > 0)
		return output_data(r, output->header, output->header_size, error);
	if (output->file != QS_NONE) {
		qs_file file;
		qs_index_file(&r->archive->index, output->file, &file);
		if (file.kind != QS_FILE_ASSEMBLED)
			return output_member(r, &file, error);
	}
	return QSTORE_OK;
}

/* Ends the current output and begins the next ones up to number; n_outputs: ends all. */
static qstore_status output_advance(restorer *r, size_t number, qs_error *error)
{
	while (r->current != number || number == r->n_outputs) {
		qstore_status status = output_end(r, error);
		if (status != QSTORE_OK || r->next == r->n_outputs)
			return status;
		status = output_begin(r, r->next++, error);
		if (status != QSTORE_OK)
			return status;
	}
	return QSTORE_OK;
}

static int add_piece(restorer *r, piece added)
{
	if (r->n_pieces == PIECES_MAX)
		return 0;
	if (r->n_pieces == r->cap_pieces) {
		size_t cap = r->cap_pieces == 0 ? 256 : r->cap_pieces * 2;
		piece *larger = realloc(r->pieces, cap * sizeof(*larger));
		if (larger == NULL)
			return 0;
		r->pieces = larger;
		r->cap_pieces = cap;
	}
	r->pieces[r->n_pieces++] = added;
	return 1;
}

/* The chunks of bytes [from, from + size) of an object. */
static int plan_object(restorer *r, uint32_t output, uint32_t number, uint64_t from, uint64_t size)
{
	qs_object object;
	qs_index_object(&r->archive->index, number, &object);
	uint64_t chunk_bytes =
	    (uint64_t)object.chunk_elems / qs_block_elems(object.dtype) * qs_block_size(object.dtype);
	while (size > 0) {
		uint64_t skip = from % chunk_bytes, n = chunk_bytes - skip;
		if (n > size)
			n = size;
		if (!add_piece(r,
		               (piece){output, number, (uint32_t)(from / chunk_bytes), (uint32_t)skip, (uint32_t)n}))
			return 0;
		from += n;
		size -= n;
	}
	return 1;
}

typedef struct cursor {
	uint32_t file, extent; /* extent: counted within the file */
	uint64_t at;           /* where it begins in the file */
} cursor;

static int plan_range(restorer *r, uint32_t output, cursor *c, qs_range range)
{
	const qs_index *index = &r->archive->index;
	qs_file file;
	qs_index_file(index, range.file, &file);
	if (c->file != range.file || range.offset < c->at)
		*c = (cursor){range.file, 0, 0};
	while (range.size > 0) {
		qs_extent extent;
		qs_index_extent(index, file.first_extent + c->extent, &extent);
		uint64_t skip = range.offset - c->at;
		if (skip >= extent.size) {
			c->at += extent.size;
			c->extent++;
			continue;
		}
		uint64_t n = extent.size - skip;
		if (n > range.size)
			n = range.size;
		if (!plan_object(r, output, extent.object, extent.offset + skip, n))
			return 0;
		range.offset += n;
		range.size -= n;
	}
	return 1;
}

static int plan(restorer *r)
{
	cursor c = {QS_NONE, 0, 0};
	for (size_t i = 0; i < r->n_outputs; i++) {
		const qs_output *output = &r->outputs[i];
		r->progress.total += output->size;
		if (output->file != QS_NONE) {
			qs_file file;
			qs_index_file(&r->archive->index, output->file, &file);
			if (file.kind == QS_FILE_ASSEMBLED &&
			    !plan_range(r, (uint32_t)i, &c, (qs_range){output->file, 0, file.size}))
				return 0;
		}
		for (size_t j = 0; j < output->n_ranges; j++) {
			if (!plan_range(r, (uint32_t)i, &c, output->ranges[j]))
				return 0;
		}
	}
	return 1;
}

typedef struct restore_thread {
	qs_decoder *decoder;
	const uint8_t *data;
	target *target; /* where data is still to be written, at offset */
	uint64_t offset;
} restore_thread;

static void *thread_create(void *user)
{
	const restorer *r = user;
	restore_thread *thread = calloc(1, sizeof(*thread));
	if (thread == NULL)
		return NULL;
	thread->decoder = qs_decoder_create(r->wholes);
	if (thread->decoder == NULL) {
		free(thread);
		return NULL;
	}
	return thread;
}

static void thread_destroy(void *user, void *memory)
{
	(void)user;
	restore_thread *thread = memory;
	qs_decoder_destroy(thread->decoder);
	free(thread);
}

static qstore_status decode_piece(void *user, void *memory, uint64_t job, qs_error *error)
{
	restorer *r = user;
	restore_thread *thread = memory;
	const piece *p = &r->pieces[job];
	uint32_t size;
	return qs_decoder_chunk(thread->decoder, r->archive, p->object, p->chunk, &thread->data, &size, error);
}

static qstore_status commit_piece(void *user, void *memory, uint64_t job, qs_error *error)
{
	restorer *r = user;
	restore_thread *thread = memory;
	const piece *p = &r->pieces[job];
	qstore_status status = output_advance(r, p->output, error);
	if (status == QSTORE_OK) {
		thread->offset = r->written;
		status = output_count(r, thread->data + p->skip, p->size, error);
	}
	if (status != QSTORE_OK || r->target == NULL)
		return status;
	thread->target = r->target;
	atomic_fetch_add(&r->target->users, 1);
	return QSTORE_OK;
}

/* SHA-256 is what must go in order; threads write while the next ones do it. */
static qstore_status write_piece(void *user, void *memory, uint64_t job, qs_error *error)
{
	restorer *r = user;
	restore_thread *thread = memory;
	const piece *p = &r->pieces[job];
	target *t = thread->target;
	if (t == NULL)
		return QSTORE_OK;
	thread->target = NULL;
	qstore_status status =
	    qs_pwrite_all(t->fd, thread->data + p->skip, p->size, thread->offset, t->path, error);
	if (status == QSTORE_OK)
		return target_leave(t, error);
	target_leave(t, NULL);
	return status;
}

qstore_status qs_restore(const qstore_archive *archive, const qs_output *outputs, size_t n_outputs,
                         const char *folder, const qstore_work *work, const char *phase, qs_error *error)
{
	restorer r = {
	    .archive = archive,
	    .outputs = outputs,
	    .n_outputs = n_outputs,
	    .folder = folder,
	    .work = work,
	    .progress = {.phase = phase},
	    .current = n_outputs,
	    .sha256 = qs_sha256_create(),
	    .wholes = qs_wholes_create(),
	};
	qstore_status status = QSTORE_OK;
	if (r.sha256 == NULL || r.wholes == NULL || !plan(&r))
		status = qs_fail(error, QSTORE_MEMORY, "%s: out of memory", archive->path);
	if (status == QSTORE_OK) {
		qs_jobs jobs = {
		    .n_jobs = r.n_pieces,
		    .user = &r,
		    .create = thread_create,
		    .destroy = thread_destroy,
		    .work = decode_piece,
		    .commit = commit_piece,
		    .end = write_piece,
		    .cancel = work == NULL ? NULL : work->cancel,
		};
		status = qs_pool_run(&jobs, work == NULL ? 0 : work->threads, error);
	}
	if (status == QSTORE_OK)
		status = output_advance(&r, n_outputs, error);
	target_leave(r.target, NULL);
	free(r.pieces);
	qs_sha256_destroy(r.sha256);
	qs_wholes_destroy(r.wholes);
	return status;
}

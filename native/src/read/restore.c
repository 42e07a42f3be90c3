#include "restore.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "os/file.h"
#include "os/pool.h"
#include "whole.h"

/* A file that is being written: open from its first run on, until the last one is written. */
typedef struct target {
	int fd; /* −1: not open */
	char *path;
	size_t n_left; /* runs */
} target;

/* Bytes that are written at once: the kernel takes 0.7 times as long for them as for pieces of 256 KiB. */
#define RUN_MAX QS_CHUNK_SIZE_MAX
/* Where they are in memory and in the file is the same modulo this: 0.9 times as long. */
#define ALIGNMENT 64

/* Pieces of one output that follow each other: a job. */
typedef struct run {
	size_t first, n;
	uint64_t size; /* bytes of them */
} run;

typedef struct restorer {
	const qstore_archive *archive;
	const qs_output *outputs;
	const qs_restore_options *options;
	qs_piece *pieces;
	size_t n_pieces;
	run *runs;
	size_t n_runs;
	qs_wholes *wholes;    /* that the threads share */
	qs_sha256 *sha256;    /* of the file whose pieces are committed, or NULL */
	pthread_mutex_t lock; /* of what follows */
	target *targets;      /* of the outputs; NULL when restoring to nowhere */
	qstore_progress progress;
} restorer;

typedef struct restore_thread {
	qs_decoder *decoder;
	uint8_t *memory; /* RUN_MAX + ALIGNMENT bytes */
	uint8_t *data;   /* in it, of the run; NULL: it was checked already */
} restore_thread;

/* ---- Targets ---- */

static qstore_status create(restorer *r, const qs_output *output, target *t, qs_error *error)
{
	const char *folder = r->options->folder;
	t->path = qs_path_join(folder, output->name);
	if (!t->path)
		return qs_no_memory(error);
	qstore_status status = qs_make_parents(t->path, strlen(folder) + 1, error);
	if (status)
		return status;
	t->fd = open(t->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (t->fd < 0)
		return qs_fail(error, QSTORE_IO, "%s: cannot create: %s", t->path, strerror(errno));
	r->progress.done += output->header_size;
	qs_allocate(t->fd, output->size);
	return qs_pwrite_all(t->fd, output->header, output->header_size, 0, t->path, error);
}

/* Some filesystems report a full disk only here. */
static qstore_status finish(target *t, qs_error *error)
{
	int fd = t->fd;
	t->fd = -1;
	return fd >= 0 && close(fd) != 0
	           ? qs_fail(error, QSTORE_IO, "%s: cannot write: %s", t->path, strerror(errno))
	           : QSTORE_OK;
}

/* Where a run is written; NULL: nowhere. */
static qstore_status target_of(restorer *r, uint32_t output, const target **found, qs_error *error)
{
	qstore_status status = QSTORE_OK;
	*found = NULL;
	if (!r->targets)
		return QSTORE_OK;
	target *t = &r->targets[output];
	pthread_mutex_lock(&r->lock);
	if (!t->path)
		status = create(r, &r->outputs[output], t, error);
	else if (t->fd < 0) /* another thread could not create it, and says so */
		status = qs_fail(error, QSTORE_IO, "%s: cannot create", t->path);
	pthread_mutex_unlock(&r->lock);
	*found = t;
	return status;
}

static void advance(restorer *r, uint64_t size)
{
	const qstore_work *work = r->options->work;
	pthread_mutex_lock(&r->lock);
	r->progress.done += size;
	if (work && work->on_progress)
		work->on_progress(work->user, &r->progress);
	pthread_mutex_unlock(&r->lock);
}

static qstore_status run_end(restorer *r, uint32_t output, qs_error *error)
{
	qstore_status status = QSTORE_OK;
	if (!r->targets)
		return QSTORE_OK;
	pthread_mutex_lock(&r->lock);
	if (--r->targets[output].n_left == 0)
		status = finish(&r->targets[output], error);
	pthread_mutex_unlock(&r->lock);
	return status;
}

/* ---- Members ---- */

static qstore_status check_sha256(const restorer *r, const qs_file *file, qs_sha256 *sha256, qs_error *error)
{
	uint8_t digest[32];
	if (!qs_sha256_final(sha256, digest))
		return qs_no_memory(error);
	if (memcmp(digest, file->sha256, sizeof(digest)) != 0)
		return qs_fail(error, QSTORE_CORRUPT, "%s: file %.400s is damaged: its SHA-256 differs",
		               r->archive->path, file->name);
	return QSTORE_OK;
}

typedef struct member {
	restorer *r;
	const qs_file *file;
	const target *target;
	qs_sha256 *sha256;
	uint64_t written;
} member;

static qstore_status member_data(member *m, const uint8_t *data, size_t size, qs_error *error)
{
	const qstore_work *work = m->r->options->work;
	if (work && work->cancel && *work->cancel)
		return qs_fail(error, QSTORE_CANCELLED, "cancelled");
	if (!qs_sha256_update(m->sha256, data, size))
		return qs_no_memory(error);
	qstore_status status = QSTORE_OK;
	if (m->target)
		status = qs_pwrite_all(m->target->fd, data, size, m->written, m->target->path, error);
	m->written += size;
	advance(m->r, size);
	return status;
}

/* The member's bytes, verbatim or one zstd frame, block by block. */
static qstore_status member_read(member *m, ZSTD_DCtx *context, uint8_t *block, uint8_t *plain,
                                 qs_error *error)
{
	const qstore_archive *archive = m->r->archive;
	uint64_t offset = archive->payload_offset + m->file->offset, left = m->file->coded_size;
	qstore_status status = QSTORE_OK;
	size_t more = context ? 1 : 0;
	while (!status && left > 0) {
		size_t size = left < QS_IO_BLOCK ? (size_t)left : QS_IO_BLOCK;
		status = qs_pread_all(archive->fd, block, size, offset, archive->path, error);
		if (status)
			break;
		offset += size;
		left -= size;
		if (!context) {
			status = member_data(m, block, size, error);
			continue;
		}
		ZSTD_inBuffer in = {block, size, 0};
		ZSTD_outBuffer out;
		do {
			out = (ZSTD_outBuffer){plain, QS_IO_BLOCK, 0};
			/* After the frame's end nothing may follow. */
			more = more == 0 ? (size_t)-1 : ZSTD_decompressStream(context, &out, &in);
			if (ZSTD_isError(more) || out.pos > m->file->size - m->written)
				status = qs_fail(error, QSTORE_CORRUPT, "%s: file %.400s is damaged: it does not decompress",
				                 archive->path, m->file->name);
			else
				status = member_data(m, plain, out.pos, error);
		} while (!status && (in.pos < in.size || (out.pos == out.size && more != 0)));
	}
	if (!status && (more != 0 || m->written != m->file->size))
		status = qs_fail(error, QSTORE_CORRUPT, "%s: file %.400s is damaged: it has another size",
		                 archive->path, m->file->name);
	return status;
}

/* A file that no object is part of: of one member of the archive, or empty. */
static qstore_status restore_member(restorer *r, uint32_t output, const target *t, qs_error *error)
{
	qs_file file;
	if (r->outputs[output].file == QS_NONE)
		return QSTORE_OK;
	qs_index_file(&r->archive->index, r->outputs[output].file, &file);
	int zstd = file.kind == QS_FILE_ZSTD;
	member m = {.r = r, .file = &file, .target = t, .sha256 = qs_sha256_create()};
	uint8_t *block = malloc(QS_IO_BLOCK), *plain = zstd ? malloc(QS_IO_BLOCK) : NULL;
	ZSTD_DCtx *context = zstd ? ZSTD_createDCtx() : NULL;
	qstore_status status = QSTORE_OK;
	if (!m.sha256 || !block || (zstd && (!plain || !context)))
		status = qs_no_memory(error);
	if (!status)
		status = member_read(&m, context, block, plain, error);
	if (!status)
		status = check_sha256(r, &file, m.sha256, error);
	qs_sha256_destroy(m.sha256);
	free(block);
	free(plain);
	ZSTD_freeDCtx(context);
	return status;
}

/* ---- Runs ---- */

static void *thread_create(void *user)
{
	const restorer *r = user;
	restore_thread *thread = calloc(1, sizeof(*thread));
	if (!thread)
		return NULL;
	thread->decoder = qs_decoder_create(r->wholes, r->options->sha256 || r->options->check);
	thread->memory = aligned_alloc(ALIGNMENT, RUN_MAX + ALIGNMENT);
	if (!thread->decoder || !thread->memory) {
		qs_decoder_destroy(thread->decoder);
		free(thread->memory);
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
	free(thread->memory);
	free(thread);
}

/* The run's pieces, one behind the other. */
static qstore_status decode_run(restorer *r, restore_thread *thread, const run *pieces, qs_error *error)
{
	const qs_piece *p = &r->pieces[pieces->first];
	uint8_t *dst = thread->data = thread->memory + p->offset % ALIGNMENT;
	qstore_status status = QSTORE_OK;
	for (const qs_piece *end = p + pieces->n; p < end && !status; dst += p++->size) {
		status =
		    qs_decoder_read(thread->decoder, r->archive, p->object, p->part, p->skip, p->size, dst, error);
		if (!status && r->options->check)
			status = r->options->check(r->options->check_user, &r->outputs[p->output], p, dst, error);
	}
	return status;
}

static qstore_status restore_run(void *user, void *memory, uint64_t job, qs_error *error)
{
	restorer *r = user;
	restore_thread *thread = memory;
	const run *pieces = &r->runs[job];
	const qs_piece *p = &r->pieces[pieces->first];
	const target *t = NULL;
	qstore_status status = QSTORE_OK;
	thread->data = NULL;
	if (p->object != QS_NONE)
		status = decode_run(r, thread, pieces, error);
	if (!status)
		status = target_of(r, p->output, &t, error);
	if (!status && p->object == QS_NONE) {
		status = restore_member(r, p->output, t, error);
	} else if (!status) {
		if (t)
			status = qs_pwrite_all(t->fd, thread->data, pieces->size, p->offset, t->path, error);
		advance(r, pieces->size);
	}
	return status ? status : run_end(r, p->output, error);
}

/* In order, as SHA-256 wants it. */
static qstore_status hash_run(void *user, void *memory, uint64_t job, qs_error *error)
{
	restorer *r = user;
	const restore_thread *thread = memory;
	const run *pieces = &r->runs[job];
	const qs_piece *p = &r->pieces[pieces->first];
	const qs_output *output = &r->outputs[p->output];
	qs_file file;
	if (!thread->data || output->file == QS_NONE)
		return QSTORE_OK;
	qs_index_file(&r->archive->index, output->file, &file);
	if ((p->offset == 0 && !qs_sha256_reset(r->sha256)) ||
	    !qs_sha256_update(r->sha256, thread->data, pieces->size))
		return qs_no_memory(error);
	return p->offset + pieces->size == file.size ? check_sha256(r, &file, r->sha256, error) : QSTORE_OK;
}

/* Pieces that are written together, as long as that leaves each thread some eight runs. */
static int make_runs(restorer *r, unsigned threads)
{
	uint64_t most = r->progress.total / (8 * qs_pool_threads(threads));
	most = most < RUN_MAX ? most : RUN_MAX;
	r->runs = calloc(r->n_pieces + 1, sizeof(*r->runs));
	if (!r->runs)
		return 0;
	for (size_t i = 0; i < r->n_pieces; i++) {
		const qs_piece *p = &r->pieces[i];
		run *last = r->n_runs > 0 ? &r->runs[r->n_runs - 1] : NULL;
		if (last && r->options->folder && r->pieces[last->first].output == p->output &&
		    last->size + p->size <= most) {
			last->n++;
			last->size += p->size;
		} else {
			r->runs[r->n_runs++] = (run){i, 1, p->size};
		}
	}
	return 1;
}

static int make_targets(restorer *r, size_t n_outputs)
{
	r->targets = calloc(n_outputs + 1, sizeof(*r->targets));
	if (!r->targets)
		return 0;
	for (size_t i = 0; i < n_outputs; i++)
		r->targets[i].fd = -1;
	for (size_t i = 0; i < r->n_runs; i++)
		r->targets[r->pieces[r->runs[i].first].output].n_left++;
	return 1;
}

qstore_status qs_restore(const qstore_archive *archive, const qs_output *outputs, size_t n_outputs,
                         const qs_restore_options *options, qs_error *error)
{
	const qstore_work *work = options->work;
	restorer r = {
	    .archive = archive,
	    .outputs = outputs,
	    .options = options,
	    .progress = {.phase = options->phase},
	    .wholes = qs_wholes_create(),
	};
	if (pthread_mutex_init(&r.lock, NULL) != 0) {
		qs_wholes_destroy(r.wholes);
		return qs_no_memory(error);
	}
	qstore_status status = QSTORE_OK;
	unsigned threads = work ? work->threads : 0;
	for (size_t i = 0; i < n_outputs; i++)
		r.progress.total += outputs[i].size;
	if (!r.wholes || !qs_restore_plan(&archive->index, outputs, n_outputs, &r.pieces, &r.n_pieces) ||
	    !make_runs(&r, threads) || (options->folder && !make_targets(&r, n_outputs)) ||
	    (options->sha256 && !(r.sha256 = qs_sha256_create())))
		status = qs_no_memory(error);
	if (!status) {
		qs_jobs jobs = {
		    .n_jobs = r.n_runs,
		    .user = &r,
		    .create = thread_create,
		    .destroy = thread_destroy,
		    .work = restore_run,
		    .commit = options->sha256 ? hash_run : NULL,
		    .cancel = work ? work->cancel : NULL,
		};
		status = qs_pool_run(&jobs, threads, error);
	}
	for (size_t i = 0; i < n_outputs && r.targets; i++) {
		finish(&r.targets[i], NULL);
		free(r.targets[i].path);
	}
	free(r.targets);
	free(r.pieces);
	free(r.runs);
	qs_sha256_destroy(r.sha256);
	qs_wholes_destroy(r.wholes);
	pthread_mutex_destroy(&r.lock);
	return status;
}

#include "restore.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "decode.h"
#include "error.h"
#include "member.h"
#include "os/array.h"
#include "os/file.h"
#include "os/pool.h"
#include "os/sha256.h"
#include "stream.h"

/* A file that is being written. It is open from its first span on until its last one is written. */
typedef struct target {
	int fd;    /* −1: not open */
	int cause; /* errno of a file that could not be created */
	char *path;
	size_t n_left; /* spans */
} target;

/* At most this many bytes are written at once. Writing takes 0.7 times as long as by 256 KiB. */
#define SPAN_MAX QS_CHUNK_SIZE_MAX
_Static_assert(SPAN_MAX >= QS_CHUNK_SIZE_MAX, "a piece, at most a chunk, does not fit in a span");
/* A span's address in memory and its offset in the file are equal modulo this, because writing then takes 0.9
 * times as long. */
#define ALIGNMENT 64
_Static_assert((SPAN_MAX + ALIGNMENT) % ALIGNMENT == 0, "aligned_alloc wants a multiple of the alignment");

/* There are at least this many spans for each thread, so that no thread waits long for the others at the
 * end. */
#define SPANS_PER_THREAD 8

/* Pieces of one output that follow one another, and are decoded and written as one job. */
typedef struct span {
	size_t first, n; /* pieces */
	uint64_t size;   /* bytes */
} span;

typedef struct restorer {
	const qstore_archive *archive;
	const qs_output *outputs;
	size_t n_outputs;
	const qs_restore_options *options;
	qs_piece *pieces;
	size_t n_pieces;
	span *spans;
	size_t n_spans;
	qs_wholes *wholes;    /* matrices that the threads share */
	qs_sha256 *sha256;    /* of the file whose spans are committed; NULL unless options->sha256 */
	pthread_mutex_t lock; /* of the fields below */
	target *targets;      /* one for each output; NULL when everything is restored to nowhere */
	qstore_progress progress;
	uint8_t *is_damaged; /* for each output; NULL unless options->damages */
} restorer;

typedef struct restore_thread {
	qs_decoder *decoder;
	uint8_t *memory; /* SPAN_MAX + ALIGNMENT bytes */
	uint8_t *data;   /* the span's bytes in `memory`; NULL if no bytes are to be hashed */
} restore_thread;

/* ---- Targets ---- */

/* The error for a file that could not be created. Where file systems take names
 * that differ only in case, or in the form of their accents, for one, another output may be that file. */
static qstore_status fail_create(const restorer *r, const qs_output *output, const target *t,
                                 qstore_error *error)
{
	struct stat info, other;
	size_t number = (size_t)(output - r->outputs);
	if (t->cause != EEXIST || lstat(t->path, &info) != 0)
		return qs_fail(error, QSTORE_IO, "%s: cannot create: %s", t->path, strerror(t->cause));
	for (size_t i = 0; i < r->n_outputs; i++) {
		if (i == number || !r->targets[i].path || lstat(r->targets[i].path, &other) != 0 ||
		    other.st_ino != info.st_ino || other.st_dev != info.st_dev)
			continue;
		size_t first = i < number ? i : number, second = i < number ? number : i;
		return qs_fail(
		    error, QSTORE_EXISTS,
		    "%s: %.300s and %.300s would be one file, as this file system takes the names for one: "
		    "restore each into a folder of its own, with --file",
		    r->archive->path, r->outputs[first].name, r->outputs[second].name);
	}
	return qs_fail(error, QSTORE_IO, "%s: cannot create: %s", t->path, strerror(t->cause));
}

static qstore_status create_target(restorer *r, const qs_output *output, target *t, qstore_error *error)
{
	const char *folder = r->options->folder;
	t->path = qs_path_join(folder, output->name);
	if (!t->path)
		return qs_no_memory(error);
	qstore_status status = qs_make_parents(t->path, strlen(folder) + 1, error);
	if (status)
		return status;
	t->fd = open(t->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (t->fd < 0) {
		t->cause = errno;
		return fail_create(r, output, t, error);
	}
	r->progress.done += output->header_size;
	qs_allocate(t->fd, output->size);
	return qs_pwrite_all(t->fd, output->header, output->header_size, 0, t->path, error);
}

/* Closes a file, and flushes it first if it is complete, so that no name is given to bytes that a power cut
 * would lose. Some filesystems report a full disk only then. */
static qstore_status close_target(target *t, int is_complete, qstore_error *error)
{
	int fd = t->fd;
	t->fd = -1;
	if (fd < 0)
		return QSTORE_OK;
	int failed = is_complete && fsync(fd) != 0 ? errno : 0;
	if (close(fd) != 0 && failed == 0)
		failed = errno;
	return failed == 0 ? QSTORE_OK
	                   : qs_fail(error, QSTORE_IO, "%s: cannot write: %s", t->path, strerror(failed));
}

/* Finds the target of an output, and opens it first if need be; *found is NULL if everything is restored to
 * nowhere. */
static qstore_status open_target(restorer *r, uint32_t output, const target **found, qstore_error *error)
{
	qstore_status status = QSTORE_OK;
	*found = NULL;
	if (!r->targets)
		return QSTORE_OK;
	target *t = &r->targets[output];
	pthread_mutex_lock(&r->lock);
	if (!t->path)
		status = create_target(r, &r->outputs[output], t, error);
	/* The pool tells the error of the output's first job, so each of its jobs has the same one. */
	else if (t->fd < 0 && t->cause != 0)
		status = fail_create(r, &r->outputs[output], t, error);
	else if (t->fd < 0) /* another thread could not make its folder, and says why */
		status = qs_fail(error, QSTORE_IO, "%s: cannot create", t->path);
	pthread_mutex_unlock(&r->lock);
	*found = t;
	return status;
}

static void add_progress(restorer *r, uint64_t size)
{
	const qstore_work *work = r->options->work;
	pthread_mutex_lock(&r->lock);
	r->progress.done += size;
	if (work && work->on_progress)
		work->on_progress(work->user, &r->progress);
	pthread_mutex_unlock(&r->lock);
}

static qstore_status end_span(restorer *r, uint32_t output, qstore_error *error)
{
	if (!r->targets)
		return QSTORE_OK;
	target *t = &r->targets[output];
	pthread_mutex_lock(&r->lock);
	assert(t->n_left > 0);
	int is_complete = --t->n_left == 0;
	pthread_mutex_unlock(&r->lock);
	return is_complete ? close_target(t, 1, error) : QSTORE_OK;
}

/* ---- Damage ---- */

/* Takes note of bytes that cannot be restored, if the work is to go on then; error says why they cannot.
 * Returns the status with which the work goes on. */
static qstore_status note_damage(restorer *r, uint32_t output, uint64_t offset, uint64_t size,
                                 qstore_status status, qstore_error *error)
{
	int is_damage = status == QSTORE_CORRUPT || status == QSTORE_TRUNCATED || status == QSTORE_INTEGRITY ||
	                status == QSTORE_NEWER || status == QSTORE_IO;
	if (!is_damage || !r->options->damages)
		return status;
	pthread_mutex_lock(&r->lock);
	qs_damage *damage = qs_array_add(&r->options->damages->items, &r->options->damages->n, sizeof(*damage));
	if (damage)
		*damage =
		    (qs_damage){.output = output, .offset = offset, .size = size, .reason = strdup(error->text)};
	r->is_damaged[output] = 1;
	pthread_mutex_unlock(&r->lock);
	if (!damage || !damage->reason)
		return qs_no_memory(error);
	qs_error_clear(error);
	return QSTORE_OK;
}

static int is_damaged(restorer *r, uint32_t output)
{
	pthread_mutex_lock(&r->lock);
	int damaged = r->is_damaged && r->is_damaged[output];
	pthread_mutex_unlock(&r->lock);
	return damaged;
}

/* ---- Bytes of no object ---- */

typedef struct member_target {
	restorer *r;
	const target *target; /* NULL: nowhere */
	uint64_t written;
	int failed; /* could bytes not be written? */
} member_target;

static qstore_status write_member(void *user, const uint8_t *data, size_t size, qstore_error *error)
{
	member_target *m = user;
	const qstore_work *work = m->r->options->work;
	qstore_status status = QSTORE_OK;
	if (work && qs_is_cancelled(work->cancel))
		return qs_cancelled(error);
	if (m->target)
		status = qs_pwrite_all(m->target->fd, data, size, m->written, m->target->path, error);
	m->failed = !!status;
	m->written += size;
	add_progress(m->r, size);
	return status;
}

/* Restores an output without objects: a small file, an empty file, or only a header. */
static qstore_status restore_member(restorer *r, uint32_t output, const target *t, qstore_error *error)
{
	qs_file file;
	member_target m = {.r = r, .target = t};
	if (r->outputs[output].file == QS_NONE)
		return QSTORE_OK;
	qs_index_file(&r->archive->index, r->outputs[output].file, &file);
	qstore_status status = qs_member_read(r->archive, &file, write_member, &m, error);
	return status && !m.failed ? note_damage(r, output, 0, file.size, status, error) : status;
}

static qstore_status write_converted(void *user, const void *data, size_t size, qstore_error *error)
{
	return write_member(user, data, size, error);
}

/* Restores a range whose elements are made singles. Several threads do so for several ranges at once. */
static qstore_status restore_converted(restorer *r, const qs_piece *piece, const target *t,
                                       qstore_error *error)
{
	member_target m = {.r = r, .target = t, .written = piece->offset};
	qstore_work work = {.threads = 1};
	qstore_status status = qs_stream_range(r->archive, piece->converted, &work, write_converted, &m, error);
	if (!status || m.failed)
		return status;
	uint64_t end = piece->offset + qs_range_size(piece->converted);
	return note_damage(r, piece->output, m.written, end - m.written, status, error);
}

/* ---- Spans ---- */

static void *create_thread(void *user)
{
	const restorer *r = user;
	restore_thread *thread = calloc(1, sizeof(*thread));
	if (!thread)
		return NULL;
	thread->decoder = qs_decoder_create(r->archive, r->wholes, r->options->sha256 || r->options->check);
	thread->memory = aligned_alloc(ALIGNMENT, SPAN_MAX + ALIGNMENT);
	if (!thread->decoder || !thread->memory) {
		qs_decoder_destroy(thread->decoder);
		free(thread->memory);
		free(thread);
		return NULL;
	}
	return thread;
}

static void destroy_thread(void *user, void *memory)
{
	(void)user;
	restore_thread *thread = memory;
	qs_decoder_destroy(thread->decoder);
	free(thread->memory);
	free(thread);
}

/* Decodes the span's pieces, one behind the other. */
static qstore_status decode_span(restorer *r, restore_thread *thread, const span *s, qstore_error *error)
{
	const qs_piece *piece = &r->pieces[s->first];
	uint8_t *dst = thread->data = thread->memory + piece->offset % ALIGNMENT;
	assert(s->size <= SPAN_MAX);
	for (const qs_piece *end = piece + s->n; piece < end; dst += piece++->from.size) {
		qstore_status status = qs_decoder_read(thread->decoder, &piece->from, dst, error);
		if (!status && r->options->check)
			status = r->options->check(r->options->check_user, &r->outputs[piece->output], piece, dst, error);
		if (status) {
			status = note_damage(r, piece->output, piece->offset, piece->from.size, status, error);
			memset(dst, 0, piece->from.size);
		}
		if (status)
			return status;
	}
	return QSTORE_OK;
}

static qstore_status restore_span(void *user, void *memory, uint64_t job, qstore_error *error)
{
	restorer *r = user;
	restore_thread *thread = memory;
	const span *s = &r->spans[job];
	const qs_piece *first = &r->pieces[s->first];
	const target *t = NULL;
	qstore_status status = QSTORE_OK;
	thread->data = NULL;
	if (first->from.object != QS_NONE)
		status = decode_span(r, thread, s, error);
	if (!status)
		status = open_target(r, first->output, &t, error);
	if (status)
		return status;
	if (first->converted) {
		status = restore_converted(r, first, t, error);
	} else if (first->from.object == QS_NONE) {
		status = restore_member(r, first->output, t, error);
	} else {
		if (t)
			status = qs_pwrite_all(t->fd, thread->data, s->size, first->offset, t->path, error);
		add_progress(r, s->size);
	}
	return status ? status : end_span(r, first->output, error);
}

/* Hashes a span. Spans are committed in the order of the file, which SHA-256 needs. */
static qstore_status hash_span(void *user, void *memory, uint64_t job, qstore_error *error)
{
	restorer *r = user;
	const restore_thread *thread = memory;
	const span *s = &r->spans[job];
	const qs_piece *first = &r->pieces[s->first];
	const qs_output *output = &r->outputs[first->output];
	uint8_t digest[32];
	qs_file file;
	if (!thread->data || output->file == QS_NONE || is_damaged(r, first->output))
		return QSTORE_OK;
	qs_index_file(&r->archive->index, output->file, &file);
	if ((first->offset == 0 && !qs_sha256_reset(r->sha256)) ||
	    !qs_sha256_update(r->sha256, thread->data, s->size))
		return qs_no_memory(error);
	if (first->offset + s->size < file.size)
		return QSTORE_OK;
	if (!qs_sha256_final(r->sha256, digest))
		return qs_no_memory(error);
	qstore_status status = qs_file_check_sha256(r->archive, &file, digest, error);
	return status ? note_damage(r, first->output, 0, file.size, status, error) : QSTORE_OK;
}

/* Joins pieces to spans, as long as there remain enough spans for each thread. Returns 0 if memory is out. */
static int make_spans(restorer *r, unsigned threads)
{
	uint64_t most = r->progress.total / (SPANS_PER_THREAD * qs_pool_threads(threads));
	most = most < SPAN_MAX ? most : SPAN_MAX;
	r->spans = calloc(r->n_pieces + 1, sizeof(*r->spans));
	if (!r->spans)
		return 0;
	for (size_t i = 0; i < r->n_pieces; i++) {
		const qs_piece *piece = &r->pieces[i];
		span *last = r->n_spans > 0 ? &r->spans[r->n_spans - 1] : NULL;
		if (last && r->options->folder && !piece->converted && !r->pieces[last->first].converted &&
		    r->pieces[last->first].output == piece->output && last->size + piece->from.size <= most) {
			last->n++;
			last->size += piece->from.size;
		} else {
			r->spans[r->n_spans++] = (span){i, 1, piece->from.size};
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
	for (size_t i = 0; i < r->n_spans; i++)
		r->targets[r->pieces[r->spans[i].first].output].n_left++;
	return 1;
}

qstore_status qs_restore(const qstore_archive *archive, const qs_output *outputs, size_t n_outputs,
                         const qs_restore_options *options, qstore_error *error)
{
	const qstore_work *work = options->work;
	restorer r = {
	    .archive = archive,
	    .outputs = outputs,
	    .n_outputs = n_outputs,
	    .options = options,
	    .progress = {.phase = options->phase},
	    .wholes = qs_wholes_create(archive),
	};
	if (pthread_mutex_init(&r.lock, NULL) != 0) {
		qs_wholes_destroy(r.wholes);
		return qs_no_memory(error);
	}
	unsigned threads = work ? work->threads : 0;
	qstore_status status = QSTORE_OK;
	for (size_t i = 0; i < n_outputs; i++)
		r.progress.total += outputs[i].size;
	if (!r.wholes)
		status = qs_no_memory(error);
	if (!status)
		status = qs_restore_plan(archive, outputs, n_outputs, &r.pieces, &r.n_pieces, error);
	if (!status && (!make_spans(&r, threads) || (options->folder && !make_targets(&r, n_outputs)) ||
	                (options->damages && !(r.is_damaged = calloc(n_outputs + 1, 1))) ||
	                (options->sha256 && !(r.sha256 = qs_sha256_create()))))
		status = qs_no_memory(error);
	if (!status) {
		qs_jobs jobs = {
		    .n_jobs = r.n_spans,
		    .user = &r,
		    .create = create_thread,
		    .destroy = destroy_thread,
		    .work = restore_span,
		    .commit = options->sha256 ? hash_span : NULL,
		    .cancel = work ? work->cancel : NULL,
		};
		status = qs_pool_run(&jobs, threads, error);
	}
	if (!status && options->damages)
		qs_damages_join(archive, outputs, options->damages);
	for (size_t i = 0; i < n_outputs && r.targets; i++) {
		close_target(&r.targets[i], 0, NULL);
		free(r.targets[i].path);
	}
	free(r.targets);
	free(r.is_damaged);
	free(r.pieces);
	free(r.spans);
	qs_sha256_destroy(r.sha256);
	qs_wholes_destroy(r.wholes);
	pthread_mutex_destroy(&r.lock);
	return status;
}

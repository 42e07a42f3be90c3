#include "row_maxima.h"

#include <stdlib.h>

#include "core/bytes.h"
#include "core/index.h"
#include "os/pool.h"
#include "os/search.h"
#include "quantize/llm_int8.h"

typedef struct maxima_thread {
	uint8_t *fine; /* a chunk */
	float *maxima; /* one for each row that the chunk touches */
	size_t n_rows;
	int is_finite;
} maxima_thread;

static void *maxima_create(void *user)
{
	(void)user;
	maxima_thread *thread = calloc(1, sizeof(*thread));
	if (!thread)
		return NULL;
	thread->fine = malloc(QS_CHUNK_SIZE_MAX);
	thread->maxima = malloc((QS_CHUNK_SIZE_MAX / 2 + 1) * sizeof(float));
	if (!thread->fine || !thread->maxima) {
		free(thread->fine);
		free(thread->maxima);
		free(thread);
		return NULL;
	}
	return thread;
}

static void maxima_destroy(void *user, void *memory)
{
	(void)user;
	maxima_thread *thread = memory;
	free(thread->fine);
	free(thread->maxima);
	free(thread);
}

static uint64_t first_job_of(const void *candidate)
{
	return ((const pack_quantized *)candidate)->first_job;
}

/* The candidate that a job belongs to, and the elements that it has to look at. */
static pack_quantized *find_job(const pack_candidates *q, uint64_t job, uint64_t *first_elem, size_t *n)
{
	pack_quantized *c = &q->items[qs_last_begun(q->items, q->n, sizeof(*q->items), job, first_job_of)];
	uint64_t left;
	*first_elem = (job - c->first_job) * c->chunk_elems;
	left = pack_n_elems(c->fine) - *first_elem;
	*n = left < c->chunk_elems ? (size_t)left : (size_t)c->chunk_elems;
	return c;
}

static qstore_status maxima_work(void *user, void *memory, uint64_t job, qstore_error *error)
{
	pack_candidates *q = user;
	maxima_thread *thread = memory;
	uint64_t first_elem;
	size_t n;
	pack_quantized *c = find_job(q, job, &first_elem, &n);
	qstore_status status =
	    pack_read(c->fine->source, thread->fine, 2 * n, c->fine->source_offset + 2 * first_elem, error);
	if (status)
		return status;
	thread->n_rows = 0;
	thread->is_finite = 1;
	for (size_t done = 0; done < n;) {
		uint64_t left = c->cols - (first_elem + done) % c->cols;
		size_t slice = left < n - done ? (size_t)left : n - done;
		thread->maxima[thread->n_rows++] =
		    qs_llm_int8_absmax(thread->fine + 2 * done, slice, c->fine->dtype, &thread->is_finite);
		done += slice;
	}
	return QSTORE_OK;
}

static qstore_status maxima_commit(void *user, void *memory, uint64_t job, qstore_error *error)
{
	pack_candidates *q = user;
	maxima_thread *thread = memory;
	uint64_t first_elem;
	size_t n;
	pack_quantized *c = find_job(q, job, &first_elem, &n);
	c->is_finite &= thread->is_finite;
	/* Chunks are whole rows, or slices of one row; each of these overwrites the maximum of those before it.
	 */
	if (first_elem % c->cols != 0 && q->row > thread->maxima[0])
		thread->maxima[0] = q->row;
	q->row = thread->maxima[thread->n_rows - 1];
	pack_advance(q->progress, 2 * (uint64_t)n);
	for (size_t i = 0; i < thread->n_rows; i++)
		qs_store32((uint8_t *)&thread->maxima[i], qs_load32((const uint8_t *)&thread->maxima[i]));
	return pack_spool_write(q->spool, thread->maxima, thread->n_rows * sizeof(float),
	                        c->scales_offset + first_elem / c->cols * sizeof(float), error);
}

qstore_status pack_find_row_maxima(pack_candidates *q, qstore_error *error)
{
	const qstore_work *work = q->progress->work;
	uint64_t n_jobs = 0, total = 0;
	for (size_t i = 0; i < q->n; i++) {
		pack_quantized *c = &q->items[i];
		uint32_t chunk_elems;
		pack_geometry(c->fine, &c->cols, &chunk_elems);
		c->chunk_elems = chunk_elems;
		c->first_job = n_jobs;
		c->is_finite = 1;
		c->scales_offset = pack_spool_reserve(q->spool, c->fine->dims[0] * sizeof(float));
		n_jobs += (pack_n_elems(c->fine) + chunk_elems - 1) / chunk_elems;
		total += c->fine->size;
	}
	qs_jobs jobs = {
	    .n_jobs = n_jobs,
	    .user = q,
	    .create = maxima_create,
	    .destroy = maxima_destroy,
	    .work = maxima_work,
	    .commit = maxima_commit,
	    .cancel = work->cancel,
	};
	pack_phase(q->progress, "quantizing", total);
	qstore_status status = qs_pool_run(&jobs, work->threads, error);
	size_t kept = 0;
	for (size_t i = 0; i < q->n; i++) {
		if (q->items[i].is_finite)
			q->items[kept++] = q->items[i];
	}
	q->n = kept;
	return status;
}

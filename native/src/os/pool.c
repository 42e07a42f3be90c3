#include "pool.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#define THREADS_MAX 256u

typedef struct pool {
	const qs_jobs *jobs;
	pthread_mutex_t mutex;
	pthread_cond_t turn; /* signalled when `committed` or `failed` changes */
	uint64_t next;       /* job to start */
	uint64_t committed;  /* all jobs below this number are committed */
	uint64_t next_side;
	unsigned n_aside, aside_max; /* threads that work on side jobs */
	int failed;
	uint64_t failed_job; /* the lowest that failed */
	qstore_error error;
} pool;

unsigned qs_pool_threads(unsigned wanted)
{
	if (wanted == 0) {
		long cores = sysconf(_SC_NPROCESSORS_ONLN);
		wanted = cores < 1 ? 1 : (unsigned)cores;
	}
	return wanted < THREADS_MAX ? wanted : THREADS_MAX;
}

static qstore_status run_job(const qs_jobs *jobs, void *thread, uint64_t job, qstore_error *error)
{
	if (qs_is_cancelled(jobs->cancel))
		return qs_cancelled(error);
	return job < jobs->n_jobs ? jobs->work(jobs->user, thread, job, error)
	                          : jobs->side(jobs->user, thread, job - jobs->n_jobs, error);
}

static void pool_fail(pool *p, uint64_t job, const qstore_error *error)
{
	if (!p->failed || job < p->failed_job) {
		p->failed_job = job;
		p->error = *error;
	}
	p->failed = 1;
	pthread_cond_broadcast(&p->turn);
}

/* Waits for the job's turn and commits it. The mutex is held, but not during the commit. */
static qstore_status commit_in_turn(pool *p, void *thread, uint64_t job, qstore_status status,
                                    qstore_error *error)
{
	while (!p->failed && p->committed != job)
		pthread_cond_wait(&p->turn, &p->mutex);
	if (p->failed || status)
		return status;
	pthread_mutex_unlock(&p->mutex);
	/* No other thread is here, because each waits for the number of its own job. */
	status = p->jobs->commit(p->jobs->user, thread, job, error);
	pthread_mutex_lock(&p->mutex);
	if (!status) {
		p->committed++;
		pthread_cond_broadcast(&p->turn);
	}
	return status;
}

/* Takes the next job and returns its number, UINT64_MAX if there is none. Side jobs have the numbers behind
 * all others. The mutex is held. */
static uint64_t take_job(pool *p)
{
	const qs_jobs *jobs = p->jobs;
	if (p->next_side < jobs->n_side && (p->n_aside < p->aside_max || p->next == jobs->n_jobs)) {
		p->n_aside++;
		return jobs->n_jobs + p->next_side++;
	}
	return p->next < jobs->n_jobs ? p->next++ : UINT64_MAX;
}

static void *pool_thread(void *argument)
{
	pool *p = argument;
	qstore_error error = {QSTORE_OK, ""};
	void *thread = p->jobs->create(p->jobs->user);
	pthread_mutex_lock(&p->mutex);
	if (!thread) {
		qs_no_memory(&error);
		pool_fail(p, UINT64_MAX, &error);
	}
	while (!p->failed) {
		uint64_t job = take_job(p);
		if (job == UINT64_MAX)
			break;
		pthread_mutex_unlock(&p->mutex);
		qstore_status status = run_job(p->jobs, thread, job, &error);
		pthread_mutex_lock(&p->mutex);
		if (job >= p->jobs->n_jobs)
			p->n_aside--;
		else if (p->jobs->commit)
			status = commit_in_turn(p, thread, job, status, &error);
		if (status) {
			pool_fail(p, job, &error);
			break;
		}
	}
	pthread_mutex_unlock(&p->mutex);
	if (thread)
		p->jobs->destroy(p->jobs->user, thread);
	return NULL;
}

static qstore_status run_alone(const qs_jobs *jobs, qstore_error *error)
{
	qstore_status status = QSTORE_OK;
	void *thread = jobs->create(jobs->user);
	if (!thread)
		return qs_no_memory(error);
	for (uint64_t job = 0; job < jobs->n_jobs + jobs->n_side && !status; job++) {
		status = run_job(jobs, thread, job, error);
		if (!status && job < jobs->n_jobs && jobs->commit)
			status = jobs->commit(jobs->user, thread, job, error);
	}
	jobs->destroy(jobs->user, thread);
	return status;
}

qstore_status qs_pool_run(const qs_jobs *jobs, unsigned threads, qstore_error *error)
{
	threads = qs_pool_threads(threads);
	if (jobs->n_jobs + jobs->n_side < threads)
		threads = (unsigned)(jobs->n_jobs + jobs->n_side);
	if (threads == 0)
		return QSTORE_OK;
	if (threads == 1)
		return run_alone(jobs, error);
	pool p = {.jobs = jobs, .aside_max = threads / 2};
	pthread_t ids[THREADS_MAX];
	assert(threads <= THREADS_MAX);
	unsigned started = 0;
	if (pthread_mutex_init(&p.mutex, NULL) != 0)
		return qs_no_memory(error);
	if (pthread_cond_init(&p.turn, NULL) != 0) {
		pthread_mutex_destroy(&p.mutex);
		return qs_no_memory(error);
	}
	while (started < threads && pthread_create(&ids[started], NULL, pool_thread, &p) == 0)
		started++;
	/* If not all threads could be started, the ones that run do the work. */
	if (started == 0)
		pool_thread(&p);
	for (unsigned i = 0; i < started; i++)
		pthread_join(ids[i], NULL);
	pthread_cond_destroy(&p.turn);
	pthread_mutex_destroy(&p.mutex);
	if (p.failed) {
		if (error)
			*error = p.error;
		return p.error.status;
	}
	return QSTORE_OK;
}

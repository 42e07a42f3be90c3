/* A pool of threads that work on numbered jobs and commit their results in order.
 *
 * Each thread works on one job, waits for its turn, commits the job, and only then takes the next one. So at
 * most as many results as threads are in memory, and the order of commits does not depend on the number of
 * threads. Jobs without a commit wait for nobody. While there are side jobs, half of the threads work on
 * them; a single thread does them after all others. */
#ifndef QS_POOL_H
#define QS_POOL_H

#include <signal.h>
#include <stdint.h>

#include "error.h"

typedef struct qs_jobs {
	uint64_t n_jobs;
	void *user;
	void *(*create)(void *user); /* makes a thread's own memory; returns NULL if memory is out */
	void (*destroy)(void *user, void *thread);
	qstore_status (*work)(void *user, void *thread, uint64_t job, qstore_error *error);
	qstore_status (*commit)(void *user, void *thread, uint64_t job,
	                        qstore_error *error); /* in order of jobs, one at a time; or NULL */
	uint64_t n_side;                              /* side jobs, numbered from 0, without commits */
	qstore_status (*side)(void *user, void *thread, uint64_t job, qstore_error *error);
	const volatile sig_atomic_t *cancel; /* not 0: jobs end with CANCELLED; or NULL */
} qs_jobs;

/* Runs all jobs. threads: at most so many; 0: one for each core. After a failure no more jobs are started,
 * and the error of the lowest job that failed is reported; the error of a side job only if no other job
 * failed. */
qstore_status qs_pool_run(const qs_jobs *jobs, unsigned threads, qstore_error *error);

/* Returns the largest number of threads that qs_pool_run takes if `wanted` are asked for. */
unsigned qs_pool_threads(unsigned wanted);

#endif

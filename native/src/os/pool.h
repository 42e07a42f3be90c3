/* Numbered jobs on several threads, their results committed in order.
 *
 * Each thread works on one job, waits for its turn, commits it, and only then takes the next one: so at most
 * `threads` results are in memory, and what is committed does not depend on the number of threads. Jobs with
 * nothing to commit wait for nobody. Side jobs are done by half of the threads while there are any, by one
 * thread alone after all others. */
#ifndef QS_POOL_H
#define QS_POOL_H

#include <signal.h>
#include <stdint.h>

#include "error.h"

typedef struct qs_jobs {
	uint64_t n_jobs;
	void *user;
	void *(*create)(void *user); /* a thread's own memory; NULL: out of memory */
	void (*destroy)(void *user, void *thread);
	qstore_status (*work)(void *user, void *thread, uint64_t job, qstore_error *error);
	qstore_status (*commit)(void *user, void *thread, uint64_t job,
	                        qstore_error *error); /* in order, one at a time; or NULL */
	uint64_t n_side;                              /* jobs of their own, with nothing to commit: */
	qstore_status (*side)(void *user, void *thread, uint64_t job, qstore_error *error);
	const volatile sig_atomic_t *cancel; /* or NULL */
} qs_jobs;

/* Of failing jobs the lowest one's error is reported, of side jobs only when no other failed. threads 0: one
 * for each core. */
qstore_status qs_pool_run(const qs_jobs *jobs, unsigned threads, qstore_error *error);

unsigned qs_pool_threads(unsigned wanted);

#endif

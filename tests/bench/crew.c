#include "crew.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

typedef struct member {
	struct thread_crew *crew;
	unsigned number;
	pthread_t thread;
	worker *worker;
	uint8_t *scratch; /* METHOD_ROOM */
} member;

struct thread_crew {
	unsigned threads, active;
	pthread_barrier_t barrier;
	atomic_size_t next;
	size_t n;
	crew_work *work; /* NULL: go home */
	const void *task;
	member members[THREADS_MAX];
};

static void work_on(member *m)
{
	thread_crew *c = m->crew;
	for (size_t i; (i = atomic_fetch_add(&c->next, 1)) < c->n;)
		c->work(c->task, i, m->worker, m->scratch);
}

static void *run_member(void *user)
{
	member *m = user;
	for (;;) {
		pthread_barrier_wait(&m->crew->barrier);
		if (!m->crew->work)
			return NULL;
		if (m->number < m->crew->active)
			work_on(m);
		pthread_barrier_wait(&m->crew->barrier);
	}
}

thread_crew *crew_create(unsigned threads)
{
	thread_crew *c = need(calloc(1, sizeof *c));
	c->threads = threads;
	pthread_barrier_init(&c->barrier, NULL, threads);
	for (unsigned i = 0; i < threads; i++) {
		c->members[i] =
		    (member){.crew = c, .number = i, .worker = worker_create(), .scratch = need(malloc(METHOD_ROOM))};
		memset(c->members[i].scratch, 1, METHOD_ROOM);
		if (i && pthread_create(&c->members[i].thread, NULL, run_member, &c->members[i]))
			fail("cannot start a thread");
	}
	return c;
}

void crew_destroy(thread_crew *c)
{
	c->work = NULL;
	if (c->threads > 1)
		pthread_barrier_wait(&c->barrier);
	for (unsigned i = 0; i < c->threads; i++) {
		if (i)
			pthread_join(c->members[i].thread, NULL);
		worker_destroy(c->members[i].worker);
		free(c->members[i].scratch);
	}
	pthread_barrier_destroy(&c->barrier);
	free(c);
}

worker *crew_first(thread_crew *c)
{
	return c->members[0].worker;
}

unsigned crew_threads(const thread_crew *c)
{
	return c->threads;
}

double crew_run(thread_crew *c, crew_work *work, const void *task, size_t n, unsigned threads)
{
	c->work = work;
	c->task = task;
	c->n = n;
	c->active = threads;
	atomic_store(&c->next, 0);
	/* Others sleep through what one thread does. */
	if (threads == 1) {
		double start = now();
		work_on(&c->members[0]);
		return now() - start;
	}
	double start = now(); /* before the others may begin */
	pthread_barrier_wait(&c->barrier);
	work_on(&c->members[0]);
	pthread_barrier_wait(&c->barrier);
	return now() - start;
}

void keep_least(double *least, double t)
{
	if (*least == 0 || t < *least)
		*least = t;
}

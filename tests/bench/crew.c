#include "crew.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

typedef struct member {
	struct thread_crew *crew;
	unsigned number;
	pthread_t thread;
	worker *worker;
	uint8_t *scratch; /* METHOD_ROOM */
	double start, end;
} member;

struct thread_crew {
	unsigned threads, active;
	pthread_barrier_t barrier;
	atomic_uint awake;
	atomic_size_t next;
	size_t n;
	crew_work *work;          /* NULL: the threads end */
	const void *const *tasks; /* one for all threads, or one for each */
	crew_way way;
	member members[THREADS_MAX];
};

/* Waits until all threads are awake. A thread that sleeps begins some 50 µs late, which is a tenth of a pass
 * over a small model. */
static void wait_awake(thread_crew *c)
{
	atomic_fetch_add(&c->awake, 1);
	while (atomic_load(&c->awake) < c->active)
		sched_yield();
}

static void work_on(member *m)
{
	thread_crew *c = m->crew;
	m->start = now();
	if (c->way == CREW_APART)
		for (size_t i = 0; i < c->n; i++)
			c->work(c->tasks[m->number], (i + m->number * c->n / c->active) % c->n, m->worker, m->scratch);
	else
		for (size_t i; (i = atomic_fetch_add(&c->next, 1)) < c->n;)
			c->work(c->tasks[0], i, m->worker, m->scratch);
	m->end = now();
}

static void *run_member(void *user)
{
	member *m = user;
	for (;;) {
		pthread_barrier_wait(&m->crew->barrier);
		if (!m->crew->work)
			return NULL;
		wait_awake(m->crew);
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

double crew_run(thread_crew *c, crew_work *work, const void *const *tasks, size_t n, crew_way way)
{
	c->work = work;
	c->tasks = tasks;
	c->n = n;
	c->way = way;
	c->active = way == CREW_ALONE ? 1 : c->threads;
	atomic_store(&c->awake, 0);
	atomic_store(&c->next, 0);
	/* The other threads go on sleeping while one thread works alone. */
	if (c->active > 1) {
		pthread_barrier_wait(&c->barrier);
		wait_awake(c);
	}
	work_on(&c->members[0]);
	if (c->active > 1)
		pthread_barrier_wait(&c->barrier);
	double start = c->members[0].start, end = c->members[0].end;
	for (unsigned i = 1; i < c->active; i++) {
		start = c->members[i].start < start ? c->members[i].start : start;
		end = c->members[i].end > end ? c->members[i].end : end;
	}
	return end - start;
}

void crew_speeds(double gbs[CREW_WAYS], double bytes, const double seconds[CREW_WAYS], unsigned threads)
{
	for (crew_way way = 0; way < CREW_WAYS; way++)
		gbs[way] = seconds[way] > 0 ? bytes * (way == CREW_APART ? threads : 1) / seconds[way] / 1e9 : 0;
}

void keep_least(double *least, double t)
{
	if (*least == 0 || t < *least)
		*least = t;
}

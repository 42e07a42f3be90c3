#include "measure.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

typedef struct task {
	const method *method;
	const batch *batch;
	const uint8_t *coded; /* NULL: encode, each thread for itself */
	const size_t *begins; /* of chunks in coded, and its end */
	uint8_t *codes, *values;
} task;

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
	const task *task; /* NULL: go home */
	member members[THREADS_MAX];
};

static void work_on(member *m, const task *t)
{
	const batch *b = t->batch;
	for (size_t i; (i = atomic_fetch_add(&m->crew->next, 1)) < b->n_chunks;) {
		const chunk *c = &b->chunks[i];
		if (t->coded)
			t->method->decode(m->worker, b->dtype, c, t->coded + t->begins[i],
			                  t->begins[i + 1] - t->begins[i], t->codes + c->at, t->values + 2 * c->at);
		else
			t->method->encode(m->worker, b->dtype, c, m->scratch);
	}
}

static void *run_member(void *user)
{
	member *m = user;
	for (;;) {
		pthread_barrier_wait(&m->crew->barrier);
		const task *t = m->crew->task;
		if (!t)
			return NULL;
		if (m->number < m->crew->active)
			work_on(m, t);
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
	c->task = NULL;
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

/* Seconds. */
static double run_task(thread_crew *c, const task *t, unsigned threads)
{
	c->task = t;
	c->active = threads;
	atomic_store(&c->next, 0);
	/* Others sleep through what one thread does. */
	if (threads == 1) {
		double start = now();
		work_on(&c->members[0], t);
		return now() - start;
	}
	double start = now(); /* before the others may begin */
	pthread_barrier_wait(&c->barrier);
	work_on(&c->members[0], t);
	pthread_barrier_wait(&c->barrier);
	return now() - start;
}

static void keep_least(double *least, double t)
{
	if (*least == 0 || t < *least)
		*least = t;
}

typedef struct coded_batch {
	uint8_t *bytes;
	size_t *begins;
	times best;
} coded_batch;

/* Codes the batch once, in order, and keeps the output. */
static void encode_all(worker *w, const batch *b, const method *m, coded_batch *out)
{
	size_t at = 0, room = 4 * b->n_weights + METHOD_ROOM;
	uint8_t *bytes = need(malloc(room));
	out->begins = need(malloc((b->n_chunks + 1) * sizeof *out->begins));
	for (size_t i = 0; i < b->n_chunks; i++) {
		out->begins[i] = at;
		if (room - at < METHOD_ROOM)
			fail("%s grows data", m->name);
		at += m->encode(w, b->dtype, &b->chunks[i], bytes + at);
	}
	out->begins[b->n_chunks] = at;
	out->bytes = need(realloc(bytes, at));
	out->best.coded_bytes = at;
}

static void check(const task *t)
{
	for (size_t i = 0; i < t->batch->n_chunks; i++) {
		const chunk *c = &t->batch->chunks[i];
		if (t->method->decodes == 1 ? memcmp(t->codes + c->at, c->codes, c->n)
		                            : memcmp(t->values + 2 * c->at, c->values, 2 * (size_t)c->n))
			fail("%s: decoded weights differ", t->method->name);
	}
}

void measure_batch(thread_crew *crew, const batch *b, unsigned passes, times *all)
{
	coded_batch *coded = need(calloc(n_methods, sizeof *coded));
	task t = {.batch = b, .codes = need(malloc(b->n_weights)), .values = need(malloc(2 * b->n_weights))};
	unsigned most = crew->threads, kinds = most > 1 ? 2 : 1;
	for (size_t m = 0; m < n_methods; m++) {
		encode_all(crew_first(crew), b, &methods[m], &coded[m]);
		t.method = &methods[m];
		t.coded = coded[m].bytes;
		t.begins = coded[m].begins;
		memset(t.codes, 1, b->n_weights);
		memset(t.values, 1, 2 * b->n_weights);
		run_task(crew, &t, 1);
		check(&t);
	}
	for (unsigned pass = 0; pass < passes; pass++)
		for (size_t m = 0; m < n_methods; m++)
			for (unsigned kind = 0; kind < kinds; kind++) {
				t.method = &methods[m];
				t.begins = coded[m].begins;
				t.coded = coded[m].bytes;
				keep_least(&coded[m].best.decode[kind], run_task(crew, &t, kind ? most : 1));
				t.coded = NULL;
				if (pass % 3 == 0) /* slower: fewer passes tell as much */
					keep_least(&coded[m].best.encode[kind], run_task(crew, &t, kind ? most : 1));
			}
	for (size_t m = 0; m < n_methods; m++) {
		for (unsigned kind = 0; kind < kinds; kind++) {
			all[m].encode[kind] += coded[m].best.encode[kind];
			all[m].decode[kind] += coded[m].best.decode[kind];
		}
		all[m].coded_bytes += coded[m].best.coded_bytes;
		free(coded[m].bytes);
		free(coded[m].begins);
	}
	free(coded);
	free(t.codes);
	free(t.values);
}

#include "measure.h"

#include <stdlib.h>
#include <string.h>

typedef struct task {
	const method *method;
	const batch *batch;
	const uint8_t *coded;
	const size_t *begins; /* the offset of each chunk in `coded`, and the end */
	uint8_t *codes, *values;
} task;

static void encode_chunk(const void *user, size_t i, worker *w, uint8_t *scratch)
{
	const task *t = user;
	t->method->encode(w, t->batch->dtype, &t->batch->chunks[i], scratch);
}

static void decode_whole(const void *user, size_t i, worker *w, uint8_t *scratch)
{
	(void)scratch;
	const task *t = user;
	const chunk *c = &t->batch->chunks[i];
	t->method->decode(w, t->batch->dtype, c, t->coded + t->begins[i], t->begins[i + 1] - t->begins[i],
	                  t->codes + c->at, t->values + 2 * c->at);
}

static void decode_streamed(const void *user, size_t i, worker *w, uint8_t *scratch)
{
	const task *t = user;
	t->method->decode(w, t->batch->dtype, &t->batch->chunks[i], t->coded + t->begins[i],
	                  t->begins[i + 1] - t->begins[i], scratch, scratch + CHUNK_ELEMS);
}

static crew_work *const decoders[OUTPUTS] = {decode_whole, decode_streamed};

typedef struct coded_batch {
	uint8_t *bytes;
	size_t *begins;
	times best;
} coded_batch;

/* Codes the batch in order, and keeps the output. */
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

/* Tasks that differ only in their outputs: one for each thread. */
typedef struct task_list {
	task each[THREADS_MAX];
	const void *pointers[THREADS_MAX];
	unsigned n;
} task_list;

static task_list *tasks_create(const batch *b, unsigned threads)
{
	task_list *tasks = need(calloc(1, sizeof *tasks));
	for (tasks->n = 0; tasks->n < threads; tasks->n++) {
		task *t = &tasks->each[tasks->n];
		*t =
		    (task){.batch = b, .codes = need(malloc(b->n_weights)), .values = need(malloc(2 * b->n_weights))};
		tasks->pointers[tasks->n] = t;
		/* All pages of the outputs are touched before anything is measured. */
		memset(t->codes, 1, b->n_weights);
		memset(t->values, 1, 2 * b->n_weights);
	}
	return tasks;
}

static void tasks_destroy(task_list *tasks)
{
	for (unsigned i = 0; i < tasks->n; i++) {
		free(tasks->each[i].codes);
		free(tasks->each[i].values);
	}
	free(tasks);
}

static void tasks_set(task_list *tasks, const method *m, const coded_batch *coded)
{
	for (unsigned i = 0; i < tasks->n; i++) {
		tasks->each[i].method = m;
		tasks->each[i].coded = coded->bytes;
		tasks->each[i].begins = coded->begins;
	}
}

unsigned passes_for(size_t n_weights, unsigned passes)
{
	return n_weights < BATCH_WEIGHTS ? (unsigned)((uint64_t)passes * BATCH_WEIGHTS / n_weights) : passes;
}

/* Returns the number of ways in which a method is measured. The peers are not measured in the last way,
 * CREW_APART. */
static crew_way ways_of(const thread_crew *crew, const method *m)
{
	return crew_threads(crew) == 1 ? CREW_ALONE + 1 : strstr(m->name, "qstore") ? CREW_WAYS : CREW_APART;
}

static void measure_encoding(thread_crew *crew, const task_list *tasks, double best[CREW_WAYS])
{
	size_t n = tasks->each->batch->n_chunks;
	for (unsigned pass = passes_for(tasks->each->batch->n_weights, 1); pass > 0; pass--)
		for (crew_way way = 0; way < ways_of(crew, tasks->each->method); way++)
			keep_least(&best[way], crew_run(crew, encode_chunk, tasks->pointers, n, way));
}

static void measure_decoding(thread_crew *crew, const task_list *tasks, decode_times *best)
{
	size_t n = tasks->each->batch->n_chunks;
	for (unsigned outputs = 0; outputs < OUTPUTS; outputs++)
		for (crew_way way = 0; way < ways_of(crew, tasks->each->method); way++)
			keep_least(&best->seconds[outputs][way],
			           crew_run(crew, decoders[outputs], tasks->pointers, n, way));
}

static void add_times(times *all, const times *best)
{
	for (crew_way way = 0; way < CREW_WAYS; way++) {
		all->encode[way] += best->encode[way];
		for (unsigned outputs = 0; outputs < OUTPUTS; outputs++)
			all->decode.seconds[outputs][way] += best->decode.seconds[outputs][way];
	}
	all->coded_bytes += best->coded_bytes;
}

void measure_batch(thread_crew *crew, const batch *b, unsigned passes, times *all)
{
	coded_batch *coded = need(calloc(n_methods, sizeof *coded));
	task_list *tasks = tasks_create(b, crew_threads(crew));
	for (size_t m = 0; m < n_methods; m++) {
		encode_all(crew_first(crew), b, &methods[m], &coded[m]);
		tasks_set(tasks, &methods[m], &coded[m]);
		crew_run(crew, decode_whole, tasks->pointers, b->n_chunks, CREW_ALONE);
		check(tasks->each);
		/* The memory of all threads' workers is touched before anything is measured. */
		crew_run(crew, encode_chunk, tasks->pointers, 1, CREW_APART);
		measure_encoding(crew, tasks, coded[m].best.encode);
	}
	for (unsigned pass = passes_for(b->n_weights, passes); pass > 0; pass--)
		for (size_t m = 0; m < n_methods; m++) {
			tasks_set(tasks, &methods[m], &coded[m]);
			measure_decoding(crew, tasks, &coded[m].best.decode);
		}
	for (size_t m = 0; m < n_methods; m++) {
		add_times(&all[m], &coded[m].best);
		free(coded[m].bytes);
		free(coded[m].begins);
	}
	free(coded);
	tasks_destroy(tasks);
}

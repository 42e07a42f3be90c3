#include "measure.h"

#include <stdlib.h>
#include <string.h>

typedef struct task {
	const method *method;
	const batch *batch;
	const uint8_t *coded;
	const size_t *begins; /* of chunks in coded, and its end */
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

/* Codes the batch in order, and keeps the output. Only the encoder's own time counts. */
static void encode_all(worker *w, const batch *b, const method *m, coded_batch *out)
{
	size_t at = 0, room = 4 * b->n_weights + METHOD_ROOM;
	uint8_t *bytes = need(malloc(room)), *chunk_bytes = need(malloc(METHOD_ROOM));
	memset(chunk_bytes, 1, METHOD_ROOM);
	out->begins = need(malloc((b->n_chunks + 1) * sizeof *out->begins));
	for (size_t i = 0; i < b->n_chunks; i++) {
		out->begins[i] = at;
		if (room - at < METHOD_ROOM)
			fail("%s grows data", m->name);
		double start = now();
		size_t size = m->encode(w, b->dtype, &b->chunks[i], chunk_bytes);
		out->best.encode[0] += now() - start;
		memcpy(bytes + at, chunk_bytes, size);
		at += size;
	}
	out->begins[b->n_chunks] = at;
	out->bytes = need(realloc(bytes, at));
	out->best.coded_bytes = at;
	free(chunk_bytes);
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

static void measure_pass(thread_crew *crew, const task *t, unsigned kinds, decode_times *best)
{
	for (unsigned outputs = 0; outputs < OUTPUTS; outputs++)
		for (unsigned kind = 0; kind < kinds; kind++)
			keep_least(&best->seconds[outputs][kind], crew_run(crew, decoders[outputs], t, t->batch->n_chunks,
			                                                   kind ? crew_threads(crew) : 1));
}

void measure_batch(thread_crew *crew, const batch *b, unsigned passes, times *all)
{
	coded_batch *coded = need(calloc(n_methods, sizeof *coded));
	task t = {.batch = b, .codes = need(malloc(b->n_weights)), .values = need(malloc(2 * b->n_weights))};
	unsigned kinds = crew_threads(crew) > 1 ? 2 : 1;
	for (size_t m = 0; m < n_methods; m++) {
		t.method = &methods[m];
		encode_all(crew_first(crew), b, t.method, &coded[m]);
		if (kinds > 1)
			coded[m].best.encode[1] = crew_run(crew, encode_chunk, &t, b->n_chunks, crew_threads(crew));
		t.coded = coded[m].bytes;
		t.begins = coded[m].begins;
		/* All pages of all outputs are there before anything is measured. */
		memset(t.codes, 1, b->n_weights);
		memset(t.values, 1, 2 * b->n_weights);
		crew_run(crew, decode_whole, &t, b->n_chunks, 1);
		check(&t);
	}
	for (unsigned pass = 0; pass < passes; pass++)
		for (size_t m = 0; m < n_methods; m++) {
			t.method = &methods[m];
			t.begins = coded[m].begins;
			t.coded = coded[m].bytes;
			measure_pass(crew, &t, kinds, &coded[m].best.decode);
		}
	for (size_t m = 0; m < n_methods; m++) {
		for (unsigned kind = 0; kind < kinds; kind++) {
			all[m].encode[kind] += coded[m].best.encode[kind];
			for (unsigned outputs = 0; outputs < OUTPUTS; outputs++)
				all[m].decode.seconds[outputs][kind] += coded[m].best.decode.seconds[outputs][kind];
		}
		all[m].coded_bytes += coded[m].best.coded_bytes;
		free(coded[m].bytes);
		free(coded[m].begins);
	}
	free(coded);
	free(t.codes);
	free(t.values);
}

/* Matrices that all threads need: each chunk is decoded once, whoever asks, and what fails fails for all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include <cmocka.h>

#include "read/whole.h"

enum { THREADS = 4, ROUNDS = 40 };

typedef struct shared {
	qstore_archive *archive;
	qs_wholes *wholes;
	atomic_int n_decoded;
	int fails;
} shared;

typedef struct asking {
	shared *of;
	uint32_t object;
} asking;

static qstore_status fill(void *user, const qs_part *part, uint8_t *dst, qstore_error *error)
{
	const asking *a = user;
	assert_int_equal(part->object_number, a->object);
	atomic_fetch_add(&a->of->n_decoded, 1);
	if (a->of->fails)
		return qs_fail(error, QSTORE_CORRUPT, "object %u is damaged", a->object);
	memset(dst, (int)a->object, qs_part_size(part));
	return QSTORE_OK;
}

/* 0: as it should be. */
static void *ask(void *user)
{
	shared *s = user;
	qs_whole *held = NULL;
	size_t n_wrong = 0;
	for (uint32_t round = 0; round < ROUNDS; round++)
		for (uint32_t i = 0; i < s->archive->index.n_objects; i++) {
			asking a = {s, i};
			qs_object object;
			qstore_error error = {QSTORE_OK, ""};
			qs_index_object(&s->archive->index, i, &object);
			if (object.n_chunks == 0)
				continue;
			qs_wholes_put(s->wholes, held);
			qstore_status status = qs_wholes_get(s->wholes, i, fill, &a, &held, &error);
			if (s->fails) {
				n_wrong += status != QSTORE_CORRUPT || held || !strstr(error.text, "is damaged");
				continue;
			}
			n_wrong += status || held->object != i;
			for (uint64_t at = 0; !status && at < qs_object_bytes(&object); at++)
				n_wrong += held->data[at] != (uint8_t)i;
		}
	qs_wholes_put(s->wholes, held);
	return (void *)(uintptr_t)n_wrong;
}

static void run(int fails, unsigned n_threads)
{
	shared s = {.fails = fails};
	pthread_t threads[THREADS];
	qstore_error error;
	uint32_t n_chunks = 0;
	if (qstore_open("tests/golden/good/onnx.qstore", &s.archive, &error))
		fail_msg("%s; run from the checkout's root", error.text);
	s.wholes = qs_wholes_create(s.archive);
	assert_non_null(s.wholes);
	for (unsigned i = 0; i < n_threads; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, ask, &s), 0);
	for (unsigned i = 0; i < n_threads; i++) {
		void *wrong;
		assert_int_equal(pthread_join(threads[i], &wrong), 0);
		assert_null(wrong);
	}
	for (uint32_t i = 0; i < s.archive->index.n_objects; i++) {
		qs_object object;
		qs_index_object(&s.archive->index, i, &object);
		n_chunks += object.n_chunks;
	}
	/* One thread never decodes anything twice while it asks for nothing else in between. */
	assert_true(n_chunks > 1 && (n_threads > 1 || s.n_decoded == (int)(n_chunks * ROUNDS)));
	qs_wholes_destroy(s.wholes);
	qstore_close(s.archive);
}

static void each_chunk_once(void **state)
{
	(void)state;
	run(0, 1);
}

static void shared_by_threads(void **state)
{
	(void)state;
	run(0, THREADS);
}

static void errors_are_everyones(void **state)
{
	(void)state;
	run(1, THREADS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_chunk_once),
	    cmocka_unit_test(shared_by_threads),
	    cmocka_unit_test(errors_are_everyones),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

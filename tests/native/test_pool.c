/* Jobs on several threads: each is done once, those with a commit are committed in order, the lowest failure
 * is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "os/pool.h"

#define N_JOBS 200
#define N_SIDE 7

typedef struct record {
	atomic_uint worked[N_JOBS], aside[N_SIDE];
	uint64_t committed; /* jobs, in order */
	uint64_t failing, failing_side;
	int in_order;
} record;

static void *create(void *user)
{
	return user;
}

static void destroy(void *user, void *thread)
{
	assert_ptr_equal(user, thread);
}

static qstore_status work(void *user, void *thread, uint64_t job, qstore_error *error)
{
	record *r = user;
	(void)thread;
	atomic_fetch_add(&r->worked[job], 1);
	/* Two fail: the later one perhaps earlier. */
	if (job == r->failing || job == r->failing + 1)
		return qs_fail(error, QSTORE_INPUT, "job %d", (int)job);
	return QSTORE_OK;
}

static qstore_status commit(void *user, void *thread, uint64_t job, qstore_error *error)
{
	record *r = user;
	(void)thread;
	(void)error;
	r->in_order = r->in_order && r->committed == job;
	r->committed++;
	return QSTORE_OK;
}

static qstore_status side(void *user, void *thread, uint64_t job, qstore_error *error)
{
	record *r = user;
	(void)thread;
	atomic_fetch_add(&r->aside[job], 1);
	return job == r->failing_side ? qs_fail(error, QSTORE_LIMIT, "side %d", (int)job) : QSTORE_OK;
}

static qstore_status run(record *r, uint64_t failing, uint64_t failing_side, int ordered, unsigned threads,
                         qstore_error *error)
{
	memset(r, 0, sizeof(*r));
	r->failing = failing;
	r->failing_side = failing_side;
	r->in_order = 1;
	qs_jobs jobs = {
	    .n_jobs = N_JOBS,
	    .user = r,
	    .create = create,
	    .destroy = destroy,
	    .work = work,
	    .commit = ordered ? commit : NULL,
	    .n_side = N_SIDE,
	    .side = side,
	};
	return qs_pool_run(&jobs, threads, error);
}

static void does_all(void **state)
{
	(void)state;
	record r;
	qstore_error error;
	for (unsigned threads = 1; threads < 9; threads++) {
		for (int ordered = 0; ordered < 2; ordered++) {
			assert_int_equal(run(&r, UINT64_MAX - 1, UINT64_MAX, ordered, threads, &error), QSTORE_OK);
			for (unsigned i = 0; i < N_JOBS; i++)
				assert_int_equal(r.worked[i], 1);
			for (unsigned i = 0; i < N_SIDE; i++)
				assert_int_equal(r.aside[i], 1);
			assert_true(r.in_order && r.committed == (ordered ? N_JOBS : 0));
		}
	}
}

static void tells_failures(void **state)
{
	(void)state;
	record r;
	qstore_error error;
	for (unsigned threads = 1; threads < 9; threads++) {
		for (int pass = 0; pass < 50; pass++) {
			assert_int_equal(run(&r, 90, UINT64_MAX, 1, threads, &error), QSTORE_INPUT);
			assert_string_equal(error.text, "job 90");
			assert_true(r.in_order && r.committed == 90);
			assert_int_equal(run(&r, UINT64_MAX - 1, 3, 1, threads, &error), QSTORE_LIMIT);
			assert_string_equal(error.text, "side 3");
			assert_true(r.in_order);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(does_all),
	    cmocka_unit_test(tells_failures),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

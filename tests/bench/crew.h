/* Threads that do numbered pieces of work, and measure the time that the work takes. */
#ifndef BENCH_CREW_H
#define BENCH_CREW_H

#include "methods.h"

enum { THREADS_MAX = 16 };

/* Threads that wait for work between passes. */
typedef struct thread_crew thread_crew;
thread_crew *crew_create(unsigned threads);
void crew_destroy(thread_crew *c);
worker *crew_first(thread_crew *c);
unsigned crew_threads(const thread_crew *c);

/* A function that does piece i of a task. scratch: METHOD_ROOM bytes of the thread's own. */
typedef void crew_work(const void *task, size_t i, worker *w, uint8_t *scratch);

/* How a task is done. */
typedef enum crew_way {
	CREW_ALONE,    /* by one thread */
	CREW_TOGETHER, /* by all threads; each takes the next piece */
	/* All threads do all pieces, each beginning at another one. They share nothing, so this is the most that
	 * the machine allows CREW_TOGETHER. */
	CREW_APART,
	CREW_WAYS
} crew_way;

/* Returns the seconds that n pieces take, from when all threads are awake until the last piece is done.
 * tasks: one task; for CREW_APART, one for each thread. */
double crew_run(thread_crew *c, crew_work *work, const void *const *tasks, size_t n, crew_way way);

/* Computes GB/s from the bytes that a pass decodes and its seconds; 0 if there was no pass. Under CREW_APART
 * each thread decodes all these bytes. */
void crew_speeds(double gbs[CREW_WAYS], double bytes, const double seconds[CREW_WAYS], unsigned threads);

/* Where decoded pieces go. */
typedef enum crew_outputs {
	OUTPUTS_WHOLE,    /* into memory for everything, as in a program that loads a model */
	OUTPUTS_STREAMED, /* into memory of the thread, one over the other, as in a program that hands pieces on
	                   */
	OUTPUTS
} crew_outputs;

/* Seconds of the fastest passes. */
typedef struct decode_times {
	double seconds[OUTPUTS][CREW_WAYS];
} decode_times;

/* Sets *least to t if t is less, or if *least is 0: no time yet. */
void keep_least(double *least, double t);

#endif

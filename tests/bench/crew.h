/* Threads that do numbered pieces of work, and the time it takes. */
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

/* Piece i of a task; scratch: METHOD_ROOM bytes of the thread's own. */
typedef void crew_work(const void *task, size_t i, worker *w, uint8_t *scratch);

/* On one thread; on all, each taking the next piece; on all, each doing all pieces, from another one on: as
 * fast as the machine lets them who share nothing, which is what the second can be measured by. */
typedef enum crew_way { CREW_ALONE, CREW_TOGETHER, CREW_APART, CREW_WAYS } crew_way;

/* Seconds that n pieces take, from when all threads are awake until the last is done. tasks: one; apart, one
 * for each thread. */
double crew_run(thread_crew *c, crew_work *work, const void *const *tasks, size_t n, crew_way way);

/* GB/s of all that a pass decodes, 0 where there was none; apart, each of the threads decodes it. */
void crew_speeds(double gbs[CREW_WAYS], double bytes, const double seconds[CREW_WAYS], unsigned threads);

/* Whole outputs in memory, as a program has them that loads a model; or every piece's in the thread's own, as
 * one that hands pieces on. */
typedef enum crew_outputs { OUTPUTS_WHOLE, OUTPUTS_STREAMED, OUTPUTS } crew_outputs;

/* Seconds of the fastest passes. */
typedef struct decode_times {
	double seconds[OUTPUTS][CREW_WAYS];
} decode_times;

/* Keeps t if it is less; 0 is none yet. */
void keep_least(double *least, double t);

#endif

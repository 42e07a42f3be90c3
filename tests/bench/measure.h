/* Times of methods over batches, on one thread and on several. */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include "methods.h"

enum { THREADS_MAX = 16 };

/* Threads that wait for work between passes. */
typedef struct thread_crew thread_crew;
thread_crew *crew_create(unsigned threads);
void crew_destroy(thread_crew *c);
worker *crew_first(thread_crew *c);

/* Seconds of the fastest passes, summed over batches; [0]: one thread, [1]: all. */
typedef struct times {
	double encode[2], decode[2];
	uint64_t coded_bytes;
} times;

/* Adds what a batch takes to the times of all methods. Passes go round the methods, so that what disturbs the
 * machine disturbs all. The first decoded output is compared with the input. */
void measure_batch(thread_crew *crew, const batch *b, unsigned passes, times *all);

#endif

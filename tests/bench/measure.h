/* Times of methods over batches, on one thread and on several. */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include "crew.h"

/* Seconds of the fastest passes, summed over batches; encode[0]: one thread, [1]: all. */
typedef struct times {
	double encode[2];
	decode_times decode;
	uint64_t coded_bytes;
} times;

/* Adds what a batch takes to the times of all methods. Passes go round the methods, so that what disturbs the
 * machine disturbs all; encoding, which is slow, is measured once. The first decoded output is compared with
 * the input. */
void measure_batch(thread_crew *crew, const batch *b, unsigned passes, times *all);

#endif

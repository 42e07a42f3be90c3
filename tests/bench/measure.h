/* Times of methods over batches, on one thread and on several. */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include "crew.h"

enum { BATCH_WEIGHTS = 1 << 25 };

/* Seconds of the fastest passes, summed over batches. */
typedef struct times {
	double encode[CREW_WAYS];
	decode_times decode;
	uint64_t coded_bytes;
} times;

/* Adds what a batch takes to the times of all methods. Passes go round the methods, so that what disturbs the
 * machine disturbs all; encoding, which is slow, has one pass where decoding has `passes`. Small batches have
 * more. The first decoded output is compared with the input. */
void measure_batch(thread_crew *crew, const batch *b, unsigned passes, times *all);

/* So many for a full batch: more for fewer weights, which take less time and are disturbed the more. */
unsigned passes_for(size_t n_weights, unsigned passes);

#endif

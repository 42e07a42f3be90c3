/* Measuring the times that methods take for batches, on one thread and on several. */
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

/* Adds the times for a batch to those of all methods. Each pass measures all methods in turn, so that other
 * work of the machine disturbs all of them alike. Decoding has `passes` passes and encoding, which is slow,
 * has one; small batches have more. The first decoded output is compared with the input. */
void measure_batch(thread_crew *crew, const batch *b, unsigned passes, times *all);

/* Returns the number of passes for a batch, if a full batch has `passes`. Batches of fewer weights have more
 * passes, because short times are disturbed more. */
unsigned passes_for(size_t n_weights, unsigned passes);

#endif

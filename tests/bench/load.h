/* The seed's experiment: seconds until a model is in memory, read at a given bandwidth and decoded meanwhile.
 */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include <jansson.h>

#include "chunks.h"

/* Loads the weights in every way at every bandwidth (MB/s), from files written beside `scratch`. Prints a
 * table; gives what qstore-bench writes as JSON. */
json_t *load_experiment(const batch *b, const char *scratch, const unsigned *bandwidths, size_t n_bandwidths);

#endif

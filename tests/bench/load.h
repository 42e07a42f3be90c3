/* The seconds until a model is in memory, if it is read at a given bandwidth and decoded meanwhile. */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include <jansson.h>

#include "chunks.h"

/* Loads the weights by every way at every bandwidth (MB/s), from files that it writes beside `scratch`.
 * Prints a table; returns the results for qstore-bench's JSON. */
json_t *load_experiment(const batch *b, const char *scratch, const unsigned *bandwidths, size_t n_bandwidths);

#endif

/* Speeds of decoding an archive's refined tensors, whatever their codes are: wasm-jobs.mjs natively. */
#ifndef BENCH_PAIRS_H
#define BENCH_PAIRS_H

#include <jansson.h>

#include "crew.h"

/* Prints a table; gives what qstore-bench writes as JSON: the weights, their type and the rows. */
json_t *measure_pairs(thread_crew *crew, const char *path, const char *label, unsigned passes);

#endif

/* Measuring how fast the refined tensors of an archive are decoded, whatever their codes are. wasm-jobs.mjs
 * is its counterpart for WebAssembly. */
#ifndef BENCH_PAIRS_H
#define BENCH_PAIRS_H

#include <jansson.h>

#include "crew.h"

/* Prints a table; returns the results for qstore-bench's JSON: the number of weights, their type and the
 * rows. */
json_t *measure_pairs(thread_crew *crew, const char *path, const char *label, unsigned passes);

#endif

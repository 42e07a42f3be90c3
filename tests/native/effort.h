/* How much of their repetitions tests do. */
#ifndef TESTS_EFFORT_H
#define TESTS_EFFORT_H

/* QSTORE_ROUNDS in the environment is a percentage: 100 unless it is set; `make check` sets 20, `make test`
 * does everything. Returns that share of n cases or rounds, at least 1. */
unsigned effort_of(unsigned n);

#endif

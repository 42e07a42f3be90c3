/* Declarations that the parts of qstore-bench share. */
#ifndef BENCH_H
#define BENCH_H

#include <stddef.h>
#include <stdint.h>

enum { CHUNK_ELEMS = 1 << 18 };

/* Returns the seconds since some fixed moment. */
double now(void);

/* Returns p; ends the program if it is NULL, because memory is out. */
void *need(void *p);

__attribute__((noreturn, format(printf, 1, 2))) void fail(const char *format, ...);

#endif

/* Declarations that the parts of qstore-bench share. */
#ifndef BENCH_H
#define BENCH_H

#include <stddef.h>
#include <stdint.h>

enum { CHUNK_ELEMS = 1 << 18 };

/* Seconds, from some moment on. */
double now(void);

/* p, or the end of the program when it is NULL. */
void *need(void *p);

__attribute__((noreturn, format(printf, 1, 2))) void fail(const char *format, ...);

#endif

/* The methods that are compared: qstore's own and those of its peers. Each codes a chunk's INT8 codes, its
 * 16-bit values or both, in memory. */
#ifndef BENCH_METHODS_H
#define BENCH_METHODS_H

#include "chunks.h"

/* A thread's own memory. */
typedef struct worker worker;
worker *worker_create(void);
void worker_destroy(worker *w);

/* Decodes one chunk by qstore's decoder. */
void worker_decode(worker *w, const qs_chunk_desc *desc, const uint8_t *src, size_t size, uint8_t *dst);

typedef struct method {
	const char *name;          /* as tables show it; %s becomes the name of the 16-bit type */
	unsigned encodes, decodes; /* decoded bytes a weight: 1: INT8; 2: 16-bit values; 3: both */
	/* Writes coded bytes to dst, which has METHOD_ROOM bytes, and returns their number. */
	size_t (*encode)(worker *w, uint32_t dtype, const chunk *c, uint8_t *dst);
	/* Fills codes (n bytes), values (2 n bytes) or both, as `decodes` says. */
	void (*decode)(worker *w, uint32_t dtype, const chunk *c, const uint8_t *src, size_t size, uint8_t *codes,
	               uint8_t *values);
} method;

enum { METHOD_ROOM = 8 * CHUNK_ELEMS + 4096 };

extern const method methods[];
extern const size_t n_methods;
const method *method_named(const char *name);

/* Returns the bits of all scales of a batch, coded as a tensor of their own. */
double scales_bits(worker *w, const batch *b);

#endif

/* Ours and the peers: each codes a chunk's INT8 codes, its 16-bit values or both, in memory. */
#ifndef BENCH_METHODS_H
#define BENCH_METHODS_H

#include "chunks.h"

/* A thread's own memory. */
typedef struct worker worker;
worker *worker_create(void);
void worker_destroy(worker *w);

/* Decodes one chunk of ours. */
void worker_decode(worker *w, const qs_chunk_desc *desc, const uint8_t *src, size_t size, uint8_t *dst);

typedef struct method {
	const char *name;          /* as tables show it; %s is the 16-bit type's name */
	unsigned encodes, decodes; /* bytes a weight that speeds count: 1 INT8, 2 16-bit values, 3 both */
	/* Returns the size of what it wrote into dst, which has METHOD_ROOM bytes. */
	size_t (*encode)(worker *w, uint32_t dtype, const chunk *c, uint8_t *dst);
	/* Fills codes (n bytes), values (2n) or both, as `decodes` says. */
	void (*decode)(worker *w, uint32_t dtype, const chunk *c, const uint8_t *src, size_t size, uint8_t *codes,
	               uint8_t *values);
} method;

enum { METHOD_ROOM = 8 * CHUNK_ELEMS + 4096 };

extern const method methods[];
extern const size_t n_methods;
const method *method_named(const char *name);

/* Bits of all scales of a batch, coded as a tensor of their own. */
double scales_bits(worker *w, const batch *b);

#endif

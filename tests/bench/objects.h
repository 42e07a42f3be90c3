/* An archive's objects, as the benchmarks take them: whole, in memory. */
#ifndef BENCH_OBJECTS_H
#define BENCH_OBJECTS_H

#include "read/decode.h"
#include "bench.h"

typedef struct objects {
	qstore_archive *archive;
	qs_decoder *decoder;
} objects;

void objects_open(objects *o, const char *path);
void objects_close(objects *o);

qs_object object_at(const objects *o, uint32_t number);

/* All of an object; owned by the caller. */
uint8_t *object_load(const objects *o, uint32_t number);

/* The grid of codes, all of it; what it points to is owned by the caller: grid_free. */
qs_grid grid_load(const objects *o, const qs_object *codes, uint8_t *memory[3]);
void grid_free(uint8_t *memory[3]);

/* The part of an object that a chunk has; grids that are there are complete. */
qs_chunk_desc object_chunk(const qs_object *object, uint32_t chunk);

#endif

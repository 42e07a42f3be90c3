/* Reading whole objects of an archive into memory. */
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

/* Loads a whole object; the caller frees it. */
uint8_t *object_load(const objects *o, uint32_t number);

/* Loads the whole grid of codes. The grid points into `memory`; free that with grid_free. */
qs_grid grid_load(const objects *o, const qs_object *codes, uint8_t *memory[3]);
void grid_free(uint8_t *memory[3]);

/* Returns the description of a chunk of an object, without its grids and the elements that it builds on. */
qs_chunk_desc object_chunk(const qs_object *object, uint32_t chunk);

#endif

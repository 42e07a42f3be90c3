/* Reads a GGUF file from its start: its header, then the entries of its metadata, then the infos of its
 * tensors. */
#ifndef QS_GGUF_PARSE_H
#define QS_GGUF_PARSE_H

#include <stdio.h>

#include "weights.h"

/* Types of metadata values (gguf.md, gguf_metadata_value_type). */
enum {
	GGUF_U8 = 0,
	GGUF_I8 = 1,
	GGUF_U16 = 2,
	GGUF_I16 = 3,
	GGUF_U32 = 4,
	GGUF_I32 = 5,
	GGUF_F32 = 6,
	GGUF_BOOL = 7,
	GGUF_STRING = 8,
	GGUF_ARRAY = 9,
	GGUF_U64 = 10,
	GGUF_I64 = 11,
	GGUF_F64 = 12
};

#define GGUF_DIMS_MAX 4 /* ggml.h, GGML_MAX_DIMS */

typedef struct gguf_source {
	const char *path;
	FILE *stream;
	uint64_t at, size; /* at: of the next byte to be read */
	uint8_t *buffer;   /* file bytes from buffer_at */
	uint64_t buffer_at;
	size_t buffer_size;
	uint32_t version;
	uint64_t n_tensors, n_entries;
	qstore_error *error;
} gguf_source;

/* One key of the metadata: the place of its bytes, and its value where that is a number or a short text. */
typedef struct gguf_entry {
	char key[256]; /* cut when longer */
	uint32_t type;
	uint64_t offset, size; /* bytes, key and type included */
	uint64_t number;       /* of any integer type, negative ones as -1 would be: 2^64 - 1 */
	char text[64];         /* of a string, cut when longer */
} gguf_entry;

typedef struct gguf_tensor {
	char *name; /* in the caller's arena */
	uint32_t n_dims, type;
	uint64_t dims[GGUF_DIMS_MAX]; /* as the file has them: innermost first */
	uint64_t offset;              /* from the start of the data */
} gguf_tensor;

/* Opens a file and reads its header. Close it after errors too. */
qstore_status gguf_source_open(gguf_source *source, const char *path, qstore_error *error);
void gguf_source_close(gguf_source *source);

/* To be called n_entries times, then n_tensors times. */
qstore_status gguf_next_entry(gguf_source *source, gguf_entry *entry);
qstore_status gguf_next_tensor(gguf_source *source, qs_arena *arena, gguf_tensor *tensor);

int gguf_is_integer(uint32_t type);

/* ggml's number of a type (ggml.h, ggml_type) and ours; QS_BYTES, or UINT32_MAX, for those without a
 * counterpart. */
uint32_t gguf_dtype(uint32_t type);
uint32_t gguf_type(uint32_t dtype);

/* The next multiple of a power of two. */
static inline uint64_t gguf_align(uint64_t at, uint64_t alignment)
{
	return at + (alignment - at % alignment) % alignment;
}

#endif

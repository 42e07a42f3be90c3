/* Writing GGUF files, good ones and damaged ones, byte by byte. formats/gguf.h has the layout. Any failure
 * ends the program. */
#ifndef GENERATE_GGUF_WRITER_H
#define GENERATE_GGUF_WRITER_H

#include <stddef.h>
#include <stdint.h>

#include "formats/gguf_parse.h"

typedef struct gguf_bytes {
	uint8_t *data;
	size_t size, capacity;
} gguf_bytes;

void gguf_put(gguf_bytes *bytes, const void *src, size_t size);
void gguf_put_u32(gguf_bytes *bytes, uint32_t value);
void gguf_put_u64(gguf_bytes *bytes, uint64_t value);
void gguf_put_f32(gguf_bytes *bytes, float value);
void gguf_put_text(gguf_bytes *bytes, const char *text); /* length and characters */
void gguf_pad(gguf_bytes *bytes, size_t alignment);
void gguf_free(gguf_bytes *bytes);

/* Appends the first 24 bytes: "GGUF", the version and the counts. */
void gguf_put_start(gguf_bytes *bytes, uint32_t version, uint64_t n_tensors, uint64_t n_entries);

/* Append an entry of the metadata. gguf_put_key and gguf_put_array append only its beginning: the value, or n
 * values, must follow. */
void gguf_put_key(gguf_bytes *bytes, const char *key, uint32_t type);
void gguf_put_array(gguf_bytes *bytes, const char *key, uint32_t type, uint64_t n);
void gguf_put_key_u32(gguf_bytes *bytes, const char *key, uint32_t value);
void gguf_put_key_f32(gguf_bytes *bytes, const char *key, float value);
void gguf_put_key_text(gguf_bytes *bytes, const char *key, const char *text);

/* Appends GGUF_ALL_TYPES entries: a value of every type, an array of two values of every type, and arrays
 * that are nested, empty or of texts. */
enum { GGUF_ALL_TYPES = 2 * 13 + 5 };
void gguf_put_all_types(gguf_bytes *bytes);

/* Appends the record of a tensor. dims: the innermost first; type: ggml's number; offset: bytes, in the
 * data. */
void gguf_put_info(gguf_bytes *bytes, const char *name, uint32_t n_dims, const uint64_t *dims, uint32_t type,
                   uint64_t offset);

void gguf_write(const gguf_bytes *bytes, const char *path);

#endif

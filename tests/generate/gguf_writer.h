/* Writing GGUF files, sound ones and broken ones, byte by byte. Layout: formats/gguf.h. Any failure ends the
 * program. */
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

/* "GGUF" and the counts: the first 24 bytes. */
void gguf_put_start(gguf_bytes *bytes, uint32_t version, uint64_t n_tensors, uint64_t n_entries);

/* One entry of the metadata. gguf_put_key and gguf_put_array are the beginning of one: the value, or n
 * values, must follow. */
void gguf_put_key(gguf_bytes *bytes, const char *key, uint32_t type);
void gguf_put_array(gguf_bytes *bytes, const char *key, uint32_t type, uint64_t n);
void gguf_put_key_u32(gguf_bytes *bytes, const char *key, uint32_t value);
void gguf_put_key_f32(gguf_bytes *bytes, const char *key, float value);
void gguf_put_key_text(gguf_bytes *bytes, const char *key, const char *text);

/* GGUF_ALL_TYPES entries: a value of every type, an array of two of each, nested and empty ones and texts
 * too.
 */
enum { GGUF_ALL_TYPES = 2 * 13 + 5 };
void gguf_put_all_types(gguf_bytes *bytes);

/* Writes the file's record of a tensor: dims innermost first, type by ggml's number, offset in the data. */
void gguf_put_info(gguf_bytes *bytes, const char *name, uint32_t n_dims, const uint64_t *dims, uint32_t type,
                   uint64_t offset);

void gguf_write(const gguf_bytes *bytes, const char *path);

#endif

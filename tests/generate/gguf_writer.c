#include "gguf_writer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "writer.h"

void gguf_put(gguf_bytes *bytes, const void *src, size_t size)
{
	if (size > bytes->capacity - bytes->size) {
		size_t capacity = 2 * bytes->capacity + size + 64;
		bytes->data = realloc(bytes->data, capacity);
		if (!bytes->data)
			gen_die("out of memory");
		bytes->capacity = capacity;
	}
	if (size)
		memcpy(bytes->data + bytes->size, src, size);
	bytes->size += size;
}

void gguf_put_u32(gguf_bytes *bytes, uint32_t value)
{
	gguf_put(bytes, &value, sizeof value);
}

void gguf_put_u64(gguf_bytes *bytes, uint64_t value)
{
	gguf_put(bytes, &value, sizeof value);
}

void gguf_put_f32(gguf_bytes *bytes, float value)
{
	gguf_put(bytes, &value, sizeof value);
}

void gguf_put_text(gguf_bytes *bytes, const char *text)
{
	gguf_put_u64(bytes, strlen(text));
	gguf_put(bytes, text, strlen(text));
}

void gguf_pad(gguf_bytes *bytes, size_t alignment)
{
	while (bytes->size % alignment)
		gguf_put(bytes, "", 1);
}

void gguf_free(gguf_bytes *bytes)
{
	free(bytes->data);
	*bytes = (gguf_bytes){0};
}

void gguf_put_start(gguf_bytes *bytes, uint32_t version, uint64_t n_tensors, uint64_t n_entries)
{
	gguf_put(bytes, "GGUF", 4);
	gguf_put_u32(bytes, version);
	gguf_put_u64(bytes, n_tensors);
	gguf_put_u64(bytes, n_entries);
}

void gguf_put_key(gguf_bytes *bytes, const char *key, uint32_t type)
{
	gguf_put_text(bytes, key);
	gguf_put_u32(bytes, type);
}

void gguf_put_array(gguf_bytes *bytes, const char *key, uint32_t type, uint64_t n)
{
	gguf_put_key(bytes, key, GGUF_ARRAY);
	gguf_put_u32(bytes, type);
	gguf_put_u64(bytes, n);
}

void gguf_put_key_u32(gguf_bytes *bytes, const char *key, uint32_t value)
{
	gguf_put_key(bytes, key, GGUF_U32);
	gguf_put_u32(bytes, value);
}

void gguf_put_key_f32(gguf_bytes *bytes, const char *key, float value)
{
	gguf_put_key(bytes, key, GGUF_F32);
	gguf_put_f32(bytes, value);
}

void gguf_put_key_text(gguf_bytes *bytes, const char *key, const char *text)
{
	gguf_put_key(bytes, key, GGUF_STRING);
	gguf_put_text(bytes, text);
}

/* Appends some value of a type. sizes: bytes of the types whose values have a fixed size. */
static void put_value(gguf_bytes *bytes, uint32_t type)
{
	static const uint8_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
	if (type == GGUF_STRING) {
		gguf_put_text(bytes, "a text");
	} else if (type == GGUF_ARRAY) {
		gguf_put_u32(bytes, GGUF_U32);
		gguf_put_u64(bytes, 3);
		gguf_put(bytes, "123412341234", 12);
	} else {
		gguf_put(bytes, "\1\0\0\0\0\0\0\0", sizes[type]);
	}
}

void gguf_put_all_types(gguf_bytes *bytes)
{
	char key[30];
	for (uint32_t type = 0; type <= GGUF_F64; type++) {
		snprintf(key, sizeof key, "a.value.%u", type);
		gguf_put_key(bytes, key, type);
		put_value(bytes, type);
		snprintf(key, sizeof key, "an.array.%u", type);
		gguf_put_array(bytes, key, type, 2);
		put_value(bytes, type);
		put_value(bytes, type);
	}
	gguf_put_array(bytes, "arrays.of.arrays", GGUF_ARRAY, 2);
	gguf_put_u32(bytes, GGUF_ARRAY);
	gguf_put_u64(bytes, 1);
	gguf_put_u32(bytes, GGUF_BOOL);
	gguf_put_u64(bytes, 0);
	put_value(bytes, GGUF_ARRAY);
	gguf_put_array(bytes, "an.empty.array", GGUF_STRING, 0);
	gguf_put_array(bytes, "texts", GGUF_STRING, 3);
	gguf_put_text(bytes, "one");
	gguf_put_text(bytes, "");
	gguf_put_text(bytes, "three");
	gguf_put_key_text(bytes, "no.text", "");
	gguf_put_key_text(bytes, "a.long.text",
	                  "0123456789012345678901234567890123456789012345678901234567890123456789");
}

void gguf_put_info(gguf_bytes *bytes, const char *name, uint32_t n_dims, const uint64_t *dims, uint32_t type,
                   uint64_t offset)
{
	gguf_put_text(bytes, name);
	gguf_put_u32(bytes, n_dims);
	for (uint32_t i = 0; i < n_dims; i++)
		gguf_put_u64(bytes, dims[i]);
	gguf_put_u32(bytes, type);
	gguf_put_u64(bytes, offset);
}

void gguf_write(const gguf_bytes *bytes, const char *path)
{
	FILE *stream = fopen(path, "wb");
	if (!stream || fwrite(bytes->data, 1, bytes->size, stream) != bytes->size || fclose(stream))
		gen_die("%s: cannot write: %s", path, strerror(errno));
}

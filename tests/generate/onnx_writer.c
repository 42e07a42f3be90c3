#include "onnx_writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "writer.h"

enum { VARINT = 0, BYTES = 2, FIXED32 = 5 };

void pb_append(pb *to, const void *src, size_t size)
{
	if (to->capacity - to->size < size) {
		to->capacity = 2 * (to->capacity + size) + 64;
		to->data = realloc(to->data, to->capacity);
		if (!to->data)
			gen_die("out of memory");
	}
	if (size)
		memcpy(to->data + to->size, src, size);
	to->size += size;
}

void pb_varint(pb *to, uint64_t value)
{
	uint8_t bytes[10];
	size_t size = 0;
	for (; value >= 128; value >>= 7)
		bytes[size++] = (uint8_t)(value | 128);
	bytes[size++] = (uint8_t)value;
	pb_append(to, bytes, size);
}

void pb_number(pb *to, uint32_t field, uint64_t value)
{
	pb_varint(to, (uint64_t)field << 3 | VARINT);
	pb_varint(to, value);
}

void pb_begin(pb *to, uint32_t field, uint64_t size)
{
	pb_varint(to, (uint64_t)field << 3 | BYTES);
	pb_varint(to, size);
}

void pb_bytes(pb *to, uint32_t field, const void *src, size_t size)
{
	pb_begin(to, field, size);
	pb_append(to, src, size);
}

void pb_text(pb *to, uint32_t field, const char *text)
{
	pb_bytes(to, field, text, strlen(text));
}

void pb_float(pb *to, uint32_t field, float value)
{
	uint32_t bits;
	uint8_t bytes[4];
	memcpy(&bits, &value, sizeof bits);
	for (int i = 0; i < 4; i++)
		bytes[i] = (uint8_t)(bits >> 8 * i);
	pb_varint(to, (uint64_t)field << 3 | FIXED32);
	pb_append(to, bytes, 4);
}

void pb_free(pb *message)
{
	free(message->data);
	*message = (pb){0};
}

void pb_message(pb *to, uint32_t field, pb *message)
{
	pb_bytes(to, field, message->data, message->size);
	pb_free(message);
}

pb onnx_tensor(const char *name, int type, const uint64_t *dims, uint32_t n_dims)
{
	pb tensor = {0};
	for (uint32_t i = 0; i < n_dims; i++)
		pb_number(&tensor, TENSOR_DIMS, dims[i]);
	pb_number(&tensor, TENSOR_DATA_TYPE, (uint64_t)type);
	if (name)
		pb_text(&tensor, TENSOR_NAME, name);
	return tensor;
}

static void external_entry(pb *tensor, const char *key, const char *value)
{
	pb entry = {0};
	pb_text(&entry, ENTRY_KEY, key);
	pb_text(&entry, ENTRY_VALUE, value);
	pb_message(tensor, TENSOR_EXTERNAL_DATA, &entry);
}

void onnx_external(pb *tensor, const char *location, int64_t offset, int64_t length)
{
	char number[24];
	if (location)
		external_entry(tensor, "location", location);
	snprintf(number, sizeof number, "%lld", (long long)offset);
	if (offset >= 0)
		external_entry(tensor, "offset", number);
	snprintf(number, sizeof number, "%lld", (long long)length);
	if (length >= 0)
		external_entry(tensor, "length", number);
	pb_number(tensor, TENSOR_DATA_LOCATION, 1);
}

static void put_words(pb *to, uint32_t field, const char *words)
{
	while (*words) {
		size_t size = strcspn(words, " ");
		pb_bytes(to, field, words, size == 1 && *words == '-' ? 0 : size);
		words += size;
		words += strspn(words, " ");
	}
}

pb onnx_node(const char *op, const char *domain, const char *inputs, const char *outputs)
{
	pb node = {0};
	put_words(&node, NODE_INPUT, inputs);
	put_words(&node, NODE_OUTPUT, outputs);
	pb_text(&node, NODE_OP_TYPE, op);
	if (domain)
		pb_text(&node, NODE_DOMAIN, domain);
	return node;
}

void onnx_int_attribute(pb *node, const char *name, int64_t value)
{
	enum { INT = 2 };
	pb attribute = {0};
	pb_text(&attribute, ATTRIBUTE_NAME, name);
	pb_number(&attribute, ATTRIBUTE_I, (uint64_t)value);
	pb_number(&attribute, ATTRIBUTE_TYPE, INT);
	pb_message(node, NODE_ATTRIBUTE, &attribute);
}

void onnx_ints_attribute(pb *node, const char *name, const int64_t *values, size_t n)
{
	enum { INTS = 7 };
	pb attribute = {0};
	pb_text(&attribute, ATTRIBUTE_NAME, name);
	for (size_t i = 0; i < n; i++)
		pb_number(&attribute, ATTRIBUTE_INTS, (uint64_t)values[i]);
	pb_number(&attribute, ATTRIBUTE_TYPE, INTS);
	pb_message(node, NODE_ATTRIBUTE, &attribute);
}

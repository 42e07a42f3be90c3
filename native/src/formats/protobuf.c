#include "protobuf.h"

#include <string.h>

#define VARINT_BYTES_MAX 10
#define NUMBER_MAX ((1u << 29) - 1)

int qs_pb_varint(qs_pb *bytes, uint64_t *value, const char **wrong)
{
	uint64_t out = 0;
	if (bytes->at == bytes->end)
		return 0;
	for (unsigned i = 0; i < VARINT_BYTES_MAX; i++) {
		if (bytes->at == bytes->end) {
			*wrong = "a number is cut off";
			return -1;
		}
		uint8_t byte = *bytes->at++;
		if (i == VARINT_BYTES_MAX - 1 && byte > 1)
			break;
		out |= (uint64_t)(byte & 127) << 7 * i;
		if (byte < 128) {
			*value = out;
			return 1;
		}
	}
	*wrong = "a number has more than 64 bits";
	return -1;
}

static int take_bytes(qs_pb *message, uint64_t size, qs_pb *bytes, const char **wrong)
{
	if (size > qs_pb_size(*message)) {
		*wrong = "a field ends beyond its message";
		return -1;
	}
	*bytes = (qs_pb){message->at, message->at + size};
	message->at += size;
	return 1;
}

static uint64_t load_little_endian(qs_pb bytes)
{
	uint64_t value = 0;
	while (bytes.end > bytes.at)
		value = value << 8 | *--bytes.end;
	return value;
}

int qs_pb_next(qs_pb *message, qs_pb_field *field, const char **wrong)
{
	uint64_t tag, size;
	int status = qs_pb_varint(message, &tag, wrong);
	if (status <= 0)
		return status;
	*field = (qs_pb_field){.number = (uint32_t)(tag >> 3), .type = tag & 7};
	if (tag >> 3 == 0 || tag >> 3 > NUMBER_MAX) {
		*wrong = "a field has no valid number";
		return -1;
	}
	switch (field->type) {
	case QS_PB_VARINT:
		status = qs_pb_varint(message, &field->value, wrong);
		break;
	case QS_PB_BYTES:
		status = qs_pb_varint(message, &size, wrong);
		if (status > 0)
			return take_bytes(message, size, &field->bytes, wrong);
		break;
	case QS_PB_32:
	case QS_PB_64:
		status = take_bytes(message, field->type == QS_PB_32 ? 4 : 8, &field->bytes, wrong);
		if (status > 0)
			field->value = load_little_endian(field->bytes);
		return status;
	default:
		*wrong = "a field is of a type that ONNX does not have";
		return -1;
	}
	if (!status) {
		*wrong = "a field is cut off";
		return -1;
	}
	return status;
}

int qs_pb_equals(qs_pb bytes, const char *text)
{
	size_t size = strlen(text);
	return qs_pb_size(bytes) == size && !memcmp(bytes.at, text, size);
}

int qs_pb_compare(qs_pb a, qs_pb b)
{
	size_t a_size = qs_pb_size(a), b_size = qs_pb_size(b), size = a_size < b_size ? a_size : b_size;
	int order = size ? memcmp(a.at, b.at, size) : 0;
	return order ? order : a_size < b_size ? -1 : a_size > b_size;
}

/* Reading protobuf's wire format in place: nothing is copied or allocated, nothing read beyond the end.
 * (protobuf.dev/programming-guides/encoding) */
#ifndef QS_PROTOBUF_H
#define QS_PROTOBUF_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { QS_PB_VARINT = 0, QS_PB_64 = 1, QS_PB_BYTES = 2, QS_PB_32 = 5 };

/* The rest of a message, or other bytes in it: a view, which owns nothing. */
typedef struct qs_pb {
	const uint8_t *at, *end;
} qs_pb;

typedef struct qs_pb_field {
	uint32_t number, type; /* type: one of the above */
	uint64_t value;        /* of QS_PB_VARINT, QS_PB_32 and QS_PB_64 */
	qs_pb bytes;           /* of QS_PB_BYTES: a string, packed numbers or a message */
} qs_pb_field;

static inline size_t qs_pb_size(qs_pb bytes)
{
	return (size_t)(bytes.end - bytes.at);
}

static inline qs_pb qs_pb_of_text(const char *text)
{
	return (qs_pb){(const uint8_t *)text, (const uint8_t *)text + strlen(text)};
}

/* Takes the next field. 1: there was one; 0: the message is at its end; -1: it is malformed, and *wrong says
 * how (static text). Groups, which ONNX does not have, are malformed. */
int qs_pb_next(qs_pb *message, qs_pb_field *field, const char **wrong);

/* Takes the next varint of packed ones; returns as above. */
int qs_pb_varint(qs_pb *bytes, uint64_t *value, const char **wrong);

/* True when the bytes are this text. */
int qs_pb_equals(qs_pb bytes, const char *text);

/* Orders bytes as memcmp does, and a beginning before the whole. */
int qs_pb_compare(qs_pb a, qs_pb b);

#endif

/* An ONNX file while it is read: the values that were found, the claims of its nodes, and how fields are
 * taken from its message. onnx_tensor.c and onnx_quant.c build on this; onnx.c builds on all three. */
#ifndef QS_ONNX_SCAN_H
#define QS_ONNX_SCAN_H

#include "onnx.h"
#include "protobuf.h"

/* The values of TensorProto.DataType that onnx_quant.c asks for. */
enum { ONNX_UINT8 = 2, ONNX_INT8 = 3 };

/* The file that a tensor's bytes are in; ONNX_IN_MODEL + 1 is the first external one. */
enum { ONNX_NO_TENSOR, ONNX_IN_MODEL };

/* An initializer, whether it is a tensor of ours or not. Views point into the mapped message. */
typedef struct onnx_value {
	qs_pb name, numbers; /* numbers: raw_data, or varints of int32_data; of 8-bit types only */
	int are_varints;
	uint32_t type;
	size_t file, index;    /* ONNX_NO_TENSOR …; which of the file's tensors, until they are sorted */
	uint64_t offset, size; /* bytes in that file */
	size_t order;
} onnx_value;

/* A node's claim that its inputs are codes, scales and zero points. Empty names: none. */
typedef struct onnx_claim {
	qs_pb weight, scale, zero_point;
	const char *op;
	int32_t axis;
	uint32_t bits;
	uint64_t block_size;
	size_t order;
} onnx_claim;

typedef struct onnx_scan {
	qs_onnx *onnx;
	qstore_error *error;
	const uint8_t *message; /* all of the file */
	onnx_value *values;     /* sorted by name, then order, when all are read */
	size_t n_values;
	onnx_claim *claims;
	size_t n_claims;
	size_t order;   /* of the next value or claim */
	qs_arena arena; /* of what only the scan needs */
} onnx_scan;

/* ---- Errors ---- */

/* INPUT: the message is malformed at this byte. */
qstore_status onnx_malformed(onnx_scan *scan, qs_pb at, const char *what);

/* A name, cut to the length that messages show. */
#define ONNX_SHOWN_MAX 200
const char *onnx_shown(qs_pb name, char text[ONNX_SHOWN_MAX + 1]);

/* INPUT: something is wrong with the tensor of this name. */
#define ONNX_FAIL(scan, name, ...)                                                                           \
	qs_weights_fail((scan)->error, (scan)->onnx->weights.path,                                               \
	                onnx_shown(name, (char[ONNX_SHOWN_MAX + 1]){0}), __VA_ARGS__)

/* Takes a field: 1 and 0 mean what they mean for qs_pb_next; after -1 *status is set. */
int onnx_next(onnx_scan *scan, qs_pb *message, qs_pb_field *field, qstore_status *status);

/* True when the field, just taken from message, is a string or a message; else *status is set. */
int onnx_is_bytes(onnx_scan *scan, const qs_pb_field *field, qs_pb message, qstore_status *status);

/* ---- Values ---- */

/* The first value of that name, or NULL. */
const onnx_value *onnx_find_value(const onnx_scan *scan, qs_pb name);

/* The file that has the value's tensor; NULL: the value is no tensor of ours. */
qs_weights *onnx_file_of(const onnx_scan *scan, const onnx_value *value);

/* The tensor that has this value, or NULL. The files must be sorted. */
const qs_weight *onnx_tensor_of(const onnx_scan *scan, const onnx_value *value);

#endif

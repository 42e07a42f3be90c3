/* Writing protobuf messages, and ONNX files, which are such messages, byte by byte. Any failure ends the
 * program. */
#ifndef GENERATE_ONNX_WRITER_H
#define GENERATE_ONNX_WRITER_H

#include <stddef.h>
#include <stdint.h>

/* A message that is appended to; {0} is empty. */
typedef struct pb {
	uint8_t *data;
	size_t size, capacity;
} pb;

void pb_number(pb *to, uint32_t field, uint64_t value);
void pb_bytes(pb *to, uint32_t field, const void *src, size_t size);
void pb_text(pb *to, uint32_t field, const char *text);
void pb_float(pb *to, uint32_t field, float value);
void pb_free(pb *message);

/* Appends a message as a field and frees it. */
void pb_message(pb *to, uint32_t field, pb *message);

/* Appends the tag and the length of a length-delimited field; contents of this size must follow. */
void pb_begin(pb *to, uint32_t field, uint64_t size);

void pb_varint(pb *to, uint64_t value); /* without a tag, as in packed fields */
void pb_append(pb *to, const void *src, size_t size);

/* Fields of ONNX's messages (github.com/onnx/onnx, onnx.proto). */
enum {
	MODEL_IR_VERSION = 1,
	MODEL_PRODUCER_NAME,
	MODEL_GRAPH = 7,
	MODEL_OPSET_IMPORT,
	MODEL_FUNCTIONS = 25,
	OPSET_DOMAIN = 1,
	OPSET_VERSION,
	FUNCTION_NAME = 1,
	FUNCTION_NODE = 7,
	FUNCTION_DOMAIN = 10,
	GRAPH_NODE = 1,
	GRAPH_NAME,
	GRAPH_INITIALIZER = 5,
	GRAPH_INPUT = 11,
	GRAPH_OUTPUT,
	NODE_INPUT = 1,
	NODE_OUTPUT,
	NODE_NAME,
	NODE_OP_TYPE,
	NODE_ATTRIBUTE,
	NODE_DOMAIN = 7,
	ATTRIBUTE_NAME = 1,
	ATTRIBUTE_F,
	ATTRIBUTE_I,
	ATTRIBUTE_S,
	ATTRIBUTE_T,
	ATTRIBUTE_G,
	ATTRIBUTE_INTS = 8,
	ATTRIBUTE_TENSORS = 10,
	ATTRIBUTE_GRAPHS,
	ATTRIBUTE_TYPE = 20,
	TENSOR_DIMS = 1,
	TENSOR_DATA_TYPE,
	TENSOR_SEGMENT,
	TENSOR_FLOAT_DATA,
	TENSOR_INT32_DATA,
	TENSOR_INT64_DATA = 7,
	TENSOR_NAME,
	TENSOR_RAW_DATA,
	TENSOR_DOUBLE_DATA,
	TENSOR_EXTERNAL_DATA = 13,
	TENSOR_DATA_LOCATION,
	ENTRY_KEY = 1,
	ENTRY_VALUE
};

/* TensorProto.DataType */
enum {
	ONNX_TYPE_FLOAT = 1,
	ONNX_TYPE_UINT8,
	ONNX_TYPE_INT8,
	ONNX_TYPE_INT32 = 6,
	ONNX_TYPE_INT64,
	ONNX_TYPE_STRING,
	ONNX_TYPE_FLOAT16 = 10,
	ONNX_TYPE_DOUBLE,
	ONNX_TYPE_BFLOAT16 = 16,
	ONNX_TYPE_UINT4 = 21,
	ONNX_TYPE_INT4
};

/* Makes a TensorProto without its values. name may be NULL. */
pb onnx_tensor(const char *name, int type, const uint64_t *dims, uint32_t n_dims);

/* Adds the fields that say that a tensor's values are in another file. location may be NULL; negative numbers
 * are left out. */
void onnx_external(pb *tensor, const char *location, int64_t offset, int64_t length);

/* Makes a NodeProto. Inputs and outputs are separated by spaces; "-" is an input that is left out. */
pb onnx_node(const char *op, const char *domain, const char *inputs, const char *outputs);
void onnx_int_attribute(pb *node, const char *name, int64_t value);
void onnx_ints_attribute(pb *node, const char *name, const int64_t *values, size_t n);

#endif

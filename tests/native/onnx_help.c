#include "onnx_help.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "scratch.h"

static const uint8_t zeros[4096];

void add_raw(pb *graph, const char *name, int type, const uint64_t *dims, size_t n_dims, size_t size)
{
	pb tensor = onnx_tensor(name, type, dims, (uint32_t)n_dims);
	pb_bytes(&tensor, TENSOR_RAW_DATA, zeros, size);
	pb_message(graph, GRAPH_INITIALIZER, &tensor);
}

void add_external(pb *graph, const char *name, const uint64_t *dims, size_t n_dims, const char *location,
                  int64_t offset, int64_t length)
{
	pb tensor = onnx_tensor(name, ONNX_TYPE_FLOAT, dims, (uint32_t)n_dims);
	onnx_external(&tensor, location, offset, length);
	pb_message(graph, GRAPH_INITIALIZER, &tensor);
}

void add_typed(pb *graph, const char *name, int type, const int *values, size_t n, int is_scalar)
{
	pb tensor = onnx_tensor(name, type, (const uint64_t[]){n}, !is_scalar), packed = {0};
	for (size_t i = 0; i < n; i++) {
		float value = (float)values[i];
		if (type == ONNX_TYPE_FLOAT)
			pb_append(&packed, &value, 4);
		else
			pb_varint(&packed, (uint64_t)(int64_t)values[i]);
	}
	pb_message(&tensor, type == ONNX_TYPE_FLOAT ? TENSOR_FLOAT_DATA : TENSOR_INT32_DATA, &packed);
	pb_message(graph, GRAPH_INITIALIZER, &tensor);
}

void add_node(pb *graph, const char *op, const char *inputs, const char *outputs)
{
	pb node = onnx_node(op, NULL, inputs, outputs);
	pb_message(graph, GRAPH_NODE, &node);
}

const char *write_message(void **state, const char *name, pb *message)
{
	const char *path = scratch_write(state, name, message->data, message->size);
	pb_free(message);
	return path;
}

const char *write_graph(void **state, const char *name, pb *graph)
{
	pb model = {0};
	pb_number(&model, MODEL_IR_VERSION, 8);
	pb_message(&model, MODEL_GRAPH, graph);
	return write_message(state, name, &model);
}

void open_onnx(qs_onnx *onnx, const char *path)
{
	qstore_error error = {0};
	if (qs_onnx_open(onnx, path, &error))
		fail_msg("%s", error.text);
}

void expect_refused(const char *path, const char *name, const char *what)
{
	qs_onnx onnx;
	qstore_error error = {0};
	qstore_status status = qs_onnx_open(&onnx, path, &error);
	qs_onnx_close(&onnx);
	if (status != QSTORE_INPUT || error.status != status || !strstr(error.text, ".onnx") ||
	    !strstr(error.text, name) || !strstr(error.text, what) || strpbrk(error.text, "\n\r\t"))
		fail_msg("status %d, \"%s\", expected \"%s\" and \"%s\"", status, error.text, name, what);
}

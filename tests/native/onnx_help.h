/* Shared by tests of ONNX files: graphs, and files of them. */
#ifndef TESTS_ONNX_HELP_H
#define TESTS_ONNX_HELP_H

#include <stddef.h>
#include <stdint.h>

#include "formats/onnx.h"
#include "../generate/onnx_writer.h"

#define DIMS(...) ((const uint64_t[]){__VA_ARGS__}), (sizeof((uint64_t[]){__VA_ARGS__}) / 8)

/* Adds an initializer of `size` zero bytes. */
void add_raw(pb *graph, const char *name, int type, const uint64_t *dims, size_t n_dims, size_t size);

/* Adds an initializer of FP32 whose bytes are in another file. */
void add_external(pb *graph, const char *name, const uint64_t *dims, size_t n_dims, const char *location,
                  int64_t offset, int64_t length);

/* Adds values in typed fields, as onnx.helper.make_tensor writes them. */
void add_typed(pb *graph, const char *name, int type, const int *values, size_t n, int is_scalar);

/* inputs, outputs: names, separated by spaces. */
void add_node(pb *graph, const char *op, const char *inputs, const char *outputs);

/* Writes a message, which it frees, and returns the file's path as scratch_path does. */
const char *write_message(void **state, const char *name, pb *message);

/* Writes the model of this graph, which it frees. */
const char *write_graph(void **state, const char *name, pb *graph);

void open_onnx(qs_onnx *onnx, const char *path);

/* Opening the file fails with INPUT and a message that has the tensor's name and these words. */
void expect_refused(const char *path, const char *name, const char *what);

#endif

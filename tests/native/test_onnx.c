/* ONNX files: which tensors are found where, what is refused with which words. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "formats/protobuf.h"
#include "archive_help.h"
#include "onnx_help.h"
#include "scratch.h"

static const uint8_t zeros[4096];

static void refuse_graph(void **state, pb *graph, const char *name, const char *what)
{
	expect_refused(write_graph(state, "model.onnx", graph), name, what);
}

/* The file has n tensors in order, each with its name behind its bytes' start. */
static const qs_weight *expect_tensor(const qs_weights *file, const char *name, uint32_t dtype, uint64_t size)
{
	const qs_weight *tensor = qs_weights_find(file, name);
	if (!tensor)
		fail_msg("no tensor \"%s\"", name);
	assert_int_equal(tensor->dtype, dtype);
	assert_int_equal(tensor->size, size);
	assert_true(tensor->offset <= file->file_size && size <= file->file_size - tensor->offset);
	return tensor;
}

/* ---- The wire format ---- */

static void reads_fields(void **state)
{
	static const uint8_t bytes[] = {0x08, 0x96, 0x01, 0x12, 2,    'h',  'i',  0x1d, 1,    2, 3,
	                                4,    0x21, 1,    0,    0,    0,    0,    0,    0,    1, 0x28,
	                                0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1};
	qs_pb message = {bytes, bytes + sizeof bytes};
	qs_pb_field field;
	const char *wrong = NULL;
	(void)state;
	assert_int_equal(qs_pb_next(&message, &field, &wrong), 1);
	assert_true(field.number == 1 && field.type == QS_PB_VARINT && field.value == 150);
	assert_int_equal(qs_pb_next(&message, &field, &wrong), 1);
	assert_true(field.number == 2 && qs_pb_equals(field.bytes, "hi"));
	assert_int_equal(qs_pb_next(&message, &field, &wrong), 1);
	assert_true(field.number == 3 && field.value == 0x04030201);
	assert_int_equal(qs_pb_next(&message, &field, &wrong), 1);
	assert_true(field.number == 4 && field.value == 0x0100000000000001);
	assert_int_equal(qs_pb_next(&message, &field, &wrong), 1);
	assert_true(field.number == 5 && field.value == UINT64_MAX);
	assert_int_equal(qs_pb_next(&message, &field, &wrong), 0);
	assert_null(wrong);
}

static void refuses_malformed_fields(void **state)
{
	static const struct {
		size_t size;
		uint8_t bytes[16];
		const char *what;
	} cases[] = {
	    {1, {0x80}, "cut off"},
	    {1, {0x08}, "cut off"},
	    {1, {0x12}, "cut off"},
	    {3, {0x12, 2, 'h'}, "beyond its message"},
	    {11, {0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, "beyond its message"},
	    {4, {0x1d, 1, 2, 3}, "beyond its message"},
	    {8, {0x21, 1, 2, 3, 4, 5, 6, 7}, "beyond its message"},
	    {12, {0x08, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0}, "64 bits"},
	    {11, {0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2}, "64 bits"},
	    {1, {0x0b}, "does not have"}, /* a group begins */
	    {1, {0x0c}, "does not have"}, /* and ends */
	    {1, {0x0e}, "does not have"},
	    {1, {0x0f}, "does not have"},
	    {2, {0x00, 1}, "no valid number"},
	    {7, {0x80, 0x80, 0x80, 0x80, 0x80, 1, 1}, "no valid number"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		uint8_t *copy = malloc(cases[i].size); /* so that the sanitizer sees its end */
		memcpy(copy, cases[i].bytes, cases[i].size);
		qs_pb message = {copy, copy + cases[i].size};
		qs_pb_field field;
		const char *wrong = "nothing";
		int more = qs_pb_next(&message, &field, &wrong);
		if (more != -1 || !strstr(wrong, cases[i].what))
			fail_msg("case %zu: %d, %s", i, more, wrong);
		free(copy);
	}
}

/* ---- Tensors ---- */

static void finds_tensors_inside(void **state)
{
	pb graph = {0};
	qs_onnx onnx;
	add_raw(&graph, "w", ONNX_TYPE_FLOAT, DIMS(2, 3), 24);
	add_raw(&graph, "half", ONNX_TYPE_FLOAT16, DIMS(5), 10);
	add_raw(&graph, "brain", ONNX_TYPE_BFLOAT16, DIMS(4), 8);
	add_raw(&graph, "codes", ONNX_TYPE_INT8, DIMS(7), 7);
	add_raw(&graph, "nibbles", ONNX_TYPE_UINT4, DIMS(2, 4), 4);
	add_raw(&graph, "odd", ONNX_TYPE_INT4, DIMS(3), 2);       /* shares a byte with nothing: the graph's */
	add_raw(&graph, "empty", ONNX_TYPE_FLOAT, DIMS(0, 9), 0); /* nothing to keep */
	add_raw(&graph, "scalar", ONNX_TYPE_DOUBLE, NULL, 0, 8);
	add_raw(&graph, "text", ONNX_TYPE_STRING, DIMS(2), 3);
	add_raw(&graph, "future", 99, DIMS(2), 3);
	add_typed(&graph, "floats", ONNX_TYPE_FLOAT, (int[]){1, 2, 3}, 3, 0);
	add_typed(&graph, "ints", ONNX_TYPE_INT8, (int[]){1, 2, 3}, 3, 0);
	const char *path = write_graph(state, "model.onnx", &graph);
	open_onnx(&onnx, path);
	assert_int_equal(onnx.weights.n_tensors, 7);
	assert_int_equal(onnx.n_externals, 0);
	const qs_weight *w = expect_tensor(&onnx.weights, "w", QS_F32, 24);
	assert_true(w->n_dims == 2 && w->dims[0] == 2 && w->dims[1] == 3);
	assert_int_equal(onnx.weights.header_size, w->offset);
	expect_tensor(&onnx.weights, "half", QS_F16, 10);
	expect_tensor(&onnx.weights, "brain", QS_BF16, 8);
	expect_tensor(&onnx.weights, "codes", QS_I8, 7);
	expect_tensor(&onnx.weights, "nibbles", QS_U4, 4);
	assert_int_equal(expect_tensor(&onnx.weights, "scalar", QS_F64, 8)->n_dims, 0);
	const qs_weight *floats = expect_tensor(&onnx.weights, "floats", QS_F32, 12);
	size_t size;
	uint8_t *bytes = scratch_read(path, &size);
	float second;
	memcpy(&second, bytes + floats->offset + 4, 4);
	assert_true(second == 2);
	free(bytes);
	qs_onnx_close(&onnx);
}

static void finds_tensors_in_graphs_within(void **state)
{
	pb graph = {0}, functions = {0}, model = {0};
	qs_onnx onnx;
	for (int branch = 0; branch < 2; branch++) {
		pb within = {0}, attribute = {0}, node = onnx_node("If", NULL, "condition", "y");
		add_raw(&within, "w", ONNX_TYPE_FLOAT, DIMS(2), 8);
		add_raw(&within, branch ? "b" : "a", ONNX_TYPE_FLOAT, DIMS(2), 8);
		pb_text(&attribute, ATTRIBUTE_NAME, branch ? "else_branch" : "then_branch");
		pb_message(&attribute, ATTRIBUTE_G, &within);
		pb_message(&node, NODE_ATTRIBUTE, &attribute);
		pb_message(&graph, GRAPH_NODE, &node);
	}
	add_raw(&graph, "w", ONNX_TYPE_FLOAT, DIMS(2), 8);
	for (int in_function = 0; in_function < 2; in_function++) {
		pb node = onnx_node("Constant", NULL, "", in_function ? "inner" : "outer"), attribute = {0};
		pb tensor = onnx_tensor("value", ONNX_TYPE_FLOAT, DIMS(16));
		pb_bytes(&tensor, TENSOR_RAW_DATA, zeros, 64);
		pb_text(&attribute, ATTRIBUTE_NAME, "value");
		pb_message(&attribute, ATTRIBUTE_T, &tensor);
		pb_message(&node, NODE_ATTRIBUTE, &attribute);
		pb_message(in_function ? &functions : &graph, in_function ? FUNCTION_NODE : GRAPH_NODE, &node);
	}
	pb_message(&model, MODEL_GRAPH, &graph);
	pb_message(&model, MODEL_FUNCTIONS, &functions);
	open_onnx(&onnx, write_message(state, "model.onnx", &model));
	assert_int_equal(onnx.weights.n_tensors, 7);
	expect_tensor(&onnx.weights, "w", QS_F32, 8);
	expect_tensor(&onnx.weights, "w#2", QS_F32, 8);
	expect_tensor(&onnx.weights, "w#3", QS_F32, 8);
	expect_tensor(&onnx.weights, "a", QS_F32, 8);
	expect_tensor(&onnx.weights, "b", QS_F32, 8);
	expect_tensor(&onnx.weights, "outer", QS_F32, 64);
	expect_tensor(&onnx.weights, "inner", QS_F32, 64);
	qs_onnx_close(&onnx);
}

static void finds_external_tensors(void **state)
{
	pb graph = {0};
	qs_onnx onnx;
	scratch_write(state, "model.onnx_data", zeros, 100);
	scratch_write(state, "sub/more", zeros, 40);
	add_external(&graph, "b", DIMS(4), "model.onnx_data", 40, 16);
	add_external(&graph, "a", DIMS(10), "./model.onnx_data", -1, -1); /* as the specification allows */
	add_external(&graph, "tied", DIMS(2, 2), "model.onnx_data", 40, 16);
	add_external(&graph, "c", DIMS(10), "sub/more", 0, 40);
	add_raw(&graph, "inside", ONNX_TYPE_FLOAT, DIMS(2), 8);
	open_onnx(&onnx, write_graph(state, "model.onnx", &graph));
	assert_int_equal(onnx.weights.n_tensors, 1);
	assert_int_equal(onnx.n_externals, 2);
	assert_string_equal(onnx.externals[0].location, "model.onnx_data");
	assert_string_equal(onnx.externals[1].location, "sub/more");
	const qs_weights *data = &onnx.externals[0].weights;
	assert_int_equal(data->file_size, 100);
	assert_int_equal(data->n_tensors, 2);
	assert_int_equal(expect_tensor(data, "a", QS_F32, 40)->offset, 0);
	assert_int_equal(expect_tensor(data, "b", QS_F32, 16)->offset, 40);
	assert_int_equal(expect_tensor(&onnx.externals[1].weights, "c", QS_F32, 40)->offset, 0);
	qs_onnx_close(&onnx);
}

static void refuses_external_data(void **state)
{
	static const struct {
		const char *location, *what;
		int64_t offset, length;
	} cases[] = {
	    {NULL, "no location", 0, 16},
	    {"", "no location", 0, 16},
	    {"missing", "should be in \"missing\"", 0, 16},
	    {"../data", "not a name within the folder", 0, 16},
	    {"sub/../data", "not a name within the folder", 0, 16},
	    {"/etc/passwd", "not a name within the folder", 0, 16},
	    {"a\\b", "should be in \"a\\b\"", 0, 16},
	    {"sub//x", "not a name within the folder", 0, 16},
	    {"sub", "no regular file", 0, 16},
	    {"model.onnx", "in the ONNX file itself", 0, 16},
	    {"link", "in the ONNX file itself", 0, 16},
	    {"data", "which has 100: truncated", 85, 16},
	    {"data", "which has 100: truncated", 101, -1},
	    {"data", "which has 100: truncated", INT64_MAX - 15, 16},
	    {"data", "its external data has 15", 0, 15},
	    {"data", "which has 100: truncated", 85, 0},
	};
	scratch_write(state, "data", zeros, 100);
	scratch_write(state, "sub/x", zeros, 100);
	assert_int_equal(symlink("model.onnx", scratch_path(state, "link")), 0);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		pb graph = {0};
		add_external(&graph, "my.w", DIMS(4), cases[i].location, cases[i].offset, cases[i].length);
		refuse_graph(state, &graph, "my.w", cases[i].what);
	}
	static const char *const numbers[] = {
	    "-1", "1.5", " 1", "99999999999999999999", "0x10", "18446744073709551616"};
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
		pb graph = {0}, tensor = onnx_tensor("my.w", ONNX_TYPE_FLOAT, DIMS(4)), entry = {0};
		onnx_external(&tensor, "data", -1, -1);
		pb_text(&entry, ENTRY_KEY, i % 2 ? "length" : "offset");
		pb_text(&entry, ENTRY_VALUE, numbers[i]);
		pb_message(&tensor, TENSOR_EXTERNAL_DATA, &entry);
		pb_message(&graph, GRAPH_INITIALIZER, &tensor);
		refuse_graph(state, &graph, "my.w", "not a number of bytes");
	}
}

/* If tensors share bytes, the largest is taken; the others are bytes of it. */
static void takes_the_largest_of_tensors_that_overlap(void **state)
{
	static const struct {
		const char *name;
		uint64_t elems;
		int64_t offset;
	} tensors[] = {{"part", 4, 16},   {"whole", 16, 0}, {"start", 4, 0},    {"end", 4, 48},
	               {"behind", 2, 64}, {"small", 2, 80}, {"across", 4, 84},  {"also", 4, 84},
	               {"late", 4, 96},   {"last", 5, 112}, {"beyond", 4, 124}, {"nothing", 0, 20}};
	static const char *const kept[] = {"whole", "behind", "across", "last"};
	pb graph = {0};
	qs_onnx onnx;
	scratch_write(state, "data", zeros, 140);
	for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
		add_external(&graph, tensors[i].name, &tensors[i].elems, 1, "data", tensors[i].offset,
		             4 * (int64_t)tensors[i].elems);
	open_onnx(&onnx, write_graph(state, "model.onnx", &graph));
	const qs_weights *data = &onnx.externals[0].weights;
	assert_int_equal(data->n_tensors, sizeof kept / sizeof *kept);
	for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
		assert_string_equal(data->tensors[i].name, kept[i]);
	qs_onnx_close(&onnx);
}

/* Codes that begin where a larger tensor begins are not taken for all of it. */
static void a_part_is_not_the_whole(void **state)
{
	pb graph = {0};
	qs_onnx onnx;
	scratch_write(state, "data", zeros, 100);
	for (int i = 0; i < 2; i++) {
		pb tensor = onnx_tensor(i ? "w_quantized" : "whole", ONNX_TYPE_INT8, DIMS(i ? 2 : 5, 8));
		onnx_external(&tensor, "data", 0, i ? 16 : 40);
		pb_message(&graph, GRAPH_INITIALIZER, &tensor);
	}
	add_raw(&graph, "w_scale", ONNX_TYPE_FLOAT, DIMS(1), 4);
	add_node(&graph, "DequantizeLinear", "w_quantized w_scale", "w");
	open_onnx(&onnx, write_graph(state, "model.onnx", &graph));
	assert_int_equal(onnx.externals[0].weights.n_tensors, 1);
	assert_int_equal(onnx.n_quants, 0);
	qs_onnx_close(&onnx);
}

/* Exporters write 0, or nothing, for all of the tensor. */
static void takes_the_length_of_external_data_from_the_shape(void **state)
{
	pb graph = {0};
	qs_onnx onnx;
	scratch_write(state, "data", zeros, 100);
	add_external(&graph, "a", DIMS(4), "data", 0, 0);
	add_external(&graph, "b", DIMS(5), "data", 16, 20);
	add_external(&graph, "c", DIMS(16), "data", 36, -1);
	open_onnx(&onnx, write_graph(state, "model.onnx", &graph));
	const qs_weights *data = &onnx.externals[0].weights;
	assert_int_equal(expect_tensor(data, "a", QS_F32, 16)->offset, 0);
	assert_int_equal(expect_tensor(data, "b", QS_F32, 20)->offset, 16);
	assert_int_equal(expect_tensor(data, "c", QS_F32, 64)->offset, 36);
	qs_onnx_close(&onnx);
}

/* A variant whose codes are all lists of numbers is packed, though its tensors' names are not known. */
static void packs_typed_numbers(void **state)
{
	int codes[256];
	pb graph = {0};
	for (int i = 0; i < 256; i++)
		codes[i] = i - 128;
	add_raw(&graph, "w", ONNX_TYPE_FLOAT, DIMS(32, 8), 1024);
	write_graph(state, "m/onnx/model.onnx", &graph);
	add_typed(&graph, "w_quantized", ONNX_TYPE_INT8, codes, 256, 0);
	add_typed(&graph, "w_scale", ONNX_TYPE_FLOAT, (int[]){1}, 1, 1);
	add_node(&graph, "DequantizeLinear", "w_quantized w_scale", "w");
	write_graph(state, "m/onnx/model_quantized.onnx", &graph);
	archive_pack(scratch_path(state, "m"), NULL, scratch_path(state, "a.qstore"));
	archive_verify(scratch_path(state, "a.qstore"));
}

/* Lists of numbers are no tensors here, but counted: a model may have nothing else. */
static void counts_typed_numbers(void **state)
{
	pb graph = {0};
	qs_onnx onnx;
	add_typed(&graph, "codes", ONNX_TYPE_INT8, (int[]){1, 2, -3}, 3, 0);
	add_typed(&graph, "floats", ONNX_TYPE_FLOAT, (int[]){1, 2, -3}, 3, 0);
	open_onnx(&onnx, write_graph(state, "model.onnx", &graph));
	assert_int_equal(onnx.weights.n_tensors, 1);
	assert_int_equal(onnx.weights.unread_size, 1 + 1 + 10);
	qs_onnx_close(&onnx);
}

static void refuses_shapes(void **state)
{
	pb graph = {0};
	add_raw(&graph, "my.w", ONNX_TYPE_FLOAT, DIMS(2, 3), 23);
	refuse_graph(state, &graph, "my.w", "need 24 bytes, its raw_data has 23");
	add_raw(&graph, "my.w", ONNX_TYPE_INT4, DIMS(5), 2);
	refuse_graph(state, &graph, "my.w", "need 3 bytes, its raw_data has 2");
	add_raw(&graph, "my.w", ONNX_TYPE_FLOAT, DIMS((uint64_t)1 << 60), 16);
	refuse_graph(state, &graph, "my.w", "more than 2^58 elements");
	add_raw(&graph, "my.w", ONNX_TYPE_FLOAT, DIMS((uint64_t)1 << 40, (uint64_t)1 << 40, 0), 16);
	refuse_graph(state, &graph, "my.w", "more than 2^58 elements");
	add_raw(&graph, "my.w", ONNX_TYPE_DOUBLE, DIMS((uint64_t)1 << 58), 16);
	refuse_graph(state, &graph, "my.w", "need 2305843009213693952 bytes");
	uint64_t many[33];
	for (int i = 0; i < 33; i++)
		many[i] = 1;
	add_raw(&graph, "my.w", ONNX_TYPE_FLOAT, many, 33, 4);
	refuse_graph(state, &graph, "my.w", "more than 32 dimensions");
	add_raw(&graph, "my.w", ONNX_TYPE_FLOAT, DIMS(UINT64_MAX), 4);
	refuse_graph(state, &graph, "my.w", "is negative");
	pb tensor = onnx_tensor("my.w", ONNX_TYPE_FLOAT, DIMS(1));
	pb_bytes(&tensor, TENSOR_RAW_DATA, zeros, 4);
	pb_bytes(&tensor, TENSOR_RAW_DATA, zeros, 4);
	pb_message(&graph, GRAPH_INITIALIZER, &tensor);
	refuse_graph(state, &graph, "my.w", "raw_data is there twice");
	add_raw(&graph, "my\xff", ONNX_TYPE_FLOAT, DIMS(1), 4);
	refuse_graph(state, &graph, "my", "not UTF-8");
	tensor = onnx_tensor(NULL, ONNX_TYPE_FLOAT, DIMS(1));
	pb_bytes(&tensor, TENSOR_NAME, "my\0w", 4);
	pb_bytes(&tensor, TENSOR_RAW_DATA, zeros, 4);
	pb_message(&graph, GRAPH_INITIALIZER, &tensor);
	refuse_graph(state, &graph, "my", "not UTF-8");
	for (int i = 0; i < 2; i++)
		add_raw(&graph, "my.w", ONNX_TYPE_FLOAT, DIMS(1), 4);
	add_raw(&graph, "my.w#2", ONNX_TYPE_FLOAT, DIMS(1), 4);
	refuse_graph(state, &graph, "my.w", "there 2 times");
}

static void refuses_what_is_no_model(void **state)
{
	pb model = {0}, graph = {0};
	expect_refused(scratch_write(state, "model.onnx", "", 0), "", "empty");
	scratch_path(state, "folder.onnx/x");
	expect_refused(scratch_path(state, "folder.onnx"), "", "not a regular file");
	static const char lfs[] = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n";
	expect_refused(scratch_write(state, "model.onnx", lfs, sizeof lfs - 1), "", "git lfs pull");
	expect_refused(scratch_write(state, "model.onnx", "GGUF............", 16), "", "a GGUF file, not ONNX");
	expect_refused(scratch_write(state, "model.onnx", "<!doctype html>..", 16), "", "a web page, not ONNX");
	pb_number(&model, MODEL_IR_VERSION, 8);
	expect_refused(write_message(state, "model.onnx", &model), "", "no graph");
	pb_number(&model, MODEL_GRAPH, 8);
	expect_refused(write_message(state, "model.onnx", &model), "", "not of the type");
	pb_number(&graph, GRAPH_INITIALIZER, 8);
	refuse_graph(state, &graph, "", "not of the type");
	pb_number(&graph, GRAPH_NODE, 8);
	refuse_graph(state, &graph, "", "not of the type");
	qs_onnx onnx;
	assert_int_equal(qs_onnx_open(&onnx, scratch_path(state, "nowhere.onnx"), NULL), QSTORE_IO);
	qs_onnx_close(&onnx);
}

static pb nested(int depth)
{
	pb graph = {0};
	add_raw(&graph, "w", ONNX_TYPE_FLOAT, DIMS(1), 4);
	for (int i = 0; i < depth; i++) {
		pb outer = {0}, attribute = {0}, node = onnx_node("Loop", NULL, "", "y");
		pb_message(&attribute, ATTRIBUTE_G, &graph);
		pb_message(&node, NODE_ATTRIBUTE, &attribute);
		pb_message(&outer, GRAPH_NODE, &node);
		graph = outer;
	}
	return graph;
}

static void refuses_deep_nesting(void **state)
{
	qs_onnx onnx;
	pb graph = nested(32);
	open_onnx(&onnx, write_graph(state, "model.onnx", &graph));
	assert_int_equal(onnx.weights.n_tensors, 1);
	qs_onnx_close(&onnx);
	graph = nested(33);
	refuse_graph(state, &graph, "", "nested more than 32 deep");
	graph = nested(5000);
	refuse_graph(state, &graph, "", "nested more than 32 deep");
}

static void refuses_truncation_at_every_length(void **state)
{
	pb graph = {0}, model = {0};
	add_node(&graph, "MatMulInteger", "x w xz wz", "y");
	add_raw(&graph, "w", ONNX_TYPE_INT8, DIMS(2, 3), 6);
	add_typed(&graph, "wz", ONNX_TYPE_INT8, (int[]){-1, 2, 3}, 3, 0);
	pb_message(&model, MODEL_GRAPH, &graph);
	for (size_t size = 0; size < model.size; size++)
		expect_refused(scratch_write(state, "model.onnx", model.data, size), "", "");
	pb_free(&model);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(reads_fields),
	    TEST(refuses_malformed_fields),
	    TEST(finds_tensors_inside),
	    TEST(finds_tensors_in_graphs_within),
	    TEST(finds_external_tensors),
	    TEST(refuses_external_data),
	    TEST(takes_the_largest_of_tensors_that_overlap),
	    TEST(a_part_is_not_the_whole),
	    TEST(takes_the_length_of_external_data_from_the_shape),
	    TEST(counts_typed_numbers),
	    TEST(packs_typed_numbers),
	    TEST(refuses_shapes),
	    TEST(refuses_what_is_no_model),
	    TEST(refuses_deep_nesting),
	    TEST(refuses_truncation_at_every_length),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

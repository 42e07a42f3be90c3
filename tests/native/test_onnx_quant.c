/* ONNX files: which codes, scales and zero points belong together, and the names of originals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "onnx_help.h"
#include "scratch.h"

static const qs_onnx_quant *find_quant(const qs_onnx *onnx, const char *weight)
{
	for (size_t i = 0; i < onnx->n_quants; i++)
		if (!strcmp(onnx->quants[i].weight, weight))
			return &onnx->quants[i];
	fail_msg("no quantized \"%s\"", weight);
	return NULL;
}

static void finds_dynamic_quantization(void **state)
{
	pb graph = {0};
	qs_onnx onnx;
	add_raw(&graph, "m_quantized", ONNX_TYPE_INT8, DIMS(4, 3), 12);
	add_typed(&graph, "m_scale", ONNX_TYPE_FLOAT, (int[]){5, 6, 7}, 3, 0);
	add_typed(&graph, "m_zero_point", ONNX_TYPE_INT8, (int[]){0, -3, 127}, 3, 0);
	add_node(&graph, "MatMulInteger", "x m_quantized x_zero_point m_zero_point", "y");
	add_raw(&graph, "e_quantized", ONNX_TYPE_UINT8, DIMS(5, 2), 10);
	add_typed(&graph, "e_scale", ONNX_TYPE_FLOAT, (int[]){5}, 1, 1);
	add_typed(&graph, "e_zero_point", ONNX_TYPE_UINT8, (int[]){200}, 1, 1);
	add_node(&graph, "Gather", "e_quantized ids", "g");
	add_node(&graph, "DequantizeLinear", "g e_scale e_zero_point", "d");
	add_raw(&graph, "c_quantized", ONNX_TYPE_UINT8, DIMS(3, 3), 9);
	add_raw(&graph, "c_scale", ONNX_TYPE_FLOAT, DIMS(3), 12);
	add_raw(&graph, "c_zero_point", ONNX_TYPE_UINT8, DIMS(3), 3);
	add_node(&graph, "ConvInteger", "x c_quantized - c_zero_point", "z");
	add_raw(&graph, "plain_quantized", ONNX_TYPE_UINT8, DIMS(3), 3); /* nothing says how */
	add_raw(&graph, "bytes", ONNX_TYPE_UINT8, DIMS(3), 3);
	open_onnx(&onnx, write_graph(state, "model.onnx", &graph));
	assert_int_equal(onnx.n_quants, 3);

	const qs_onnx_quant *m = find_quant(&onnx, "m_quantized");
	assert_string_equal(m->op, "MatMulInteger");
	assert_string_equal(m->scale, "m_scale");
	assert_null(m->zero_point);
	assert_true(m->axis == 1 && m->bits == 8 && m->block_size == 0 && m->n_zero_points == 3);
	assert_true(m->zero_points[0] == 0 && m->zero_points[1] == -3 && m->zero_points[2] == 127);

	const qs_onnx_quant *e = find_quant(&onnx, "e_quantized");
	assert_string_equal(e->op, "");
	assert_string_equal(e->scale, "e_scale");
	assert_true(e->axis == -1 && e->n_zero_points == 1 && e->zero_points[0] == 200);

	const qs_onnx_quant *c = find_quant(&onnx, "c_quantized");
	assert_string_equal(c->zero_point, "c_zero_point");
	assert_true(c->axis == 0 && c->n_zero_points == 3 && c->zero_points[2] == 0);
	qs_onnx_close(&onnx);
}

static void finds_quantization_by_inputs(void **state)
{
	pb graph = {0}, node;
	qs_onnx onnx;
	add_raw(&graph, "a", ONNX_TYPE_INT8, DIMS(4, 3), 12);
	add_raw(&graph, "one", ONNX_TYPE_FLOAT, DIMS(4), 16);
	node = onnx_node("DequantizeLinear", NULL, "a one", "y");
	onnx_int_attribute(&node, "axis", -2);
	pb_message(&graph, GRAPH_NODE, &node);

	add_raw(&graph, "b", ONNX_TYPE_UINT8, DIMS(3, 2, 16), 96);
	add_raw(&graph, "two", ONNX_TYPE_FLOAT, DIMS(6), 24);
	add_raw(&graph, "bz", ONNX_TYPE_UINT8, DIMS(3), 3);
	node = onnx_node("MatMulNBits", "com.microsoft", "x b two bz", "y");
	onnx_int_attribute(&node, "bits", 4);
	onnx_int_attribute(&node, "block_size", 32);
	pb_message(&graph, GRAPH_NODE, &node);

	add_raw(&graph, "c", ONNX_TYPE_UINT4, DIMS(4, 8), 16);
	add_raw(&graph, "three", ONNX_TYPE_FLOAT16, DIMS(4, 2), 16);
	node = onnx_node("GatherBlockQuantized", "com.microsoft", "c ids three", "y");
	onnx_int_attribute(&node, "quantize_axis", 1);
	onnx_int_attribute(&node, "block_size", 4);
	pb_message(&graph, GRAPH_NODE, &node);

	add_raw(&graph, "d", ONNX_TYPE_INT8, DIMS(3, 5), 15);
	add_raw(&graph, "four", ONNX_TYPE_FLOAT, DIMS(5), 20);
	add_node(&graph, "DynamicQuantizeMatMul", "x d four", "y");
	add_node(&graph, "DequantizeLinear", "activation one", "y"); /* no initializer */
	open_onnx(&onnx, write_graph(state, "model.onnx", &graph));
	assert_int_equal(onnx.n_quants, 4);
	const qs_onnx_quant *a = find_quant(&onnx, "a"), *b = find_quant(&onnx, "b"), *c = find_quant(&onnx, "c"),
	                    *d = find_quant(&onnx, "d");
	assert_string_equal(a->scale, "one");
	assert_true(a->axis == 0 && !a->zero_point && !a->n_zero_points);
	assert_string_equal(b->scale, "two");
	assert_string_equal(b->zero_point, "bz");
	assert_true(b->bits == 4 && b->block_size == 32 && b->axis == -1 && !b->zero_points);
	assert_string_equal(c->scale, "three");
	assert_true(c->bits == 4 && c->block_size == 4 && c->axis == 1);
	assert_string_equal(d->scale, "four");
	assert_int_equal(d->axis, 1);
	qs_onnx_close(&onnx);
}

static void finds_names_of_originals(void **state)
{
	static const char *const names[][2] = {
	    {"w_quantized", "w"},    {"w_Q4", "w"},       {"w_Q8G128", "w"},   {"w_DQ_Q4", "w"}, {"w.4", NULL},
	    {"_quantized", NULL},    {"_Q4", NULL},       {"Q4", NULL},        {"4", NULL},      {"w_QG32", NULL},
	    {"a_quantized_b", NULL}, {"layer_Q4G", NULL}, {"a_Q4_Q8", "a_Q4"},
	};
	pb graph = {0};
	qs_onnx onnx;
	add_raw(&graph, "s", ONNX_TYPE_FLOAT, DIMS(1), 4);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		char inputs[40];
		add_raw(&graph, names[i][0], ONNX_TYPE_UINT8, DIMS(2), 2);
		snprintf(inputs, sizeof inputs, "%s s", names[i][0]);
		add_node(&graph, "DequantizeLinear", inputs, "y");
	}
	open_onnx(&onnx, write_graph(state, "model.onnx", &graph));
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		const char *original = find_quant(&onnx, names[i][0])->original;
		if (!names[i][1])
			assert_null(original);
		else
			assert_string_equal(original, names[i][1]);
	}
	qs_onnx_close(&onnx);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(finds_dynamic_quantization),
	    TEST(finds_quantization_by_inputs),
	    TEST(finds_names_of_originals),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "onnx_quant.h"

#include <stdlib.h>
#include <string.h>

#include "os/array.h"
#include "os/search.h"

#define QUANTIZED_END "_quantized"
#define SCALE_END "_scale"
#define ZERO_POINT_END "_zero_point"

/* The axis along which an operator's scales vary. */
enum { AXIS_NONE, AXIS_FIRST, AXIS_LAST, AXIS_OF_NODE, AXIS_BLOCKS };

/* Numbers of the operators' inputs: ai.onnx's from docs/Operators.md, com.microsoft's from
 * ContribOperators.md. -1: no input (the scale of integer operators is in a Mul behind them, and only its
 * name tells which it is). */
static const struct {
	const char *op;
	int8_t weight, scale, zero_point, axis;
} operators[] = {
    {"DequantizeLinear", 0, 1, 2, AXIS_OF_NODE},
    {"MatMulInteger", 1, -1, 3, AXIS_LAST},
    {"ConvInteger", 1, -1, 3, AXIS_FIRST},
    {"MatMulIntegerToFloat", 1, 3, 5, AXIS_LAST},
    {"DynamicQuantizeMatMul", 1, 2, 3, AXIS_LAST},
    {"QLinearMatMul", 0, 1, 2, AXIS_LAST},
    {"QLinearMatMul", 3, 4, 5, AXIS_LAST},
    {"QLinearConv", 3, 4, 5, AXIS_FIRST},
    {"QGemm", 3, 4, 5, AXIS_LAST},
    {"QLinearAdd", 0, 1, 2, AXIS_NONE},
    {"QLinearAdd", 3, 4, 5, AXIS_NONE},
    {"QLinearMul", 0, 1, 2, AXIS_NONE},
    {"QLinearMul", 3, 4, 5, AXIS_NONE},
    {"QAttention", 1, 4, 7, AXIS_LAST},
    {"DynamicQuantizeLSTM", 1, 8, 9, AXIS_LAST},
    {"DynamicQuantizeLSTM", 2, 10, 11, AXIS_LAST},
    {"QEmbedLayerNormalization", 2, 8, 13, AXIS_NONE},
    {"QEmbedLayerNormalization", 3, 9, 14, AXIS_NONE},
    {"QEmbedLayerNormalization", 4, 10, 15, AXIS_NONE},
    {"GatherBlockQuantized", 0, 2, 3, AXIS_BLOCKS},
    {"MatMulNBits", 1, 2, 3, AXIS_BLOCKS},
    {"MatMulBnb4", 1, 2, -1, AXIS_BLOCKS},
};

/* Values of a claim's axis: the last one, or none. */
#define LAST_AXIS INT32_MAX
#define NO_AXIS INT32_MIN

static qs_pb input(const onnx_node *node, int number)
{
	return number >= 0 && (size_t)number < node->n_inputs ? node->inputs[number] : (qs_pb){0};
}

static int32_t to_axis(int64_t axis, int64_t otherwise)
{
	if (axis == INT64_MIN)
		axis = otherwise;
	return axis < -64 || axis > 64 ? NO_AXIS : (int32_t)axis;
}

static int32_t claimed_axis(const onnx_node *node, int axis)
{
	switch (axis) {
	case AXIS_FIRST:
		return 0;
	case AXIS_LAST:
		return LAST_AXIS;
	case AXIS_OF_NODE:
		return to_axis(node->axis, 1);
	case AXIS_BLOCKS:
		return to_axis(node->quantize_axis, INT64_MAX);
	}
	return NO_AXIS;
}

qstore_status onnx_claim_node(onnx_scan *scan, const onnx_node *node)
{
	for (size_t i = 0; i < sizeof operators / sizeof *operators; i++) {
		qs_pb weight = input(node, operators[i].weight);
		if (!qs_pb_size(weight) || !qs_pb_equals(node->op, operators[i].op))
			continue;
		onnx_claim *claim = qs_array_add(&scan->claims, &scan->n_claims, sizeof *claim);
		if (!claim)
			return qs_no_memory(scan->error);
		int in_blocks = operators[i].axis == AXIS_BLOCKS;
		*claim = (onnx_claim){
		    .weight = weight,
		    .scale = input(node, operators[i].scale),
		    .zero_point = input(node, operators[i].zero_point),
		    .op = operators[i].op,
		    .axis = claimed_axis(node, operators[i].axis),
		    .bits = node->bits > 0 && node->bits < 32 ? (uint32_t)node->bits
		            : in_blocks                       ? 4
		                                              : 0,
		    .block_size = node->block_size > 0 ? (uint64_t)node->block_size : 0,
		    .order = scan->order++,
		};
	}
	return QSTORE_OK;
}

static int compare_claims(const void *a, const void *b)
{
	const onnx_claim *x = a, *y = b;
	int order = qs_pb_compare(x->weight, y->weight);
	return order ? order : x->order < y->order ? -1 : x->order > y->order;
}

static int compare_with_weight(const void *claim, const void *weight)
{
	return qs_pb_compare(((const onnx_claim *)claim)->weight, *(const qs_pb *)weight);
}

/* The first claim on a weight that gives a scale, else the first claim on it; NULL: there is none. */
static const onnx_claim *find_claim(const onnx_scan *scan, qs_pb weight)
{
	const onnx_claim *first = NULL;
	size_t low =
	    qs_lower_bound(scan->claims, scan->n_claims, sizeof *scan->claims, &weight, compare_with_weight);
	for (; low < scan->n_claims && !qs_pb_compare(scan->claims[low].weight, weight); low++) {
		if (!first)
			first = &scan->claims[low];
		if (qs_pb_size(scan->claims[low].scale))
			return &scan->claims[low];
	}
	return first;
}

/* Finds, for a weight X_quantized, the value of X_scale or X_zero_point
 * (onnxruntime/python/tools/quantization/base_quantizer.py). *found is NULL when there is none. False: no
 * memory. */
static int find_by_name(onnx_scan *scan, qs_pb weight, const char *end, const onnx_value **found)
{
	size_t size = qs_pb_size(weight), quantized = sizeof QUANTIZED_END - 1, end_size = strlen(end);
	*found = NULL;
	if (size <= quantized || memcmp(weight.end - quantized, QUANTIZED_END, quantized) != 0)
		return 1;
	size -= quantized;
	uint8_t *name = qs_arena_alloc(&scan->arena, size + end_size);
	if (!name)
		return 0;
	memcpy(name, weight.at, size);
	memcpy(name + size, end, end_size);
	*found = onnx_find_value(scan, (qs_pb){name, name + size + end_size});
	return 1;
}

static uint64_t n_elems(const qs_weight *tensor)
{
	uint64_t n = 1;
	for (uint32_t i = 0; i < tensor->n_dims; i++)
		n *= tensor->dims[i];
	return n;
}

static int is_code(uint32_t dtype)
{
	return dtype == QS_I8 || dtype == QS_U8 || dtype == QS_I4 || dtype == QS_U4;
}

/* The dimension that has n elements: the claimed one if it has, else the last that has; -1: none, or n is 1.
 */
static int32_t axis_of(const qs_weight *weight, int32_t claimed, uint64_t n)
{
	int32_t n_dims = (int32_t)weight->n_dims;
	if (claimed < 0 && claimed >= -n_dims)
		claimed += n_dims;
	if (n == 1)
		return -1;
	if (claimed >= 0 && claimed < n_dims && weight->dims[claimed] == n)
		return claimed;
	for (int32_t i = n_dims - 1; i >= 0; i--)
		if (weight->dims[i] == n)
			return i;
	return -1;
}

/* Reads the values of an 8-bit zero point, if there are at most max. False: no memory. */
static int read_zero_points(qs_arena *arena, const onnx_value *value, uint64_t max, qs_onnx_quant *out)
{
	const char *wrong;
	uint64_t number;
	size_t n = 0;
	if (value->type != ONNX_INT8 && value->type != ONNX_UINT8)
		return 1;
	if (!value->are_varints) {
		n = qs_pb_size(value->numbers);
	} else {
		for (qs_pb at = value->numbers; n <= max && qs_pb_varint(&at, &number, &wrong) > 0;)
			n++;
	}
	if (!n || n > max)
		return 1;
	out->zero_points = qs_arena_array(arena, n, sizeof *out->zero_points);
	if (!out->zero_points)
		return 0;
	qs_pb at = value->numbers;
	for (size_t i = 0; i < n; i++) {
		if (!value->are_varints)
			number = *at.at++;
		else if (qs_pb_varint(&at, &number, &wrong) <= 0)
			break;
		out->zero_points[i] = value->type == ONNX_INT8 ? (int8_t)(uint8_t)number : (uint8_t)number;
	}
	out->n_zero_points = n;
	return 1;
}

static size_t skip_digits_back(const char *name, size_t size)
{
	while (size && name[size - 1] >= '0' && name[size - 1] <= '9')
		size--;
	return size;
}

/* Bytes of the name without "_quantized", "_Q4", "_Q4G32" or "_DQ_Q4" (matmul_nbits_quantizer.py) at its end;
 * 0: it ends in none of them. */
static size_t original_size(const char *name)
{
	static const char *const ends[] = {"_DQ_Q", "_Q"};
	size_t size = strlen(name), end_size = sizeof QUANTIZED_END - 1;
	if (size > end_size && !strcmp(name + size - end_size, QUANTIZED_END))
		return size - end_size;
	size_t left = skip_digits_back(name, size);
	if (left < size && left && name[left - 1] == 'G') {
		size = left - 1;
		left = skip_digits_back(name, size);
	}
	for (size_t i = 0; left < size && i < sizeof ends / sizeof *ends; i++) {
		end_size = strlen(ends[i]);
		if (left > end_size && !memcmp(name + left - end_size, ends[i], end_size))
			return left - end_size;
	}
	return 0;
}

/* The copies below are NULL for nothing; false: no memory. */

static int copy_original(qs_arena *arena, const char *weight, char **original)
{
	size_t size = original_size(weight);
	*original = size ? qs_arena_copy(arena, weight, size) : NULL;
	return !size || *original;
}

static int copy_name(qs_arena *arena, const qs_weight *tensor, char **name)
{
	*name = tensor ? qs_arena_copy(arena, tensor->name, strlen(tensor->name)) : NULL;
	return !tensor || *name;
}

/* Fills *out, which stays empty when the value is no quantized weight. False: no memory. */
static int describe_quant(onnx_scan *scan, const onnx_value *value, qs_onnx_quant *out)
{
	qs_arena *arena = &scan->onnx->weights.arena;
	const qs_weight *weight = onnx_tensor_of(scan, value);
	const onnx_claim *claim = find_claim(scan, value->name);
	const onnx_value *scale = NULL, *zero_point = NULL;
	if (!weight || (!claim && !is_code(weight->dtype)))
		return 1;
	if (claim && qs_pb_size(claim->scale))
		scale = onnx_find_value(scan, claim->scale);
	else if (!find_by_name(scan, value->name, SCALE_END, &scale))
		return 0;
	if (claim && qs_pb_size(claim->zero_point))
		zero_point = onnx_find_value(scan, claim->zero_point);
	else if (!find_by_name(scan, value->name, ZERO_POINT_END, &zero_point))
		return 0;
	if (!claim && !scale)
		return 1;

	const qs_weight *scales = onnx_tensor_of(scan, scale), *zero_points = onnx_tensor_of(scan, zero_point);
	int32_t claimed = !claim ? NO_AXIS : claim->axis == LAST_AXIS ? (int32_t)weight->n_dims - 1 : claim->axis;
	out->op = claim ? claim->op : "";
	out->bits = weight->dtype == QS_I4 || weight->dtype == QS_U4 ? 4
	            : claim && claim->bits                           ? claim->bits
	                                                             : 8 * qs_block_size(weight->dtype);
	out->block_size = claim ? claim->block_size : 0;
	if (out->block_size)
		out->axis = claimed >= 0 && claimed < (int32_t)weight->n_dims ? claimed : -1;
	else
		out->axis = axis_of(weight, claimed,
		                    scales        ? n_elems(scales)
		                    : zero_points ? n_elems(zero_points)
		                                  : 1);
	uint64_t max = out->axis >= 0 ? weight->dims[out->axis] : 1;
	return (!zero_point || out->block_size || read_zero_points(arena, zero_point, max, out)) &&
	       copy_name(arena, weight, &out->weight) && copy_original(arena, out->weight, &out->original) &&
	       copy_name(arena, scales, &out->scale) && copy_name(arena, zero_points, &out->zero_point);
}

static int compare_quants(const void *a, const void *b)
{
	return strcmp(((const qs_onnx_quant *)a)->weight, ((const qs_onnx_quant *)b)->weight);
}

qstore_status onnx_resolve_claims(onnx_scan *scan)
{
	qs_onnx *onnx = scan->onnx;
	size_t n = 0;
	if (scan->n_claims)
		qsort(scan->claims, scan->n_claims, sizeof *scan->claims, compare_claims);
	for (size_t i = 0; i < scan->n_values; i++) {
		const onnx_value *value = &scan->values[i];
		/* Names that graphs within the graph have again are not told apart by nodes. */
		if (value->file == ONNX_NO_TENSOR || (i && !qs_pb_compare(value->name, value[-1].name)))
			continue;
		qs_onnx_quant *quant = qs_array_add(&onnx->quants, &onnx->n_quants, sizeof *quant);
		if (!quant)
			return qs_no_memory(scan->error);
		quant->axis = -1;
		if (!describe_quant(scan, value, quant))
			return qs_no_memory(scan->error);
		if (!quant->weight)
			onnx->n_quants--;
	}
	if (onnx->n_quants)
		qsort(onnx->quants, onnx->n_quants, sizeof *onnx->quants, compare_quants);
	for (size_t i = 0; i < onnx->n_quants; i++) /* tied weights have one tensor */
		if (!n || strcmp(onnx->quants[n - 1].weight, onnx->quants[i].weight) != 0)
			onnx->quants[n++] = onnx->quants[i];
	onnx->n_quants = n;
	return QSTORE_OK;
}

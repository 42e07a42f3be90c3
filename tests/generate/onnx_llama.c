#include "onnx_llama.h"

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/model.h"
#include "onnx_rounding.h"
#include "onnx_writer.h"
#include "random.h"
#include "text.h"
#include "values.h"
#include "writer.h"

#define EXTERNAL_SIZE_MIN 1024 /* onnx.save_model's size_threshold */
#define OPSET 17
#define IR_VERSION 8

typedef struct config {
	uint64_t layers, heads, kv_heads, head_size, hidden;
	double eps, theta;
} config;

typedef struct export
{
	const onnx_options *o;
	const qs_model *model;
	config c;
	pb nodes, initializers, external;
	char prefix[40];    /* the layer's prefix, which replaces '@' in names */
	char quantized[80]; /* the name of the value that was quantized last */
	char location[200]; /* the name of the file with external data */
	int is_float16, is_quantized, in_blocks;
}
export;

/* Returns a formatted text, which is valid until the eighth call after this one. Use it for arguments of op
 * only. */
__attribute__((format(printf, 1, 2))) static const char *say(const char *format, ...)
{
	static char texts[8][500];
	static unsigned at;
	char *text = texts[at++ % 8];
	va_list args;
	va_start(args, format);
	int size = vsnprintf(text, sizeof texts[0], format, args);
	va_end(args);
	if (size < 0 || (size_t)size >= sizeof texts[0])
		gen_die("a name is too long");
	return text;
}

/* ---- Nodes ---- */

/* Replaces each '@' by the layer's prefix. */
static void expand(const export *x, const char *text, char *out, size_t out_size)
{
	size_t at = 0, prefix_size = strlen(x->prefix);
	for (; *text; text++) {
		if (at + prefix_size + 2 > out_size)
			gen_die("a name is too long");
		if (*text == '@') {
			memcpy(out + at, x->prefix, prefix_size);
			at += prefix_size;
		} else {
			out[at++] = *text;
		}
	}
	out[at] = 0;
}

static pb node(const export *x, const char *op, const char *inputs, const char *outputs)
{
	char in[400], out[400];
	expand(x, inputs, in, sizeof in);
	expand(x, outputs, out, sizeof out);
	pb made = onnx_node(op, NULL, in, out);
	char name[420];
	snprintf(name, sizeof name, "%s/%.*s", op, (int)strcspn(out, " "), out);
	pb_text(&made, NODE_NAME, name);
	return made;
}

static void add(export *x, pb *made)
{
	pb_message(&x->nodes, GRAPH_NODE, made);
}

static void op(export *x, const char *name, const char *inputs, const char *outputs)
{
	pb made = node(x, name, inputs, outputs);
	add(x, &made);
}

static void op_int(export *x, const char *name, const char *inputs, const char *outputs, const char *key,
                   int64_t value)
{
	pb made = node(x, name, inputs, outputs);
	onnx_int_attribute(&made, key, value);
	add(x, &made);
}

static void op_ints(export *x, const char *name, const char *inputs, const char *outputs, const char *key,
                    const int64_t *values, size_t n)
{
	pb made = node(x, name, inputs, outputs);
	onnx_ints_attribute(&made, key, values, n);
	add(x, &made);
}

/* ---- Initializers ---- */

/* Adds a tensor with its bytes, in the .onnx file or in the external one. */
static void add_bytes(export *x, const char *name, int type, const uint64_t *dims, uint32_t n_dims,
                      const void *bytes, size_t size)
{
	pb tensor = onnx_tensor(name, type, dims, n_dims);
	if (x->o->external && size >= EXTERNAL_SIZE_MIN) {
		onnx_external(&tensor, x->location, (int64_t)x->external.size, (int64_t)size);
		pb_append(&x->external, bytes, size);
	} else {
		pb_bytes(&tensor, TENSOR_RAW_DATA, bytes, size);
	}
	pb_message(&x->initializers, GRAPH_INITIALIZER, &tensor);
}

static void add_floats(export *x, const char *name, const uint64_t *dims, uint32_t n_dims,
                       const float *values, size_t n)
{
	uint32_t dtype = x->is_float16 ? QS_F16 : QS_F32;
	size_t size = n * qs_dtype_size(dtype);
	uint8_t *bytes = gen_allocate(size);
	for (size_t i = 0; i < n; i++) {
		if (x->is_float16)
			store_bytes(bytes + 2 * i, onnx_to_f16(values[i]), 2);
		else
			value_store(bytes, QS_F32, i, values[i]);
	}
	add_bytes(x, name, x->is_float16 ? ONNX_TYPE_FLOAT16 : ONNX_TYPE_FLOAT, dims, n_dims, bytes, size);
	free(bytes);
}

static void add_scalar(export *x, const char *name, double value)
{
	float rounded = (float)value;
	add_floats(x, name, NULL, 0, &rounded, 1);
}

static void add_integers(export *x, const char *name, size_t n, const int64_t *values)
{
	uint64_t dims[] = {n};
	uint8_t bytes[64];
	if (8 * n > sizeof bytes)
		gen_die("too many integers");
	for (size_t i = 0; i < n; i++)
		store_bytes(bytes + 8 * i, (uint64_t)values[i], 8);
	add_bytes(x, name, ONNX_TYPE_INT64, dims, 1, bytes, 8 * n);
}

/* Adds a tensor of scales or zero points, in typed fields as onnx.helper.make_tensor writes them. */
static void add_params(export *x, const char *name, int type, const onnx_params *params, size_t n)
{
	uint64_t dims[] = {n};
	pb tensor = onnx_tensor(name, type, dims, x->o->per_channel && n > 1), packed = {0};
	for (size_t i = 0; i < n; i++) {
		uint8_t bytes[4];
		value_store(bytes, QS_F32, 0, params[i].scale);
		if (type == ONNX_TYPE_FLOAT)
			pb_append(&packed, bytes, 4);
		else
			pb_varint(&packed, (uint64_t)(int64_t)params[i].zero);
	}
	pb_message(&tensor, type == ONNX_TYPE_FLOAT ? TENSOR_FLOAT_DATA : TENSOR_INT32_DATA, &packed);
	pb_message(&x->initializers, GRAPH_INITIALIZER, &tensor);
}

/* Adds NAME_quantized, NAME_scale and NAME_zero_point of a matrix [rows, cols], with a scale for each column
 * or one for all. */
static void add_codes(export *x, const char *name, const float *values, size_t rows, size_t cols,
                      int per_channel, int reduced)
{
	int is_signed = x->o->precision != ONNX_UINT8, type = is_signed ? ONNX_TYPE_INT8 : ONNX_TYPE_UINT8;
	size_t n = per_channel ? cols : 1;
	onnx_params *params = gen_allocate(n * sizeof *params);
	uint8_t *codes = gen_allocate(rows * cols);
	for (size_t i = 0; i < n; i++)
		params[i] = onnx_find_params(values + i, per_channel ? rows : rows * cols, per_channel ? cols : 1,
		                             is_signed, reduced);
	for (size_t i = 0; i < rows * cols; i++)
		codes[i] = onnx_round(&params[per_channel ? i % cols : 0], is_signed, values[i]);
	add_params(x, say("%s_scale", name), ONNX_TYPE_FLOAT, params, n);
	add_params(x, say("%s_zero_point", name), type, params, n);
	add_bytes(x, say("%s_quantized", name), type, (uint64_t[]){rows, cols}, 2, codes, rows * cols);
	free(codes);
	free(params);
}

/* Adds NAME_Q4, NAME_scales and NAME_zero_points of a matrix of `outputs` rows: codes of 4 bits in blocks
 * along the rows, the last block padded with zeros. (onnxruntime
 * python/tools/quantization/matmul_nbits_quantizer.py) */
static void add_blocks(export *x, const char *name, const float *values, size_t outputs, size_t inputs)
{
	size_t block = (size_t)x->o->block, n_blocks = (inputs + block - 1) / block,
	       zeros_size = (n_blocks + 1) / 2;
	uint8_t *codes = gen_allocate(outputs * n_blocks * block / 2),
	        *zeros = gen_allocate(outputs * zeros_size);
	float *scales = gen_allocate(outputs * n_blocks * sizeof *scales);
	for (size_t r = 0; r < outputs; r++)
		for (size_t b = 0; b < n_blocks; b++) {
			const float *from = values + r * inputs + b * block;
			size_t n = inputs - b * block < block ? inputs - b * block : block, at = r * n_blocks + b;
			onnx_params params = onnx_find_block(from, n, 1, x->o->asymmetric);
			scales[at] = params.scale;
			zeros[r * zeros_size + b / 2] |= (uint8_t)(params.zero << b % 2 * 4);
			for (size_t i = 0; i < n; i++)
				codes[(at * block + i) / 2] |= (uint8_t)(onnx_round_block(&params, from[i]) << i % 2 * 4);
		}
	if (n_blocks % 2) /* the half byte of no block has the middle, 8 */
		for (size_t r = 0; r < outputs; r++)
			zeros[(r + 1) * zeros_size - 1] |= 8 << 4;
	add_bytes(x, say("%s_Q4", name), ONNX_TYPE_UINT8, (uint64_t[]){outputs, n_blocks, block / 2}, 3, codes,
	          outputs * n_blocks * block / 2);
	add_floats(x, say("%s_scales", name), (uint64_t[]){outputs * n_blocks}, 1, scales, outputs * n_blocks);
	if (x->o->asymmetric)
		add_bytes(x, say("%s_zero_points", name), ONNX_TYPE_UINT8, (uint64_t[]){outputs * zeros_size}, 1,
		          zeros, outputs * zeros_size);
	free(codes);
	free(zeros);
	free(scales);
}

/* ---- The model's tensors ---- */

/* Loads the values of a tensor, which must have these dimensions (0: any); the caller frees them. */
static float *load(const export *x, const char *name, uint64_t dims[2])
{
	const qs_model_file *file;
	const qs_weight *tensor = qs_model_find(x->model, name, &file);
	if (!tensor || !value_is_float(tensor->dtype))
		gen_die("%s: no floats \"%s\"", x->o->model, name);
	for (uint32_t i = 0; i < 2; i++) {
		uint64_t dim = i < tensor->n_dims ? tensor->dims[i] : 1;
		if (tensor->n_dims > 2 || (dims[i] && dims[i] != dim))
			gen_die("%s: \"%s\" is not of the shape of a Llama's", x->o->model, name);
		dims[i] = dim;
	}
	size_t n = (size_t)(dims[0] * dims[1]);
	uint8_t *bytes = gen_allocate((size_t)tensor->size);
	float *values = gen_allocate(n * sizeof *values);
	FILE *stream = fopen(file->path, "rb");
	if (!stream || fseeko(stream, (off_t)tensor->offset, SEEK_SET) ||
	    fread(bytes, 1, (size_t)tensor->size, stream) != tensor->size)
		gen_die("%s: cannot read: %s", file->path, strerror(errno));
	fclose(stream);
	for (size_t i = 0; i < n; i++)
		values[i] = value_load(bytes, tensor->dtype, i);
	free(bytes);
	return values;
}

/* Adds the product of an input and a weight's codes as the quantizer does: a product of integers, times
 * both scales. in and out have no '@'. (onnxruntime python/tools/quantization/operators/matmul.py,
 * MatMulInteger) */
static void integer_product(export *x, const char *in, const char *weight, const char *out)
{
	if (strcmp(x->quantized, in) != 0) { /* if not, the graph has its codes already */
		op(x, "DynamicQuantizeLinear", in, say("%s_quantized %s_scale %s_zero_point", in, in, in));
		if (strlen(in) >= sizeof x->quantized)
			gen_die("a name is too long");
		snprintf(x->quantized, sizeof x->quantized, "%s", in);
	}
	op(x, "MatMulInteger",
	   say("%s_quantized %s_quantized %s_zero_point %s_zero_point", in, weight, in, weight),
	   say("%s_integers", out));
	op_int(x, "Cast", say("%s_integers", out), say("%s_cast", out), "to", ONNX_TYPE_FLOAT);
	op(x, "Mul", say("%s_scale %s_scale", in, weight), say("%s_scales", out));
	op(x, "Mul", say("%s_cast %s_scales", out, out), out);
}

/* Adds a linear layer y = x · Wᵀ, where W is [outputs, inputs], as a MatMul with the transpose of W. */
static void linear(export *x, const char *input, const char *module, uint64_t inputs, const char *output)
{
	char name[200], in[80], out[80];
	uint64_t dims[2] = {0, inputs};
	expand(x, say("%s.weight", module), name, sizeof name);
	expand(x, input, in, sizeof in);
	expand(x, output, out, sizeof out);
	float *values = load(x, name, dims);
	size_t rows = (size_t)dims[1], cols = (size_t)dims[0];
	float *transposed = gen_allocate(rows * cols * sizeof *transposed);
	for (size_t r = 0; r < rows; r++)
		for (size_t c = 0; c < cols; c++)
			transposed[r * cols + c] = values[c * rows + r];
	expand(x, say("%s.MatMul.weight", module), name, sizeof name);
	if (x->in_blocks) {
		add_blocks(x, name, values, cols, rows);
		pb made = onnx_node("MatMulNBits", "com.microsoft",
		                    say(x->o->asymmetric ? "%s %s_Q4 %s_scales %s_zero_points" : "%s %s_Q4 %s_scales",
		                        in, name, name, name),
		                    out);
		onnx_int_attribute(&made, "K", (int64_t)rows);
		onnx_int_attribute(&made, "N", (int64_t)cols);
		onnx_int_attribute(&made, "bits", 4);
		onnx_int_attribute(&made, "block_size", x->o->block);
		pb_text(&made, NODE_NAME, say("%s_Q4", out));
		add(x, &made);
	} else if (x->is_quantized) {
		add_codes(x, name, transposed, rows, cols, x->o->per_channel, x->o->reduced);
		integer_product(x, in, name, out);
	} else {
		add_floats(x, name, (uint64_t[]){rows, cols}, 2, transposed, rows * cols);
		op(x, "MatMul", say("%s %s", in, name), out);
	}
	free(transposed);
	free(values);
}

/* Adds the look-up of the embedding's rows for input_ids. */
static void embedding(export *x)
{
	static const char name[] = "model.embed_tokens.weight";
	uint64_t dims[2] = {0, x->c.hidden};
	float *values = load(x, name, dims);
	size_t rows = (size_t)dims[0], cols = (size_t)dims[1];
	if (!x->is_quantized) {
		add_floats(x, name, dims, 2, values, rows * cols);
		op(x, "Gather", "model.embed_tokens.weight input_ids", "hidden.0");
	} else {
		add_codes(x, name, values, rows, cols, 0, 0); /* the quantizer ignores the options for this one */
		op(x, "Gather", "model.embed_tokens.weight_quantized input_ids", "hidden.0_quantized");
		op(x, "DequantizeLinear",
		   "hidden.0_quantized model.embed_tokens.weight_scale model.embed_tokens.weight_zero_point",
		   "hidden.0");
	}
	free(values);
}

/* Adds an RMSNorm, by the operators that exporters make of it. */
static void norm(export *x, const char *input, const char *module, const char *output)
{
	char name[200];
	uint64_t dims[2] = {x->c.hidden, 1};
	expand(x, say("%s.weight", module), name, sizeof name);
	float *values = load(x, name, dims);
	add_floats(x, name, dims, 1, values, (size_t)dims[0]);
	free(values);
	op(x, "Mul", say("%s %s", input, input), say("%s.squares", output));
	op_ints(x, "ReduceMean", say("%s.squares", output), say("%s.mean", output), "axes", (const int64_t[]){-1},
	        1);
	op(x, "Add", say("%s.mean eps", output), say("%s.sum", output));
	op(x, "Sqrt", say("%s.sum", output), say("%s.root", output));
	op(x, "Div", say("%s %s.root", input, output), say("%s.divided", output));
	op(x, "Mul", say("%s.divided %s", output, name), output);
}

/* ---- The graph ---- */

static void constants(export *x)
{
	const config *c = &x->c;
	size_t half = (size_t)c->head_size / 2;
	float *frequencies = gen_allocate(half * sizeof *frequencies);
	/* theta^(-i / half); log2(10000) = 13.287… */
	for (size_t i = 0; i < half; i++)
		frequencies[i] = (float)exp2_portable(-13.287712379549449 * (double)i / (double)half);
	if (c->theta != 10000)
		gen_die("%s: rope_theta is not 10000", x->o->model);
	add_floats(x, "frequencies", (const uint64_t[]){1, half}, 2, frequencies, half);
	free(frequencies);
	add_scalar(x, "eps", c->eps);
	add_scalar(x, "zero_float", 0);
	add_scalar(x, "masked", -10000);
	double root = 1; /* of head_size, by Newton's method, which needs no libm */
	for (int i = 0; i < 60; i++)
		root = (root + (double)c->head_size / root) / 2;
	add_scalar(x, "score_factor", 1 / root);
	add_integers(x, "start", 1, (const int64_t[]){0});
	add_integers(x, "half", 1, (const int64_t[]){(int64_t)half});
	add_integers(x, "end", 1, (const int64_t[]){(int64_t)c->head_size});
	add_integers(x, "last", 1, (const int64_t[]){3});
	add_integers(x, "one", 1, (const int64_t[]){1});
	add_integers(x, "two", 1, (const int64_t[]){2});
	add_integers(x, "to_heads", 4, (const int64_t[]){0, 0, (int64_t)c->heads, (int64_t)c->head_size});
	add_integers(x, "to_kv_heads", 4, (const int64_t[]){0, 0, (int64_t)c->kv_heads, (int64_t)c->head_size});
	add_integers(x, "all_heads", 4, (const int64_t[]){0, (int64_t)c->heads, -1, (int64_t)c->head_size});
	add_integers(x, "from_heads", 3, (const int64_t[]){0, 0, (int64_t)(c->heads * c->head_size)});
}

/* Adds the angles of the positions, and the mask that hides later positions. */
static void positions(export *x)
{
	op(x, "Shape", "input_ids", "shape");
	op_int(x, "Gather", "shape one", "lengths", "axis", 0); /* [1] */
	op(x, "Squeeze", "lengths", "length");
	op(x, "Squeeze", "start", "from");
	op(x, "Squeeze", "one", "step");
	op(x, "Range", "from length step", "positions");
	op(x, "Unsqueeze", "positions one", "rows"); /* [length, 1] */
	op(x, "Unsqueeze", "positions start", "columns");
	op(x, "Less", "rows columns", "is_later");
	op(x, "Where", "is_later masked zero_float", "mask");
	op_int(x, "Cast", "rows", "angle_rows", "to", x->is_float16 ? ONNX_TYPE_FLOAT16 : ONNX_TYPE_FLOAT);
	op(x, "Mul", "angle_rows frequencies", "half_angles");
	op_int(x, "Concat", "half_angles half_angles", "angles", "axis", 1); /* [length, head_size] */
	op(x, "Cos", "angles", "cosines");
	op(x, "Sin", "angles", "sines");
}

/* Splits "@NAME" of [batch, length, heads · size] into "@NAME.heads" of [batch, heads, length, size].
 * rotates: each head is rotated by the angles of its position. */
static void heads(export *x, const char *name, const char *shape, int rotates)
{
	op(x, "Reshape", say("@%s %s", name, shape), say("@%s.split", name));
	op_ints(x, "Transpose", say("@%s.split", name), say("@%s.%s", name, rotates ? "flat" : "heads"), "perm",
	        (const int64_t[]){0, 2, 1, 3}, 4);
	if (!rotates)
		return;
	op(x, "Slice", say("@%s.flat start half last", name), say("@%s.first", name));
	op(x, "Slice", say("@%s.flat half end last", name), say("@%s.second", name));
	op(x, "Neg", say("@%s.second", name), say("@%s.negated", name));
	op_int(x, "Concat", say("@%s.negated @%s.first", name, name), say("@%s.rotated", name), "axis", 3);
	op(x, "Mul", say("@%s.rotated sines", name), say("@%s.by_sines", name));
	op(x, "Mul", say("@%s.flat cosines", name), say("@%s.by_cosines", name));
	op(x, "Add", say("@%s.by_sines @%s.by_cosines", name, name), say("@%s.heads", name));
}

/* Repeats each head of the keys or values for all heads of the queries that share it: makes "@NAME.all" of
 * "@NAME.heads". */
static void repeat_heads(export *x, const char *name)
{
	uint64_t times = x->c.heads / x->c.kv_heads;
	char same[300] = "";
	if (times == 1) {
		op(x, "Identity", say("@%s.heads", name), say("@%s.all", name));
		return;
	}
	for (uint64_t i = 0; i < times; i++)
		qs_text_add(same, sizeof same, " ", "@%s.single", name); /* at most 16 */
	op(x, "Unsqueeze", say("@%s.heads two", name), say("@%s.single", name));
	op_int(x, "Concat", same, say("@%s.repeated", name), "axis", 2);
	op(x, "Reshape", say("@%s.repeated all_heads", name), say("@%s.all", name));
}

static void layer(export *x, unsigned number)
{
	const config *c = &x->c;
	char in[40], out[40];
	snprintf(x->prefix, sizeof x->prefix, "model.layers.%u.", number);
	snprintf(in, sizeof in, "hidden.%u", number);
	snprintf(out, sizeof out, "hidden.%u", number + 1);

	norm(x, in, "@input_layernorm", "@normed");
	linear(x, "@normed", "@self_attn.q_proj", c->hidden, "@q");
	linear(x, "@normed", "@self_attn.k_proj", c->hidden, "@k");
	linear(x, "@normed", "@self_attn.v_proj", c->hidden, "@v");
	heads(x, "q", "to_heads", 1);
	heads(x, "k", "to_kv_heads", 1);
	heads(x, "v", "to_kv_heads", 0);
	repeat_heads(x, "k");
	repeat_heads(x, "v");
	op_ints(x, "Transpose", "@k.all", "@k.turned", "perm", (const int64_t[]){0, 1, 3, 2}, 4);
	op(x, "MatMul", "@q.heads @k.turned", "@products");
	op(x, "Mul", "@products score_factor", "@scores");
	op(x, "Add", "@scores mask", "@masked_scores");
	op_int(x, "Softmax", "@masked_scores", "@weights", "axis", -1);
	op(x, "MatMul", "@weights @v.all", "@mixed");
	op_ints(x, "Transpose", "@mixed", "@mixed.turned", "perm", (const int64_t[]){0, 2, 1, 3}, 4);
	op(x, "Reshape", "@mixed.turned from_heads", "@attended");
	linear(x, "@attended", "@self_attn.o_proj", c->heads * c->head_size, "@o");
	op(x, "Add", say("%s @o", in), "@middle");

	norm(x, "@middle", "@post_attention_layernorm", "@middle_normed");
	linear(x, "@middle_normed", "@mlp.gate_proj", c->hidden, "@gate");
	linear(x, "@middle_normed", "@mlp.up_proj", c->hidden, "@up");
	op(x, "Sigmoid", "@gate", "@gate.sigmoid");
	op(x, "Mul", "@gate @gate.sigmoid", "@gate.silu");
	op(x, "Mul", "@gate.silu @up", "@inner");
	linear(x, "@inner", "@mlp.down_proj", 0, "@down");
	op(x, "Add", "@middle @down", out);
	x->prefix[0] = 0;
}

/* Adds the head as a Gemm, which the quantizer does not change, so that the weight stays as it is. */
static void gemm_head(export *x)
{
	uint64_t dims[2] = {0, x->c.hidden};
	float *values = load(x, "lm_head.weight", dims);
	add_floats(x, "lm_head.weight", dims, 2, values, (size_t)(dims[0] * dims[1]));
	free(values);
	float *bias = gen_allocate((size_t)dims[0] * sizeof *bias);
	add_floats(x, "lm_head.bias", dims, 1, bias, (size_t)dims[0]);
	free(bias);
	add_integers(x, "to_rows", 2, (const int64_t[]){-1, (int64_t)x->c.hidden});
	add_integers(x, "vocab", 1, (const int64_t[]){(int64_t)dims[0]});
	op(x, "Reshape", "final to_rows", "final_rows");
	op_int(x, "Gemm", "final_rows lm_head.weight lm_head.bias", "logit_rows", "transB", 1);
	op_int(x, "Concat", "shape vocab", "logit_shape", "axis", 0);
	op(x, "Reshape", "logit_rows logit_shape", "head");
}

static void value_info(pb *graph, uint32_t field, const char *name, int type, const char *const *dims,
                       size_t n)
{
	enum {
		INFO_NAME = 1,
		INFO_TYPE,
		TYPE_TENSOR = 1,
		TENSOR_ELEM = 1,
		TENSOR_SHAPE,
		SHAPE_DIM = 1,
		DIM_PARAM
	};
	pb shape = {0}, tensor = {0}, of = {0}, info = {0};
	for (size_t i = 0; i < n; i++) {
		pb dim = {0};
		pb_text(&dim, DIM_PARAM, dims[i]);
		pb_message(&shape, SHAPE_DIM, &dim);
	}
	pb_number(&tensor, TENSOR_ELEM, (uint64_t)type);
	pb_message(&tensor, TENSOR_SHAPE, &shape);
	pb_message(&of, TYPE_TENSOR, &tensor);
	pb_text(&info, INFO_NAME, name);
	pb_message(&info, INFO_TYPE, &of);
	pb_message(graph, field, &info);
}

static void write_file(const export *x, const char *name, const pb *message)
{
	char folder[4096];
	snprintf(folder, sizeof folder, "%s/onnx", x->o->output);
	gen_make_folder(folder);
	gen_write_text(folder, name, (const char *)message->data, message->size);
}

static const char *suffix_of(int precision)
{
	static const char *const suffixes[] = {"", "_fp16", "_int8", "_uint8", "_quantized", "_q4", "_q4f16"};
	return suffixes[precision];
}

static void finish(export *x)
{
	static const char *const dims[] = {"batch", "length", "vocab"};
	pb graph = {0}, model = {0}, opset = {0};
	char name[200];
	pb_append(&graph, x->nodes.data, x->nodes.size);
	pb_text(&graph, GRAPH_NAME, "main_graph");
	pb_append(&graph, x->initializers.data, x->initializers.size);
	value_info(&graph, GRAPH_INPUT, "input_ids", ONNX_TYPE_INT64, dims, 2);
	value_info(&graph, GRAPH_OUTPUT, "logits", ONNX_TYPE_FLOAT, dims, 3);
	pb_number(&model, MODEL_IR_VERSION, IR_VERSION);
	pb_text(&model, MODEL_PRODUCER_NAME, x->is_quantized ? "onnx.quantize" : "qstore-onnx");
	pb_message(&model, MODEL_GRAPH, &graph);
	pb_text(&opset, OPSET_DOMAIN, "");
	pb_number(&opset, OPSET_VERSION, OPSET);
	pb_message(&model, MODEL_OPSET_IMPORT, &opset);
	if (x->in_blocks) {
		pb_text(&opset, OPSET_DOMAIN, "com.microsoft");
		pb_number(&opset, OPSET_VERSION, 1);
		pb_message(&model, MODEL_OPSET_IMPORT, &opset);
	}
	snprintf(name, sizeof name, "%s%s.onnx", x->o->base, suffix_of(x->o->precision));
	write_file(x, name, &model);
	if (x->o->external)
		write_file(x, x->location, &x->external);
	pb_free(&model);
	pb_free(&x->nodes);
	pb_free(&x->initializers);
	pb_free(&x->external);
}

/* Reads a number by the name that the hub's models have for it, or by the name of this project's training. */
static double config_number(const json_t *root, const char *name, const char *other, double otherwise)
{
	json_t *value = json_object_get(root, name);
	if (!json_is_number(value))
		value = json_object_get(root, other);
	return json_is_number(value) ? json_number_value(value) : otherwise;
}

static json_t *load_config(const onnx_options *o)
{
	char path[4096];
	json_error_t reason;
	snprintf(path, sizeof path, "%s/config.json", o->model);
	json_t *root = json_load_file(path, 0, &reason);
	if (!root)
		gen_die("%s: %s", path, reason.text);
	return root;
}

static config read_config(const onnx_options *o)
{
	json_t *root = load_config(o);
	config c = {.layers = (uint64_t)config_number(root, "num_hidden_layers", "num_layers", 0),
	            .heads = (uint64_t)config_number(root, "num_attention_heads", "num_heads", 0),
	            .hidden = (uint64_t)config_number(root, "hidden_size", "hidden_size", 0),
	            .eps = config_number(root, "rms_norm_eps", "rms_norm_eps", 1e-5),
	            .theta = config_number(root, "rope_theta", "rope_theta", 10000)};
	c.kv_heads = (uint64_t)config_number(root, "num_key_value_heads", "num_kv_heads", (double)c.heads);
	uint64_t usual = c.heads ? c.hidden / c.heads : 0;
	c.head_size = c.heads ? (uint64_t)config_number(root, "head_dim", "head_dim", (double)usual) : 0;
	json_decref(root);
	if (!c.layers || !c.heads || !c.kv_heads || c.heads % c.kv_heads || !c.head_size || c.head_size % 2 ||
	    c.heads / c.kv_heads > 16)
		gen_die("%s: config.json is not that of a Llama", o->model);
	return c;
}

void generate_onnx(const onnx_options *options)
{
	qs_model model;
	qstore_error error;
	if (qs_model_open(&model, options->model, &error))
		gen_die("%s", error.text);
	export *x = gen_allocate(sizeof *x);
	x->o = options;
	x->model = &model;
	x->c = read_config(options);
	x->is_float16 = options->precision == ONNX_FP16 || options->precision == ONNX_Q4F16;
	x->in_blocks = options->precision == ONNX_Q4 || options->precision == ONNX_Q4F16;
	x->is_quantized = options->precision >= ONNX_INT8 && !x->in_blocks;
	snprintf(x->location, sizeof x->location, "%s%s.onnx_data", options->base, suffix_of(options->precision));
	constants(x);
	embedding(x);
	positions(x);
	for (unsigned i = 0; i < x->c.layers; i++)
		layer(x, i);
	char last[40];
	snprintf(last, sizeof last, "hidden.%u", (unsigned)x->c.layers);
	norm(x, last, "model.norm", "final");
	if (options->gemm)
		gemm_head(x);
	else
		linear(x, "final", "lm_head", x->c.hidden, "head");
	op_int(x, "Cast", "head", "logits", "to", ONNX_TYPE_FLOAT);
	finish(x);
	free(x);
	qs_model_close(&model);
}

void generate_onnx_small_files(const onnx_options *options)
{
	qs_model model;
	qstore_error error;
	if (qs_model_open(&model, options->model, &error))
		gen_die("%s", error.text);
	gen_make_folder(options->output);
	for (size_t f = 0; f < model.n_files; f++) {
		const qs_model_file *file = &model.files[f];
		if (file->is_weights || strchr(file->name, '/') || strstr(file->name, ".safetensors") ||
		    !strcmp(file->name, "config.json"))
			continue;
		char *bytes = gen_allocate((size_t)file->size);
		FILE *stream = fopen(file->path, "rb");
		if (!stream || fread(bytes, 1, (size_t)file->size, stream) != file->size)
			gen_die("%s: cannot read: %s", file->path, strerror(errno));
		fclose(stream);
		gen_write_text(options->output, file->name, bytes, (size_t)file->size);
		free(bytes);
	}
	json_t *root = load_config(options);
	if (options->external)
		json_object_set_new(root, "transformers.js_config",
		                    json_pack("{s:b}", "use_external_data_format", 1));
	char *text = json_dumps(root, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	if (!text)
		gen_die("out of memory");
	gen_write_text(options->output, "config.json", text, strlen(text));
	free(text);
	json_decref(root);
	qs_model_close(&model);
}

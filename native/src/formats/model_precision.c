#include "model_precision.h"

#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "core/bytes.h"
#include "text.h"

/* Longer names of tensors belong to no matrix of codes. */
#define NAME_SIZE_MAX 1024
#define CONFIG_SIZE_MAX 1000000u

/* The ways to have codes. */
typedef enum family {
	FAMILY_NONE,
	FAMILY_INT8,
	FAMILY_UINT8,
	FAMILY_INT4,
	FAMILY_INT,  /* packed integers of other bits */
	FAMILY_GPTQ, /* of other bits than 4 and 8 */
	FAMILY_MLX,
	FAMILY_NF4,
	FAMILY_FP4,
	FAMILY_FP8,
	FAMILY_NVFP4,
	FAMILY_MXFP4,
	FAMILY_EXL2,
	FAMILY_EXL3,
	FAMILY_AQLM,
	FAMILY_HQQ,
	FAMILY_QUIP,
	FAMILY_VPTQ,
	FAMILY_Q, /* ONNX's MatMulNBits */
	FAMILY_COUNT
} family;

/* A format: "%u" takes the bits of a code. */
static const char *const family_names[FAMILY_COUNT] = {
    [FAMILY_INT8] = "int8",       [FAMILY_UINT8] = "uint8",   [FAMILY_INT4] = "int4",
    [FAMILY_INT] = "int%u",       [FAMILY_MLX] = "mlx-%ubit", [FAMILY_NF4] = "nf4",
    [FAMILY_GPTQ] = "gptq-%ubit", [FAMILY_FP4] = "fp4",       [FAMILY_FP8] = "fp8",
    [FAMILY_NVFP4] = "nvfp4",     [FAMILY_MXFP4] = "mxfp4",   [FAMILY_EXL2] = "exl2",
    [FAMILY_EXL3] = "exl3",       [FAMILY_AQLM] = "aqlm",     [FAMILY_HQQ] = "hqq",
    [FAMILY_QUIP] = "quip",       [FAMILY_VPTQ] = "vptq",     [FAMILY_Q] = "q%u",
};

/* The kind of a matrix of codes: its family, the bits of a code (0: not known) and the type to call it by. */
typedef struct codes {
	family family;
	unsigned bits;
	uint32_t dtype;
} codes;

/* The precisions of floats, of other elements and of ggml's blocks. bits: those of a code; 0 where elements
 * may be words of codes of any size. */
static const struct {
	uint32_t dtype;
	const char *name;
	unsigned bits;
} plain[] = {
    {QS_F64, "fp64", 64},       {QS_F32, "fp32", 32},       {QS_BF16, "bf16", 16},
    {QS_F16, "fp16", 16},       {QS_F8_E4M3, "fp8", 8},     {QS_F8_E5M2, "fp8", 8},
    {QS_I8, "int8", 8},         {QS_U8, "uint8", 0},        {QS_I16, "int16", 0},
    {QS_I32, "int32", 0},       {QS_I64, "int64", 0},       {QS_U16, "uint16", 0},
    {QS_U32, "uint32", 0},      {QS_U64, "uint64", 0},      {QS_U4, "uint4", 4},
    {QS_I4, "int4", 4},         {QS_Q4_0, "q4_0", 4},       {QS_Q4_1, "q4_1", 4},
    {QS_Q5_0, "q5_0", 5},       {QS_Q5_1, "q5_1", 5},       {QS_Q8_0, "q8_0", 8},
    {QS_Q8_1, "q8_1", 8},       {QS_Q2_K, "q2_k", 2},       {QS_Q3_K, "q3_k", 3},
    {QS_Q4_K, "q4_k", 4},       {QS_Q5_K, "q5_k", 5},       {QS_Q6_K, "q6_k", 6},
    {QS_Q8_K, "q8_k", 8},       {QS_IQ2_XXS, "iq2_xxs", 2}, {QS_IQ2_XS, "iq2_xs", 2},
    {QS_IQ3_XXS, "iq3_xxs", 3}, {QS_IQ1_S, "iq1_s", 1},     {QS_IQ4_NL, "iq4_nl", 4},
    {QS_IQ3_S, "iq3_s", 3},     {QS_IQ2_S, "iq2_s", 2},     {QS_IQ4_XS, "iq4_xs", 4},
    {QS_IQ1_M, "iq1_m", 1},     {QS_TQ1_0, "tq1_0", 1},     {QS_TQ2_0, "tq2_0", 2},
    {QS_MXFP4, "mxfp4", 4},
};

static const qs_weight *find(const qs_weights_list *list, const char *name, const qs_model_file **file)
{
	for (size_t f = 0; f < list->n_files; f++) {
		const qs_weight *tensor = qs_weights_find(&list->files[f]->weights, name);
		if (tensor) {
			if (file)
				*file = list->files[f];
			return tensor;
		}
	}
	return NULL;
}

/* The tensor whose name is that of `t` with `end` in place of its last bytes from `stem` on. */
static const qs_weight *find_beside(const qs_weights_list *list, const qs_weight *t, size_t stem,
                                    const char *end, const qs_model_file **file)
{
	char name[NAME_SIZE_MAX];
	if (stem + strlen(end) >= sizeof name)
		return NULL;
	snprintf(name, sizeof name, "%.*s%s", (int)stem, t->name, end);
	return find(list, name, file);
}

static int has_beside(const qs_weights_list *list, const qs_weight *t, size_t stem, const char *end)
{
	return find_beside(list, t, stem, end, NULL) ? 1 : 0;
}

/* Takes a suffix off. */
static int stem_of(const qs_weight *t, const char *suffix, size_t *stem)
{
	*stem = strlen(t->name) - strlen(suffix);
	return qs_ends_in(t->name, suffix) && *stem < NAME_SIZE_MAX;
}

static int is_scale_dtype(uint32_t dtype)
{
	return qs_dtype_is_float(dtype) || dtype == QS_F64;
}

/* ---- Words of codes ---- */

/* The bits of codes of which n_codes are in so many words of 32 bits, when that is a whole number. */
static unsigned bits_of_words(uint64_t words, uint64_t n_codes)
{
	return n_codes && words <= n_codes && words * 32 % n_codes == 0 ? (unsigned)(words * 32 / n_codes) : 0;
}

static codes integers(unsigned bits, family other)
{
	return (codes){bits == 4   ? FAMILY_INT4
	               : bits == 8 ? FAMILY_INT8
	                           : other,
	               bits,
	               bits == 4   ? QS_U4
	               : bits == 8 ? QS_U8
	                           : QS_I32};
}

/* GPTQ packs along the inputs, whose number is that of X.g_idx; AWQ along the outputs, whose number is that
 * of X.scales' columns. */
static codes look_at_qweight(const qs_weights_list *list, const qs_weight *t, size_t stem)
{
	const qs_weight *scales = find_beside(list, t, stem, ".scales", NULL),
	                *order = find_beside(list, t, stem, ".g_idx", NULL),
	                *zeros = find_beside(list, t, stem, ".qzeros", NULL);
	uint64_t out = scales && scales->n_dims == 2 ? scales->dims[1] : 0;
	if (order && order->n_dims == 1)
		return integers(bits_of_words(t->dims[0], order->dims[0]), FAMILY_GPTQ);
	if (out == t->dims[1] && zeros && zeros->n_dims == 2)
		return integers(bits_of_words(zeros->dims[1], out), FAMILY_GPTQ);
	return integers(bits_of_words(t->dims[1], out), FAMILY_INT);
}

/* compressed-tensors: the values of X.weight_shape tell how many codes there are. */
static codes look_at_weight_packed(const qs_weights_list *list, const qs_weight *t, size_t stem)
{
	const qs_model_file *file;
	const qs_weight *other = find_beside(list, t, stem, ".weight_shape", &file),
	                *scale = find_beside(list, t, stem, ".weight_scale", NULL);
	uint8_t shape[16];
	if (t->dtype == QS_U8)
		return (codes){scale && scale->dtype == QS_U8 ? FAMILY_MXFP4 : FAMILY_NVFP4, 4, QS_U4};
	if (!other || other->size != 16 || other->dtype != QS_I64)
		return (codes){0};
	FILE *from = fopen(file->path, "rb");
	int is_read = from && !fseeko(from, (off_t)other->offset, SEEK_SET) && fread(shape, 16, 1, from) == 1;
	if (from)
		fclose(from);
	return integers(is_read ? bits_of_words(t->dims[1], qs_load64(shape + 8)) : 0, FAMILY_INT);
}

/* MLX: X.weight in U32, of groups with X.scales and X.biases. Groups have 64 codes, unless config.json says
 * otherwise; it is read later. */
static codes look_at_mlx(const qs_weights_list *list, const qs_weight *t, size_t stem)
{
	const qs_weight *scales = find_beside(list, t, stem, ".scales", NULL);
	if (!scales || scales->n_dims != t->n_dims)
		return (codes){0};
	if (!has_beside(list, t, stem, ".biases"))
		return (codes){scales->dtype == QS_U8 ? FAMILY_MXFP4 : FAMILY_NONE, 4, QS_U4};
	unsigned bits = bits_of_words(t->dims[t->n_dims - 1], scales->dims[t->n_dims - 1] * 64);
	return (codes){FAMILY_MLX, bits, bits == 4 ? QS_U4 : bits == 8 ? QS_U8 : QS_U32};
}

/* ---- Bytes ---- */

static codes look_at_bytes(const qs_weights_list *list, const qs_weight *t)
{
	static const char *const ends[] = {".SCB",           ".weight_scale",     ".weight.scale", ".scale",
	                                   ".weight_scales", ".weight_scale_inv", "_scale",        "_scales"};
	size_t size = strlen(t->name), stem;
	if (has_beside(list, t, size, ".quant_state.bitsandbytes__nf4"))
		return (codes){FAMILY_NF4, 4, QS_U4};
	if (has_beside(list, t, size, ".quant_state.bitsandbytes__fp4"))
		return (codes){FAMILY_FP4, 4, QS_U4};
	if (stem_of(t, "_blocks", &stem) && has_beside(list, t, stem, "_scales"))
		return (codes){FAMILY_MXFP4, 4, QS_U4};
	if (stem_of(t, ".weight_packed", &stem))
		return look_at_weight_packed(list, t, stem);
	if (stem_of(t, ".W_q", &stem) && has_beside(list, t, stem, ".scale"))
		return (codes){FAMILY_HQQ, 0, QS_U8};
	if (stem_of(t, "._data", &stem) || stem_of(t, "_qdata", &stem)) {
		if (t->dtype == QS_I8)
			return (codes){FAMILY_INT8, 8, QS_I8};
		return has_beside(list, t, stem, "._shift") ? (codes){FAMILY_INT4, 4, QS_U4} : (codes){0};
	}
	if (!stem_of(t, ".weight", &stem))
		stem = size;
	if (has_beside(list, t, stem, ".weight_scale_2"))
		return (codes){FAMILY_NVFP4, 4, QS_U4};
	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
		const qs_weight *scales = find_beside(list, t, stem, ends[i], NULL);
		if (!scales)
			scales = find_beside(list, t, size, ends[i], NULL);
		if (scales && is_scale_dtype(scales->dtype))
			return t->dtype == QS_I8 ? (codes){FAMILY_INT8, 8, QS_I8} : (codes){FAMILY_UINT8, 8, QS_U8};
	}
	return (codes){0};
}

/* ---- All ---- */

static codes look_at(const qs_weights_list *list, const qs_weight *t)
{
	size_t stem;
	if (t->n_dims < 2 || !t->size)
		return (codes){0};
	if (stem_of(t, ".codes", &stem) && has_beside(list, t, stem, ".codebooks"))
		return (codes){FAMILY_AQLM, 0, t->dtype};
	if (stem_of(t, ".Qidxs", &stem))
		return (codes){FAMILY_QUIP, 0, t->dtype};
	if (stem_of(t, ".indices", &stem) && has_beside(list, t, stem, ".centroids.weight"))
		return (codes){FAMILY_VPTQ, 0, t->dtype};
	if (stem_of(t, ".trellis", &stem))
		return (codes){FAMILY_EXL3, 0, t->dtype};
	if (stem_of(t, ".q_weight", &stem) && has_beside(list, t, stem, ".q_scale"))
		return (codes){FAMILY_EXL2, 0, t->dtype};
	if (t->dtype == QS_I32 && t->n_dims == 2 && stem_of(t, ".qweight", &stem))
		return look_at_qweight(list, t, stem);
	if (t->dtype == QS_I32 && t->n_dims == 2 && stem_of(t, ".weight_packed", &stem))
		return look_at_weight_packed(list, t, stem);
	if (t->dtype == QS_U32 && stem_of(t, ".weight", &stem))
		return look_at_mlx(list, t, stem);
	if (t->dtype == QS_F8_E4M3 || t->dtype == QS_F8_E5M2)
		return (codes){FAMILY_FP8, 8, t->dtype};
	if (t->dtype == QS_I8 || t->dtype == QS_U8)
		return look_at_bytes(list, t);
	return (codes){0};
}

static codes look_at_quant(const qs_weight *t, const qs_onnx_quant *quant)
{
	int is_signed = t->dtype == QS_I8 || t->dtype == QS_I4;
	if (quant->bits == 8 && quant->block_size == 0)
		return (codes){is_signed ? FAMILY_INT8 : FAMILY_UINT8, 8, t->dtype};
	if (strcmp(quant->op, "MatMulNBits") != 0 && quant->bits == 4)
		return (codes){FAMILY_INT4, 4, is_signed ? QS_I4 : QS_U4};
	return (codes){FAMILY_Q, quant->bits, quant->bits == 4 ? QS_U4 : t->dtype};
}

/* Bytes that each kind of codes has, and the first matrix of it. */
typedef struct tally {
	uint64_t sizes[FAMILY_COUNT];
	codes first[FAMILY_COUNT];
} tally;

static void count(tally *all, codes c, uint64_t size)
{
	if (c.family != FAMILY_NONE && !all->sizes[c.family])
		all->first[c.family] = c;
	all->sizes[c.family] += size;
}

static codes most_codes(const qs_weights_list *list)
{
	tally all = {0};
	for (size_t f = 0; f < list->n_files; f++) {
		const qs_model_file *file = list->files[f];
		for (size_t q = 0; q < file->n_quants; q++) {
			const qs_weight *t = find(list, file->quants[q].weight, NULL);
			if (t)
				count(&all, look_at_quant(t, &file->quants[q]), t->size);
		}
		for (size_t t = 0; t < file->weights.n_tensors && file->weights.format != QS_FORMAT_ONNX; t++)
			count(&all, look_at(list, &file->weights.tensors[t]), file->weights.tensors[t].size);
	}
	family most = FAMILY_NONE;
	for (family i = FAMILY_NONE + 1; i < FAMILY_COUNT; i++)
		if (all.sizes[i] > (most ? all.sizes[most] : 0))
			most = i;
	return all.first[most];
}

/* The type that most elements in blocks have, after which such a model is named; its embeddings and norms,
 * which are often left in a finer type, may weigh more. Without blocks the type of most bytes. */
static uint32_t most_elements(const qs_weights_list *list)
{
	uint64_t elems[QS_DTYPE_COUNT] = {0}, sizes[QS_DTYPE_COUNT] = {0};
	uint32_t block = QS_BYTES, most = QS_BYTES;
	for (size_t f = 0; f < list->n_files; f++)
		for (size_t t = 0; t < list->files[f]->weights.n_tensors; t++) {
			const qs_weight *tensor = &list->files[f]->weights.tensors[t];
			uint32_t of_block = qs_block_elems(tensor->dtype);
			sizes[tensor->dtype] += tensor->size;
			if (of_block > 1)
				elems[tensor->dtype] += tensor->size / qs_block_size(tensor->dtype) * of_block;
		}
	for (uint32_t d = 0; d < QS_DTYPE_COUNT; d++) {
		if (elems[d] > elems[block])
			block = d;
		if (d != QS_BYTES && sizes[d] > (most == QS_BYTES ? 0 : sizes[most]))
			most = d;
	}
	return block != QS_BYTES ? block : most;
}

/* May words of codes be in these weights: is a sixteenth of them matrices of integers? */
static int may_have_codes(const qs_weights_list *list)
{
	uint64_t integers = 0, all = 0;
	for (size_t f = 0; f < list->n_files; f++)
		for (size_t t = 0; t < list->files[f]->weights.n_tensors; t++) {
			const qs_weight *tensor = &list->files[f]->weights.tensors[t];
			uint32_t d = tensor->dtype;
			all += tensor->size;
			integers += tensor->n_dims > 1 && (d == QS_BYTES || d == QS_U8 || d == QS_I8 || d == QS_U16 ||
			                                   d == QS_I16 || d == QS_U32 || d == QS_I32 || d == QS_I64)
			                ? tensor->size
			                : 0;
		}
	return integers > 0 && integers >= all / 16;
}

/* The quantization that config.json speaks of: transformers' quantization_config or MLX's quantization. */
typedef struct config {
	char method[24]; /* "gptq", "bitnet" …; "" */
	unsigned bits;   /* 0: it does not say */
} config;

static config read_config(const qs_model_file *file)
{
	config said = {0};
	json_t *root = file && file->size <= CONFIG_SIZE_MAX ? json_load_file(file->path, 0, NULL) : NULL;
	json_t *quantization = json_object_get(root, "quantization_config");
	const char *method = json_string_value(json_object_get(quantization, "quant_method"));
	if (!json_is_object(quantization))
		quantization = json_object_get(root, "quantization");
	json_int_t bits = json_integer_value(json_object_get(quantization, "bits"));
	said.bits = bits > 0 && bits <= 16 ? (unsigned)bits : 0;
	/* It becomes part of a name. */
	if (method && strlen(method) < sizeof said.method &&
	    method[strspn(method, "abcdefghijklmnopqrstuvwxyz0123456789_-")] == 0)
		snprintf(said.method, sizeof said.method, "%s", method);
	json_decref(root);
	return said;
}

static qstore_status name_codes(codes c, const config *said, qs_arena *arena, qs_precision *precision,
                                qstore_error *error)
{
	if (said->bits && (c.family == FAMILY_MLX || !c.bits))
		c.bits = said->bits;
	const char *format = family_names[c.family];
	/* Without the number of bits only the name's beginning is known. */
	size_t size = c.bits || !strchr(format, '%') ? strlen(format) : strcspn(format, "-%");
	char text[24];
	snprintf(text, sizeof text, "%.*s", (int)size, format);
	const char *at = strstr(text, "%u");
	precision->name = at ? qs_arena_text(arena, "%.*s%u%s", (int)(at - text), text, c.bits, at + 2)
	                     : qs_arena_text(arena, "%s", text);
	precision->bits = c.bits;
	precision->dtype = c.dtype;
	return precision->name ? QSTORE_OK : qs_no_memory(error);
}

qstore_status qs_find_precision(const qs_weights_list *list, qs_arena *arena, qs_precision *precision,
                                qstore_error *error)
{
	config said = read_config(list->config);
	codes most = most_codes(list);
	if (most.family != FAMILY_NONE)
		return name_codes(most, &said, arena, precision, error);
	*precision = (qs_precision){.name = "other", .dtype = most_elements(list)};
	for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
		if (plain[i].dtype == precision->dtype) {
			precision->name = plain[i].name;
			precision->bits = plain[i].bits;
		}
	/* Codes of an unknown kind may weigh less than embeddings: config.json says that they are there. */
	if (said.method[0] && qs_block_elems(precision->dtype) == 1 && may_have_codes(list)) {
		precision->bits = said.bits;
		precision->name = said.bits ? qs_arena_text(arena, "%s-%ubit", said.method, said.bits)
		                            : qs_arena_text(arena, "%s", said.method);
	}
	return precision->name ? QSTORE_OK : qs_no_memory(error);
}

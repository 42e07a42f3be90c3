/* Finds which precision a model has, from its weights. */
#include <stdio.h>
#include <string.h>

#include "core/bytes.h"
#include "model.h"
#include "text.h"

static int is_scale_dtype(uint32_t dtype)
{
	return dtype == QS_F32 || dtype == QS_F16 || dtype == QS_BF16;
}

/* A matrix in I8 with its scales beside it: bitsandbytes' X.weight and X.SCB, or as others name them. */
static uint32_t find_int8_linear(const qs_model *model)
{
	static const char *const ends[] = {".SCB", ".weight_scale", ".weight.scale", ".scale", "_scale"};
	char name[1024];
	for (size_t f = 0; f < model->n_files; f++) {
		for (size_t t = 0; t < model->files[f].weights.n_tensors; t++) {
			const qs_weight *weight = &model->files[f].weights.tensors[t];
			size_t size = strlen(weight->name), stem = size;
			if ((weight->dtype != QS_I8 && weight->dtype != QS_U8) || weight->n_dims < 2 ||
			    size + sizeof ".weight_scale" > sizeof name)
				continue;
			if (size > 7 && !strcmp(weight->name + size - 7, ".weight"))
				stem -= 7;
			memcpy(name, weight->name, stem);
			for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
				strcpy(name + stem, ends[i]);
				const qs_weight *scales = qs_model_find(model, name, NULL);
				if (scales && is_scale_dtype(scales->dtype))
					return weight->dtype;
			}
		}
	}
	return QS_BYTES;
}

/* The type that most elements in blocks have, after which such a model is named; its embeddings and norms,
 * which are often left in a finer type, may weigh more. QS_BYTES when there are no blocks. */
static uint32_t most_blocks(const qs_model *model)
{
	uint64_t elems[QS_DTYPE_COUNT] = {0};
	uint32_t most = QS_BYTES;
	for (size_t f = 0; f < model->n_files; f++) {
		for (size_t t = 0; t < model->files[f].weights.n_tensors; t++) {
			const qs_weight *tensor = &model->files[f].weights.tensors[t];
			uint32_t block = qs_block_elems(tensor->dtype);
			if (block > 1)
				elems[tensor->dtype] += tensor->size / qs_block_size(tensor->dtype) * block;
		}
	}
	for (uint32_t d = 0; d < QS_DTYPE_COUNT; d++)
		if (elems[d] > elems[most])
			most = d;
	return most;
}

/* The columns of the codes in a tensor of words, 0 when they are not known; *words: along these columns. GPTQ
 * tells by the shape of X.g_idx (in), AWQ, which packs along the outputs, by X.scales (groups × out),
 * compressed-tensors by the values of X.weight_shape. */
static uint64_t packed_codes(const qs_model *model, const qs_weight *weight, size_t stem, int is_qweight,
                             uint64_t *words)
{
	char name[1024];
	const qs_model_file *file;
	uint8_t shape[16];
	*words = weight->dims[is_qweight ? 0 : 1];
	memcpy(name, weight->name, stem);
	strcpy(name + stem, is_qweight ? ".g_idx" : ".weight_shape");
	const qs_weight *other = qs_model_find(model, name, &file);
	if (is_qweight && other)
		return other->n_dims == 1 ? other->dims[0] : 0;
	if (is_qweight) {
		strcpy(name + stem, ".scales");
		other = qs_model_find(model, name, NULL);
		*words = weight->dims[1];
		return other && other->n_dims == 2 ? other->dims[1] : 0;
	}
	if (!other || other->size != 16 || other->dtype != QS_I64)
		return 0;
	FILE *from = fopen(file->path, "rb");
	int is_read = from && !fseeko(from, (off_t)other->offset, SEEK_SET) && fread(shape, 16, 1, from) == 1;
	if (from)
		fclose(from);
	return is_read ? qs_load64(shape + 8) : 0;
}

/* Bits of codes that are packed in I32, as GPTQ, AWQ (X.qweight) and compressed-tensors (X.weight_packed)
 * have them; 0 when there are none. */
static uint32_t packed_bits(const qs_model *model)
{
	for (size_t f = 0; f < model->n_files; f++)
		for (size_t t = 0; t < model->files[f].weights.n_tensors; t++) {
			const qs_weight *weight = &model->files[f].weights.tensors[t];
			int is_qweight = qs_ends_in(weight->name, ".qweight");
			size_t stem = strlen(weight->name) - strlen(is_qweight ? ".qweight" : ".weight_packed");
			if (weight->dtype != QS_I32 || weight->n_dims != 2 || !weight->dims[0] || !weight->dims[1] ||
			    (!is_qweight && !qs_ends_in(weight->name, ".weight_packed")) || stem > 1024 - 32)
				continue;
			uint64_t words, codes = packed_codes(model, weight, stem, is_qweight, &words);
			if (codes == words * 8)
				return 4;
			if (codes == words * 4)
				return 8;
		}
	return 0;
}

const char *qs_model_precision(const qs_model *model, uint32_t *dtype)
{
	static const struct {
		uint32_t dtype;
		const char *name;
	} names[] = {
	    {QS_I8, "int8"},         {QS_BF16, "bf16"},     {QS_F16, "fp16"},        {QS_F32, "fp32"},
	    {QS_F64, "fp64"},        {QS_F8_E4M3, "fp8"},   {QS_F8_E5M2, "fp8"},     {QS_U8, "uint8"},
	    {QS_I16, "int16"},       {QS_I32, "int32"},     {QS_I64, "int64"},       {QS_U16, "uint16"},
	    {QS_U32, "uint32"},      {QS_U64, "uint64"},    {QS_Q4_0, "q4_0"},       {QS_Q4_1, "q4_1"},
	    {QS_Q5_0, "q5_0"},       {QS_Q5_1, "q5_1"},     {QS_Q8_0, "q8_0"},       {QS_Q8_1, "q8_1"},
	    {QS_Q2_K, "q2_k"},       {QS_Q3_K, "q3_k"},     {QS_Q4_K, "q4_k"},       {QS_Q5_K, "q5_k"},
	    {QS_Q6_K, "q6_k"},       {QS_Q8_K, "q8_k"},     {QS_IQ2_XXS, "iq2_xxs"}, {QS_IQ2_XS, "iq2_xs"},
	    {QS_IQ3_XXS, "iq3_xxs"}, {QS_IQ1_S, "iq1_s"},   {QS_IQ4_NL, "iq4_nl"},   {QS_IQ3_S, "iq3_s"},
	    {QS_IQ2_S, "iq2_s"},     {QS_IQ4_XS, "iq4_xs"}, {QS_IQ1_M, "iq1_m"},     {QS_TQ1_0, "tq1_0"},
	    {QS_TQ2_0, "tq2_0"},     {QS_MXFP4, "mxfp4"},   {QS_U4, "uint4"},        {QS_I4, "int4"},
	};
	uint64_t sizes[QS_DTYPE_COUNT] = {0};
	uint32_t most = QS_BYTES;

	for (size_t f = 0; f < model->n_files; f++)
		for (size_t t = 0; t < model->files[f].weights.n_tensors; t++)
			sizes[model->files[f].weights.tensors[t].dtype] += model->files[f].weights.tensors[t].size;
	for (uint32_t d = 0; d < QS_DTYPE_COUNT; d++)
		if (sizes[d] > sizes[most])
			most = d;
	uint32_t blocks = most_blocks(model);
	if (blocks != QS_BYTES)
		most = blocks;
	else if (most != QS_I8 && most != QS_U8 && find_int8_linear(model) != QS_BYTES)
		most = find_int8_linear(model); /* its embeddings may weigh more than its linear layers */
	uint32_t bits = packed_bits(model);
	if (dtype)
		*dtype = bits ? QS_I32 : most;
	if (model->precision)
		return model->precision;
	if (bits)
		return bits == 4 ? "int4" : "int8";
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (names[i].dtype == most)
			return names[i].name;
	return "other";
}

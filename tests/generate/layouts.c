#include "layouts.h"

#include <stdio.h>
#include <stdlib.h>

#include "values.h"

uint8_t *gen_list_add(gen_list *list, const char *format, const char *stem, uint32_t dtype, uint32_t n_dims,
                      const uint64_t *dims)
{
	if (list->n_tensors == list->capacity) {
		list->capacity = 2 * list->capacity + 64;
		list->tensors = realloc(list->tensors, list->capacity * sizeof *list->tensors);
		if (!list->tensors)
			gen_die("out of memory");
	}
	gen_tensor *tensor = &list->tensors[list->n_tensors++];
	*tensor = (gen_tensor){.dtype = dtype, .n_dims = n_dims, .shard = list->shard};
	if ((size_t)snprintf(tensor->name, sizeof tensor->name, format, stem) >= sizeof tensor->name)
		gen_die("%s: name too long", stem);
	for (uint32_t i = 0; i < n_dims; i++)
		tensor->dims[i] = dims[i];
	uint8_t *data = gen_allocate((size_t)gen_tensor_size(tensor));
	tensor->data = data;
	return data;
}

void gen_list_free(gen_list *list)
{
	for (size_t i = 0; i < list->n_tensors; i++)
		free((void *)(uintptr_t)list->tensors[i].data);
	free(list->tensors);
}

static uint8_t *add(gen_list *list, const char *format, const char *stem, uint32_t dtype, uint64_t rows,
                    uint64_t cols)
{
	return gen_list_add(list, format, stem, dtype, 2, (const uint64_t[]){rows, cols});
}

/* Writes code i of a sequence of codes whose words are `stride` words apart. Higher bits of the code are
 * dropped. */
static void put_packed(uint8_t *words, size_t stride, size_t i, unsigned bits, int code)
{
	size_t per_word = 32 / bits;
	uint8_t *word = words + 4 * stride * (i / per_word);
	uint32_t value = (uint32_t)code & ((1u << bits) - 1);
	for (size_t at = bits * (i % per_word), k = 0; k < bits; k++, at++)
		word[at / 8] |= (uint8_t)((value >> k & 1) << at % 8);
}

static size_t words(size_t n, unsigned bits)
{
	return (n * bits + 31) / 32;
}

/* Returns the parameters of a row's group. */
static const gen_params *params_of(const gen_codes *codes, size_t row, size_t group)
{
	return &codes->params[row * codes->n_groups + group];
}

int gen_layout_fits(const gen_codes *codes)
{
	size_t bits = codes->rounding.bits;
	return codes->rounding.rule == GEN_GPTQ  ? codes->rows * bits % 32 == 0 && codes->cols * bits % 32 == 0
	       : codes->rounding.rule == GEN_AWQ ? codes->rows * bits % 32 == 0
	                                         : 1;
}

static void add_gptq(gen_list *list, const char *stem, const gen_codes *codes, int zero_offset)
{
	size_t rows = codes->rows, cols = codes->cols, groups = codes->n_groups;
	unsigned bits = codes->rounding.bits;
	uint8_t *weights = add(list, "%s.qweight", stem, QS_I32, words(cols, bits), rows);
	for (size_t r = 0; r < rows; r++)
		for (size_t c = 0; c < cols; c++)
			put_packed(weights + 4 * r, rows, c, bits, codes->codes[r * cols + c]);
	/* Version 1 stores zero points less one. Zero point 0 becomes all ones; the library's reader adds 1 to
	 * the bits that it has cut out, which gives 0 again. */
	uint8_t *zeros = add(list, "%s.qzeros", stem, QS_I32, groups, words(rows, bits));
	uint8_t *scales = add(list, "%s.scales", stem, QS_F16, groups, rows);
	for (size_t g = 0; g < groups; g++)
		for (size_t r = 0; r < rows; r++) {
			put_packed(zeros + 4 * g * words(rows, bits), 1, r, bits,
			           params_of(codes, r, g)->zero + zero_offset);
			value_store(scales, QS_F16, g * rows + r, params_of(codes, r, g)->scale);
		}
	uint8_t *g_idx = gen_list_add(list, "%s.g_idx", stem, QS_I32, 1, (const uint64_t[]){cols});
	for (size_t c = 0; c < cols; c++)
		store_bytes(g_idx + 4 * c, codes->groups[c], 4);
}

void gen_layout_gptq(gen_list *list, const char *stem, const gen_codes *codes)
{
	add_gptq(list, stem, codes, -1);
}

void gen_layout_gptq_v2(gen_list *list, const char *stem, const gen_codes *codes)
{
	add_gptq(list, stem, codes, 0);
}

void gen_layout_awq(gen_list *list, const char *stem, const gen_codes *codes)
{
	static const size_t places[] = {0, 4, 1, 5, 2, 6, 3, 7};
	size_t rows = codes->rows, cols = codes->cols, groups = codes->n_groups;
	uint8_t *weights = add(list, "%s.qweight", stem, QS_I32, cols, words(rows, 4));
	uint8_t *zeros = add(list, "%s.qzeros", stem, QS_I32, groups, words(rows, 4));
	uint8_t *scales = add(list, "%s.scales", stem, QS_F16, groups, rows);
	for (size_t r = 0; r < rows; r++) {
		size_t place = r / 8 * 8 + places[r % 8];
		for (size_t c = 0; c < cols; c++)
			put_packed(weights + 4 * c * words(rows, 4), 1, place, 4, codes->codes[r * cols + c]);
		for (size_t g = 0; g < groups; g++) {
			put_packed(zeros + 4 * g * words(rows, 4), 1, place, 4, params_of(codes, r, g)->zero);
			value_store(scales, QS_F16, g * rows + r, params_of(codes, r, g)->scale);
		}
	}
}

static void add_scales(gen_list *list, const char *format, const char *stem, uint32_t dtype,
                       const gen_codes *codes)
{
	uint8_t *scales = add(list, format, stem, dtype, codes->rows, codes->n_groups);
	for (size_t i = 0; i < codes->rows * codes->n_groups; i++)
		value_store(scales, dtype, i, codes->params[i].scale);
}

static void add_codes(gen_list *list, const char *format, const char *stem, uint32_t dtype,
                      const gen_codes *codes)
{
	uint8_t *dst = add(list, format, stem, dtype, codes->rows, codes->cols);
	for (size_t i = 0; i < codes->rows * codes->cols; i++)
		dst[i] = (uint8_t)codes->codes[i];
}

void gen_layout_compressed_tensors(gen_list *list, const char *stem, const gen_codes *codes)
{
	add_codes(list, "%s.weight", stem, QS_I8, codes);
	add_scales(list, "%s.weight_scale", stem, codes->rounding.dtype, codes);
	if (!codes->rounding.asymmetric)
		return;
	uint8_t *zeros = add(list, "%s.weight_zero_point", stem, QS_I8, codes->rows, codes->n_groups);
	for (size_t i = 0; i < codes->rows * codes->n_groups; i++)
		zeros[i] = (uint8_t)codes->params[i].zero;
}

void gen_layout_pack_quantized(gen_list *list, const char *stem, const gen_codes *codes)
{
	size_t rows = codes->rows, cols = codes->cols, groups = codes->n_groups;
	unsigned bits = codes->rounding.bits;
	int offset = 1 << (bits - 1);
	uint8_t *packed = add(list, "%s.weight_packed", stem, QS_I32, rows, words(cols, bits));
	for (size_t r = 0; r < rows; r++)
		for (size_t c = 0; c < cols; c++)
			put_packed(packed + 4 * r * words(cols, bits), 1, c, bits, codes->codes[r * cols + c] + offset);
	add_scales(list, "%s.weight_scale", stem, codes->rounding.dtype, codes);
	uint8_t *shape = gen_list_add(list, "%s.weight_shape", stem, QS_I64, 1, (const uint64_t[]){2});
	store_bytes(shape, rows, 8);
	store_bytes(shape + 8, cols, 8);
	if (!codes->rounding.asymmetric)
		return;
	uint8_t *zeros = add(list, "%s.weight_zero_point", stem, QS_I32, words(rows, bits), groups);
	for (size_t r = 0; r < rows; r++)
		for (size_t g = 0; g < groups; g++)
			put_packed(zeros + 4 * g, groups, r, bits, params_of(codes, r, g)->zero + offset);
}

void gen_layout_torchao(gen_list *list, const char *stem, const gen_codes *codes)
{
	add_codes(list, "%s._weight_qdata", stem, QS_I8, codes);
	add_scales(list, "%s._weight_scale", stem, QS_F32, codes);
}

void gen_layout_llm_int8(gen_list *list, const char *stem, const gen_codes *codes)
{
	add_codes(list, "%s.weight", stem, QS_I8, codes);
	uint8_t *scb = gen_list_add(list, "%s.SCB", stem, QS_F32, 1, (const uint64_t[]){codes->rows});
	for (size_t r = 0; r < codes->rows; r++)
		value_store(scb, QS_F32, r, codes->params[r].scale);
	gen_list_add(list, "%s.weight_format", stem, QS_U8, 0, NULL); /* 0, "row" */
}

void gen_layout_plain(gen_list *list, const char *stem, const gen_codes *codes)
{
	int asymmetric = codes->rounding.asymmetric, whole = codes->n_groups == 1;
	size_t rows = codes->per_row ? codes->rows : 1, n = rows * codes->n_groups;
	uint64_t dims[] = {rows, codes->n_groups};
	add_codes(list, "%s.weight", stem, asymmetric ? QS_U8 : QS_I8, codes);
	uint8_t *scales = gen_list_add(list, "%s.weight.scale", stem, QS_F32, whole ? 1 : 2, dims);
	for (size_t i = 0; i < n; i++)
		value_store(scales, QS_F32, i, codes->params[i].scale);
	if (!asymmetric)
		return;
	uint8_t *zeros = gen_list_add(list, "%s.weight.zero_point", stem, QS_U8, whole ? 1 : 2, dims);
	for (size_t i = 0; i < n; i++)
		zeros[i] = (uint8_t)codes->params[i].zero;
}

#include "chunks.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quantize/llm_int8.h"
#include "core/bytes.h"
#include "bound.h"

static uint16_t bf16_to_fp16(uint16_t v)
{
	/* The value in units of FP16's spacing is exact as a double; rint rounds it half to even. */
	uint32_t bits = (uint32_t)v << 16;
	float f;
	memcpy(&f, &bits, 4);
	uint16_t sign = v & 0x8000;
	double x = fabs((double)f);
	if (x >= 65520)
		return (uint16_t)(sign | 0x7c00);
	int exponent;
	frexp(x, &exponent);
	int step = exponent - 11 < -24 ? -24 : exponent - 11;
	double units = rint(ldexp(x, -step));
	double rounded = ldexp(units, step);
	if (rounded < 0x1p-14)
		return (uint16_t)(sign | (uint16_t)ldexp(rounded, 24));
	frexp(rounded, &exponent);
	return (uint16_t)(sign | (uint16_t)((exponent + 14) << 10) |
	                  ((uint16_t)ldexp(rounded, 11 - exponent) & 0x3ff));
}

void chunks_open(chunk_source *source, const char *path, int to_fp16, uint64_t max_weights)
{
	qstore_error error;
	*source = (chunk_source){.path = path, .to_fp16 = to_fp16, .left = max_weights};
	if (qs_model_open(&source->model, path, &error))
		fail("%s", error.text);
}

void chunks_close(chunk_source *source)
{
	qs_model_close(&source->model);
}

static void add_chunk(chunk_source *source, batch *b, const qs_weight *tensor, FILE *file, uint64_t n_rows)
{
	uint64_t cols = tensor->dims[1], n = n_rows * cols;
	chunk c = {
	    .n = (uint32_t)n, .cols = cols, .first = source->row * cols, .n_rows = n_rows, .at = b->n_weights};
	c.codes = need(malloc(n));
	c.values = need(malloc(2 * n));
	c.scales = need(malloc(4 * n_rows));
	if (fseeko(file, (off_t)(tensor->offset + 2 * c.first), SEEK_SET) || fread(c.values, 2, n, file) != n)
		fail("cannot read %s", source->path);
	uint32_t dtype = tensor->dtype;
	if (source->to_fp16 && dtype == QS_BF16) {
		for (uint64_t i = 0; i < n; i++)
			qs_store16(c.values + 2 * i, bf16_to_fp16(qs_load16(c.values + 2 * i)));
		dtype = QS_F16;
	}
	for (uint64_t i = 0; i < n_rows; i++) {
		int finite = 1;
		uint8_t *row = c.values + 2 * i * cols, *codes = c.codes + i * cols;
		float scale = qs_llm_int8_absmax(row, cols, dtype, &finite);
		qs_llm_int8_quantize(row, cols, dtype, scale, (int8_t *)codes);
		memcpy(c.scales + 4 * i, &scale, 4);
	}
	qs_chunk_desc desc = chunk_describe(dtype, &c, AS_RANKS, c.codes);
	bound_values values = {0};
	bound_add_values(&values, &desc, c.values);
	source->bound_values += bound_of_values(&values);
	source->bound_codes += bound_codes(c.codes, n_rows, cols);
	source->left -= n < source->left ? n : source->left;
	b->dtype = dtype;
	b->n_weights += n;
	b->n_rows += n_rows;
	if (b->n_chunks == b->cap) {
		b->cap = b->cap ? 2 * b->cap : 64;
		b->chunks = need(realloc(b->chunks, b->cap * sizeof *b->chunks));
	}
	b->chunks[b->n_chunks++] = c;
}

/* Adds chunks of one tensor, from source->row on, until the tensor ends or the batch is full. */
static void add_rows(chunk_source *source, batch *b, const qs_weight *tensor, const char *path,
                     uint64_t max_weights)
{
	uint64_t rows = tensor->dims[0], cols = tensor->dims[1],
	         most = cols <= CHUNK_ELEMS ? CHUNK_ELEMS / cols : 0;
	FILE *file = fopen(path, "rb");
	if (!file)
		fail("cannot read %s", path);
	/* Tensors whose rows are longer than a chunk are left out; no model here has any. */
	while (most && source->row < rows && source->left && b->n_weights < max_weights) {
		uint64_t n_rows = rows - source->row < most ? rows - source->row : most;
		add_chunk(source, b, tensor, file, n_rows);
		source->row += n_rows;
	}
	fclose(file);
}

int chunks_next(chunk_source *source, batch *b, uint64_t max_weights)
{
	*b = (batch){0};
	for (; source->file < source->model.n_files; source->file++, source->tensor = 0) {
		const qs_model_file *file = &source->model.files[source->file];
		for (; file->is_weights && source->tensor < file->weights.n_tensors;
		     source->tensor++, source->row = 0) {
			const qs_weight *tensor = &file->weights.tensors[source->tensor];
			if (!source->left || b->n_weights >= max_weights)
				return b->n_weights > 0;
			if (tensor->size &&
			    qs_llm_int8_selects(tensor->name, tensor->dtype, tensor->n_dims, tensor->dims, NULL, NULL))
				add_rows(source, b, tensor, file->path, max_weights);
			if (b->n_weights >= max_weights && source->row < tensor->dims[0])
				return 1;
		}
	}
	return b->n_weights > 0;
}

void chunks_free(batch *b)
{
	for (size_t i = 0; i < b->n_chunks; i++) {
		free(b->chunks[i].codes);
		free(b->chunks[i].values);
		free(b->chunks[i].scales);
	}
	free(b->chunks);
}

qs_chunk_desc chunk_describe(uint32_t dtype, const chunk *c, coded_as as, const uint8_t *coarse)
{
	qs_chunk_desc desc = {
	    .kind = QS_KIND_PLAIN, .dtype = dtype, .n_elems = c->n, .cols = c->cols, .first_elem = c->first};
	if (as == AS_CODES) {
		desc.kind = QS_KIND_CODES;
		desc.dtype = QS_I8;
	} else if (as == AS_RANKS) {
		desc.kind = QS_KIND_REFINE;
		desc.coarse = coarse;
		desc.coarse_dtype = QS_I8;
		desc.coarse_grid = (qs_grid){.rule = QS_RULE_LLM_INT8,
		                             .codes_dtype = QS_I8,
		                             .group = (uint32_t)c->cols,
		                             .row_stride = 1,
		                             .scales = c->scales,
		                             .scales_size = 4 * c->n_rows,
		                             .scales_dtype = QS_F32,
		                             .scales_first = c->first / c->cols};
	}
	return desc;
}

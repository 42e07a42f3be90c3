#include "tensors.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/index.h"
#include "formats/safetensors.h"
#include "random.h"
#include "rounding.h"
#include "values.h"
#include "writer.h"

typedef struct gen_tensors_entry {
	qs_weight weight;
	char name[256];
	uint64_t dims[4];
	uint8_t *data;
} gen_tensors_entry;

static gen_matrix new_matrix(uint32_t dtype, uint64_t rows, uint64_t cols)
{
	return (gen_matrix){rows, cols, dtype, gen_allocate((size_t)(rows * cols * qs_dtype_size(dtype)))};
}

static float get(const gen_matrix *m, uint64_t row, uint64_t col)
{
	return value_load(m->data, m->dtype, row * m->cols + col);
}

static void put(gen_matrix *m, uint64_t row, uint64_t col, float value)
{
	value_store(m->data, m->dtype, row * m->cols + col, value);
}

gen_matrix gen_weights(uint64_t seed, uint32_t dtype, uint64_t rows, uint64_t cols)
{
	gen_matrix m = new_matrix(dtype, rows, cols);
	normal_table table;
	normal_table_init(&table);
	for (uint64_t row = 0; row < rows; row++) {
		rng r;
		rng_seed(&r, seed, "weights", row);
		double spread = 0.02 * exp2_portable(0.4 * normal_next(&table, &r));
		for (uint64_t col = 0; col < cols; col++)
			put(&m, row, col, (float)(spread * normal_next(&table, &r)));
	}
	return m;
}

gen_matrix gen_resized(const gen_matrix *m, uint64_t rows, uint64_t cols, float fill)
{
	gen_matrix made = new_matrix(m->dtype, rows, cols);
	for (uint64_t row = 0; row < rows; row++)
		for (uint64_t col = 0; col < cols; col++)
			put(&made, row, col, row < m->rows && col < m->cols ? get(m, row, col) : fill);
	return made;
}

gen_matrix gen_transposed(const gen_matrix *m)
{
	gen_matrix made = new_matrix(m->dtype, m->cols, m->rows);
	for (uint64_t row = 0; row < m->rows; row++)
		for (uint64_t col = 0; col < m->cols; col++)
			put(&made, col, row, get(m, row, col));
	return made;
}

gen_matrix gen_stacked(const gen_matrix *a, const gen_matrix *b)
{
	gen_matrix made = new_matrix(a->dtype, a->rows + b->rows, a->cols);
	size_t size = (size_t)(a->rows * a->cols * qs_dtype_size(a->dtype));
	memcpy(made.data, a->data, size);
	memcpy(made.data + size, b->data, (size_t)(b->rows * b->cols * qs_dtype_size(b->dtype)));
	return made;
}

gen_matrix gen_cast(const gen_matrix *m, uint32_t dtype)
{
	gen_matrix made = new_matrix(dtype, m->rows, m->cols);
	for (uint64_t row = 0; row < m->rows; row++)
		for (uint64_t col = 0; col < m->cols; col++)
			put(&made, row, col, get(m, row, col));
	return made;
}

gen_matrix gen_noisy(const gen_matrix *m, uint64_t seed, double deviation)
{
	gen_matrix made = gen_cast(m, m->dtype);
	normal_table table;
	rng r;
	normal_table_init(&table);
	rng_seed(&r, seed, "noise", 0);
	for (uint64_t row = 0; row < m->rows; row++)
		for (uint64_t col = 0; col < m->cols; col++)
			put(&made, row, col, (float)(get(m, row, col) + deviation * normal_next(&table, &r)));
	return made;
}

void gen_matrix_free(gen_matrix *m)
{
	free(m->data);
	*m = (gen_matrix){0};
}

void gen_add(gen_tensors *t, const char *name, uint32_t dtype, uint32_t n_dims, const uint64_t *dims,
             const void *data)
{
	gen_tensors_entry *grown = realloc(t->entries, (t->n + 1) * sizeof(*grown));
	if (!grown || strlen(name) >= sizeof(grown->name) || n_dims > 4)
		gen_die("a tensor cannot be added");
	t->entries = grown;
	gen_tensors_entry *e = &t->entries[t->n++];
	size_t size = qs_dtype_size(dtype);
	*e = (gen_tensors_entry){.weight = {.dtype = dtype, .n_dims = n_dims}};
	snprintf(e->name, sizeof(e->name), "%s", name);
	for (uint32_t i = 0; i < n_dims; i++)
		size *= (size_t)(e->dims[i] = dims[i]);
	e->weight.size = size;
	e->data = gen_allocate(size + 1);
	memcpy(e->data, data, size);
}

void gen_add_matrix(gen_tensors *t, const char *name, const gen_matrix *m)
{
	gen_add(t, name, m->dtype, 2, (uint64_t[]){m->rows, m->cols}, m->data);
}

void gen_int8_codes(const gen_matrix *m, gen_scheme scheme, int8_t *codes, float *scales)
{
	gen_rounding rounding = {
	    .rule = scheme == GEN_SCHEME_LLM_INT8 ? GEN_LLM_INT8 : GEN_DIVIDE, .bits = 8, .dtype = m->dtype};
	for (uint64_t row = 0; row < m->rows; row++) {
		float least = 0, most = 0;
		for (uint64_t col = 0; col < m->cols; col++) {
			least = fminf(least, get(m, row, col));
			most = fmaxf(most, get(m, row, col));
		}
		gen_params params = gen_find_params(&rounding, least, most);
		scales[row] = params.scale;
		for (uint64_t col = 0; col < m->cols; col++)
			codes[row * m->cols + col] =
			    params.scale > 0 ? (int8_t)gen_round(&rounding, &params, get(m, row, col)) : 0;
	}
}

void gen_add_int8(gen_tensors *t, const char *name, const gen_matrix *m, gen_scheme scheme)
{
	static const char *const names[][2] = {
	    [GEN_SCHEME_LLM_INT8] = {".weight", ".SCB"},
	    [GEN_SCHEME_DIVIDE] = {".weight", ".weight_scale"},
	    [GEN_SCHEME_DIVIDE_F64] = {".weight", ".weight_scale"},
	    [GEN_SCHEME_TRANSPOSED] = {".weight", ".weight_scales"},
	    [GEN_SCHEME_QUANTO] = {".weight._data", ".weight._scale"},
	};
	char codes_name[256], scales_name[256];
	int8_t *codes = gen_allocate((size_t)(m->rows * m->cols) + 1),
	       *transposed = gen_allocate((size_t)(m->rows * m->cols) + 1);
	float *scales = gen_allocate((size_t)m->rows * sizeof(float));
	double *doubles = gen_allocate((size_t)m->rows * sizeof(double));
	int is_transposed = scheme == GEN_SCHEME_TRANSPOSED, is_double = scheme == GEN_SCHEME_DIVIDE_F64,
	    is_flat = scheme == GEN_SCHEME_LLM_INT8 || is_transposed;
	gen_int8_codes(m, scheme, codes, scales);
	for (uint64_t i = 0; i < m->rows * m->cols; i++)
		transposed[i % m->cols * m->rows + i / m->cols] = codes[i];
	for (uint64_t i = 0; i < m->rows; i++)
		doubles[i] = (double)scales[i];
	snprintf(codes_name, sizeof(codes_name), "%s%s", name, names[scheme][0]);
	snprintf(scales_name, sizeof(scales_name), "%s%s", name, names[scheme][1]);
	gen_add(t, codes_name, QS_I8, 2,
	        is_transposed ? (uint64_t[]){m->cols, m->rows} : (uint64_t[]){m->rows, m->cols},
	        is_transposed ? transposed : codes);
	gen_add(t, scales_name, is_double ? QS_F64 : QS_F32, is_flat ? 1 : 2, (uint64_t[]){m->rows, 1},
	        is_double ? (const void *)doubles : scales);
	free(codes);
	free(transposed);
	free(scales);
	free(doubles);
}

void gen_write_tensors(gen_tensors *t, const char *path)
{
	qs_weight *weights = gen_allocate((t->n + 1) * sizeof(*weights));
	uint8_t *header;
	size_t header_size;
	qstore_error error;
	for (size_t i = 0; i < t->n; i++) {
		weights[i] = t->entries[i].weight;
		weights[i].name = t->entries[i].name;
		weights[i].dims = t->entries[i].dims;
	}
	if (qs_safetensors_header(weights, t->n, "{\"format\":\"pt\"}", &header, &header_size, &error))
		gen_die("%s", error.text);
	FILE *file = fopen(path, "wb");
	if (!file || fwrite(header, 1, header_size, file) != header_size)
		gen_die("%s: cannot write", path);
	for (size_t i = 0; i < t->n; i++)
		if (fwrite(t->entries[i].data, 1, (size_t)weights[i].size, file) != weights[i].size)
			gen_die("%s: cannot write", path);
	if (fclose(file) != 0)
		gen_die("%s: cannot write", path);
	for (size_t i = 0; i < t->n; i++)
		free(t->entries[i].data);
	free(t->entries);
	free(header);
	free(weights);
	*t = (gen_tensors){0};
}

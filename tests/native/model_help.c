#include "model_help.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../generate/gguf_writer.h"
#include "../generate/random.h"
#include "formats/model.h"
#include "scratch.h"

const char *write_tensors(void **state, const char *name, const char *tensors)
{
	static char header[65536];
	static uint8_t file[1 << 20];
	size_t used = 0, data_size = 0;
	rng r;
	rng_seed(&r, 1, tensors, 0);
	used += (size_t)snprintf(header, sizeof header, "{");
	while (*tensors) {
		char tensor[200], dtype[20], dims[60] = "";
		size_t size = strcspn(tensors, "|"), n = 1;
		char entry[300];
		snprintf(entry, sizeof entry, "%.*s", (int)size, tensors);
		assert_true(sscanf(entry, "%199s %19s %59s", tensor, dtype, dims) >= 2);
		for (const char *dim = dims; *dim; dim += strcspn(dim, ",") + (dim[strcspn(dim, ",")] == ','))
			n *= (size_t)strtoul(dim, NULL, 10);
		n *= qs_dtype_size(qs_dtype_from_name(dtype));
		used += (size_t)snprintf(header + used, sizeof header - used,
		                         "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}",
		                         used > 1 ? "," : "", tensor, dtype, dims, data_size, data_size + n);
		data_size += n;
		tensors += size + (tensors[size] == '|');
	}
	used += (size_t)snprintf(header + used, sizeof header - used, "}");
	assert_true(8 + used + data_size <= sizeof file);
	for (size_t i = 0; i < 8; i++)
		file[i] = (uint8_t)((uint64_t)used >> 8 * i);
	memcpy(file + 8, header, used);
	for (size_t i = 0; i < data_size; i++)
		file[8 + used + i] = (uint8_t)rng_below(&r, 60);
	return scratch_write(state, name, file, 8 + used + data_size);
}

const char *write_gguf(void **state, const char *name, const char *tensor, uint32_t type, uint16_t no,
                       uint16_t count, int32_t n_tensors)
{
	gguf_bytes b = {0};
	gguf_put_start(&b, 3, 1, count ? 3 : 0);
	if (count) {
		gguf_put_key(&b, "split.no", GGUF_U16);
		gguf_put(&b, &no, 2);
		gguf_put_key(&b, "split.count", GGUF_U16);
		gguf_put(&b, &count, 2);
		gguf_put_key(&b, "split.tensors.count", GGUF_I32);
		gguf_put(&b, &n_tensors, 4);
	}
	gguf_put_info(&b, tensor, 2, (uint64_t[]){256, 1}, type, 0);
	gguf_pad(&b, 32);
	gguf_put(&b, (uint8_t[1024]){0}, 1024);
	const char *path = scratch_write(state, name, b.data, b.size);
	gguf_free(&b);
	return path;
}

uint64_t hash_model(const char *path)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);
	qs_model model;
	qstore_error error;
	if (qs_model_open(&model, path, &error))
		fail_msg("%s", error.text);
	for (size_t f = 0; f < model.n_files; f++) {
		int c;
		FILE *stream = fopen(model.files[f].path, "rb");
		assert_non_null(stream);
		for (const char *name = model.files[f].name; *name; name++)
			hash = (hash ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
		while ((c = getc(stream)) != EOF)
			hash = (hash ^ (unsigned)c) * UINT64_C(0x100000001b3);
		fclose(stream);
	}
	qs_model_close(&model);
	return hash;
}

int load_tensor(const char *path, const char *stem, const char *suffix, loaded_tensor *out)
{
	char name[300];
	qs_model model;
	qstore_error error;
	const qs_model_file *file;
	snprintf(name, sizeof name, "%s%s%s", stem, suffix ? "." : "", suffix ? suffix : "");
	if (qs_model_open(&model, path, &error))
		fail_msg("%s", error.text);
	const qs_weight *t = qs_model_find(&model, name, &file);
	if (t) {
		*out = (loaded_tensor){.dtype = t->dtype, .n_dims = t->n_dims};
		memcpy(out->dims, t->dims, t->n_dims * sizeof *t->dims);
		out->n = (size_t)t->size / qs_dtype_size(t->dtype);
		out->data = malloc((size_t)t->size + 1);
		FILE *stream = fopen(file->path, "rb");
		assert_non_null(stream);
		assert_int_equal(fseek(stream, (long)t->offset, SEEK_SET), 0);
		assert_int_equal(fread(out->data, 1, (size_t)t->size, stream), t->size);
		fclose(stream);
	}
	qs_model_close(&model);
	return !!t;
}

/* Bits of the significand, with the hidden one, and the exponent of the smallest number. */
static void float_type(uint32_t dtype, int *precision, int *lowest)
{
	*precision = dtype == QS_F32       ? 24
	             : dtype == QS_F16     ? 11
	             : dtype == QS_BF16    ? 8
	             : dtype == QS_F8_E4M3 ? 4
	                                   : 3;
	*lowest = dtype == QS_F32       ? -149
	          : dtype == QS_F16     ? -24
	          : dtype == QS_BF16    ? -133
	          : dtype == QS_F8_E4M3 ? -9
	                                : -16;
}

static uint64_t bits_at(const loaded_tensor *tensor, size_t i)
{
	uint64_t bits = 0;
	for (size_t size = qs_dtype_size(tensor->dtype), k = 0; k < size; k++)
		bits |= (uint64_t)tensor->data[i * size + k] << 8 * k;
	return bits;
}

double float_at(const loaded_tensor *tensor, size_t i)
{
	int precision, lowest, width = 8 * (int)qs_dtype_size(tensor->dtype);
	uint64_t bits = bits_at(tensor, i), magnitude = bits & ((UINT64_C(1) << (width - 1)) - 1);
	float_type(tensor->dtype, &precision, &lowest);
	uint64_t hidden = UINT64_C(1) << (precision - 1), fraction = magnitude & (hidden - 1);
	int exponent = (int)(magnitude >> (precision - 1));
	double value = exponent ? ldexp((double)(hidden + fraction), lowest + exponent - 1)
	                        : ldexp((double)fraction, lowest);
	return bits >> (width - 1) ? -value : value;
}

int64_t integer_at(const loaded_tensor *tensor, size_t i)
{
	uint64_t bits = bits_at(tensor, i);
	return tensor->dtype == QS_I8 ? (int8_t)bits : tensor->dtype == QS_I32 ? (int32_t)bits : (int64_t)bits;
}

int packed_at(const loaded_tensor *tensor, size_t first, size_t stride, size_t i, unsigned bits)
{
	size_t per_word = 32 / bits;
	uint64_t word = bits_at(tensor, first + i / per_word * stride);
	return (int)(word >> bits * (i % per_word) & ((1u << bits) - 1));
}

double round_to(uint32_t dtype, double x)
{
	int precision, lowest, exponent;
	float_type(dtype, &precision, &lowest);
	frexp(x, &exponent);
	double unit = ldexp(1, exponent - precision > lowest ? exponent - precision : lowest);
	return rint(x / unit) * unit;
}

#include "fixtures.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "random.h"
#include "values.h"
#include "writer.h"

#define TENSORS_MAX 256
#define CHUNK_ELEMS 262144u /* FORMAT.md: elements of a chunk of 16-bit values */

typedef struct fixture {
	gen_tensor tensors[TENSORS_MAX];
	size_t n_tensors;
	normal_table normal;
	rng r;
} fixture;

/* Returns the data of a tensor that this program has allocated. */
static uint8_t *bytes_of(const gen_tensor *tensor)
{
	return (uint8_t *)(uintptr_t)tensor->data;
}

static gen_tensor *add(fixture *f, uint32_t dtype, const uint64_t *dims, uint32_t n_dims, const char *format,
                       ...) __attribute__((format(printf, 5, 6)));

/* Adds a tensor of zeros, which the caller fills in. */
static gen_tensor *add(fixture *f, uint32_t dtype, const uint64_t *dims, uint32_t n_dims, const char *format,
                       ...)
{
	if (f->n_tensors == TENSORS_MAX)
		gen_die("a fixture has too many tensors");
	gen_tensor *tensor = &f->tensors[f->n_tensors++];
	va_list args;
	va_start(args, format);
	vsnprintf(tensor->name, sizeof tensor->name, format, args);
	va_end(args);
	tensor->dtype = dtype;
	tensor->n_dims = n_dims;
	if (n_dims)
		memcpy(tensor->dims, dims, n_dims * sizeof *dims);
	tensor->data = gen_allocate((size_t)gen_tensor_size(tensor));
	return tensor;
}

static gen_tensor *add_1d(fixture *f, uint32_t dtype, uint64_t n, const char *name)
{
	return add(f, dtype, &n, 1, "%s", name);
}

static gen_tensor *add_2d(fixture *f, uint32_t dtype, uint64_t rows, uint64_t cols, const char *name)
{
	uint64_t dims[] = {rows, cols};
	return add(f, dtype, dims, 2, "%s", name);
}

static void fill_weights(fixture *f, gen_tensor *tensor)
{
	uint64_t cols = gen_tensor_cols(tensor), n = gen_tensor_elems(tensor);
	uint8_t *dst = bytes_of(tensor);
	float scale = 0;
	for (uint64_t i = 0; i < n; i++) {
		if (i % cols == 0 || scale == 0)
			scale = (float)(0.03 * exp2_portable(0.6 * normal_next(&f->normal, &f->r)));
		float value = (float)normal_next(&f->normal, &f->r) * scale;
		if (tensor->dtype == QS_F64) {
			double wide = (double)value * 1.0000000001;
			uint64_t bits;
			memcpy(&bits, &wide, sizeof bits);
			store_bytes(dst + 8 * i, bits, 8);
		} else {
			value_store(dst, tensor->dtype, i, value);
		}
	}
}

static void fill_random(fixture *f, gen_tensor *tensor, uint64_t mask)
{
	uint32_t size = qs_dtype_size(tensor->dtype);
	uint8_t *dst = bytes_of(tensor);
	for (uint64_t i = 0; i < gen_tensor_size(tensor) / size; i++)
		store_bytes(dst + i * size, rng_next(&f->r) & mask, size);
}

static void set_half(gen_tensor *tensor, uint64_t i, uint32_t bits)
{
	store_bytes(bytes_of(tensor) + 2 * i, bits, 2);
}

static uint32_t get_half(const gen_tensor *tensor, uint64_t i)
{
	return tensor->data[2 * i] | (uint32_t)tensor->data[2 * i + 1] << 8;
}

/* All 65,536 values, in order and shuffled; and the values that are finite in FP16, as weights that can be
 * quantized. */
static void all_patterns(fixture *f, uint32_t dtype)
{
	uint32_t n_finite = dtype == QS_BF16 ? 0x4780 : 0x7c00;
	gen_tensor *plain = add_1d(f, dtype, 65536, "every.plain"),
	           *weight = add_2d(f, dtype, 256, 256, "every.weight");
	gen_tensor *ordered = add_2d(f, dtype, 2 * n_finite / 256, 256, "finite.ordered.weight");
	gen_tensor *shuffled = add_2d(f, dtype, 2 * n_finite / 256, 256, "finite.shuffled.weight");
	gen_tensor *one_row = add_2d(f, dtype, 1, 2 * n_finite, "finite.one_row.weight");
	gen_tensor *one_column = add_2d(f, dtype, 2 * n_finite, 1, "finite.one_column.weight");
	for (uint32_t i = 0; i < 65536; i++) {
		set_half(plain, i, i);
		set_half(weight, i, i);
	}
	for (uint32_t i = 0; i < 2 * n_finite; i++) {
		uint32_t bits = i < n_finite ? i : (i - n_finite) | 0x8000;
		set_half(ordered, i, bits);
		set_half(shuffled, (uint64_t)i * 40503 % (2 * n_finite), bits); /* 40503 = 3·23·587 */
		set_half(one_row, i, bits);
		set_half(one_column, i, bits);
	}
}

static void all_bf16_patterns(fixture *f)
{
	all_patterns(f, QS_BF16);
}

static void all_fp16_patterns(fixture *f)
{
	all_patterns(f, QS_F16);
}

static void odd_shapes(fixture *f)
{
	static const uint64_t lane_sizes[] = {1,  7,  8,  9,   15,  16,  17,  31,  32, 33,
	                                      63, 64, 65, 127, 128, 129, 255, 256, 257};
	static const uint64_t shapes[][2] = {
	    {1, 1},
	    {1, 1000},
	    {1000, 1},
	    {3, CHUNK_ELEMS / 3},
	    {4, CHUNK_ELEMS / 4},
	    {5, CHUNK_ELEMS / 4},
	    {1, CHUNK_ELEMS - 1},
	    {1, CHUNK_ELEMS},
	    {1, CHUNK_ELEMS + 1},
	    {2, CHUNK_ELEMS - 1},
	    {2, CHUNK_ELEMS},
	    {2, CHUNK_ELEMS + 1},
	    {2, CHUNK_ELEMS + 4096},
	    {CHUNK_ELEMS - 1, 1},
	    {CHUNK_ELEMS + 1, 1},
	    {511, 513},
	    {513, 511},
	    {37, 2 * 4096 + 1},
	};
	static const uint64_t empty[][3] = {{0, 64, 1}, {64, 0, 1}, {0, 0, 0}, {3, 0, 5}},
	                      cube[] = {5, 33, 65, 3};
	static const uint32_t scalars[] = {QS_BF16, QS_F16, QS_F32, QS_F64, QS_I64, QS_U8, QS_BOOL};
	for (size_t i = 0; i < sizeof scalars / sizeof *scalars; i++)
		fill_random(f, add(f, scalars[i], NULL, 0, "scalar.%s", qs_dtype_name(scalars[i])), 1);
	for (uint32_t i = 0; i < 4; i++)
		add(f, QS_BF16, empty[i], i < 2 ? 2 : i == 2 ? 1 : 3, "empty.%u.weight", i);
	for (size_t i = 0; i < sizeof lane_sizes / sizeof *lane_sizes; i++) {
		uint64_t dims[] = {4, lane_sizes[i]};
		fill_weights(f, add(f, QS_BF16, dims + 1, 1, "lane.%" PRIu64 ".bias", lane_sizes[i]));
		fill_weights(f, add(f, QS_BF16, dims, 2, "lane.%" PRIu64 ".weight", lane_sizes[i]));
	}
	for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
		fill_weights(f, add(f, i & 1 ? QS_F16 : QS_BF16, shapes[i], 2, "shape.%" PRIu64 "x%" PRIu64 ".weight",
		                    shapes[i][0], shapes[i][1]));
	for (uint64_t n = CHUNK_ELEMS - 1; n <= CHUNK_ELEMS + 1; n++) {
		fill_weights(f, add(f, QS_BF16, &n, 1, "chunk.%" PRIu64 ".bias", n));
		fill_random(f, add(f, QS_U8, &n, 1, "chunk.%" PRIu64 ".bytes", n), 7);
	}
	fill_weights(f, add(f, QS_BF16, cube, 3, "cube.weight"));
	fill_weights(f, add(f, QS_F16, cube, 4, "conv.weight"));
}

static void all_dtypes(fixture *f)
{
	static const uint64_t dims[] = {37, 29};
	for (uint32_t dtype = QS_BOOL; dtype < QS_DTYPE_COUNT; dtype++) {
		int is_float = dtype == QS_F16 || dtype == QS_BF16 || dtype == QS_F32 || dtype == QS_F64;
		uint64_t all = dtype == QS_BOOL ? 1 : UINT64_MAX;
		if (!qs_dtype_size(dtype))
			continue;
		fill_random(f, add(f, dtype, dims, 2, "random.%s", qs_dtype_name(dtype)), all);
		fill_random(f, add(f, dtype, dims, 1, "small.%s", qs_dtype_name(dtype)), all & 15);
		add(f, dtype, dims, 2, "zeros.%s", qs_dtype_name(dtype));
		if (is_float)
			fill_weights(f, add(f, dtype, dims, 2, "gaussian.%s.weight", qs_dtype_name(dtype)));
	}
	/* tensors as models have them: positions, masks, a router's statistics */
	gen_tensor *positions = add_1d(f, QS_I64, 4096, "position_ids");
	for (uint64_t i = 0; i < 4096; i++)
		store_bytes(bytes_of(positions) + 8 * i, i, 8);
	fill_weights(f, add_2d(f, QS_BF16, 200, 300, "layer.weight"));
	fill_weights(f, add_2d(f, QS_F16, 200, 300, "other.weight"));
	fill_weights(f, add_2d(f, QS_F32, 200, 300, "router.weight"));
}

/* Weights of which 60 % are exact zeros, some of them negative; some rows and columns have only zeros. */
static void sparse(fixture *f)
{
	for (int k = 0; k < 2; k++) {
		gen_tensor *weight = add_2d(f, k ? QS_F16 : QS_BF16, 300, 400, k ? "half.weight" : "brain.weight");
		fill_weights(f, weight);
		for (uint64_t i = 0; i < 300 * 400; i++)
			if (rng_below(&f->r, 10) < 6 || i / 400 % 50 == 7 || i % 400 % 100 == 3)
				set_half(weight, i, rng_below(&f->r, 100) ? 0 : 0x8000);
	}
	add_2d(f, QS_BF16, 64, 64, "zeros.weight");
}

/* Weights whose mantissas have few bits, as in models that were trained or stored more coarsely than their
 * dtype. */
static void clean(fixture *f)
{
	for (uint32_t bits = 0; bits <= 6; bits++) {
		uint64_t dims[] = {100, 256};
		gen_tensor *brain = add(f, QS_BF16, dims, 2, "mantissa%u.brain.weight", bits);
		gen_tensor *half = add(f, QS_F16, dims, 2, "mantissa%u.half.weight", bits);
		gen_tensor *single = add(f, QS_F32, dims, 2, "mantissa%u.single.weight", bits);
		fill_weights(f, brain);
		fill_weights(f, half);
		fill_weights(f, single);
		for (uint64_t i = 0; i < 100 * 256; i++) {
			set_half(brain, i, get_half(brain, i) & ~((1u << (7 - bits)) - 1));
			set_half(half, i, get_half(half, i) & ~((1u << (10 - bits)) - 1));
			uint8_t *word = bytes_of(single) + 4 * i;
			store_bytes(word, 0, 2); /* the low half is 0: the single was a BF16 */
			store_bytes(word + 2, (word[2] | (uint32_t)word[3] << 8) & ~((1u << (7 - bits)) - 1), 2);
		}
	}
}

static void constant(fixture *f)
{
	static const char *const names[] = {"rows.weight", "rows.half.weight"};
	for (int k = 0; k < 2; k++) {
		gen_tensor *rows = add_2d(f, k ? QS_F16 : QS_BF16, 128, 200, names[k]);
		for (uint64_t r = 0; r < 128; r++) {
			uint8_t half[2];
			value_store(half, rows->dtype, 0, (float)normal_next(&f->normal, &f->r));
			uint32_t bits = half[0] | (uint32_t)half[1] << 8;
			for (uint64_t c = 0; c < 200; c++)
				set_half(rows, r * 200 + c, r % 3 == 1 && c % 2 ? bits ^ 0x8000 : bits);
		}
	}
	gen_tensor *all = add_2d(f, QS_BF16, 128, 200, "all.weight"),
	           *bias = add_1d(f, QS_BF16, 5000, "all.bias");
	gen_tensor *one = add_2d(f, QS_BF16, 128, 200, "but_one.weight"),
	           *least = add_2d(f, QS_F16, 128, 200, "least.weight");
	gen_tensor *tiny = add_2d(f, QS_BF16, 128, 200, "tiny.weight");
	for (uint64_t i = 0; i < 128 * 200; i++) {
		set_half(all, i, 0x3f80);
		set_half(one, i, i == 777 ? 0x4000 : 0x3f80);
		set_half(least, i, i % 3 ? 0x8001 : 0x0001); /* rows of nothing but the least subnormal numbers */
		set_half(tiny, i, 0x0100);                   /* becomes zero when it is cast to FP16 */
		if (i < 5000)
			set_half(bias, i, 0xbf80);
	}
}

static void non_finite(fixture *f)
{
	static const char *const names[] = {"brain.weight", "half.weight"};
	for (int k = 0; k < 2; k++) {
		uint32_t infinity = k ? 0x7c00 : 0x7f80, payload = k ? 0x3ff : 0x7f;
		gen_tensor *weight = add_2d(f, k ? QS_F16 : QS_BF16, 64, 300, names[k]);
		fill_weights(f, weight);
		for (uint64_t r = 0; r < 64; r += 4) {
			uint32_t sign = r & 8 ? 0x8000 : 0, special = r & 4 ? 1 + (uint32_t)rng_below(&f->r, payload) : 0;
			set_half(weight, r * 300 + rng_below(&f->r, 300), sign | infinity | special);
		}
	}
	/* values that are finite in BF16 and infinite in FP16, to which bitsandbytes casts */
	gen_tensor *large = add_2d(f, QS_BF16, 16, 64, "large.weight"),
	           *all = add_2d(f, QS_BF16, 16, 64, "nans.weight");
	fill_weights(f, large);
	set_half(large, 100, 0x4780);
	set_half(large, 700, 0xff7f);
	for (uint64_t i = 0; i < 16 * 64; i++)
		set_half(all, i, 0x7fc0);
	fill_weights(f, add_2d(f, QS_BF16, 16, 64, "finite.weight"));
}

/* A file that no library writes, but that libraries read. The header's size is no multiple of 8, its tensors
 * are not in the order of the data, and it has white space and a key of its own. There are bytes before,
 * between and behind the tensors, and tensors begin at odd offsets. */
static void write_gaps(fixture *f, const char *folder)
{
	static const char header[] =
	    "{ \"last.weight\" : {\"dtype\":\"BF16\",\"shape\":[100, 70],\"data_offsets\":[20111,34111]},\n"
	    "\t\"first.weight\": "
	    "{\"shape\":[50,200],\"dtype\":\"BF16\",\"data_offsets\":[11,20011],\"note\":{\"by\":[\"hand\"]}},"
	    "\"empty\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[20111,20111]},"
	    "\"__metadata__\": {\"format\":\"pt\",\"caf\xc3\xa9\":\"\\u00e9\\n\"},"
	    "\"a \\\"quoted\\\" "
	    "name/with\\\\slashes\":{\"dtype\":\"F32\",\"shape\":[25],\"data_offsets\":[34111,34211]},"
	    "\"ids\":{\"dtype\":\"I64\",\"shape\":[2],\"data_offsets\":[20013,20029]}}   ";
	const size_t json_size = sizeof header - 1, data_size = 34211 + 1000;
	uint8_t *file = gen_allocate(8 + json_size + data_size), *data = file + 8 + json_size;
	gen_tensor *first = add_2d(f, QS_BF16, 50, 200, "first.weight"),
	           *last = add_2d(f, QS_BF16, 100, 70, "last.weight");
	fill_weights(f, first);
	fill_weights(f, last);
	for (size_t i = 0; i < data_size; i++)
		data[i] = (uint8_t)(i * 7 % 251);
	memcpy(data + 11, first->data, 20000);
	memcpy(data + 20111, last->data, 14000);
	store_bytes(file, json_size, 8);
	memcpy(file + 8, header, json_size);
	gen_write_text(folder, "model.safetensors", (const char *)file, 8 + json_size + data_size);
	free(file);
}

typedef struct fixture_kind {
	const char *name, *description;
	void (*make)(fixture *f); /* NULL: a function of its own writes the files */
} fixture_kind;

static const fixture_kind kinds[] = {
    {"all_bf16_patterns", "all 65,536 BF16 values as tensors and as weights", all_bf16_patterns},
    {"all_fp16_patterns", "the same of FP16", all_fp16_patterns},
    {"odd_shapes", "empty, scalar, 1×N, N×1, 3-D, 4-D, SIMD lanes and chunks ± 1", odd_shapes},
    {"all_dtypes", "every safetensors dtype", all_dtypes},
    {"sparse", "60 % zeros, rows and columns of zeros", sparse},
    {"clean", "mantissas of few bits", clean},
    {"constant", "rows and tensors of one value", constant},
    {"non_finite", "NaN and infinity among weights; overflow in the cast to FP16", non_finite},
    {"gaps", "header in odd order, unaligned tensors, gaps, trailing bytes", NULL},
};

const char *fixture_name(unsigned i, const char **description)
{
	if (i >= sizeof kinds / sizeof *kinds)
		return NULL;
	if (description)
		*description = kinds[i].description;
	return kinds[i].name;
}

static void write_config(const char *folder, const char *name)
{
	char json[200];
	int size =
	    snprintf(json, sizeof json, "{\n  \"model_type\": \"test\",\n  \"fixture\": \"%s\"\n}\n", name);
	gen_write_text(folder, "config.json", json, (size_t)size);
}

int generate_fixture(const char *name, uint64_t seed, const char *high, const char *low)
{
	const fixture_kind *kind = NULL;
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		if (!strcmp(kinds[i].name, name))
			kind = &kinds[i];
	if (!kind)
		return 0;
	fixture *f = gen_allocate(sizeof *f);
	normal_table_init(&f->normal);
	rng_seed(&f->r, seed, name, 0);
	gen_make_folder(high);
	if (low)
		gen_make_folder(low);
	if (kind->make) {
		gen_files files = {.high = high, .low = low, .n_shards = 1, .row = NULL, .context = NULL};
		kind->make(f);
		gen_write_weights(&files, f->tensors, f->n_tensors);
	} else {
		if (low)
			gen_die("fixture %s has no INT8 twin", name);
		write_gaps(f, high);
	}
	write_config(high, name);
	if (low)
		write_config(low, name);
	for (size_t i = 0; i < f->n_tensors; i++)
		free(bytes_of(&f->tensors[i]));
	free(f);
	return 1;
}

#include "index_help.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/bytes.h"

void number_index_parts(qs_index_builder *builder)
{
	uint64_t n = 0;
	uint32_t first;
	for (size_t i = 0; i < builder->n_objects; i++) {
		qs_object *object = &builder->objects[i];
		object->first_part = (uint32_t)n;
		n += object->chunk_elems > 0 ? qs_object_n_parts(object) : 0;
	}
	builder->n_parts = 0;
	/* More than any of these tests needs: a number that is wrong anyway. */
	assert_int_equal(qs_builder_add_parts(builder, n < 1000 ? n : 1000, &first), QSTORE_OK);
	for (size_t i = 0; i < builder->n_parts; i++)
		builder->parts[i] = 0xfedcba9876543210 - i;
}

/* Adds as many seals as there are stretches of chunks. */
void seal_index(qs_index_builder *builder)
{
	uint64_t size = 0, n = 0;
	for (size_t i = 0; i < builder->n_objects; i++) {
		const qs_object *object = &builder->objects[i];
		int is_last = i + 1 == builder->n_objects || builder->objects[i + 1].variant != object->variant;
		for (uint32_t j = 0; j < object->n_chunks && object->first_chunk + j < builder->n_chunks; j++) {
			size += builder->chunk_sizes[object->first_chunk + j];
			n += size >= QS_STRETCH_SIZE;
			size = size >= QS_STRETCH_SIZE ? 0 : size;
		}
		n += is_last && size > 0;
		size = is_last ? 0 : size;
	}
	free(builder->seals);
	builder->seals = calloc(n + 1, QS_SEAL_BYTES);
	assert_non_null(builder->seals);
	builder->n_seals = n;
}

static uint32_t add_object(qs_index_builder *builder, qs_object object, uint32_t chunk_size)
{
	uint32_t number;
	object.n_chunks = (uint32_t)((object.n_elems + object.chunk_elems - 1) / object.chunk_elems);
	if (object.kind == QS_KIND_LAYOUT || object.kind == QS_KIND_BASE)
		object.n_chunks = 0;
	assert_int_equal(qs_builder_add_chunks(builder, object.n_chunks, &object.first_chunk), QSTORE_OK);
	assert_int_equal(qs_builder_add_object(builder, &number), QSTORE_OK);
	qs_variant *layer = &builder->variants[object.variant];
	object.offset = layer->layer_offset + layer->layer_size;
	for (uint32_t i = 0; i < object.n_chunks; i++) {
		builder->chunk_sizes[object.first_chunk + i] = chunk_size + i;
		builder->checksums[object.first_chunk + i] = 0x89abcdef + i;
		object.coded_size += chunk_size + i;
	}
	layer->layer_size += object.coded_size;
	builder->objects[number] = object;
	number_index_parts(builder);
	return number;
}

static void add_tensor(qs_index_builder *builder, const char *name, uint32_t file, uint32_t dtype,
                       uint64_t offset, uint32_t object, uint32_t n_dims, uint64_t rows, uint64_t cols)
{
	uint32_t number;
	uint64_t n_elems = n_dims > 0 ? rows : 1;
	assert_int_equal(qs_builder_add_tensor(builder, &number), QSTORE_OK);
	qs_tensor *tensor = &builder->tensors[number];
	tensor->first_dim = (uint32_t)builder->n_dims;
	if (n_dims > 0)
		assert_int_equal(qs_builder_add_dim(builder, rows), QSTORE_OK);
	if (n_dims > 1) {
		assert_int_equal(qs_builder_add_dim(builder, cols), QSTORE_OK);
		n_elems *= cols;
	}
	tensor->name = qs_builder_name(builder, name);
	tensor->file = file;
	tensor->dtype = dtype;
	tensor->offset = offset;
	tensor->size = n_elems * qs_dtype_size(dtype);
	tensor->object = object;
	tensor->n_dims = n_dims;
}

static void add_extent(qs_index_builder *builder, uint32_t file, uint32_t object, uint64_t offset,
                       uint64_t size)
{
	uint32_t number;
	assert_int_equal(qs_builder_add_extent(builder, &number), QSTORE_OK);
	builder->extents[number] = (qs_extent){object, offset, size};
	builder->files[file].n_extents++;
	builder->files[file].size += size;
}

void build_index(qs_index_builder *builder)
{
	static const char *const files[6] = {"LICENSE",           "LICENSE",           "config.json",
	                                     "model.safetensors", "model.safetensors", "tokenizer.json"};
	static const uint32_t masks[6] = {1, 2, 3, 1, 2, 2};
	uint32_t number;
	memset(builder, 0, sizeof(*builder));
	for (uint32_t i = 0; i < 2; i++) {
		assert_int_equal(qs_builder_add_variant(builder, &number), QSTORE_OK);
		builder->variants[i].name = qs_builder_name(builder, i == 0 ? "int8" : "bf16");
		builder->variants[i].dtype = i == 0 ? QS_I8 : QS_BF16;
		builder->variants[i].coarser = i == 0 ? QS_NONE : 0;
		builder->variants[i].layer_offset = i == 0 ? 2048 : 5120;
	}
	for (uint32_t i = 0; i < 6; i++) {
		assert_int_equal(qs_builder_add_file(builder, &number), QSTORE_OK);
		qs_file *file = &builder->files[i];
		file->name = qs_builder_name(builder, files[i]);
		file->variants = masks[i];
		file->kind = QS_FILE_STORED;
		file->size = file->coded_size = 50 + i;
		file->offset = 512 + i * 64;
		memset(builder->sha256[i], (int)i, 32);
		if (strcmp(files[i], "model.safetensors") == 0)
			*file = (qs_file){.name = file->name, .variants = masks[i], .kind = QS_FILE_ASSEMBLED};
	}
	builder->files[5].kind = QS_FILE_ZSTD;
	builder->files[5].size = 60000;
	qs_object bytes = {.dtype = QS_BYTES,
	                   .coarse = QS_NONE,
	                   .scales = QS_NONE,
	                   .zero_points = QS_NONE,
	                   .order = QS_NONE,
	                   .n_elems = 300,
	                   .cols = 1,
	                   .chunk_elems = 1 << 18};
	qs_object norm = bytes, codes = bytes, scales = bytes, refine;
	norm.dtype = QS_BF16;
	norm.n_elems = 40;
	scales.dtype = QS_F32;
	scales.n_elems = 40;
	codes.kind = QS_KIND_CODES;
	codes.dtype = QS_I8;
	codes.n_elems = 1200;
	codes.cols = 30;
	codes.chunk_elems = 300;
	refine = codes;
	refine.kind = QS_KIND_REFINE;
	refine.dtype = QS_BF16;
	refine.error = 0.25f;
	codes.rule = QS_RULE_LLM_INT8;
	codes.group = 30;
	codes.row_stride = 1;
	uint32_t low_literal = add_object(builder, bytes, 100);
	norm.variant = scales.variant = codes.variant = bytes.variant = 0;
	uint32_t n = add_object(builder, norm, 70), s = add_object(builder, scales, 90);
	codes.scales = s;
	uint32_t c = add_object(builder, codes, 200);
	bytes.variant = refine.variant = 1;
	refine.coarse = c;
	uint32_t high_literal = add_object(builder, bytes, 110), r = add_object(builder, refine, 150);

	builder->files[3].first_extent = 0;
	add_extent(builder, 3, low_literal, 0, 200);
	add_extent(builder, 3, n, 0, 80);
	add_extent(builder, 3, c, 0, 1200);
	add_extent(builder, 3, s, 0, 160);
	add_extent(builder, 3, low_literal, 200, 100);
	add_tensor(builder, "norm.weight", 3, QS_BF16, 200, n, 1, 40, 0);
	add_tensor(builder, "a.weight", 3, QS_I8, 280, c, 2, 40, 30);
	add_tensor(builder, "a.SCB", 3, QS_F32, 1480, s, 1, 40, 0);
	add_tensor(builder, "a.weight_format", 3, QS_U8, 1640, QS_NONE, 0, 0, 0);
	builder->files[4].first_extent = 5;
	add_extent(builder, 4, high_literal, 0, 300);
	add_extent(builder, 4, n, 0, 80);
	add_extent(builder, 4, r, 0, 2400);
	add_tensor(builder, "empty", 4, QS_F32, 300, QS_NONE, 2, 0, 7);
	add_tensor(builder, "norm.weight", 4, QS_BF16, 300, n, 1, 40, 0);
	add_tensor(builder, "a.weight", 4, QS_BF16, 380, r, 2, 40, 30);
	for (uint32_t i = 0; i < 6; i++) {
		for (uint32_t v = 0; v < 2; v++)
			builder->variants[v].raw_size += masks[i] >> v & 1 ? builder->files[i].size : 0;
	}
}

void build_index_with_base(qs_index_builder *builder)
{
	uint32_t number;
	build_index(builder);
	assert_int_equal(qs_builder_add_file(builder, &number), QSTORE_OK);
	builder->files[number] =
	    (qs_file){.name = qs_builder_name(builder, "zero.safetensors"), .kind = QS_FILE_BASE, .size = 100};
	qs_object base = builder->objects[1], delta;
	base.variant = 1;
	delta = base;
	base.kind = QS_KIND_BASE;
	base.base_file = number;
	base.base_offset = 20;
	base.coded_size = delta.coded_size = 0;
	delta.kind = QS_KIND_DELTA;
	delta.coarse = add_object(builder, base, 0);
	add_object(builder, delta, 30);
}

void build_index_chain(qs_index_builder *b)
{
	uint32_t number;
	build_index(b);
	assert_int_equal(qs_builder_add_variant(b, &number), QSTORE_OK);
	b->variants[2] =
	    (qs_variant){.name = qs_builder_name(b, "fp32"), .dtype = QS_F32, .coarser = 1, .layer_offset = 6656};
	qs_object scale = b->objects[2], codes = b->objects[3], delta = b->objects[5], layout;
	scale.variant = codes.variant = delta.variant = 2;
	scale.coded_size = codes.coded_size = delta.coded_size = 0;
	qs_object zeros = scale, order = scale, scales = scale, records = scale;
	scale.dtype = QS_F16;
	scale.n_elems = 1;
	delta.kind = QS_KIND_DELTA;
	delta.dtype = QS_F32;
	delta.error = 0;
	delta.coarse = 5;
	codes.rule = QS_RULE_DIVIDE_HALF;
	codes.scales = SCALE;
	codes.row_stride = 0;
	assert_int_equal(add_object(b, scale, 3), SCALE);
	codes.coarse = 3;
	assert_int_equal(add_object(b, codes, 10), RECODED);
	codes.coarse = QS_NONE;
	assert_int_equal(add_object(b, delta, 16), DELTA);
	zeros.dtype = QS_U8;
	zeros.n_elems = 1;
	assert_int_equal(add_object(b, zeros, 2), ZERO_POINTS);
	codes.dtype = QS_U8;
	codes.cols = codes.group = 40;
	codes.chunk_elems = 400;
	codes.zero_points = ZERO_POINTS;
	codes.zero_offset = 1;
	assert_int_equal(add_object(b, codes, 10), ZEROED);
	layout = b->objects[0];
	layout.kind = QS_KIND_LAYOUT;
	layout.variant = 2;
	layout.coded_size = 0;
	layout.dtype = QS_I32;
	layout.n_elems = 300;
	layout.coarse = ZEROED;
	layout.bits = 8;
	layout.rule = QS_LAYOUT_PACKED;
	layout.cols = 10;
	layout.chunk_elems = 100;
	assert_int_equal(add_object(b, layout, 0), PACKED);
	layout.rule = QS_LAYOUT_TRANSPOSED;
	layout.cols = 30;
	layout.chunk_elems = 90;
	assert_int_equal(add_object(b, layout, 0), TRANSPOSED);
	order.dtype = QS_I32;
	order.n_elems = 40;
	assert_int_equal(add_object(b, order, 20), ORDER);
	codes.zero_points = QS_NONE;
	codes.zero_offset = 0;
	codes.order = ORDER;
	codes.group = 1;
	assert_int_equal(add_object(b, codes, 10), ORDERED);
	scales.dtype = QS_F16;
	scales.n_elems = 40;
	assert_int_equal(add_object(b, scales, 20), BLOCK_SCALES);
	codes.dtype = QS_I8;
	codes.rule = QS_RULE_Q8_0_D;
	codes.scales = BLOCK_SCALES;
	codes.order = QS_NONE;
	codes.n_elems = 1280;
	codes.cols = codes.group = 32;
	codes.row_stride = codes.group_stride = 1;
	codes.chunk_elems = 320;
	assert_int_equal(add_object(b, codes, 10), BLOCK_CODES);
	layout.dtype = QS_Q8_0;
	layout.rule = QS_LAYOUT_BLOCKS;
	layout.bits = 0;
	layout.coarse = BLOCK_CODES;
	layout.scales = BLOCK_SCALES;
	layout.n_elems = 1280;
	layout.cols = 32;
	layout.chunk_elems = 320;
	assert_int_equal(add_object(b, layout, 0), BLOCKS);
	records.dtype = QS_BYTES;
	records.cols = 18;
	records.n_elems = 36;
	records.chunk_elems = 36;
	assert_int_equal(add_object(b, records, 10), RECORDS);
	codes.dtype = QS_U8;
	codes.rule = QS_RULE_Q6_K;
	codes.scales = RECORDS;
	codes.n_elems = 512;
	codes.cols = codes.chunk_elems = 256;
	codes.group = codes.row_stride = 16;
	assert_int_equal(add_object(b, codes, 10), RECORD_CODES);
	layout.dtype = QS_Q6_K;
	layout.coarse = RECORD_CODES;
	layout.scales = RECORDS;
	layout.n_elems = 512;
	layout.cols = layout.chunk_elems = 256;
	assert_int_equal(add_object(b, layout, 0), RECORD_BLOCKS);
	/* Codes by Q4_0's rule that are in no blocks; floats whose rows are columns in their file. */
	scales.dtype = QS_F32;
	scales.n_elems = 80;
	assert_int_equal(add_object(b, scales, 20), FREE_SCALES);
	codes.rule = QS_RULE_Q4_0;
	codes.scales = FREE_SCALES;
	codes.n_elems = 1280;
	codes.cols = 64;
	codes.chunk_elems = 320;
	codes.group = 16;
	codes.row_stride = 4;
	assert_int_equal(add_object(b, codes, 10), FREE_CODES);
	layout.rule = QS_LAYOUT_PACKED;
	layout.dtype = QS_U8;
	layout.coarse = FREE_CODES;
	layout.scales = QS_NONE;
	layout.bits = 4;
	layout.n_elems = 640;
	layout.cols = 32;
	layout.chunk_elems = 160;
	assert_int_equal(add_object(b, layout, 0), NIBBLES);
	layout.rule = QS_LAYOUT_TRANSPOSED;
	layout.dtype = QS_F32;
	layout.coarse = DELTA;
	layout.bits = 32;
	layout.n_elems = delta.n_elems;
	layout.cols = delta.n_elems / delta.cols;
	layout.chunk_elems = (uint32_t)layout.cols;
	assert_int_equal(add_object(b, layout, 0), TRANSPOSED_FLOATS);
	scales.dtype = QS_F16;
	scales.n_elems = 30;
	assert_int_equal(add_object(b, scales, 10), FACTORS);
	qs_object refine = b->objects[5];
	refine.variant = 2;
	refine.coded_size = 0;
	refine.coarse = RECODED;
	refine.scales = FACTORS;
	assert_int_equal(add_object(b, refine, 10), FACTORED);
	layout = b->objects[PACKED];
	layout.rule = QS_LAYOUT_INTERLEAVED;
	layout.bits = 4;
	layout.n_elems = 150;
	layout.cols = 5;
	layout.chunk_elems = 50;
	assert_int_equal(add_object(b, layout, 0), INTERLEAVED);
	zeros.n_elems = 320;
	zeros.cols = 10;
	zeros.chunk_elems = 320;
	assert_int_equal(add_object(b, zeros, 10), COLUMN_CODES);
	layout.rule = QS_LAYOUT_INTERLEAVED_COLUMNS;
	layout.coarse = COLUMN_CODES;
	layout.n_elems = 40;
	layout.cols = 4;
	layout.chunk_elems = 40;
	assert_int_equal(add_object(b, layout, 0), INTERLEAVED_COLUMNS);
}

uint8_t *build_body_of(void (*make)(qs_index_builder *builder), size_t *size)
{
	qs_index_builder builder;
	uint8_t *body;
	make(&builder);
	seal_index(&builder);
	assert_int_equal(qs_builder_body(&builder, &body, size), QSTORE_OK);
	qs_builder_free(&builder);
	return body;
}

uint8_t *build_body(size_t *size)
{
	return build_body_of(build_index, size);
}

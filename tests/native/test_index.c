/* The index: what is built is read back; whatever else is given is refused, or at least read within bounds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../native/src/archive/index_build.h"
#include "../../native/src/core/bytes.h"
#include "../../native/src/core/chunk.h"

#define PAYLOAD_SIZE 8192

/* The parts of all objects, as they are now. */
static void number_parts(qs_index_builder *builder)
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
		builder->checksums[object.first_chunk + i] = 0x0123456789abcdef + i;
		object.coded_size += chunk_size + i;
	}
	layer->layer_size += object.coded_size;
	builder->objects[number] = object;
	number_parts(builder);
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

/* Two variants of a matrix of 40 × 30, its scales, a norm that they share, and four small files. */
static void build(qs_index_builder *builder)
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
	                   .zeros = QS_NONE,
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

/* The same, with a file of another model, 40 elements of it, and a difference to them. */
static void build_based(qs_index_builder *builder)
{
	uint32_t number;
	build(builder);
	assert_int_equal(qs_builder_add_file(builder, &number), QSTORE_OK);
	builder->files[number] =
	    (qs_file){.name = qs_builder_name(builder, "zero.safetensors"), .kind = QS_FILE_BASE, .size = 100};
	qs_object base = builder->objects[1], delta;
	base.variant = 1;
	delta = base;
	base.kind = QS_KIND_BASE;
	base.group = number;
	base.row_stride = 20;
	base.coded_size = delta.coded_size = 0;
	delta.kind = QS_KIND_DELTA;
	delta.coarse = add_object(builder, base, 0);
	add_object(builder, delta, 30);
}

/* Of build_chain's objects. */
enum {
	SCALE = 6,
	RECODED,
	DELTA,
	ZEROS,
	ZEROED,
	PACKED,
	TRANSPOSED,
	ORDER,
	ORDERED,
	BLOCK_SCALES,
	BLOCK_CODES,
	BLOCKS,
	RECORDS,
	RECORD_CODES,
	RECORD_BLOCKS,
	FREE_SCALES,
	FREE_CODES,
	NIBBLES,
	TURNED,
	FACTORS,
	FACTORED,
	INTERLEAVED,
	COLUMN_CODES,
	INTERLEAVED_COLUMNS
};

/* A third variant: codes given coarser ones, FP32 from BF16, and each kind of grid and of layout. */
static void build_chain(qs_index_builder *b)
{
	uint32_t number;
	build(b);
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
	assert_int_equal(add_object(b, zeros, 2), ZEROS);
	codes.dtype = QS_U8;
	codes.cols = codes.group = 40;
	codes.chunk_elems = 400;
	codes.zeros = ZEROS;
	codes.zero_offset = 1;
	assert_int_equal(add_object(b, codes, 10), ZEROED);
	layout = b->objects[0];
	layout.kind = QS_KIND_LAYOUT;
	layout.variant = 2;
	layout.coded_size = 0;
	layout.dtype = QS_I32;
	layout.n_elems = 300;
	layout.coarse = ZEROED;
	layout.group = 8;
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
	codes.zeros = QS_NONE;
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
	layout.group = 0;
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
	/* Codes by Q4_0's rule that stand in no blocks; floats whose rows are columns in their file. */
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
	layout.group = 4;
	layout.n_elems = 640;
	layout.cols = 32;
	layout.chunk_elems = 160;
	assert_int_equal(add_object(b, layout, 0), NIBBLES);
	layout.rule = QS_LAYOUT_TRANSPOSED;
	layout.dtype = QS_F32;
	layout.coarse = DELTA;
	layout.group = 32;
	layout.n_elems = delta.n_elems;
	layout.cols = delta.n_elems / delta.cols;
	layout.chunk_elems = (uint32_t)layout.cols;
	assert_int_equal(add_object(b, layout, 0), TURNED);
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
	layout.group = 4;
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

/* A body in memory of exactly its size, so that the sanitizer sees each byte beyond. */
static uint8_t *build_body_of(void (*make)(qs_index_builder *builder), size_t *size)
{
	qs_index_builder builder;
	uint8_t *body;
	make(&builder);
	assert_int_equal(qs_builder_body(&builder, &body, size), QSTORE_OK);
	qs_builder_free(&builder);
	return body;
}

static uint8_t *build_body(size_t *size)
{
	return build_body_of(build, size);
}

/* Reads all that a reader may, and checks what it relies on. */
static void walk(const qs_index *index)
{
	uint64_t layer_end = 0;
	size_t text = 0;
	for (uint32_t i = 0; i < index->n_variants; i++) {
		qs_variant variant;
		qs_index_variant(index, i, &variant);
		text += strlen(variant.name);
		assert_true(variant.coarser == QS_NONE || variant.coarser < i);
		assert_true(variant.layer_offset >= layer_end);
		layer_end = variant.layer_offset + variant.layer_size;
		assert_true(layer_end <= index->payload_size);
	}
	for (uint32_t i = 0; i < index->n_objects; i++) {
		qs_object object, other;
		qs_variant variant;
		qs_index_object(index, i, &object);
		qs_index_variant(index, object.variant, &variant);
		assert_true(object.kind < QS_KIND_COUNT && object.rule < QS_RULE_COUNT);
		assert_true(object.cols > 0 && object.chunk_elems > 0);
		assert_true((uint64_t)object.chunk_elems / qs_block_elems(object.dtype) *
		                qs_block_size(object.dtype) <=
		            QS_CHUNK_SIZE_MAX);
		if (object.kind == QS_KIND_BASE) {
			qs_file file;
			assert_true(object.group < index->n_files);
			qs_index_file(index, object.group, &file);
			assert_true(file.kind == QS_FILE_BASE && object.row_stride <= file.size &&
			            qs_object_bytes(&object) <= file.size - object.row_stride);
		}
		assert_true(object.kind == QS_KIND_LAYOUT || object.kind == QS_KIND_BASE
		                ? object.n_chunks == 0
		                : (uint64_t)object.n_chunks * object.chunk_elems >= object.n_elems);
		assert_true(object.offset >= variant.layer_offset);
		uint64_t end = object.offset;
		for (uint32_t j = 0; j < object.n_chunks; j++) {
			end += qs_index_chunk_size(index, object.first_chunk + j);
			text += qs_index_chunk_checksum(index, object.first_chunk + j) == 0;
		}
		for (uint64_t j = 0; j < qs_object_n_parts(&object); j++)
			text += qs_index_part_checksum(index, (uint32_t)(object.first_part + j)) == 0;
		assert_true(object.first_part + qs_object_n_parts(&object) <= index->n_parts);
		assert_true(end == object.offset + object.coded_size &&
		            end <= variant.layer_offset + variant.layer_size);
		if (object.kind == QS_KIND_CODES && object.rule != QS_RULE_NONE && object.n_elems > 0) {
			/* Every element has a scale that there is. */
			qs_grid grid = {.rule = object.rule,
			                .group = object.group,
			                .row_stride = object.row_stride,
			                .group_stride = object.group_stride,
			                .order = object.order == QS_NONE ? NULL : index->body};
			uint64_t low, high, record = qs_rule_record_size(object.rule);
			assert_true(object.scales < i && object.group > 0);
			qs_index_object(index, object.scales, &other);
			assert_true(other.kind == QS_KIND_PLAIN);
			qs_grid_window(&grid, object.cols, 0, object.n_elems, &low, &high);
			assert_true(high < (record ? other.n_elems / record * qs_rule_record_groups(object.rule)
			                           : other.n_elems));
		}
		if (object.kind == QS_KIND_REFINE) {
			assert_true(object.coarse < i);
			if (object.scales != QS_NONE) {
				assert_true(object.scales < i);
				qs_index_object(index, object.scales, &other);
				assert_true(other.kind == QS_KIND_PLAIN && other.n_elems == object.cols &&
				            (other.dtype == QS_F16 || other.dtype == QS_BF16));
			}
			qs_index_object(index, object.coarse, &other);
			assert_true(other.kind == QS_KIND_CODES && other.n_elems == object.n_elems &&
			            other.rule != QS_RULE_NONE && other.cols == object.cols &&
			            other.chunk_elems == object.chunk_elems && other.variant <= object.variant);
		}
		if (object.kind == QS_KIND_DELTA) {
			assert_true(object.coarse < i && object.scales == QS_NONE && object.rule == QS_RULE_NONE);
			qs_index_object(index, object.coarse, &other);
			assert_true(other.kind != QS_KIND_CODES && other.n_elems == object.n_elems &&
			            other.cols == object.cols && other.chunk_elems == object.chunk_elems &&
			            (other.variant < object.variant || other.kind == QS_KIND_REFINE ||
			             other.kind == QS_KIND_BASE));
		}
	}
	for (uint32_t i = 0; i < index->n_files; i++) {
		qs_file file;
		qs_index_file(index, i, &file);
		text += strlen(file.name) + file.sha256[31];
		assert_true(qs_path_is_safe(file.name) && (file.variants == 0) == (file.kind == QS_FILE_BASE) &&
		            file.variants >> index->n_variants == 0);
		for (uint32_t j = 0; j < i; j++) {
			qs_file other;
			qs_index_file(index, j, &other);
			assert_true((file.variants & other.variants) == 0 || strcmp(file.name, other.name) != 0);
		}
		uint64_t size = 0;
		for (uint32_t j = 0; j < file.n_extents; j++) {
			qs_extent extent;
			qs_object object;
			qs_index_extent(index, file.first_extent + j, &extent);
			qs_index_object(index, extent.object, &object);
			assert_true(extent.size > 0 && extent.offset + extent.size <= qs_object_bytes(&object));
			/* Nothing of a finer layer: a prefix must do. */
			for (uint32_t v = 0; v < object.variant; v++)
				assert_true((file.variants >> v & 1) == 0);
			size += extent.size;
		}
		if (file.kind == QS_FILE_ASSEMBLED)
			assert_true(size == file.size);
		else
			assert_true(file.offset + file.coded_size <= index->payload_size && file.n_extents == 0);
	}
	for (uint32_t i = 0; i < index->n_tensors; i++) {
		qs_tensor tensor;
		qs_file file;
		qs_index_tensor(index, i, &tensor);
		qs_index_file(index, tensor.file, &file);
		text += strlen(tensor.name);
		uint64_t n_elems = 1;
		for (uint32_t j = 0; j < tensor.n_dims; j++)
			n_elems *= qs_index_dim(index, tensor.first_dim + j);
		assert_true(n_elems / qs_block_elems(tensor.dtype) * qs_block_size(tensor.dtype) == tensor.size);
		assert_true(tensor.offset + tensor.size <= file.size);
		if (tensor.object != QS_NONE) {
			qs_object object;
			qs_index_object(index, tensor.object, &object);
			assert_true(qs_object_bytes(&object) == tensor.size);
			assert_true((object.n_elems == n_elems && object.dtype == tensor.dtype) ||
			            (object.dtype == QS_BYTES && qs_block_elems(tensor.dtype) > 1));
		}
	}
	/* So that no read is optimised away. */
	assert_true(text < 1u << 30);
}

static void reads_what_was_built(void **state)
{
	(void)state;
	size_t size;
	uint8_t *body = build_body(&size);
	qs_index index;
	assert_int_equal(qs_index_open(&index, body, size, PAYLOAD_SIZE), QSTORE_OK);
	walk(&index);
	assert_int_equal(index.n_variants, 2);
	assert_int_equal(index.n_files, 6);
	assert_int_equal(index.n_objects, 6);
	assert_int_equal(index.n_chunks, 12);
	assert_int_equal(index.n_tensors, 7);
	qs_object object;
	qs_index_object(&index, 5, &object);
	assert_int_equal(object.kind, QS_KIND_REFINE);
	assert_true(object.error == 0.25f);
	assert_int_equal(object.coarse, 3);
	qs_tensor first, last;
	qs_index_tensor(&index, 0, &first);
	qs_index_tensor(&index, 5, &last);
	assert_string_equal(first.name, "norm.weight");
	/* Equal texts are stored once. */
	assert_ptr_equal(first.name, last.name);
	free(body);
}

static void change_every_byte(uint8_t *body, size_t size)
{
	size_t n_accepted = 0;
	for (size_t i = 0; i < size; i++) {
		uint8_t original = body[i];
		for (unsigned value = 0; value < 256; value++) {
			qs_index index;
			if (value == original)
				continue;
			body[i] = (uint8_t)value;
			if (qs_index_open(&index, body, size, PAYLOAD_SIZE) == QSTORE_OK) {
				walk(&index);
				n_accepted++;
			}
		}
		body[i] = original;
	}
	/* Checksums, SHA-256, names and the like may have any value; structure may not. */
	assert_true(n_accepted > 0 && n_accepted < size * 255);
	free(body);
}

static void survives_every_byte_changed(void **state)
{
	(void)state;
	size_t size;
	uint8_t *body = build_body(&size);
	change_every_byte(body, size);
	body = build_body_of(build_chain, &size);
	change_every_byte(body, size);
	body = build_body_of(build_based, &size);
	change_every_byte(body, size);
}

static void reads_chains(void **state)
{
	(void)state;
	size_t size;
	uint8_t *body = build_body_of(build_chain, &size);
	qs_index index;
	assert_int_equal(qs_index_open(&index, body, size, PAYLOAD_SIZE), QSTORE_OK);
	walk(&index);
	free(body);
	body = build_body_of(build_based, &size);
	assert_int_equal(qs_index_open(&index, body, size, PAYLOAD_SIZE), QSTORE_OK);
	walk(&index);
	free(body);
}

static void survives_every_field_extreme(void **state)
{
	(void)state;
	static const uint64_t extremes[] = {0,
	                                    1,
	                                    0x7fffffff,
	                                    0x80000000,
	                                    0xffffffff,
	                                    0x3fffffffffffffff,
	                                    0x7fffffffffffffff,
	                                    0x8000000000000000,
	                                    0xffffffffffffffff,
	                                    0x100000000};
	size_t size;
	uint8_t *body = build_body(&size);
	for (size_t i = 0; i + 8 <= size; i += 4) {
		uint8_t original[8];
		memcpy(original, body + i, 8);
		for (size_t j = 0; j < sizeof(extremes) / sizeof(extremes[0]); j++) {
			for (int wide = 0; wide < 2; wide++) {
				qs_index index;
				if (wide)
					qs_store64(body + i, extremes[j]);
				else
					qs_store32(body + i, (uint32_t)extremes[j]);
				if (qs_index_open(&index, body, size, PAYLOAD_SIZE) == QSTORE_OK)
					walk(&index);
				memcpy(body + i, original, 8);
			}
		}
	}
	free(body);
}

static void refuses_every_truncation(void **state)
{
	(void)state;
	size_t size;
	uint8_t *body = build_body(&size);
	for (size_t cut = 0; cut < size; cut++) {
		qs_index index;
		uint8_t *exact = malloc(cut > 0 ? cut : 1);
		assert_non_null(exact);
		memcpy(exact, body, cut);
		assert_int_equal(qs_index_open(&index, exact, cut, PAYLOAD_SIZE), QSTORE_CORRUPT);
		free(exact);
	}
	free(body);
}

/* A payload that is smaller than what the index speaks of. */
static void refuses_smaller_payload(void **state)
{
	(void)state;
	size_t size;
	uint8_t *body = build_body(&size);
	qs_index index;
	assert_int_equal(qs_index_open(&index, body, size, PAYLOAD_SIZE / 2), QSTORE_CORRUPT);
	assert_int_equal(qs_index_open(&index, body, size, UINT64_MAX), QSTORE_CORRUPT);
	free(body);
}

/* Changes one thing in a good builder, and expects refusal. */
static void refuse_changed(void (*make)(qs_index_builder *builder), void (*change)(qs_index_builder *builder),
                           int parts_stay, const char *what)
{
	qs_index_builder builder;
	qs_index index;
	uint8_t *body;
	size_t size;
	make(&builder);
	change(&builder);
	if (!parts_stay)
		number_parts(&builder);
	assert_int_equal(qs_builder_body(&builder, &body, &size), QSTORE_OK);
	if (qs_index_open(&index, body, size, PAYLOAD_SIZE) != QSTORE_CORRUPT)
		fail_msg("accepted: %s", what);
	free(body);
	qs_builder_free(&builder);
}

static void refuse_of(void (*make)(qs_index_builder *builder), void (*change)(qs_index_builder *builder),
                      const char *what)
{
	refuse_changed(make, change, 0, what);
}

static void refuse(void (*change)(qs_index_builder *builder), const char *what)
{
	refuse_of(build, change, what);
}

#define REFUSE(name, statement)                                                                              \
	static void name(qs_index_builder *b)                                                                    \
	{                                                                                                        \
		statement;                                                                                           \
	}
REFUSE(parts_too_few, b->n_parts--)
REFUSE(parts_too_many, uint32_t first; assert_int_equal(qs_builder_add_parts(b, 1, &first), QSTORE_OK))
REFUSE(parts_of_another, b->objects[3].first_part++)
REFUSE(parts_of_a_base_not_counted, b->objects[6].first_part--)
REFUSE(twice_in_a_variant, b->files[0].variants = 2; b->variants[0].raw_size -= 50;
       b->variants[1].raw_size += 50)
REFUSE(unsorted_names, b->files[2].name = qs_builder_name(b, "A"))
REFUSE(file_that_is_a_folder, b->files[3].name = qs_builder_name(b, "config.json/a"))
REFUSE(folder_behind_a_file, b->files[3].name = qs_builder_name(b, "config.json-a");
       b->files[4].name = qs_builder_name(b, "config.json/a"))
REFUSE(base_of_no_file, b->objects[6].group = 7)
REFUSE(base_of_a_stored_file, b->objects[6].group = 0)
REFUSE(base_beyond_its_file, b->objects[6].row_stride = 21)
REFUSE(base_that_wraps, b->objects[6].row_stride = ~(uint64_t)0 - 10)
REFUSE(base_with_scales, b->objects[6].scales = 2)
REFUSE(base_with_coarse, b->objects[6].coarse = 1)
REFUSE(base_with_error, b->objects[6].error = 0.5f)
REFUSE(base_with_chunks, b->objects[6].n_chunks = 1)
REFUSE(base_file_of_a_variant, b->files[6].variants = 2; b->variants[1].raw_size += 100)
REFUSE(base_file_with_extents, b->files[6].n_extents = 1)
REFUSE(base_file_with_offset, b->files[6].offset = 512)
REFUSE(base_file_with_size, b->files[6].coded_size = 100)
REFUSE(refines_the_base, b->objects[7].kind = QS_KIND_REFINE)
REFUSE(stored_file_of_no_variant, b->files[5].variants = 0; b->variants[1].raw_size -= 60000)
REFUSE(escaping_name, b->files[2].name = qs_builder_name(b, "a/../../b"))
REFUSE(absolute_name, b->files[2].name = qs_builder_name(b, "/etc/passwd"))
REFUSE(same_variants, b->variants[1].name = b->variants[0].name)
REFUSE(variant_with_slash, b->variants[1].name = qs_builder_name(b, "a/b"))
REFUSE(cyclic_variant, b->variants[1].coarser = 1)
REFUSE(coarse_after_fine, b->objects[5].coarse = 5)
REFUSE(coarse_of_another_shape, b->objects[3].cols = 60; b->objects[3].chunk_elems = 300)
REFUSE(coarse_without_fine, b->objects[3].coarse = 0)
REFUSE(scales_of_another_size, b->objects[2].n_elems = 39)
REFUSE(fine_in_coarse_file, b->extents[1].object = 5)
REFUSE(extent_beyond_object, b->extents[0].offset = 101)
REFUSE(extents_do_not_sum, b->files[3].size++; b->variants[0].raw_size++)
REFUSE(raw_size_differs, b->variants[0].raw_size++)
REFUSE(zstd_too_large, b->files[5].size = QS_FILE_ZSTD_MAX + 1;
       b->variants[1].raw_size += QS_FILE_ZSTD_MAX + 1 - 60000)
REFUSE(file_behind_layers, b->files[2].offset = 2047)
REFUSE(tensors_overlap, b->tensors[1].offset--)
REFUSE(tensor_elsewhere, b->tensors[4].object = 1)
REFUSE(tensor_of_another_object, b->tensors[0].object = 0)
REFUSE(shape_overflows, b->dims[1] = (uint64_t)1 << 61; b->dims[2] = 8)
REFUSE(shape_differs, b->dims[0] = 41)
REFUSE(unknown_dtype, b->tensors[3].dtype = QS_DTYPE_COUNT)
REFUSE(bytes_tensor, b->tensors[3].dtype = QS_BYTES)
REFUSE(empty_chunk, b->chunk_sizes[0] = 0; b->objects[0].coded_size -= 100)
REFUSE(large_chunk, b->chunk_sizes[0] = QS_CHUNK_CODED_MAX + 1)
REFUSE(chunk_too_many_elements, b->objects[1].chunk_elems = QS_CHUNK_SIZE_MAX / 2 + 1)
REFUSE(rows_cut, b->objects[3].chunk_elems = b->objects[5].chunk_elems = 299)
REFUSE(not_a_number, b->objects[5].error = (float)strtod("nan", NULL))
REFUSE(layer_too_long, b->variants[0].layer_size += 8)
REFUSE(layers_overlap, b->variants[1].layer_offset = b->variants[0].layer_offset + 8)
REFUSE(plain_with_rule, b->objects[1].rule = 1)
REFUSE(refine_with_scales, b->objects[5].scales = 2)
REFUSE(refine_with_rule, b->objects[5].rule = 1)
REFUSE(refines_codes_without_rule, b->objects[3].rule = 0; b->objects[3].scales = QS_NONE;
       b->objects[3].group = 0; b->objects[3].row_stride = 0)

REFUSE(scale_of_integers, b->objects[SCALE].dtype = QS_I16)
REFUSE(scales_that_are_codes, b->objects[ORDERED].scales = ZEROED)
REFUSE(scales_behind, b->objects[RECODED].scales = BLOCK_SCALES)
REFUSE(scale_beyond, b->objects[RECODED].row_stride = 1)
REFUSE(stride_wraps, b->objects[RECODED].row_stride = (uint64_t)1 << 63)
REFUSE(group_beyond, b->objects[RECODED].group = 29; b->objects[RECODED].group_stride = 1)
REFUSE(no_group, b->objects[RECODED].group = 0)
REFUSE(unknown_rule, b->objects[RECODED].rule = QS_RULE_COUNT)
REFUSE(recoded_without_rule, b->objects[RECODED].rule = QS_RULE_NONE)
REFUSE(recoded_of_another_shape, b->objects[RECODED].coarse = ZEROED)
REFUSE(recoded_of_same_layer, b->objects[ORDERED].coarse = ZEROED)
REFUSE(recoded_of_floats, b->objects[RECODED].coarse = 5)
REFUSE(offset_too_large, b->objects[ZEROED].zero_offset = 256)
REFUSE(offset_too_small, b->objects[ZEROED].zero_offset = -256)
REFUSE(zeros_of_floats, b->objects[ZEROED].zeros = SCALE)
REFUSE(zeros_of_another_size, b->objects[ZEROED].zeros = ORDER)
REFUSE(zeros_behind, b->objects[ZEROED].zeros = ORDERED)
REFUSE(order_of_another_dtype, b->objects[ORDER].dtype = QS_U32)
REFUSE(order_of_another_size, b->objects[ORDERED].order = SCALE)
REFUSE(order_beyond_scales, b->objects[ORDERED].group = 2; b->objects[ORDERED].group_stride = 1)
REFUSE(block_group, b->objects[BLOCK_CODES].group = 16)
REFUSE(block_stride, b->objects[BLOCK_CODES].row_stride = 0)
REFUSE(block_zeros, b->objects[BLOCK_CODES].zero_offset = 1)
REFUSE(block_of_singles, b->objects[BLOCK_SCALES].dtype = QS_F32)
REFUSE(record_size, b->objects[RECORDS].cols = 9)
REFUSE(record_of_floats, b->objects[RECORDS].dtype = QS_F16)
REFUSE(too_few_records, b->objects[RECORDS].n_elems = 18)
REFUSE(layout_of_unknown_rule, b->objects[PACKED].rule = QS_LAYOUT_COUNT)
REFUSE(layout_without_rule, b->objects[PACKED].rule = 0)
REFUSE(layout_of_bits, b->objects[PACKED].group = 2)
REFUSE(layout_of_fewer_bits, b->objects[PACKED].group = 4)
REFUSE(layout_behind, b->objects[PACKED].coarse = ORDERED)
REFUSE(layout_of_floats, b->objects[PACKED].coarse = SCALE)
REFUSE(layout_of_other_columns, b->objects[PACKED].cols = 20)
REFUSE(layout_of_other_chunks, b->objects[PACKED].chunk_elems = 50)
REFUSE(layout_with_scales, b->objects[PACKED].scales = SCALE)
REFUSE(layout_with_zeros, b->objects[PACKED].zeros = ZEROS)
REFUSE(layout_with_offset, b->objects[PACKED].zero_offset = 1)
REFUSE(layout_with_stride, b->objects[PACKED].row_stride = 1)
REFUSE(layout_with_error, b->objects[PACKED].error = 0.5f)
REFUSE(layout_of_words, b->objects[PACKED].dtype = QS_U32)
REFUSE(layout_of_other_rows, b->objects[TRANSPOSED].cols = 15)
REFUSE(layout_of_turned_words, b->objects[TRANSPOSED].dtype = QS_U8)
REFUSE(nibbles_of_more_bits, b->objects[NIBBLES].group = 8)
REFUSE(nibbles_of_other_columns, b->objects[NIBBLES].cols = 8)
REFUSE(nibbles_of_other_chunks, b->objects[NIBBLES].chunk_elems = 40)
REFUSE(blocks_of_free_codes, b->objects[NIBBLES].rule = QS_LAYOUT_BLOCKS; b->objects[NIBBLES].dtype = QS_Q4_0;
       b->objects[NIBBLES].scales = FREE_SCALES; b->objects[NIBBLES].group = 0;
       b->objects[NIBBLES].n_elems = 1280; b->objects[NIBBLES].cols = 64;
       b->objects[NIBBLES].chunk_elems = 320)
REFUSE(free_codes_of_other_groups, b->objects[FREE_CODES].group = 24)
REFUSE(free_codes_of_bf16, b->objects[FREE_SCALES].dtype = QS_BF16)
REFUSE(turned_to_another_type, b->objects[TURNED].dtype = QS_F16)
REFUSE(turned_of_other_bits, b->objects[TURNED].group = 16)
REFUSE(turned_of_other_rows, b->objects[TURNED].cols /= 2)
REFUSE(turned_of_fewer, b->objects[TURNED].n_elems /= 2)
REFUSE(turned_of_codes, b->objects[TURNED].coarse = ZEROED)
REFUSE(turned_of_layout, b->objects[TURNED].coarse = BLOCKS)
REFUSE(turned_but_packed, b->objects[TURNED].rule = QS_LAYOUT_PACKED)
REFUSE(turned_with_scales, b->objects[TURNED].scales = FREE_SCALES)
REFUSE(factors_of_other_columns, b->objects[FACTORS].n_elems = 31)
REFUSE(factors_in_singles, b->objects[FACTORS].dtype = QS_F32; b->objects[FACTORS].n_elems = 30)
REFUSE(factors_of_codes, b->objects[FACTORED].scales = RECODED)
REFUSE(factors_behind, b->objects[FACTORED].scales = FACTORED)
REFUSE(factors_of_a_difference, b->objects[DELTA].scales = FACTORS)
REFUSE(factors_with_rule, b->objects[FACTORED].rule = QS_RULE_DIVIDE)
REFUSE(factors_with_stride, b->objects[FACTORED].row_stride = 1)
REFUSE(interleaved_bytes, b->objects[INTERLEAVED].group = 8)
REFUSE(interleaved_of_other_columns, b->objects[INTERLEAVED].cols = 10)
REFUSE(interleaved_of_other_rows, b->objects[INTERLEAVED_COLUMNS].cols = 2)
REFUSE(interleaved_columns_of_bytes, b->objects[INTERLEAVED_COLUMNS].group = 8)
REFUSE(interleaved_of_odd_rows, b->objects[INTERLEAVED_COLUMNS].coarse = ZEROED)
REFUSE(blocks_of_another_type, b->objects[BLOCKS].dtype = QS_Q4_0)
REFUSE(blocks_of_unmodelled_type, b->objects[RECORD_BLOCKS].dtype = QS_Q2_K)
REFUSE(blocks_of_other_scales, b->objects[BLOCKS].scales = SCALE)
REFUSE(blocks_of_other_codes, b->objects[RECORD_BLOCKS].coarse = BLOCK_CODES)
REFUSE(blocks_with_bits, b->objects[BLOCKS].group = 8)
REFUSE(blocks_without_layout, b->objects[SCALE].dtype = QS_Q8_0)
REFUSE(refines_floats, b->objects[5].coarse = 1)
REFUSE(refines_singles, b->objects[5].dtype = QS_F32)
REFUSE(delta_with_rule, b->objects[DELTA].rule = QS_RULE_DIVIDE)
REFUSE(delta_with_scales, b->objects[DELTA].scales = SCALE)
REFUSE(delta_with_error, b->objects[DELTA].error = 0.5f)
REFUSE(delta_from_codes, b->objects[DELTA].coarse = 3)
REFUSE(delta_from_itself, b->objects[DELTA].coarse = DELTA)
REFUSE(delta_from_nothing, b->objects[DELTA].coarse = QS_NONE)
REFUSE(delta_from_same_layer, b->objects[DELTA].coarse = RECODED)
REFUSE(delta_of_another_shape, b->objects[DELTA].cols = 15)
REFUSE(delta_of_other_chunks, b->objects[DELTA].coarse = 1)
REFUSE(delta_of_half, b->objects[DELTA].dtype = QS_F16)

static void refuses_contradictions(void **state)
{
	(void)state;
#define CHECK(name) refuse(name, #name);
	CHECK(twice_in_a_variant)
	CHECK(unsorted_names)
	CHECK(escaping_name)
	CHECK(absolute_name)
	CHECK(same_variants)
	CHECK(variant_with_slash)
	CHECK(cyclic_variant)
	CHECK(coarse_after_fine)
	CHECK(coarse_of_another_shape)
	CHECK(coarse_without_fine)
	CHECK(scales_of_another_size)
	CHECK(fine_in_coarse_file)
	CHECK(extent_beyond_object)
	CHECK(extents_do_not_sum)
	CHECK(raw_size_differs)
	CHECK(zstd_too_large)
	CHECK(file_behind_layers)
	CHECK(tensors_overlap)
	CHECK(tensor_elsewhere)
	CHECK(tensor_of_another_object)
	CHECK(shape_overflows)
	CHECK(shape_differs)
	CHECK(unknown_dtype)
	CHECK(bytes_tensor)
	CHECK(empty_chunk)
	CHECK(large_chunk)
	CHECK(chunk_too_many_elements)
	CHECK(rows_cut)
	CHECK(not_a_number)
	CHECK(layer_too_long)
	CHECK(layers_overlap)
	CHECK(plain_with_rule)
	CHECK(refine_with_scales)
	CHECK(refine_with_rule)
	CHECK(refines_codes_without_rule)
#undef CHECK
#define CHECK(name) refuse_changed(build_based, name, 1, #name);
	CHECK(parts_too_few)
	CHECK(parts_too_many)
	CHECK(parts_of_another)
	CHECK(parts_of_a_base_not_counted)
#undef CHECK
#define CHECK(name) refuse_of(build_based, name, #name);
	CHECK(file_that_is_a_folder)
	CHECK(folder_behind_a_file)
	CHECK(base_of_no_file)
	CHECK(base_of_a_stored_file)
	CHECK(base_beyond_its_file)
	CHECK(base_that_wraps)
	CHECK(base_with_scales)
	CHECK(base_with_coarse)
	CHECK(base_with_error)
	CHECK(base_with_chunks)
	CHECK(base_file_of_a_variant)
	CHECK(base_file_with_extents)
	CHECK(base_file_with_offset)
	CHECK(base_file_with_size)
	CHECK(refines_the_base)
	CHECK(stored_file_of_no_variant)
#undef CHECK
#define CHECK(name) refuse_of(build_chain, name, #name);
	CHECK(scale_of_integers)
	CHECK(scales_that_are_codes)
	CHECK(scales_behind)
	CHECK(scale_beyond)
	CHECK(stride_wraps)
	CHECK(group_beyond)
	CHECK(no_group)
	CHECK(unknown_rule)
	CHECK(recoded_without_rule)
	CHECK(recoded_of_another_shape)
	CHECK(recoded_of_same_layer)
	CHECK(recoded_of_floats)
	CHECK(offset_too_large)
	CHECK(offset_too_small)
	CHECK(zeros_of_floats)
	CHECK(zeros_of_another_size)
	CHECK(zeros_behind)
	CHECK(order_of_another_dtype)
	CHECK(order_of_another_size)
	CHECK(order_beyond_scales)
	CHECK(block_group)
	CHECK(block_stride)
	CHECK(block_zeros)
	CHECK(block_of_singles)
	CHECK(record_size)
	CHECK(record_of_floats)
	CHECK(too_few_records)
	CHECK(layout_of_unknown_rule)
	CHECK(layout_without_rule)
	CHECK(layout_of_bits)
	CHECK(layout_of_fewer_bits)
	CHECK(layout_behind)
	CHECK(layout_of_floats)
	CHECK(layout_of_other_columns)
	CHECK(layout_of_other_chunks)
	CHECK(layout_with_scales)
	CHECK(layout_with_zeros)
	CHECK(layout_with_offset)
	CHECK(layout_with_stride)
	CHECK(layout_with_error)
	CHECK(layout_of_words)
	CHECK(layout_of_other_rows)
	CHECK(layout_of_turned_words)
	CHECK(nibbles_of_more_bits)
	CHECK(nibbles_of_other_columns)
	CHECK(nibbles_of_other_chunks)
	CHECK(blocks_of_free_codes)
	CHECK(free_codes_of_other_groups)
	CHECK(free_codes_of_bf16)
	CHECK(turned_to_another_type)
	CHECK(turned_of_other_bits)
	CHECK(turned_of_other_rows)
	CHECK(turned_of_fewer)
	CHECK(turned_of_codes)
	CHECK(turned_of_layout)
	CHECK(turned_but_packed)
	CHECK(turned_with_scales)
	CHECK(factors_of_other_columns)
	CHECK(factors_in_singles)
	CHECK(factors_of_codes)
	CHECK(factors_behind)
	CHECK(factors_of_a_difference)
	CHECK(factors_with_rule)
	CHECK(factors_with_stride)
	CHECK(interleaved_bytes)
	CHECK(interleaved_of_other_columns)
	CHECK(interleaved_of_other_rows)
	CHECK(interleaved_columns_of_bytes)
	CHECK(interleaved_of_odd_rows)
	CHECK(blocks_of_another_type)
	CHECK(blocks_of_unmodelled_type)
	CHECK(blocks_of_other_scales)
	CHECK(blocks_of_other_codes)
	CHECK(blocks_with_bits)
	CHECK(blocks_without_layout)
	CHECK(refines_floats)
	CHECK(refines_singles)
	CHECK(delta_with_rule)
	CHECK(delta_with_scales)
	CHECK(delta_with_error)
	CHECK(delta_from_codes)
	CHECK(delta_from_itself)
	CHECK(delta_from_nothing)
	CHECK(delta_from_same_layer)
	CHECK(delta_of_another_shape)
	CHECK(delta_of_other_chunks)
	CHECK(delta_of_half)
}

static void header_round_trip(void **state)
{
	(void)state;
	const qs_index_header header = {1, 1000, 3000, 77, 4096};
	qs_index_header back;
	uint8_t bytes[QS_INDEX_HEADER_SIZE];
	qs_index_write_header(&header, bytes);
	assert_int_equal(qs_index_read_header(bytes, sizeof(bytes), &back), QSTORE_OK);
	assert_true(back.zstd_body && back.body_coded_size == 1000 && back.body_size == 3000 &&
	            back.body_checksum == 77 && back.payload_size == 4096);
	assert_int_equal(qs_index_payload_offset(&back), 2048);
	for (size_t cut = 0; cut < sizeof(bytes); cut++) {
		uint8_t *exact = malloc(cut > 0 ? cut : 1);
		assert_non_null(exact);
		memcpy(exact, bytes, cut);
		assert_int_equal(qs_index_read_header(exact, cut, &back), QSTORE_TRUNCATED);
		free(exact);
	}
	/* Every bit flipped is noticed; which way depends on where. */
	for (size_t bit = 0; bit < 8 * sizeof(bytes); bit++) {
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		qstore_status status = qs_index_read_header(bytes, sizeof(bytes), &back);
		if (bit / 8 < 8)
			assert_int_equal(status, QSTORE_NOT_QSTORE);
		else if (bit / 8 < 10)
			assert_true(status == QSTORE_NEWER || status == QSTORE_CORRUPT);
		else
			assert_int_equal(status, QSTORE_CORRUPT);
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

/* Fields that this version does not know, with a right checksum. */
static void header_versions(void **state)
{
	(void)state;
	const qs_index_header header = {0, 3000, 3000, 77, 4096};
	qs_index_header back;
	uint8_t bytes[QS_INDEX_HEADER_SIZE];
	struct {
		size_t at;
		uint8_t value;
		uint8_t minor;
		qstore_status status;
	} cases[] = {
	    {8, 2, 0, QSTORE_NEWER},
	    {8, 0, 0, QSTORE_CORRUPT},
	    {10, 9, 9, QSTORE_OK},
	    {12, 2, 0, QSTORE_CORRUPT},
	    {12, 2, 1, QSTORE_NEWER},
	    {52, 1, 0, QSTORE_CORRUPT},
	    {52, 1, 1, QSTORE_NEWER},
	    {48, QS_FORMAT_DRAFT + 1, 0, QSTORE_NEWER},
	    {48, QS_FORMAT_DRAFT - 1, 0, QSTORE_OLDER},
	    {27, 0x41, 0, QSTORE_LIMIT},
	    {23, 1, 0, QSTORE_LIMIT},
	    {47, 0x40, 0, QSTORE_LIMIT},
	    {16, 1, 0, QSTORE_CORRUPT},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		qs_index_write_header(&header, bytes);
		bytes[10] = cases[i].minor;
		bytes[cases[i].at] = cases[i].value;
		qs_store64(bytes + 56, qs_checksum(bytes, 56));
		if (qs_index_read_header(bytes, sizeof(bytes), &back) != cases[i].status)
			fail_msg("case %zu", i);
	}
}

static void safe_paths(void **state)
{
	(void)state;
	static const char *const good[] = {
	    "a", "a/b", "...", "a..b", ".gitattributes", "a b", "mod\xc3\xa8le/\xf0\x9f\x98\x80", "-"};
	static const char *const bad[] = {"",
	                                  "/a",
	                                  "a/",
	                                  "a//b",
	                                  ".",
	                                  "..",
	                                  "a/..",
	                                  "../a",
	                                  "./a",
	                                  "a/./b",
	                                  "a\\b",
	                                  "c:a",
	                                  "a\nb",
	                                  "a\x7f",
	                                  "\x80",
	                                  "\xc3",
	                                  "\xc0\xaf",
	                                  "\xe0\x80\xaf",
	                                  "\xed\xa0\x80",
	                                  "\xf4\x90\x80\x80",
	                                  "\xf8\x88\x80\x80\x80",
	                                  "a\xff/b"};
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		if (!qs_path_is_safe(good[i]))
			fail_msg("refused: %s", good[i]);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (qs_path_is_safe(bad[i]))
			fail_msg("accepted: %s", bad[i]);
	}
	char *name = calloc(1, QS_NAME_MAX + 2);
	assert_non_null(name);
	memset(name, 'a', QS_NAME_MAX);
	assert_true(qs_path_is_safe(name));
	name[QS_NAME_MAX] = 'a';
	assert_false(qs_path_is_safe(name));
	free(name);
}

static void dtypes(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < QS_DTYPE_COUNT; i++) {
		assert_int_equal(qs_dtype_from_name(qs_dtype_name(i)), i);
		assert_true(qs_block_size(i) > 0 && (i < QS_Q4_0 ? qs_dtype_size(i) > 0 : qs_block_elems(i) > 1));
	}
	assert_null(qs_dtype_name(QS_DTYPE_COUNT));
	assert_int_equal(qs_dtype_size(QS_DTYPE_COUNT), 0);
	assert_int_equal(qs_dtype_from_name("F4"), QS_DTYPE_COUNT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reads_what_was_built),
	    cmocka_unit_test(reads_chains),
	    cmocka_unit_test(survives_every_byte_changed),
	    cmocka_unit_test(survives_every_field_extreme),
	    cmocka_unit_test(refuses_every_truncation),
	    cmocka_unit_test(refuses_smaller_payload),
	    cmocka_unit_test(refuses_contradictions),
	    cmocka_unit_test(header_round_trip),
	    cmocka_unit_test(header_versions),
	    cmocka_unit_test(safe_paths),
	    cmocka_unit_test(dtypes),
	};
	return cmocka_run_group_tests_name("index", tests, NULL, NULL);
}

/* The index: what is built is read back; whatever else is given is refused, or at least read within bounds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/bytes.h"
#include "core/chunk.h"
#include "core/index_columns.h"
#include "index_help.h"

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
			assert_true(object.base_file < index->n_files);
			qs_index_file(index, object.base_file, &file);
			assert_true(file.kind == QS_FILE_BASE && object.base_offset <= file.size &&
			            qs_object_bytes(&object) <= file.size - object.base_offset);
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
			assert_true(high < (record ? other.n_elems / record * qs_rule_record_scales(object.rule)
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
			if (!qs_index_open(&index, body, size, PAYLOAD_SIZE)) {
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
	body = build_body_of(build_index_chain, &size);
	change_every_byte(body, size);
	body = build_body_of(build_index_with_base, &size);
	change_every_byte(body, size);
}

static void reads_chains(void **state)
{
	(void)state;
	size_t size;
	uint8_t *body = build_body_of(build_index_chain, &size);
	qs_index index;
	assert_int_equal(qs_index_open(&index, body, size, PAYLOAD_SIZE), QSTORE_OK);
	walk(&index);
	free(body);
	body = build_body_of(build_index_with_base, &size);
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
				if (!qs_index_open(&index, body, size, PAYLOAD_SIZE))
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

/* The body is made of its columns again, and columns that are cut or that have other counts are refused. */
static void columns_round_trip(void **state)
{
	(void)state;
	size_t size;
	uint8_t *body = build_body(&size), *columns = malloc(size), *back = malloc(size);
	assert_true(columns && back);
	qs_index_to_columns(body, size, columns);
	assert_memory_not_equal(columns, body, size);
	assert_int_equal(qs_index_from_columns(columns, size, back), QSTORE_OK);
	assert_memory_equal(back, body, size);
	for (size_t cut = 0; cut < size; cut++) {
		uint8_t *exact = malloc(cut > 0 ? cut : 1);
		assert_non_null(exact);
		memcpy(exact, columns, cut);
		assert_int_equal(qs_index_from_columns(exact, cut, back), QSTORE_CORRUPT);
		free(exact);
	}
	for (size_t count = 0; count < 9; count++) {
		qs_store32(columns + 4 * count, qs_load32(columns + 4 * count) + 1);
		assert_int_equal(qs_index_from_columns(columns, size, back), QSTORE_CORRUPT);
		qs_store32(columns + 4 * count, UINT32_MAX);
		assert_int_equal(qs_index_from_columns(columns, size, back), QSTORE_CORRUPT);
		memcpy(columns + 4 * count, body + 4 * count, 4);
	}
	free(body);
	free(columns);
	free(back);
}

static void header_round_trip(void **state)
{
	(void)state;
	const qs_index_header header = {1, 1000, 3000, 77, 4096, 0};
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
	const qs_index_header header = {0, 3000, 3000, 77, 4096, 0};
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
	    "a",  "a/b",  "...",    "a..b", ".gitattributes", "a b",   "mod\xc3\xa8le/\xf0\x9f\x98\x80",
	    "-",  "a\\b", "c:a",    "a\nb", "a\x7f",          "..\\a", "a.",
	    "a ", "nul",  "*?\"<>|"};
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
	    cmocka_unit_test(columns_round_trip),
	    cmocka_unit_test(header_round_trip),
	    cmocka_unit_test(header_versions),
	    cmocka_unit_test(safe_paths),
	    cmocka_unit_test(dtypes),
	};
	return cmocka_run_group_tests_name("index", tests, NULL, NULL);
}

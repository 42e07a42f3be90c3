/* Indexes that contradict themselves: one thing in a good one is changed, and the reader refuses it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "index_help.h"

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
		number_index_parts(&builder);
	seal_index(&builder);
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
	refuse_of(build_index, change, what);
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
REFUSE(base_of_no_file, b->objects[6].base_file = 7)
REFUSE(base_of_a_stored_file, b->objects[6].base_file = 0)
REFUSE(base_beyond_its_file, b->objects[6].base_offset = 21)
REFUSE(base_that_wraps, b->objects[6].base_offset = ~(uint64_t)0 - 10)
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
REFUSE(zeros_of_floats, b->objects[ZEROED].zero_points = SCALE)
REFUSE(zeros_of_another_size, b->objects[ZEROED].zero_points = ORDER)
REFUSE(zeros_behind, b->objects[ZEROED].zero_points = ORDERED)
REFUSE(order_of_another_dtype, b->objects[ORDER].dtype = QS_U32)
REFUSE(order_of_another_size, b->objects[ORDERED].order = SCALE)
REFUSE(order_beyond_scales, b->objects[ORDERED].group = 2; b->objects[ORDERED].group_stride = 1)
REFUSE(block_group, b->objects[BLOCK_CODES].group = 16)
REFUSE(block_stride, b->objects[BLOCK_CODES].row_stride = 0)
REFUSE(block_with_zero_offset, b->objects[BLOCK_CODES].zero_offset = 1)
REFUSE(block_of_singles, b->objects[BLOCK_SCALES].dtype = QS_F32)
REFUSE(record_size, b->objects[RECORDS].cols = 9)
REFUSE(record_of_floats, b->objects[RECORDS].dtype = QS_F16)
REFUSE(too_few_records, b->objects[RECORDS].n_elems = 18)
REFUSE(layout_of_unknown_rule, b->objects[PACKED].rule = QS_LAYOUT_COUNT)
REFUSE(layout_without_rule, b->objects[PACKED].rule = 0)
REFUSE(layout_of_bits, b->objects[PACKED].bits = 2)
REFUSE(layout_of_fewer_bits, b->objects[PACKED].bits = 4)
REFUSE(layout_behind, b->objects[PACKED].coarse = ORDERED)
REFUSE(layout_of_floats, b->objects[PACKED].coarse = SCALE)
REFUSE(layout_of_other_columns, b->objects[PACKED].cols = 20)
REFUSE(layout_of_other_chunks, b->objects[PACKED].chunk_elems = 50)
REFUSE(layout_with_scales, b->objects[PACKED].scales = SCALE)
REFUSE(layout_with_zero_points, b->objects[PACKED].zero_points = ZERO_POINTS)
REFUSE(layout_with_offset, b->objects[PACKED].zero_offset = 1)
REFUSE(layout_with_stride, b->objects[PACKED].row_stride = 1)
REFUSE(layout_with_error, b->objects[PACKED].error = 0.5f)
REFUSE(layout_of_words, b->objects[PACKED].dtype = QS_U32)
REFUSE(layout_of_other_rows, b->objects[TRANSPOSED].cols = 15)
REFUSE(transposed_to_another_type, b->objects[TRANSPOSED].dtype = QS_U8)
REFUSE(nibbles_of_more_bits, b->objects[NIBBLES].bits = 8)
REFUSE(nibbles_of_other_columns, b->objects[NIBBLES].cols = 8)
REFUSE(nibbles_of_other_chunks, b->objects[NIBBLES].chunk_elems = 40)
REFUSE(blocks_of_free_codes, b->objects[NIBBLES].rule = QS_LAYOUT_BLOCKS; b->objects[NIBBLES].dtype = QS_Q4_0;
       b->objects[NIBBLES].scales = FREE_SCALES; b->objects[NIBBLES].bits = 0;
       b->objects[NIBBLES].n_elems = 1280; b->objects[NIBBLES].cols = 64;
       b->objects[NIBBLES].chunk_elems = 320)
REFUSE(free_codes_of_other_groups, b->objects[FREE_CODES].group = 24)
REFUSE(free_codes_of_bf16, b->objects[FREE_SCALES].dtype = QS_BF16)
REFUSE(floats_transposed_to_another_type, b->objects[TRANSPOSED_FLOATS].dtype = QS_F16)
REFUSE(transposed_floats_of_other_bits, b->objects[TRANSPOSED_FLOATS].bits = 16)
REFUSE(transposed_floats_of_other_rows, b->objects[TRANSPOSED_FLOATS].cols /= 2)
REFUSE(transposed_floats_of_fewer, b->objects[TRANSPOSED_FLOATS].n_elems /= 2)
REFUSE(transposed_floats_of_codes, b->objects[TRANSPOSED_FLOATS].coarse = ZEROED)
REFUSE(transposed_floats_of_layout, b->objects[TRANSPOSED_FLOATS].coarse = BLOCKS)
REFUSE(transposed_floats_but_packed, b->objects[TRANSPOSED_FLOATS].rule = QS_LAYOUT_PACKED)
REFUSE(transposed_floats_with_scales, b->objects[TRANSPOSED_FLOATS].scales = FREE_SCALES)
REFUSE(factors_of_other_columns, b->objects[FACTORS].n_elems = 31)
REFUSE(factors_in_singles, b->objects[FACTORS].dtype = QS_F32; b->objects[FACTORS].n_elems = 30)
REFUSE(factors_of_codes, b->objects[FACTORED].scales = RECODED)
REFUSE(factors_behind, b->objects[FACTORED].scales = FACTORED)
REFUSE(factors_of_a_difference, b->objects[DELTA].scales = FACTORS)
REFUSE(factors_with_rule, b->objects[FACTORED].rule = QS_RULE_DIVIDE)
REFUSE(factors_with_stride, b->objects[FACTORED].row_stride = 1)
REFUSE(interleaved_bytes, b->objects[INTERLEAVED].bits = 8)
REFUSE(interleaved_of_other_columns, b->objects[INTERLEAVED].cols = 10)
REFUSE(interleaved_of_other_rows, b->objects[INTERLEAVED_COLUMNS].cols = 2)
REFUSE(interleaved_columns_of_bytes, b->objects[INTERLEAVED_COLUMNS].bits = 8)
REFUSE(interleaved_of_odd_rows, b->objects[INTERLEAVED_COLUMNS].coarse = ZEROED)
REFUSE(blocks_of_another_type, b->objects[BLOCKS].dtype = QS_Q4_0)
REFUSE(blocks_of_unmodelled_type, b->objects[RECORD_BLOCKS].dtype = QS_Q2_K)
REFUSE(blocks_of_other_scales, b->objects[BLOCKS].scales = SCALE)
REFUSE(blocks_of_other_codes, b->objects[RECORD_BLOCKS].coarse = BLOCK_CODES)
REFUSE(blocks_with_bits, b->objects[BLOCKS].bits = 8)
/* Bytes are no type of blocks, and codes without a rule have no scales. */
REFUSE(blocks_of_codes_without_rule, b->objects[RECORD_CODES].rule = QS_RULE_NONE;
       b->objects[RECORD_CODES].scales = QS_NONE; b->objects[RECORD_CODES].group = 0;
       b->objects[RECORD_CODES].row_stride = b->objects[RECORD_CODES].group_stride = 0;
       b->objects[RECORD_BLOCKS].dtype = QS_BYTES; b->objects[RECORD_BLOCKS].scales = QS_NONE)
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

static void refuses_variants_files_and_tensors(void **state)
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
}

static void refuses_parts_and_bases(void **state)
{
	(void)state;
#define CHECK(name) refuse_changed(build_index_with_base, name, 1, #name);
	CHECK(parts_too_few)
	CHECK(parts_too_many)
	CHECK(parts_of_another)
	CHECK(parts_of_a_base_not_counted)
#undef CHECK
#define CHECK(name) refuse_of(build_index_with_base, name, #name);
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
}

static void refuses_what_objects_cannot_build_on(void **state)
{
	(void)state;
#define CHECK(name) refuse_of(build_index_chain, name, #name);
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
	CHECK(block_with_zero_offset)
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
	CHECK(layout_with_zero_points)
	CHECK(layout_with_offset)
	CHECK(layout_with_stride)
	CHECK(layout_with_error)
	CHECK(layout_of_words)
	CHECK(layout_of_other_rows)
	CHECK(transposed_to_another_type)
	CHECK(nibbles_of_more_bits)
	CHECK(nibbles_of_other_columns)
	CHECK(nibbles_of_other_chunks)
	CHECK(blocks_of_free_codes)
	CHECK(free_codes_of_other_groups)
	CHECK(free_codes_of_bf16)
	CHECK(floats_transposed_to_another_type)
	CHECK(transposed_floats_of_other_bits)
	CHECK(transposed_floats_of_other_rows)
	CHECK(transposed_floats_of_fewer)
	CHECK(transposed_floats_of_codes)
	CHECK(transposed_floats_of_layout)
	CHECK(transposed_floats_but_packed)
	CHECK(transposed_floats_with_scales)
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
	CHECK(blocks_of_codes_without_rule)
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

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(refuses_variants_files_and_tensors),
	    cmocka_unit_test(refuses_parts_and_bases),
	    cmocka_unit_test(refuses_what_objects_cannot_build_on),
	};
	return cmocka_run_group_tests_name("index refused", tests, NULL, NULL);
}

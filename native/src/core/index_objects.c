/* Checks the objects of an index: their offsets, their chunks, and the objects that they build on. */
#include "bytes.h"
#include "delta.h"
#include "grid.h"
#include "index_check.h"

static int are_alike(const qs_object *a, const qs_object *b)
{
	return a->n_elems == b->n_elems && a->cols == b->cols && a->chunk_elems == b->chunk_elems;
}

/* Are all fields for a grid unused? */
static int has_no_grid(const qs_object *object)
{
	return object->rule == QS_RULE_NONE &&
	       (object->scales == QS_NONE || object->kind == QS_KIND_REFINE /* factors */) &&
	       object->zero_points == QS_NONE && object->order == QS_NONE && object->group == 0 &&
	       object->zero_offset == 0 && object->row_stride == 0 && object->group_stride == 0;
}

/* Checks the grid of codes (grid.h): the scale of every element exists. */
static int check_grid(const qs_index *index, uint32_t number, const qs_object *object)
{
	qs_object scales, other;
	uint32_t rule = object->rule;
	if (rule == QS_RULE_NONE || rule >= QS_RULE_COUNT || object->scales >= number || object->group == 0 ||
	    object->zero_offset < -255 || object->zero_offset > 255)
		return 0;
	qs_index_object(index, object->scales, &scales);
	if (scales.kind != QS_KIND_PLAIN)
		return 0;
	uint32_t record = qs_rule_record_size(rule), groups = qs_rule_record_scales(rule);
	uint64_t n_scales = scales.n_elems, cols = object->cols, rows = object->n_elems / cols;
	if (record != 0) {
		if (scales.dtype != QS_BYTES || scales.cols != record || scales.chunk_elems % record != 0 ||
		    n_scales % record != 0)
			return 0;
		n_scales = n_scales / record * groups;
	} else if (!qs_dtype_is_scale(scales.dtype) ||
	           (qs_rule_scales(rule) == QS_SCALES_F16 && scales.dtype != QS_F16 &&
	            (!qs_rule_is_free(rule) || scales.dtype != QS_F32))) {
		return 0;
	}
	if (qs_rule_group(rule) == 0 && qs_rule_levels(rule) < 256 && object->dtype != QS_U8)
		return 0;
	if (qs_rule_group(rule) != 0) {
		if ((object->group != qs_rule_group(rule) && !qs_rule_is_free(rule)) ||
		    cols % ((uint64_t)object->group * groups) != 0 || object->row_stride != cols / object->group ||
		    object->group_stride != 1 || object->zero_points != QS_NONE || object->zero_offset != 0 ||
		    object->order != QS_NONE)
			return 0;
	}
	uint64_t n_groups = object->group < cols ? (cols - 1) / object->group + 1 : 1;
	if (object->order != QS_NONE) {
		if (object->order >= number)
			return 0;
		qs_index_object(index, object->order, &other);
		if (other.kind != QS_KIND_PLAIN || other.dtype != QS_I32 || other.n_elems != cols)
			return 0;
		n_groups = object->n_groups;
	}
	if (n_groups > 1 && object->n_elems % cols != 0)
		return 0;
	rows += object->n_elems % cols != 0;
	/* The divisions come first, so that no product below can wrap. */
	if (object->row_stride > n_scales || object->group_stride > n_scales || rows == 0 || n_scales == 0 ||
	    (object->row_stride != 0 && rows - 1 > n_scales / object->row_stride) ||
	    (object->group_stride != 0 && n_groups - 1 > n_scales / object->group_stride) ||
	    (rows - 1) * object->row_stride + (n_groups - 1) * object->group_stride >= n_scales)
		return 0;
	if (object->zero_points == QS_NONE)
		return 1;
	if (object->zero_points >= number)
		return 0;
	qs_index_object(index, object->zero_points, &other);
	return other.kind == QS_KIND_PLAIN && qs_dtype_is_codes(other.dtype) && other.n_elems == n_scales;
}

/* Are the codes' scales those of ggml's blocks? A block has an FP16 scale for each of its groups. Under a
 * free rule (facts.h), codes outside of blocks may have other groups and F32 scales. */
static int has_block_scales(const qs_index *index, const qs_object *codes)
{
	qs_object scales;
	qs_index_object(index, codes->scales, &scales);
	return codes->group == qs_rule_group(codes->rule) &&
	       (!qs_rule_is_free(codes->rule) || scales.dtype == QS_F16);
}

/* Checks the layout of two matrices that are side by side: all three have the same rows in each part. */
static int check_joined(const qs_index *index, uint32_t number, const qs_object *object,
                        const qs_object *left)
{
	qs_object right;
	if (object->beside >= number || object->scales != QS_NONE || object->bits != 0 ||
	    left->kind == QS_KIND_LAYOUT)
		return 0;
	qs_index_object(index, object->beside, &right);
	uint64_t rows = left->n_elems / left->cols, rows_of_part = object->chunk_elems / object->cols;
	return right.kind != QS_KIND_LAYOUT && left->dtype == object->dtype && right.dtype == object->dtype &&
	       object->cols == left->cols + right.cols && left->n_elems % left->cols == 0 &&
	       right.n_elems % right.cols == 0 && right.n_elems / right.cols == rows &&
	       object->n_elems % object->cols == 0 && object->n_elems / object->cols == rows &&
	       rows_of_part > 0 && left->chunk_elems % left->cols == 0 &&
	       left->chunk_elems / left->cols == rows_of_part && right.chunk_elems % right.cols == 0 &&
	       right.chunk_elems / right.cols == rows_of_part;
}

static int check_layout(const qs_index *index, uint32_t number, const qs_object *object)
{
	qs_object coarse;
	uint32_t per_word = object->bits == 4 ? 8 : 4, per_elem = per_word;
	if (object->coarse >= number || object->order != QS_NONE || object->row_stride != 0 ||
	    object->group_stride != 0 || object->zero_offset != 0)
		return 0;
	qs_index_object(index, object->coarse, &coarse);
	if (object->rule == QS_LAYOUT_JOINED)
		return check_joined(index, number, object, &coarse);
	if (object->zero_points != QS_NONE)
		return 0;
	if (object->rule == QS_LAYOUT_BLOCKS)
		return coarse.kind == QS_KIND_CODES && coarse.rule != QS_RULE_NONE &&
		       qs_rule_block(coarse.rule) == object->dtype &&
		       coarse.dtype == (object->dtype == QS_Q8_0 ? QS_I8 : QS_U8) && are_alike(object, &coarse) &&
		       object->scales == coarse.scales && object->bits == 0 && has_block_scales(index, &coarse) &&
		       coarse.chunk_elems % qs_block_elems(object->dtype) == 0;
	uint64_t rows = coarse.n_elems / coarse.cols;
	int interleaved = qs_layout_is_interleaved(object->rule),
	    by_columns = qs_layout_is_by_columns(object->rule), transposed = by_columns && !interleaved;
	if (object->scales != QS_NONE || coarse.n_elems % coarse.cols != 0 ||
	    (by_columns && coarse.n_elems >= QS_TRANSPOSED_MAX) || (transposed && object->cols != rows) ||
	    (by_columns && interleaved && (rows == 0 || rows % 8 != 0 || object->cols != rows / 8)))
		return 0;
	if (transposed && qs_dtype_is_float(object->dtype))
		return coarse.dtype == object->dtype && object->bits == 8 * qs_dtype_size(object->dtype) &&
		       (coarse.kind == QS_KIND_PLAIN || coarse.kind == QS_KIND_REFINE ||
		        coarse.kind == QS_KIND_DELTA) &&
		       coarse.n_elems == object->n_elems;
	if (coarse.dtype != QS_U8 || (coarse.kind != QS_KIND_CODES && coarse.kind != QS_KIND_PLAIN) ||
	    (object->bits != 4 && object->bits != 8) || (interleaved && object->bits != 4) ||
	    (!(by_columns && interleaved) && coarse.cols % per_word != 0))
		return 0;
	/* Packed 4-bit codes may have dtype U8, two codes a byte; rows are whole words of 32 bits all the
	 * same. */
	if (object->rule == QS_LAYOUT_PACKED && object->dtype == QS_U8 && object->bits == 4)
		per_elem = 2;
	else if (object->dtype != QS_I32)
		return 0;
	if (coarse.n_elems / per_elem != object->n_elems)
		return 0;
	return by_columns ||
	       ((object->rule == QS_LAYOUT_PACKED || interleaved) && coarse.chunk_elems % per_word == 0 &&
	        object->cols == coarse.cols / per_elem && object->chunk_elems == coarse.chunk_elems / per_elem);
}

/* Checks that the elements of a base object lie in their file of the base. */
static int check_base(const qs_index *index, const qs_object *object)
{
	if (object->rule != 0 || object->coarse != QS_NONE || object->scales != QS_NONE ||
	    object->zero_points != QS_NONE || object->order != QS_NONE || object->zero_offset != 0 ||
	    object->group_stride != 0 || object->base_file >= index->n_files)
		return 0;
	const uint8_t *file = qs_index_record(index, index->files, object->base_file, QS_FILE_SIZE);
	uint64_t size = qs_load64(file + 8);
	return qs_load32(file + 48) == QS_FILE_BASE && size < QS_SIZE_LIMIT &&
	       qs_is_inside(object->base_offset, qs_object_bytes(object), 0, size);
}

/* Checks the factors of a refined object's columns, if it has any. */
static int check_factors(const qs_index *index, uint32_t number, const qs_object *object,
                         const qs_object *codes)
{
	qs_object factors;
	if (object->scales == QS_NONE)
		return 1;
	if (object->scales >= number || !qs_rule_takes_factors(codes->rule))
		return 0;
	qs_index_object(index, object->scales, &factors);
	return factors.kind == QS_KIND_PLAIN && (factors.dtype == QS_F16 || factors.dtype == QS_BF16) &&
	       factors.n_elems == object->cols;
}

/* Checks that an object builds on earlier objects only, and on those with the right kind and shape. */
static int check_object_links(const qs_index *index, uint32_t number, const qs_object *object,
                              uint32_t error_bits)
{
	qs_object coarse;
	if (object->kind == QS_KIND_BASE)
		return error_bits == 0 && check_base(index, object);
	if (object->kind == QS_KIND_LAYOUT)
		return error_bits == 0 && check_layout(index, number, object);
	if (object->kind != QS_KIND_REFINE && error_bits != 0)
		return 0;
	if (object->kind == QS_KIND_CODES) {
		if (!qs_dtype_is_codes(object->dtype) || (!has_no_grid(object) && !check_grid(index, number, object)))
			return 0;
		if (object->coarse == QS_NONE)
			return 1;
		if (object->coarse >= number || object->rule == QS_RULE_NONE)
			return 0;
		qs_index_object(index, object->coarse, &coarse);
		return coarse.kind == QS_KIND_CODES && coarse.rule != QS_RULE_NONE && are_alike(object, &coarse) &&
		       coarse.variant < object->variant;
	}
	if (!has_no_grid(object))
		return 0;
	if (object->kind == QS_KIND_PLAIN)
		return object->coarse == QS_NONE;
	if (object->coarse >= number)
		return 0;
	qs_index_object(index, object->coarse, &coarse);
	if (!are_alike(object, &coarse))
		return 0;
	/* A DELTA builds on an object of a coarser variant, on a refinement or on the base. So chains have few
	 * links: about as many as there are variants. */
	if (object->kind == QS_KIND_DELTA)
		return coarse.kind != QS_KIND_CODES && coarse.kind != QS_KIND_LAYOUT &&
		       (coarse.variant < object->variant || coarse.kind == QS_KIND_REFINE ||
		        coarse.kind == QS_KIND_BASE) &&
		       qs_delta_applies(coarse.dtype, object->dtype);
	return coarse.kind == QS_KIND_CODES && coarse.rule != QS_RULE_NONE &&
	       (object->dtype == QS_F16 || object->dtype == QS_BF16) && object->error >= 0.0f &&
	       object->error <= 3.4028234e38f /* NaN fails too */ &&
	       check_factors(index, number, object, &coarse);
}

/* Checks all objects in one pass: they must fill the layers one after the other, and use all chunks and parts
 * in order, without gaps. */
int qs_check_objects(const qs_index *index)
{
	uint32_t chunk = 0, part = 0, layer = 0, n_stretches = 0;
	qs_stretch stretch = {0, 0};
	qs_variant variant;
	qs_index_variant(index, 0, &variant);
	uint64_t at = variant.layer_offset;
	for (uint32_t i = 0; i < index->n_objects; i++) {
		const uint8_t *p = qs_index_record(index, index->objects, i, QS_OBJECT_SIZE);
		qs_object object;
		qs_index_object(index, i, &object);
		int layout = object.kind == QS_KIND_LAYOUT, empty = !qs_kind_has_chunks(object.kind);
		uint32_t block = qs_block_elems(object.dtype), block_size = qs_block_size(object.dtype);
		if (object.kind >= QS_KIND_COUNT || block == 0 || (block > 1 && !layout) ||
		    object.n_elems % block != 0 || object.variant >= index->n_variants || object.variant < layer)
			return 0;
		while (layer < object.variant) {
			if (at != variant.layer_offset + variant.layer_size)
				return 0;
			qs_index_variant(index, ++layer, &variant);
			at = variant.layer_offset;
		}
		if (object.n_elems >= QS_SIZE_LIMIT / 8 || object.cols == 0 || object.cols >= QS_SIZE_LIMIT ||
		    object.chunk_elems == 0 || object.chunk_elems % block != 0 ||
		    (uint64_t)object.chunk_elems / block * block_size > QS_CHUNK_SIZE_MAX)
			return 0;
		if (object.chunk_elems >= object.cols && object.chunk_elems % object.cols != 0)
			return 0;
		uint64_t n_parts = qs_object_n_parts(&object), n_chunks = empty ? 0 : n_parts;
		if (object.first_part != part || n_parts > index->n_parts - part)
			return 0;
		part += (uint32_t)n_parts;
		if (n_chunks != object.n_chunks || object.first_chunk != chunk ||
		    object.n_chunks > index->n_chunks - chunk)
			return 0;
		uint64_t size = 0;
		for (uint32_t j = 0; j < object.n_chunks; j++) {
			uint32_t chunk_size = qs_index_chunk_size(index, chunk + j);
			if (chunk_size == 0 || chunk_size > QS_CHUNK_CODED_MAX)
				return 0;
			size += chunk_size;
			n_stretches += (uint32_t)qs_stretch_add(&stretch, object.variant, chunk_size);
		}
		chunk += object.n_chunks;
		if (object.offset != at || object.coded_size != size ||
		    !qs_is_inside(at, size, variant.layer_offset, variant.layer_offset + variant.layer_size))
			return 0;
		at += size;

		if (!check_object_links(index, i, &object, qs_load32(p + 12)))
			return 0;
	}
	while (at == variant.layer_offset + variant.layer_size) {
		if (++layer == index->n_variants)
			return chunk == index->n_chunks && part == index->n_parts && n_stretches == index->n_seals;
		qs_index_variant(index, layer, &variant);
		at = variant.layer_offset;
	}
	return 0;
}

/* What an index must satisfy before anything else reads it (FORMAT.md, section 2). */
#include <string.h>

#include "bytes.h"
#include "delta.h"
#include "grid.h"
#include "index.h"

/* Bytes of the UTF-8 sequence at p (which a zero byte ends), 0 when it is malformed. Unicode 15, table 3-7.
 */
static size_t utf8_sequence(const uint8_t *p)
{
	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		return (p[1] & 0xc0) == 0x80 ? 2 : 0;
	if (p[0] >= 0xe0 && p[0] <= 0xef) {
		uint8_t low = p[0] == 0xe0 ? 0xa0 : 0x80, high = p[0] == 0xed ? 0x9f : 0xbf;
		return p[1] >= low && p[1] <= high && (p[2] & 0xc0) == 0x80 ? 3 : 0;
	}
	if (p[0] >= 0xf0 && p[0] <= 0xf4) {
		uint8_t low = p[0] == 0xf0 ? 0x90 : 0x80, high = p[0] == 0xf4 ? 0x8f : 0xbf;
		return p[1] >= low && p[1] <= high && (p[2] & 0xc0) == 0x80 && (p[3] & 0xc0) == 0x80 ? 4 : 0;
	}
	return 0;
}

/* Well-formed UTF-8 of at most max bytes; scans no further than that. */
static int text_is_valid(const char *text, size_t max)
{
	const uint8_t *p = (const uint8_t *)text;
	size_t at = 0;
	while (p[at] != 0) {
		size_t step = utf8_sequence(p + at);
		if (step == 0 || step > max - at)
			return 0;
		at += step;
	}
	return 1;
}

int qs_path_is_safe(const char *name)
{
	if (!text_is_valid(name, QS_NAME_MAX))
		return 0;
	const char *part = name;
	for (const char *p = name;; p++) {
		unsigned char c = (unsigned char)*p;
		if (c == '/' || c == 0) {
			size_t size = (size_t)(p - part);
			if (size == 0 || (size == 1 && part[0] == '.') || (size == 2 && part[0] == '.' && part[1] == '.'))
				return 0;
			if (c == 0)
				return 1;
			part = p + 1;
		} else if (c < 0x20 || c == 0x7f || c == '\\' || c == ':') {
			return 0;
		}
	}
}

static int is_zero(const uint8_t *p, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (p[i] != 0)
			return 0;
	}
	return 1;
}

/* [offset, offset + size) lies inside [start, end). */
static int is_inside(uint64_t offset, uint64_t size, uint64_t start, uint64_t end)
{
	return offset >= start && offset <= end && size <= end - offset;
}

/* Counts, and where each array stands. */
static int check_counts(qs_index *index)
{
	const uint8_t *p = index->body;
	index->n_variants = qs_load32(p);
	index->n_files = qs_load32(p + 4);
	index->n_extents = qs_load32(p + 8);
	index->n_tensors = qs_load32(p + 12);
	index->n_objects = qs_load32(p + 16);
	index->n_chunks = qs_load32(p + 20);
	index->n_dims = qs_load32(p + 24);
	index->strings_size = qs_load32(p + 28);
	index->n_parts = qs_load32(p + 32);
	if (!is_zero(p + 36, 28) || index->n_variants == 0 || index->n_variants > QS_VARIANTS_MAX)
		return 0;
	/* Each product is below 2^39, so that their sum cannot wrap; size_t may have 32 bits, hence the check of
	 * the total before any offset is stored. */
	uint64_t sizes[10] = {
	    (uint64_t)index->n_variants * QS_VARIANT_SIZE,
	    (uint64_t)index->n_files * QS_FILE_SIZE,
	    (uint64_t)index->n_extents * QS_EXTENT_SIZE,
	    (uint64_t)index->n_tensors * QS_TENSOR_SIZE,
	    (uint64_t)index->n_objects * QS_OBJECT_SIZE,
	    (uint64_t)index->n_chunks * 8,
	    (uint64_t)index->n_parts * 8,
	    ((uint64_t)index->n_chunks + (index->n_chunks & 1)) * 4,
	    (uint64_t)index->n_dims * 8,
	    index->strings_size,
	};
	uint64_t total = QS_COUNTS_SIZE;
	for (int i = 0; i < 10; i++)
		total += sizes[i];
	if (total != index->body_size)
		return 0;
	size_t at = QS_COUNTS_SIZE;
	size_t *offsets[10] = {&index->variants, &index->files,     &index->extents, &index->tensors,
	                       &index->objects,  &index->checksums, &index->parts,   &index->sizes,
	                       &index->dims,     &index->strings};
	for (int i = 0; i < 10; i++) {
		*offsets[i] = at;
		at += (size_t)sizes[i];
	}
	if (index->strings_size == 0 || index->body[index->body_size - 1] != 0)
		return 0;
	return (index->n_chunks & 1) == 0 ||
	       qs_load32(qs_index_record(index, index->sizes, index->n_chunks, 4)) == 0;
}

static int check_name_offset(const qs_index *index, const uint8_t *p)
{
	return qs_load32(p) < index->strings_size;
}

static int check_variants(const qs_index *index)
{
	uint64_t end = 0;
	for (uint32_t i = 0; i < index->n_variants; i++) {
		const uint8_t *p = qs_index_record(index, index->variants, i, QS_VARIANT_SIZE);
		qs_variant variant, other;
		if (!check_name_offset(index, p) || !is_zero(p + 12, 4) || !is_zero(p + 40, 24))
			return 0;
		qs_index_variant(index, i, &variant);
		if (!qs_path_is_safe(variant.name) || strchr(variant.name, '/') != NULL || strlen(variant.name) > 63)
			return 0;
		for (uint32_t j = 0; j < i; j++) {
			qs_index_variant(index, j, &other);
			if (strcmp(variant.name, other.name) == 0)
				return 0;
		}
		if (qs_block_size(variant.dtype) == 0 || (variant.coarser != QS_NONE && variant.coarser >= i))
			return 0;
		if (!is_inside(variant.layer_offset, variant.layer_size, end, index->payload_size))
			return 0;
		end = variant.layer_offset + variant.layer_size;
	}
	return 1;
}

static int are_alike(const qs_object *a, const qs_object *b)
{
	return a->n_elems == b->n_elems && a->cols == b->cols && a->chunk_elems == b->chunk_elems;
}

/* Has a grid, or the fields for one are unused. */
static int has_no_grid(const qs_object *object)
{
	return object->rule == QS_RULE_NONE &&
	       (object->scales == QS_NONE || object->kind == QS_KIND_REFINE /* factors */) &&
	       object->zeros == QS_NONE && object->order == QS_NONE && object->group == 0 &&
	       object->zero_offset == 0 && object->row_stride == 0 && object->group_stride == 0;
}

/* The grid of codes (grid.h): every element has a scale that there is. */
static int check_grid(const qs_index *index, uint32_t number, const qs_object *object)
{
	qs_object scales, other;
	uint32_t rule = object->rule, record = qs_rule_record_size(rule), groups = qs_rule_record_groups(rule);
	if (rule == QS_RULE_NONE || rule >= QS_RULE_COUNT || object->scales >= number || object->group == 0 ||
	    object->zero_offset < -255 || object->zero_offset > 255)
		return 0;
	qs_index_object(index, object->scales, &scales);
	if (scales.kind != QS_KIND_PLAIN)
		return 0;
	uint64_t n_scales = scales.n_elems, cols = object->cols, rows = object->n_elems / cols;
	if (record != 0) {
		if (scales.dtype != QS_BYTES || scales.cols != record || scales.chunk_elems % record != 0 ||
		    n_scales % record != 0)
			return 0;
		n_scales = n_scales / record * groups;
	} else if (!qs_dtype_is_float(scales.dtype) ||
	           (qs_rule_group(rule) != 0 && rule > QS_RULE_Q8_0 && scales.dtype != QS_F16 &&
	            (rule != QS_RULE_Q4_0 || scales.dtype != QS_F32))) {
		return 0;
	}
	if (qs_rule_group(rule) == 0 && qs_rule_levels(rule) < 256 && object->dtype != QS_U8)
		return 0;
	if (qs_rule_group(rule) != 0) {
		if ((object->group != qs_rule_group(rule) && rule != QS_RULE_Q4_0) ||
		    cols % ((uint64_t)object->group * groups) != 0 || object->row_stride != cols / object->group ||
		    object->group_stride != 1 || object->zeros != QS_NONE || object->zero_offset != 0 ||
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
		n_groups = object->group;
	}
	if (n_groups > 1 && object->n_elems % cols != 0)
		return 0;
	rows += object->n_elems % cols != 0;
	/* Neither product can wrap: strides are below the number of scales. */
	if (object->row_stride > n_scales || object->group_stride > n_scales || rows == 0 || n_scales == 0 ||
	    (object->row_stride != 0 && rows - 1 > n_scales / object->row_stride) ||
	    (object->group_stride != 0 && n_groups - 1 > n_scales / object->group_stride) ||
	    (rows - 1) * object->row_stride + (n_groups - 1) * object->group_stride >= n_scales)
		return 0;
	if (object->zeros == QS_NONE)
		return 1;
	if (object->zeros >= number)
		return 0;
	qs_index_object(index, object->zeros, &other);
	return other.kind == QS_KIND_PLAIN && (other.dtype == QS_U8 || other.dtype == QS_I8) &&
	       other.n_elems == n_scales;
}

/* Blocks hold an FP16 scale for each 32 codes; codes by the rule of Q4_0 may have others elsewhere. */
static int has_block_scales(const qs_index *index, const qs_object *codes)
{
	qs_object scales;
	qs_index_object(index, codes->scales, &scales);
	return codes->group == qs_rule_group(codes->rule) &&
	       (codes->rule != QS_RULE_Q4_0 || scales.dtype == QS_F16);
}

static int check_layout(const qs_index *index, uint32_t number, const qs_object *object)
{
	qs_object coarse;
	uint32_t per_word = object->group == 4 ? 8 : 4, per_elem = per_word;
	if (object->coarse >= number || object->zeros != QS_NONE || object->order != QS_NONE ||
	    object->row_stride != 0 || object->group_stride != 0 || object->zero_offset != 0)
		return 0;
	qs_index_object(index, object->coarse, &coarse);
	if (object->rule == QS_LAYOUT_BLOCKS)
		return coarse.kind == QS_KIND_CODES && qs_rule_block(coarse.rule) == object->dtype &&
		       coarse.dtype == (object->dtype == QS_Q8_0 ? QS_I8 : QS_U8) && are_alike(object, &coarse) &&
		       object->scales == coarse.scales && object->group == 0 && has_block_scales(index, &coarse) &&
		       coarse.chunk_elems % qs_block_elems(object->dtype) == 0;
	uint64_t rows = coarse.n_elems / coarse.cols;
	int transposed = object->rule == QS_LAYOUT_TRANSPOSED,
	    by_columns = object->rule == QS_LAYOUT_INTERLEAVED_COLUMNS,
	    interleaved = object->rule == QS_LAYOUT_INTERLEAVED || by_columns;
	if (object->scales != QS_NONE || coarse.n_elems % coarse.cols != 0 ||
	    ((transposed || by_columns) && coarse.n_elems >= QS_TRANSPOSED_MAX) ||
	    (transposed && object->cols != rows) ||
	    (by_columns && (rows == 0 || rows % 8 != 0 || object->cols != rows / 8)))
		return 0;
	if (transposed && qs_dtype_is_float(object->dtype))
		return coarse.dtype == object->dtype && object->group == 8 * qs_dtype_size(object->dtype) &&
		       (coarse.kind == QS_KIND_PLAIN || coarse.kind == QS_KIND_REFINE ||
		        coarse.kind == QS_KIND_DELTA) &&
		       coarse.n_elems == object->n_elems;
	if (coarse.dtype != QS_U8 || (coarse.kind != QS_KIND_CODES && coarse.kind != QS_KIND_PLAIN) ||
	    (object->group != 4 && object->group != 8) || (interleaved && object->group != 4) ||
	    (!by_columns && coarse.cols % per_word != 0))
		return 0;
	/* Packed codes may be called bytes, but come in whole words all the same. */
	if (object->rule == QS_LAYOUT_PACKED && object->dtype == QS_U8 && object->group == 4)
		per_elem = 2;
	else if (object->dtype != QS_I32)
		return 0;
	if (coarse.n_elems / per_elem != object->n_elems)
		return 0;
	return transposed || by_columns ||
	       ((object->rule == QS_LAYOUT_PACKED || interleaved) && coarse.chunk_elems % per_word == 0 &&
	        object->cols == coarse.cols / per_elem && object->chunk_elems == coarse.chunk_elems / per_elem);
}

/* Elements of a file that is not here. */
static int check_base(const qs_index *index, const qs_object *object)
{
	if (object->rule != 0 || object->coarse != QS_NONE || object->scales != QS_NONE ||
	    object->zeros != QS_NONE || object->order != QS_NONE || object->zero_offset != 0 ||
	    object->group_stride != 0 || object->group >= index->n_files)
		return 0;
	const uint8_t *file = qs_index_record(index, index->files, object->group, QS_FILE_SIZE);
	uint64_t size = qs_load64(file + 8);
	return qs_load32(file + 48) == QS_FILE_BASE && size < QS_SIZE_LIMIT &&
	       is_inside(object->row_stride, qs_object_bytes(object), 0, size);
}

/* The factors of a refined object's columns, where it has some. */
static int check_factors(const qs_index *index, uint32_t number, const qs_object *object,
                         const qs_object *codes)
{
	qs_object factors;
	if (object->scales == QS_NONE)
		return 1;
	if (object->scales >= number || !qs_rule_has_factors(codes->rule))
		return 0;
	qs_index_object(index, object->scales, &factors);
	return factors.kind == QS_KIND_PLAIN && (factors.dtype == QS_F16 || factors.dtype == QS_BF16) &&
	       factors.n_elems == object->cols;
}

/* What an object builds on: objects before it, laid out alike. */
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
		if ((object->dtype != QS_I8 && object->dtype != QS_U8) ||
		    (!has_no_grid(object) && !check_grid(index, number, object)))
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
	/* Layers are few, so that chains of differences are short. */
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

/* Objects fill the layers one after the other, and use all chunks in order: hence sums can be checked in one
 * pass. */
static int check_objects(const qs_index *index)
{
	uint32_t chunk = 0, part = 0, layer = 0;
	qs_variant variant;
	qs_index_variant(index, 0, &variant);
	uint64_t at = variant.layer_offset;
	for (uint32_t i = 0; i < index->n_objects; i++) {
		const uint8_t *p = qs_index_record(index, index->objects, i, QS_OBJECT_SIZE);
		qs_object object;
		qs_index_object(index, i, &object);
		int layout = object.kind == QS_KIND_LAYOUT, empty = layout || object.kind == QS_KIND_BASE;
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
		}
		chunk += object.n_chunks;
		if (object.offset != at || object.coded_size != size ||
		    !is_inside(at, size, variant.layer_offset, variant.layer_offset + variant.layer_size))
			return 0;
		at += size;

		if (!check_object_links(index, i, &object, qs_load32(p + 12)))
			return 0;
	}
	while (at == variant.layer_offset + variant.layer_size) {
		if (++layer == index->n_variants)
			return chunk == index->n_chunks && part == index->n_parts;
		qs_index_variant(index, layer, &variant);
		at = variant.layer_offset;
	}
	return 0;
}

/* The files whose names are beginnings of the one that is looked at. */
typedef struct name_stack {
	const char *name; /* the last one */
	size_t n;
	uint32_t variants[QS_NAME_MAX + 1];
	uint16_t size[QS_NAME_MAX + 1];
} name_stack;

/* No variant may have both a file and a folder of one name. Names come in order, so that those which begin
 * with another one follow it. */
static int check_folders(name_stack *stack, const qs_file *file)
{
	size_t common = 0, size = strlen(file->name);
	while (stack->n > 0 && stack->name[common] != 0 && stack->name[common] == file->name[common])
		common++;
	while (stack->n > 0 && stack->size[stack->n - 1] > common)
		stack->n--;
	for (size_t i = 0; i < stack->n; i++)
		if (file->name[stack->size[i]] == '/' && (stack->variants[i] & file->variants) != 0)
			return 0;
	stack->name = file->name;
	if (stack->n > 0 && stack->size[stack->n - 1] == size) {
		stack->variants[stack->n - 1] |= file->variants;
	} else {
		stack->size[stack->n] = (uint16_t)size;
		stack->variants[stack->n++] = file->variants;
	}
	return 1;
}

/* Files are sorted by name: equal names are neighbours. Assembled files use all extents in order. */
static int check_files(const qs_index *index)
{
	uint32_t extent = 0, same_name = 0;
	uint32_t all = index->n_variants == 32 ? QS_NONE : (1u << index->n_variants) - 1;
	const char *previous = NULL;
	uint64_t totals[QS_VARIANTS_MAX] = {0};
	name_stack folders = {.n = 0};
	qs_variant variant;
	for (uint32_t i = 0; i < index->n_files; i++) {
		const uint8_t *p = qs_index_record(index, index->files, i, QS_FILE_SIZE);
		qs_file file;
		if (!check_name_offset(index, p) || !is_zero(p + 60, 4))
			return 0;
		qs_index_file(index, i, &file);
		if (!qs_path_is_safe(file.name) || (file.variants == 0) != (file.kind == QS_FILE_BASE) ||
		    (file.variants & ~all) != 0)
			return 0;
		int order = previous == NULL ? -1 : strcmp(previous, file.name);
		if (order > 0)
			return 0;
		if (order < 0)
			same_name = 0;
		if ((same_name & file.variants) != 0)
			return 0;
		same_name |= file.variants;
		previous = file.name;
		if (!check_folders(&folders, &file))
			return 0;

		if (file.size >= QS_SIZE_LIMIT)
			return 0;
		uint32_t coarsest = QS_NONE;
		for (uint32_t v = 0; v < index->n_variants; v++) {
			if ((file.variants >> v & 1) == 0)
				continue;
			if (coarsest == QS_NONE)
				coarsest = v;
			totals[v] += file.size;
			if (totals[v] >= QS_SIZE_LIMIT)
				return 0;
		}
		if (file.kind == QS_FILE_ASSEMBLED) {
			uint64_t size = 0;
			if (file.first_extent != extent || file.n_extents > index->n_extents - extent ||
			    file.offset != 0 || file.coded_size != 0)
				return 0;
			for (uint32_t j = 0; j < file.n_extents; j++) {
				const uint8_t *q = qs_index_record(index, index->extents, extent + j, QS_EXTENT_SIZE);
				qs_extent piece;
				qs_object object;
				qs_index_extent(index, extent + j, &piece);
				if (!is_zero(q + 4, 4) || piece.object >= index->n_objects || piece.size == 0)
					return 0;
				qs_index_object(index, piece.object, &object);
				/* What a variant needs stands in its own layer or before. */
				if (object.variant > coarsest)
					return 0;
				if (!is_inside(piece.offset, piece.size, 0, qs_object_bytes(&object)))
					return 0;
				size += piece.size;
				if (size >= QS_SIZE_LIMIT)
					return 0;
			}
			if (size != file.size)
				return 0;
			extent += file.n_extents;
		} else if (file.kind == QS_FILE_STORED || file.kind == QS_FILE_ZSTD) {
			if (file.first_extent != 0 || file.n_extents != 0 ||
			    !is_inside(file.offset, file.coded_size, 0, index->payload_size))
				return 0;
			/* A reader needs a file from before the layers, and may hold a compressed one in memory as a
			 * whole. */
			qs_index_variant(index, 0, &variant);
			if (file.coded_size > variant.layer_offset ||
			    file.offset > variant.layer_offset - file.coded_size)
				return 0;
			if (file.kind == QS_FILE_STORED ? file.coded_size != file.size
			                                : file.coded_size == 0 || file.size > QS_FILE_ZSTD_MAX ||
			                                      file.coded_size > QS_FILE_ZSTD_MAX)
				return 0;
		} else if (file.kind != QS_FILE_BASE || file.first_extent != 0 || file.n_extents != 0 ||
		           file.offset != 0 || file.coded_size != 0) {
			return 0;
		}
	}
	for (uint32_t v = 0; v < index->n_variants; v++) {
		qs_index_variant(index, v, &variant);
		if (variant.raw_size != totals[v])
			return 0;
	}
	return extent == index->n_extents;
}

/* Tensors are sorted by (file, offset), as extents are: both are walked together. */
static int check_tensors(const qs_index *index)
{
	uint32_t dim = 0, extent = 0, file_number = 0, extents_end = 0;
	uint64_t extent_at = 0, tensors_end = 0;
	qs_file file = {0};
	for (uint32_t i = 0; i < index->n_tensors; i++) {
		const uint8_t *p = qs_index_record(index, index->tensors, i, QS_TENSOR_SIZE);
		qs_tensor tensor;
		if (!check_name_offset(index, p))
			return 0;
		qs_index_tensor(index, i, &tensor);
		if (!text_is_valid(tensor.name, QS_TENSOR_NAME_MAX))
			return 0;
		if (tensor.file >= index->n_files || (i > 0 && tensor.file < file_number))
			return 0;
		if (i == 0 || tensor.file != file_number) {
			file_number = tensor.file;
			qs_index_file(index, file_number, &file);
			if (file.kind != QS_FILE_ASSEMBLED)
				return 0;
			extent = file.first_extent;
			extents_end = file.first_extent + file.n_extents;
			extent_at = tensors_end = 0;
		}
		if (!is_inside(tensor.offset, tensor.size, tensors_end, file.size))
			return 0;
		tensors_end = tensor.offset + tensor.size;

		uint64_t n_elems = 1, block = qs_block_elems(tensor.dtype), block_size = qs_block_size(tensor.dtype);
		if (block == 0 || tensor.dtype == QS_BYTES || tensor.first_dim != dim ||
		    tensor.n_dims > index->n_dims - dim)
			return 0;
		for (uint32_t j = 0; j < tensor.n_dims; j++) {
			uint64_t size = qs_index_dim(index, dim + j);
			if (size >= QS_SIZE_LIMIT || (size != 0 && n_elems > QS_SIZE_LIMIT / size))
				return 0;
			n_elems *= size;
		}
		dim += tensor.n_dims;
		if (n_elems > QS_SIZE_LIMIT / block_size || n_elems / block * block_size != tensor.size ||
		    n_elems % block != 0)
			return 0;

		if (tensor.object == QS_NONE)
			continue;
		qs_object object;
		qs_extent piece;
		if (tensor.object >= index->n_objects)
			return 0;
		qs_index_object(index, tensor.object, &object);
		/* Blocks that are not modelled are bytes. */
		if (n_elems == 0 || (object.dtype != tensor.dtype && (object.dtype != QS_BYTES || block == 1)) ||
		    qs_object_bytes(&object) != tensor.size)
			return 0;
		for (;; extent++) {
			if (extent == extents_end)
				return 0;
			qs_index_extent(index, extent, &piece);
			if (extent_at >= tensor.offset)
				break;
			extent_at += piece.size;
		}
		if (extent_at != tensor.offset || piece.object != tensor.object || piece.offset != 0 ||
		    piece.size != tensor.size)
			return 0;
	}
	return dim == index->n_dims;
}

qstore_status qs_index_open(qs_index *index, const uint8_t *body, size_t body_size, uint64_t payload_size)
{
	memset(index, 0, sizeof(*index));
	index->body = body;
	index->body_size = body_size;
	index->payload_size = payload_size;
	if (body_size < QS_COUNTS_SIZE || body_size > QS_INDEX_BODY_MAX || payload_size >= QS_SIZE_LIMIT)
		return QSTORE_CORRUPT;
	/* In this order: each may rely on what those before it checked. */
	if (!check_counts(index) || !check_variants(index) || !check_objects(index) || !check_files(index) ||
	    !check_tensors(index))
		return QSTORE_CORRUPT;
	return QSTORE_OK;
}

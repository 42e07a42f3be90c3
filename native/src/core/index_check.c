/* Conditions that an index must satisfy before anything else reads it (FORMAT.md, section 2). */
#include <string.h>

#include "bytes.h"
#include "index_check.h"
#include "index_columns.h"
#include "text.h"

/* Returns the bytes of the UTF-8 sequence at p, 0 if it is malformed (Unicode 15, table 3-7). A zero byte
 * ends the text. */
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

int qs_text_is_utf8(const char *text, size_t max)
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
	if (!qs_text_is_utf8(name, QS_NAME_MAX))
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
		}
	}
}

/* Variants name layers and folders: their names suit every system. */
static int is_variant_name(const char *name)
{
	if (!qs_path_is_safe(name) || strlen(name) > 63)
		return 0;
	for (const char *p = name; *p; p++)
		if (qs_text_control(p) > 0 || *p == '/' || *p == '\\' || *p == ':')
			return 0;
	return 1;
}

static int is_zero(const uint8_t *p, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (p[i] != 0)
			return 0;
	}
	return 1;
}

/* Reads the counts, and computes the offset of each array. */
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
	index->n_seals = qs_load32(p + 36);
	if (!is_zero(p + 40, 24) || index->n_variants == 0 || index->n_variants > QS_VARIANTS_MAX)
		return 0;
	qs_index_array arrays[QS_ARRAY_COUNT];
	if (!qs_index_arrays(index->body, index->body_size, arrays))
		return 0;
	size_t *offsets[QS_ARRAY_COUNT] = {
	    [QS_ARRAY_VARIANTS] = &index->variants, [QS_ARRAY_FILES] = &index->files,
	    [QS_ARRAY_EXTENTS] = &index->extents,   [QS_ARRAY_TENSORS] = &index->tensors,
	    [QS_ARRAY_OBJECTS] = &index->objects,   [QS_ARRAY_PARTS] = &index->parts,
	    [QS_ARRAY_SEALS] = &index->seals,       [QS_ARRAY_CHECKSUMS] = &index->checksums,
	    [QS_ARRAY_SIZES] = &index->sizes,       [QS_ARRAY_DIMS] = &index->dims,
	    [QS_ARRAY_STRINGS] = &index->strings,
	};
	for (int i = 0; i < QS_ARRAY_COUNT; i++)
		*offsets[i] = arrays[i].at;
	return index->strings_size != 0 && index->body[index->body_size - 1] == 0;
}

/* A name is a whole text, not the end of a longer one. */
static int check_name_offset(const qs_index *index, const uint8_t *p)
{
	uint32_t offset = qs_load32(p);
	return offset < index->strings_size && (offset == 0 || index->body[index->strings + offset - 1] == 0);
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
		if (!is_variant_name(variant.name))
			return 0;
		for (uint32_t j = 0; j < i; j++) {
			qs_index_variant(index, j, &other);
			if (strcmp(variant.name, other.name) == 0)
				return 0;
		}
		if (qs_block_size(variant.dtype) == 0 || (variant.coarser != QS_NONE && variant.coarser >= i))
			return 0;
		if (!qs_is_inside(variant.layer_offset, variant.layer_size, end, index->payload_size))
			return 0;
		end = variant.layer_offset + variant.layer_size;
	}
	return 1;
}

/* The files whose names are beginnings of the name that is looked at. */
typedef struct name_stack {
	const char *name; /* the last one */
	size_t n;
	uint32_t variants[QS_NAME_MAX + 1];
	uint16_t size[QS_NAME_MAX + 1];
} name_stack;

/* Checks that no variant has both a file and a folder of one name. Files are sorted by name, so that names
 * which begin with another name follow it. */
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

/* Checks that the file's extents begin at number *extent, since assembled files use all extents in order, and
 * sets *extent to the number behind them. coarsest: the coarsest variant that has the file. */
static int check_extents(const qs_index *index, const qs_file *file, uint32_t coarsest, uint32_t *extent)
{
	uint64_t size = 0;
	if (file->first_extent != *extent || file->n_extents > index->n_extents - *extent || file->offset != 0 ||
	    file->coded_size != 0)
		return 0;
	for (uint32_t i = 0; i < file->n_extents; i++, ++*extent) {
		const uint8_t *p = qs_index_record(index, index->extents, *extent, QS_EXTENT_SIZE);
		qs_extent record;
		qs_object object;
		qs_index_extent(index, *extent, &record);
		if (!is_zero(p + 4, 4) || record.object >= index->n_objects || record.size == 0)
			return 0;
		qs_index_object(index, record.object, &object);
		/* A file uses only objects of its variant's layer or of earlier ones. */
		if (object.variant > coarsest ||
		    !qs_is_inside(record.offset, record.size, 0, qs_object_bytes(&object)))
			return 0;
		size += record.size;
		if (size >= QS_SIZE_LIMIT)
			return 0;
	}
	return size == file->size;
}

/* Checks a small file: its member must come before the layers, since all variants need it, and a compressed
 * one must be small enough to be held in memory. */
static int check_member(const qs_index *index, const qs_file *file)
{
	qs_variant first;
	qs_index_variant(index, 0, &first);
	if (file->first_extent != 0 || file->n_extents != 0 ||
	    !qs_is_inside(file->offset, file->coded_size, 0, first.layer_offset))
		return 0;
	if (file->kind == QS_FILE_STORED)
		return file->coded_size == file->size;
	return file->coded_size != 0 && file->size <= QS_FILE_ZSTD_MAX && file->coded_size <= QS_FILE_ZSTD_MAX &&
	       qs_frame_is_allowed(file->size, file->coded_size);
}

static int check_base_file(const qs_file *file)
{
	return file->kind == QS_FILE_BASE && file->first_extent == 0 && file->n_extents == 0 &&
	       file->offset == 0 && file->coded_size == 0;
}

/* Checks all files. They must be sorted by name, so that files of the same name are neighbours. */
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
		int order = previous ? strcmp(previous, file.name) : -1;
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
		int good = file.kind == QS_FILE_ASSEMBLED ? check_extents(index, &file, coarsest, &extent)
		           : qs_file_is_member(&file)     ? check_member(index, &file)
		                                          : check_base_file(&file);
		if (!good)
			return 0;
	}
	for (uint32_t v = 0; v < index->n_variants; v++) {
		qs_index_variant(index, v, &variant);
		if (variant.raw_size != totals[v])
			return 0;
	}
	return extent == index->n_extents;
}

/* Checks all tensors. They must be sorted by file and offset, as extents are, so that one pass walks both. */
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
		if (!qs_text_is_utf8(tensor.name, QS_TENSOR_NAME_MAX))
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
		if (!qs_is_inside(tensor.offset, tensor.size, tensors_end, file.size))
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
		qs_extent record;
		if (tensor.object >= index->n_objects)
			return 0;
		qs_index_object(index, tensor.object, &object);
		/* Tensors in blocks that no rule models are objects of dtype BYTES. */
		if (n_elems == 0 || (object.dtype != tensor.dtype && (object.dtype != QS_BYTES || block == 1)) ||
		    qs_object_bytes(&object) != tensor.size)
			return 0;
		for (;; extent++) {
			if (extent == extents_end)
				return 0;
			qs_index_extent(index, extent, &record);
			if (extent_at >= tensor.offset)
				break;
			extent_at += record.size;
		}
		if (extent_at != tensor.offset || record.object != tensor.object || record.offset != 0 ||
		    record.size != tensor.size)
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
	/* The order matters: each check relies on the ones before it. */
	if (!check_counts(index))
		return QSTORE_CORRUPT;
	if (!qs_names_are_allowed(index))
		return QSTORE_LIMIT;
	if (!check_variants(index) || !qs_check_objects(index) || !check_files(index) || !check_tensors(index))
		return QSTORE_CORRUPT;
	return qs_objects_are_allowed(index) ? QSTORE_OK : QSTORE_LIMIT;
}

/* The functions of the public header that describe an open archive: its variants, files and tensors. */
#include <string.h>

#include "archive.h"

void qstore_get_info(const qstore_archive *archive, qstore_archive_info *info)
{
	info->file_size = archive->source.size;
	info->archive_size = archive->payload_offset + archive->header.payload_size;
	info->index_size = archive->payload_offset;
	info->n_variants = archive->index.n_variants;
	info->n_files = archive->index.n_files;
	info->n_tensors = archive->index.n_tensors;
}

void qstore_get_variant(const qstore_archive *archive, uint32_t number, qstore_variant_info *info)
{
	const qs_index *index = &archive->index;
	qs_variant variant, coarser;
	qs_index_variant(index, number, &variant);
	memset(info, 0, sizeof(*info));
	info->name = variant.name;
	info->dtype = qs_dtype_name(variant.dtype);
	if (variant.coarser != QS_NONE) {
		qs_index_variant(index, variant.coarser, &coarser);
		info->coarser = coarser.name;
	}
	info->raw_size = variant.raw_size;
	info->layer_size = variant.layer_size;
	info->prefix_size = qs_archive_prefix_size(archive, number);
	info->download_size = qs_access_download_size(archive->access, number);
	info->n_files = archive->n_files[number];
	info->n_tensors = archive->n_tensors[number];
}

void qstore_get_file(const qstore_archive *archive, uint32_t number, qstore_file_info *info)
{
	qs_file file;
	qs_index_file(&archive->index, number, &file);
	info->name = file.name;
	info->variants = file.variants;
	info->size = file.size;
	info->sha256 = file.sha256;
	info->kind = qs_file_kind_name(file.kind);
	info->coded_size = file.coded_size;
}

/* Sets the kind, the error and the rule of an object, and adds the coded bytes of the objects that it is made
 * of. */
static void fill_object(const qs_index *index, uint32_t number, qstore_tensor_info *info)
{
	qs_object object, codes, other;
	qs_index_object(index, number, &object);
	info->coded_size += object.coded_size;
	if (object.kind == QS_KIND_LAYOUT && object.rule == QS_LAYOUT_JOINED) {
		qs_index_object(index, object.beside, &other);
		info->coded_size += other.coded_size;
		fill_object(index, object.coarse, info);
		return;
	}
	if (object.kind == QS_KIND_LAYOUT && qs_dtype_is_float(object.dtype)) {
		fill_object(index, object.coarse, info); /* the matrix that it is the transpose of */
		return;
	}
	info->kind = qs_kind_name(object.kind);
	info->error = object.kind == QS_KIND_REFINE ? (double)object.error : 0;
	codes = object;
	if (object.kind == QS_KIND_LAYOUT) {
		qs_index_object(index, object.coarse, &codes);
		info->coded_size += codes.coded_size;
		if (object.scales != QS_NONE) {
			qs_index_object(index, object.scales, &other);
			info->coded_size += other.coded_size;
		}
	} else if (object.kind == QS_KIND_REFINE) {
		qs_index_object(index, object.coarse, &codes);
	} else if (object.kind == QS_KIND_DELTA) {
		/* Singles that have codes are coded from their 16-bit cast, which is an object that is in no file. */
		qs_index_object(index, object.coarse, &other);
		if (other.kind == QS_KIND_REFINE && other.variant == object.variant) {
			info->kind = "refine";
			info->coded_size += other.coded_size;
			info->error = (double)other.error;
			qs_index_object(index, other.coarse, &codes);
		}
	}
	info->rule = codes.kind == QS_KIND_CODES ? qs_rule_name(codes.rule) : NULL;
}

/* A tensor in parts: it is what its largest part is, with the coded bytes of all. */
static void fill_parts(const qstore_archive *archive, const qs_tensor *tensor, qstore_tensor_info *info)
{
	const qs_index *index = &archive->index;
	uint32_t first, n = qs_archive_tensor_extents(archive, tensor, &first);
	uint64_t largest = 0, coded_size = 0;
	for (uint32_t i = 0; i < n; i++) {
		qs_extent extent;
		qs_object object;
		qstore_tensor_info part = *info;
		qs_index_extent(index, first + i, &extent);
		qs_index_object(index, extent.object, &object);
		fill_object(index, extent.object, &part);
		coded_size += part.coded_size - object.coded_size + qs_extent_coded_size(&extent, &object);
		if (extent.size > largest) {
			largest = extent.size;
			info->kind = part.kind;
			info->rule = part.rule;
			info->error = part.error;
		}
	}
	info->coded_size = coded_size;
}

void qstore_get_tensor(const qstore_archive *archive, uint32_t number, qstore_tensor_info *info)
{
	const qs_index *index = &archive->index;
	qs_tensor tensor;
	qs_file file;
	qs_index_tensor(index, number, &tensor);
	qs_index_file(index, tensor.file, &file);
	memset(info, 0, sizeof(*info));
	info->name = tensor.name;
	info->file = tensor.file;
	info->variants = file.variants;
	info->dtype = qs_dtype_name(tensor.dtype);
	info->n_dims = tensor.n_dims;
	info->size = tensor.size;
	info->n_elems = tensor.size / qs_block_size(tensor.dtype) * qs_block_elems(tensor.dtype);
	info->kind = "literal";
	if (tensor.object == QS_NONE) {
		fill_parts(archive, &tensor, info);
		return;
	}
	qs_object object;
	qs_index_object(index, tensor.object, &object);
	fill_object(index, tensor.object, info);
	/* A coarser variant's layer holds it, though this file is a finer one's. */
	info->shared = (file.variants >> object.variant & 1) == 0;
}

uint64_t qstore_get_tensor_dim(const qstore_archive *archive, uint32_t number, uint32_t dim)
{
	qs_tensor tensor;
	qs_index_tensor(&archive->index, number, &tensor);
	return qs_index_dim(&archive->index, tensor.first_dim + dim);
}

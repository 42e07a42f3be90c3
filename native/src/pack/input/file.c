/* Whole files as they will be restored: their SHA-256, and what the finished archive is compared with. */
#include <stdlib.h>

#include "core/checksum.h"
#include "pack/pack.h"

qstore_status pack_file_read(const packer *p, const pack_file *file, uint8_t *dst, size_t size,
                             uint64_t offset, uint8_t *scratch, qs_error *error)
{
	/* The first tensor that ends behind offset. */
	size_t low = 0, high = file->n_tensors;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (file->tensors[middle].offset + file->tensors[middle].size <= offset)
			low = middle + 1;
		else
			high = middle;
	}
	while (size > 0) {
		const pack_tensor *t = low < file->n_tensors ? &file->tensors[low] : NULL;
		qstore_status status;
		uint64_t n;
		if (t && t->offset <= offset) {
			n = t->offset + t->size - offset;
			n = n < size ? n : size;
			status = pack_tensor_read(p, t, dst, (size_t)n, offset - t->offset, scratch, error);
			low += offset + n == t->offset + t->size;
		} else {
			n = t ? t->offset - offset : size;
			n = n < size ? n : size;
			status = pack_read(p, file->gaps.source, dst, (size_t)n, pack_gap_offset(file, offset), error);
		}
		if (status)
			return status;
		dst += n;
		offset += n;
		size -= (size_t)n;
	}
	return QSTORE_OK;
}

/* The pieces that a file will be restored in: parts of objects, or of these what its extents have. */
static qstore_status plan_pieces(const packer *p, pack_file *file, qs_error *error)
{
	const qs_index_builder *builder = &p->builder;
	const qs_file *record = &builder->files[file->number];
	uint64_t at = 0, n = 0;
	for (uint32_t i = 0; i < record->n_extents; i++) {
		const qs_extent *extent = &builder->extents[record->first_extent + i];
		n += extent->size / qs_part_bytes(&builder->objects[extent->object]) + 2;
	}
	file->pieces = malloc((size_t)(n + 1) * sizeof(*file->pieces));
	if (!file->pieces)
		return pack_no_memory(error);
	for (uint32_t i = 0; i < record->n_extents; i++) {
		const qs_extent *extent = &builder->extents[record->first_extent + i];
		uint64_t part_bytes = qs_part_bytes(&builder->objects[extent->object]), from = extent->offset,
		         end = extent->offset + extent->size;
		while (from < end) {
			uint64_t size = part_bytes - from % part_bytes;
			size = size < end - from ? size : end - from;
			file->pieces[file->n_pieces++] = (pack_piece){.offset = at, .size = (uint32_t)size};
			at += size;
			from += size;
		}
	}
	return QSTORE_OK;
}

qstore_status pack_hash_file(packer *p, size_t number, uint8_t *buffer, uint8_t *scratch, qs_error *error)
{
	pack_file *file = &p->files[number];
	qs_sha256 *sha256 = qs_sha256_create();
	qstore_status status = !sha256 ? pack_no_memory(error) : plan_pieces(p, file, error);
	for (size_t i = 0; i < file->n_pieces && !status; i++) {
		pack_piece *piece = &file->pieces[i];
		if (pack_is_cancelled(p))
			status = qs_fail(error, QSTORE_CANCELLED, "cancelled");
		else
			status = pack_file_read(p, file, buffer, piece->size, piece->offset, scratch, error);
		if (!status && !qs_sha256_update(sha256, buffer, piece->size))
			status = pack_no_memory(error);
		if (!status) {
			piece->checksum = qs_checksum(buffer, piece->size);
			pack_advance(p, piece->size);
		}
	}
	if (!status && !qs_sha256_final(sha256, p->builder.sha256[file->number]))
		status = pack_no_memory(error);
	qs_sha256_destroy(sha256);
	return status;
}

static int compare_offsets(const void *a, const void *b)
{
	const pack_piece *x = a, *y = b;
	return (x->offset > y->offset) - (x->offset < y->offset);
}

qstore_status pack_check_piece(void *user, const qs_output *output, const qs_piece *restored,
                               const uint8_t *data, qs_error *error)
{
	const packer *p = user;
	const pack_piece key = {.offset = restored->offset}, *piece = NULL;
	for (size_t i = 0; i < p->n_files; i++) {
		const pack_file *file = &p->files[i];
		if (file->number == output->file && file->n_pieces > 0)
			piece = bsearch(&key, file->pieces, file->n_pieces, sizeof(key), compare_offsets);
	}
	if (!piece || piece->size != restored->from.size ||
	    piece->checksum != qs_checksum(data, restored->from.size))
		return qs_fail(error, QSTORE_CORRUPT, "%s: %s is not restored as it was: please report this",
		               p->options->output, output->name);
	return QSTORE_OK;
}

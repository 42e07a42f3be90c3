#include "restored.h"

#include <assert.h>
#include <stdlib.h>

#include "core/checksum.h"
#include "os/sha256.h"

/* Plans the pieces that a file will be restored in: the parts of objects, as far as its extents have them. */
static qstore_status plan_pieces(const qs_index_builder *builder, pack_planned_file *file,
                                 qstore_error *error)
{
	const qs_file *record = &builder->files[file->number];
	uint64_t at = 0, n = 0;
	for (uint32_t i = 0; i < record->n_extents; i++) {
		const qs_extent *extent = &builder->extents[record->first_extent + i];
		n += extent->size / qs_part_bytes(&builder->objects[extent->object]) + 2;
	}
	file->pieces = calloc((size_t)(n + 1), sizeof(*file->pieces));
	if (!file->pieces)
		return qs_no_memory(error);
	for (uint32_t i = 0; i < record->n_extents; i++) {
		const qs_extent *extent = &builder->extents[record->first_extent + i];
		uint64_t part_bytes = qs_part_bytes(&builder->objects[extent->object]), from = extent->offset,
		         end = extent->offset + extent->size;
		while (from < end) {
			uint64_t size = part_bytes - from % part_bytes;
			size = size < end - from ? size : end - from;
			assert(file->n_pieces < n && size <= QS_CHUNK_SIZE_MAX);
			file->pieces[file->n_pieces++] = (pack_piece){.offset = at, .size = (uint32_t)size};
			at += size;
			from += size;
		}
	}
	assert(at == record->size);
	return QSTORE_OK;
}

qstore_status pack_hash_file(pack_plan *plan, size_t number, uint8_t *buffer, uint8_t *scratch,
                             pack_progress *progress, qstore_error *error)
{
	pack_planned_file *file = &plan->files[number];
	qs_sha256 *sha256 = qs_sha256_create();
	qstore_status status = sha256 ? plan_pieces(&plan->builder, file, error) : qs_no_memory(error);
	for (size_t i = 0; i < file->n_pieces && !status; i++) {
		pack_piece *piece = &file->pieces[i];
		status = pack_check_cancelled(progress, error);
		if (!status)
			status = pack_file_read(file->file, buffer, piece->size, piece->offset, scratch, error);
		if (!status && !qs_sha256_update(sha256, buffer, piece->size))
			status = qs_no_memory(error);
		if (!status) {
			piece->checksum = qs_checksum(buffer, piece->size);
			pack_advance(progress, piece->size);
		}
	}
	if (!status && !qs_sha256_final(sha256, plan->builder.sha256[file->number]))
		status = qs_no_memory(error);
	qs_sha256_destroy(sha256);
	return status;
}

static int compare_piece_offsets(const void *a, const void *b)
{
	const pack_piece *x = a, *y = b;
	return (x->offset > y->offset) - (x->offset < y->offset);
}

qstore_status pack_check_piece(void *user, const qs_output *output, const qs_piece *restored,
                               const uint8_t *data, qstore_error *error)
{
	const pack_plan *plan = user;
	const pack_piece key = {.offset = restored->offset}, *piece = NULL;
	for (size_t i = 0; i < plan->n_files; i++) {
		const pack_planned_file *file = &plan->files[i];
		if (file->number == output->file && file->n_pieces > 0)
			piece = bsearch(&key, file->pieces, file->n_pieces, sizeof(key), compare_piece_offsets);
	}
	if (!piece || piece->size != restored->from.size ||
	    piece->checksum != qs_checksum(data, restored->from.size))
		return qs_fail(error, QSTORE_CORRUPT, "%s: %s is not restored as it was: please report this",
		               plan->output, output->name);
	return QSTORE_OK;
}

/* Planning which parts of which objects outputs are made of. */
#include <assert.h>
#include <stdlib.h>

#include "error.h"
#include "os/array.h"
#include "restore.h"

/* Enough for a model of 16 TB. More pieces come only from archives made to exhaust memory, whose extents
 * repeat the same bytes. */
#define PIECES_MAX ((size_t)1 << 26)

void qs_outputs_free(qs_output *outputs, size_t n_outputs)
{
	for (size_t i = 0; i < n_outputs; i++) {
		free(outputs[i].name);
		free(outputs[i].header);
		free(outputs[i].ranges);
	}
	free(outputs);
}

typedef struct restore_planner {
	const qstore_archive *archive;
	qs_piece *pieces;
	size_t n_pieces;
	uint32_t output;
	uint64_t at; /* bytes, in the output */
	/* The extent that was used last, since ranges come in order. */
	uint32_t file, extent; /* extent: counted within the file */
	uint64_t extent_at;    /* its first byte, in the file */
} restore_planner;

static qstore_status add_piece(restore_planner *p, qs_part_range from, qstore_error *error)
{
	if (p->n_pieces == PIECES_MAX)
		return qs_fail(error, QSTORE_LIMIT, "%s: its files have more than %zu pieces", p->archive->path,
		               PIECES_MAX);
	qs_piece *added = qs_array_add(&p->pieces, &p->n_pieces, sizeof(*added));
	if (!added)
		return qs_no_memory(error);
	*added = (qs_piece){.output = p->output, .from = from, .offset = p->at};
	p->at += from.size;
	return QSTORE_OK;
}

/* The pieces of bytes [from, from + size) of an object. */
static qstore_status plan_object(restore_planner *p, uint32_t number, uint64_t from, uint64_t size,
                                 qstore_error *error)
{
	qs_object object;
	qs_index_object(&p->archive->index, number, &object);
	uint64_t part_bytes = qs_part_bytes(&object);
	while (size > 0) {
		uint64_t skip = from % part_bytes, n = part_bytes - skip;
		if (n > size)
			n = size;
		qstore_status status = add_piece(
		    p, (qs_part_range){number, (uint32_t)(from / part_bytes), (uint32_t)skip, (uint32_t)n}, error);
		if (status)
			return status;
		from += n;
		size -= n;
	}
	return QSTORE_OK;
}

static qstore_status plan_range(restore_planner *p, qs_range range, qstore_error *error)
{
	const qs_index *index = &p->archive->index;
	qs_file file;
	qs_index_file(index, range.file, &file);
	if (p->file != range.file || range.offset < p->extent_at) {
		p->file = range.file;
		p->extent = 0;
		p->extent_at = 0;
	}
	while (range.size > 0) {
		qs_extent extent;
		assert(p->extent < file.n_extents);
		qs_index_extent(index, file.first_extent + p->extent, &extent);
		uint64_t skip = range.offset - p->extent_at;
		if (skip >= extent.size) {
			p->extent_at += extent.size;
			p->extent++;
			continue;
		}
		uint64_t n = extent.size - skip;
		if (n > range.size)
			n = range.size;
		qstore_status status = plan_object(p, extent.object, extent.offset + skip, n, error);
		if (status)
			return status;
		range.offset += n;
		range.size -= n;
	}
	return QSTORE_OK;
}

static qstore_status plan_output(restore_planner *p, const qs_output *output, qstore_error *error)
{
	size_t first = p->n_pieces;
	qstore_status status = QSTORE_OK;
	p->at = output->header_size;
	if (output->file != QS_NONE) {
		qs_file file;
		qs_index_file(&p->archive->index, output->file, &file);
		if (file.kind == QS_FILE_ASSEMBLED)
			status = plan_range(p, (qs_range){output->file, 0, file.size}, error);
	}
	for (size_t i = 0; i < output->n_ranges && !status; i++)
		status = plan_range(p, output->ranges[i], error);
	if (!status && p->n_pieces == first)
		status = add_piece(p, (qs_part_range){.object = QS_NONE}, error);
	return status;
}

qstore_status qs_restore_plan(const qstore_archive *archive, const qs_output *outputs, size_t n_outputs,
                              qs_piece **pieces, size_t *n_pieces, qstore_error *error)
{
	restore_planner p = {.archive = archive, .file = QS_NONE};
	qstore_status status = QSTORE_OK;
	for (; p.output < n_outputs && !status; p.output++)
		status = plan_output(&p, &outputs[p.output], error);
	if (status) {
		free(p.pieces);
		p.pieces = NULL;
		p.n_pieces = 0;
	}
	*pieces = p.pieces;
	*n_pieces = p.n_pieces;
	return status;
}

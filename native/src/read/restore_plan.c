/* Planning of outputs: which parts of which objects they are made of. */
#include <stdlib.h>

#include "error.h"
#include "os/array.h"
#include "restore.h"

/* This is enough for a model of 16 TB. Only an archive that is made to exhaust memory has more pieces, by
 * extents that repeat the same bytes. */
#define PIECES_MAX ((size_t)1 << 26)

uint64_t qs_range_size(const qs_range *range)
{
	if (range->dtype == QS_BYTES)
		return range->size;
	return range->size / qs_block_size(range->dtype) * qs_block_elems(range->dtype) * 4;
}

void qs_outputs_free(qs_output *outputs, size_t n_outputs)
{
	for (size_t i = 0; i < n_outputs; i++) {
		free(outputs[i].name);
		free(outputs[i].damaged_name);
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
} restore_planner;

static qstore_status add_piece(restore_planner *p, qs_part_range from, const qs_range *converted,
                               qstore_error *error)
{
	if (p->n_pieces == PIECES_MAX)
		return qs_fail(error, QSTORE_LIMIT, "%s: its files have more than %zu pieces", p->archive->path,
		               PIECES_MAX);
	qs_piece *added = qs_array_add(&p->pieces, &p->n_pieces, sizeof(*added));
	if (!added)
		return qs_no_memory(error);
	*added = (qs_piece){.output = p->output, .from = from, .offset = p->at, .converted = converted};
	p->at += converted ? qs_range_size(converted) : from.size;
	return QSTORE_OK;
}

static qstore_status plan_range(restore_planner *p, const qs_range *from, qstore_error *error)
{
	qs_file file;
	if (from->dtype != QS_BYTES)
		return add_piece(p, (qs_part_range){.object = QS_NONE}, from, error);
	qs_index_file(&p->archive->index, from->file, &file);
	qs_part_walk walk = qs_part_walk_start(p->archive, &file, from->offset, from->size);
	qstore_status status = QSTORE_OK;
	for (qs_part_range range; !status && qs_part_walk_next(&walk, &range);)
		status = add_piece(p, range, NULL, error);
	return status;
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
			status = plan_range(p, &(qs_range){.file = output->file, .size = file.size}, error);
	}
	for (size_t i = 0; i < output->n_ranges && !status; i++)
		status = plan_range(p, &output->ranges[i], error);
	if (!status && p->n_pieces == first)
		status = add_piece(p, (qs_part_range){.object = QS_NONE}, NULL, error);
	return status;
}

qstore_status qs_restore_plan(const qstore_archive *archive, const qs_output *outputs, size_t n_outputs,
                              qs_piece **pieces, size_t *n_pieces, qstore_error *error)
{
	restore_planner p = {.archive = archive};
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

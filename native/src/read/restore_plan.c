/* Which parts of which objects outputs are made of. */
#include <stdlib.h>
#include <string.h>

#include "restore.h"

/* A model of 16 TB; more come only of archives made to exhaust memory, whose extents repeat the same bytes.
 */
#define PIECES_MAX ((size_t)1 << 26)

int qs_outputs_add(qs_output **outputs, size_t *n_outputs, qs_output **added)
{
	qs_output *larger = realloc(*outputs, (*n_outputs + 1) * sizeof(**outputs));
	if (!larger)
		return 0;
	*outputs = larger;
	*added = &larger[(*n_outputs)++];
	memset(*added, 0, sizeof(**added));
	return 1;
}

void qs_outputs_free(qs_output *outputs, size_t n_outputs)
{
	for (size_t i = 0; i < n_outputs; i++) {
		free(outputs[i].name);
		free(outputs[i].header);
		free(outputs[i].ranges);
	}
	free(outputs);
}

typedef struct planner {
	const qs_index *index;
	qs_piece *pieces;
	size_t n_pieces, cap_pieces;
	uint32_t output;
	uint64_t at; /* in the output */
	/* The extent that was used last: ranges come in order. */
	uint32_t file, extent; /* extent: counted within the file */
	uint64_t extent_at;    /* where it begins in the file */
} planner;

static int add_piece(planner *p, qs_piece added)
{
	if (p->n_pieces == PIECES_MAX)
		return 0;
	if (p->n_pieces == p->cap_pieces) {
		size_t cap = p->cap_pieces == 0 ? 256 : p->cap_pieces * 2;
		qs_piece *larger = realloc(p->pieces, cap * sizeof(*larger));
		if (!larger)
			return 0;
		p->pieces = larger;
		p->cap_pieces = cap;
	}
	p->pieces[p->n_pieces++] = added;
	p->at += added.size;
	return 1;
}

/* The parts of bytes [from, from + size) of an object. */
static int plan_object(planner *p, uint32_t number, uint64_t from, uint64_t size)
{
	qs_object object;
	qs_index_object(p->index, number, &object);
	uint64_t part_bytes = qs_part_bytes(&object);
	while (size > 0) {
		uint64_t skip = from % part_bytes, n = part_bytes - skip;
		if (n > size)
			n = size;
		if (!add_piece(p, (qs_piece){p->output, number, (uint32_t)(from / part_bytes), (uint32_t)skip,
		                             (uint32_t)n, p->at}))
			return 0;
		from += n;
		size -= n;
	}
	return 1;
}

static int plan_range(planner *p, qs_range range)
{
	qs_file file;
	qs_index_file(p->index, range.file, &file);
	if (p->file != range.file || range.offset < p->extent_at) {
		p->file = range.file;
		p->extent = 0;
		p->extent_at = 0;
	}
	while (range.size > 0) {
		qs_extent extent;
		qs_index_extent(p->index, file.first_extent + p->extent, &extent);
		uint64_t skip = range.offset - p->extent_at;
		if (skip >= extent.size) {
			p->extent_at += extent.size;
			p->extent++;
			continue;
		}
		uint64_t n = extent.size - skip;
		if (n > range.size)
			n = range.size;
		if (!plan_object(p, extent.object, extent.offset + skip, n))
			return 0;
		range.offset += n;
		range.size -= n;
	}
	return 1;
}

static int plan_output(planner *p, const qs_output *output)
{
	size_t first = p->n_pieces;
	p->at = output->header_size;
	if (output->file != QS_NONE) {
		qs_file file;
		qs_index_file(p->index, output->file, &file);
		if (file.kind == QS_FILE_ASSEMBLED && !plan_range(p, (qs_range){output->file, 0, file.size}))
			return 0;
	}
	for (size_t i = 0; i < output->n_ranges; i++) {
		if (!plan_range(p, output->ranges[i]))
			return 0;
	}
	return p->n_pieces > first || add_piece(p, (qs_piece){.output = p->output, .object = QS_NONE});
}

int qs_restore_plan(const qs_index *index, const qs_output *outputs, size_t n_outputs, qs_piece **pieces,
                    size_t *n_pieces)
{
	planner p = {.index = index, .file = QS_NONE};
	int ok = 1;
	for (; p.output < n_outputs && ok; p.output++)
		ok = plan_output(&p, &outputs[p.output]);
	if (!ok) {
		free(p.pieces);
		p.pieces = NULL;
		p.n_pieces = 0;
	}
	*pieces = p.pieces;
	*n_pieces = p.n_pieces;
	return ok;
}

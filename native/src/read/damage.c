/* The lists of bytes that could not be restored. */
#include <stdlib.h>
#include <string.h>

#include "describe.h"
#include "restore.h"

void qs_damages_free(qs_damages *damages)
{
	for (size_t i = 0; i < damages->n; i++)
		free(damages->items[i].reason);
	free(damages->items);
	*damages = (qs_damages){0};
}

/* Returns the number of the tensor that has a byte of an output; QS_NONE if there is none. */
static uint32_t tensor_of(const qstore_archive *archive, const qs_output *output, uint64_t offset)
{
	if (output->tensor != QS_NONE)
		return output->tensor;
	if (output->file != QS_NONE)
		return qs_archive_tensor_at(archive, output->file, offset);
	uint64_t at = output->header_size;
	for (size_t i = 0; i < output->n_ranges; i++) {
		const qs_range *range = &output->ranges[i];
		/* Elements that are made singles are read as whole tensors. */
		if (offset - at < qs_range_size(range))
			return qs_archive_tensor_at(archive, range->file,
			                            range->offset + (range->dtype == QS_BYTES ? offset - at : 0));
		at += qs_range_size(range);
	}
	return QS_NONE;
}

static int compare_damages(const void *a, const void *b)
{
	const qs_damage *x = a, *y = b;
	if (x->output != y->output)
		return x->output < y->output ? -1 : 1;
	return (x->offset > y->offset) - (x->offset < y->offset);
}

void qs_damages_join(const qstore_archive *archive, const qs_output *outputs, qs_damages *damages)
{
	size_t n = 0;
	if (damages->n > 0)
		qsort(damages->items, damages->n, sizeof(*damages->items), compare_damages);
	for (size_t i = 0; i < damages->n; i++) {
		qs_damage *next = &damages->items[i], *last = n > 0 ? &damages->items[n - 1] : NULL;
		next->tensor = tensor_of(archive, &outputs[next->output], next->offset);
		if (last && last->output == next->output && last->tensor == next->tensor &&
		    last->offset + last->size == next->offset) {
			last->size += next->size;
			free(next->reason);
		} else {
			damages->items[n++] = *next;
		}
	}
	damages->n = n;
}

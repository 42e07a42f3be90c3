#include "unpack_damage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "os/file.h"

static int is_taken(const qs_targets *targets, const char *name)
{
	for (size_t i = 0; i < targets->n_outputs; i++)
		if (strcmp(targets->outputs[i].name, name) == 0)
			return 1;
	return 0;
}

/* Returns the name of an output that lacks bytes, which no other output has. malloc'd; NULL if memory is out.
 */
static char *make_damaged_name(const qs_targets *targets, const char *name)
{
	char *made = strdup(name);
	do {
		char *longer;
		if (!made || asprintf(&longer, "%s" QS_DAMAGED_SUFFIX, made) < 0)
			longer = NULL;
		free(made);
		made = longer;
	} while (made && is_taken(targets, made));
	return made;
}

qstore_status qs_settle_damage(const qs_targets *targets, const qs_damages *damages, qstore_error *error)
{
	for (size_t i = 0, end; i < damages->n; i = end) {
		qs_output *output = &targets->outputs[damages->items[i].output];
		uint64_t lacking = 0;
		for (end = i; end < damages->n && damages->items[end].output == damages->items[i].output; end++)
			lacking += damages->items[end].size;
		output->is_lost = lacking >= output->size - output->header_size;
		if (!output->is_lost && !(output->damaged_name = make_damaged_name(targets, output->name)))
			return qs_no_memory(error);
	}
	return QSTORE_OK;
}

void qs_tell_damage(const qstore_unpack_options *options, const qs_targets *targets,
                    const qs_damages *damages)
{
	const qs_index *index = &targets->archive->index;
	for (size_t i = 0; i < damages->n && options->on_damage; i++) {
		const qs_damage *from = &damages->items[i];
		const qs_output *output = &targets->outputs[from->output];
		qs_tensor tensor = {0};
		char *name = qs_path_join(targets->folder, output->name), *path = NULL;
		if (output->damaged_name)
			path = qs_path_join(targets->folder, output->damaged_name);
		if (from->tensor != QS_NONE)
			qs_index_tensor(index, from->tensor, &tensor);
		qstore_damage damage = {.path = path,
		                        .name = name ? name : output->name,
		                        .tensor = tensor.name,
		                        .offset = from->offset,
		                        .size = from->size,
		                        .reason = from->reason};
		options->on_damage(options->user, &damage);
		free(name);
		free(path);
	}
}

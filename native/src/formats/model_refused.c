#include "model_refused.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/array.h"
#include "text.h"

/* Bytes of a message that tell how to leave files out, and for the files' names with the same reason. */
enum { SKIP_SIZE = 400, NAMES_SIZE = 300, WHY_SIZE = 700 };

qstore_status qs_model_refuse(qs_model *model, const char *name, qstore_error *error)
{
	if (model->is_single || error->status == QSTORE_MEMORY)
		return error->status;
	qs_refused *refused = qs_array_add(&model->refused, &model->n_refused, sizeof *refused);
	if (!refused)
		return qs_no_memory(error);
	refused->name = qs_arena_text(&model->arena, "%s", name);
	refused->text = qs_arena_text(&model->arena, "%s", error->text);
	if (!refused->name || !refused->text)
		return qs_no_memory(error);
	/* "PATH: WHY" */
	refused->why = refused->text;
	for (const char *at = strstr(refused->text, name); at; at = strstr(at + 1, name))
		if (!strncmp(at + strlen(name), ": ", 2)) {
			refused->why = at + strlen(name) + 2;
			break;
		}
	qs_error_clear(error);
	return QSTORE_OK;
}

static const char *ending_of(const char *name)
{
	const char *slash = strrchr(name, '/'), *dot = strrchr(slash ? slash : name, '.');
	return dot ? dot : "";
}

/* Is there a file of this model with this ending that can be packed, so that '*ENDING' says too much? */
static int has_good_file(const qs_model *model, const char *ending)
{
	for (size_t f = 0; f < model->n_files; f++) {
		size_t r = 0;
		if (strcmp(ending_of(model->files[f].name), ending) != 0)
			continue;
		while (r < model->n_refused && strcmp(model->refused[r].name, model->files[f].name) != 0)
			r++;
		if (r == model->n_refused)
			return 1;
	}
	return 0;
}

/* The options that leave out all refused files: --skip 'NAME' …, or --skip '*.bin' for many. */
static void add_skips(const qs_model *model, char *skips, size_t size)
{
	for (size_t i = 0; i < model->n_refused; i++) {
		const char *ending = ending_of(model->refused[i].name);
		size_t n = 0;
		int is_said = 0;
		for (size_t j = 0; j < model->n_refused; j++)
			if (!strcmp(ending_of(model->refused[j].name), ending)) {
				n++;
				is_said |= j < i;
			}
		int takes_all = n > 2 && ending[0] && !has_good_file(model, ending);
		if (!takes_all)
			qs_text_add(skips, size, " ", "--skip '%s'", model->refused[i].name);
		else if (!is_said)
			qs_text_add(skips, size, " ", "--skip '*%s'", ending);
	}
}

static int compare_refused(const void *a, const void *b)
{
	return strcmp(((const qs_refused *)a)->name, ((const qs_refused *)b)->name);
}

qstore_status qs_model_check_refused(qs_model *model, qstore_error *error)
{
	char skips[SKIP_SIZE] = "", whys[WHY_SIZE] = "";
	if (!model->n_refused)
		return QSTORE_OK;
	qsort(model->refused, model->n_refused, sizeof *model->refused, compare_refused);
	add_skips(model, skips, sizeof skips);
	if (model->n_refused == 1)
		return qs_fail(error, QSTORE_INPUT, "%.*s; or leave it out: %s",
		               (int)(sizeof error->text - strlen(skips) - 30), model->refused[0].text, skips);
	size_t whys_size = sizeof error->text - strlen(qs_shown_path(model->path)) - strlen(skips) - 60;
	whys_size = whys_size < sizeof whys ? whys_size : sizeof whys;
	for (size_t i = 0; i < model->n_refused; i++) {
		char names[NAMES_SIZE] = "";
		int is_said = 0;
		for (size_t j = 0; j < model->n_refused; j++)
			if (!strcmp(model->refused[j].why, model->refused[i].why)) {
				is_said |= j < i;
				qs_text_add(names, sizeof names, ", ", "%s", model->refused[j].name);
			}
		if (is_said)
			continue;
		qs_text_add(whys, whys_size, "; ", "%s:", names);
		qs_text_add(whys, whys_size, " ", "%s", model->refused[i].why);
	}
	return qs_fail(error, QSTORE_INPUT, "%s: %zu files cannot be packed: %s; or leave them out: %s",
	               qs_shown_path(model->path), model->n_refused, whys, skips);
}

#include "member_names.h"

#include <search.h>
#include <stdio.h>
#include <string.h>

void qs_member_name_layer(char name[QS_MEMBER_LAYER_SIZE], const char *variant)
{
	snprintf(name, QS_MEMBER_LAYER_SIZE, QS_MEMBER_LAYER "%.64s", variant);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(a, b);
}

const char *qs_member_name_next(qs_member_names *names, const char *variant, const char *file, int is_zstd)
{
	const char *name = qs_arena_text(names->arena, "%s%s%s%s", variant ? variant : "", variant ? "/" : "",
	                                 file, is_zstd ? ".zst" : "");
	while (name && (strncmp(name, "qstore/", 7) == 0 || tfind(name, &names->taken, compare_names)))
		name = qs_arena_text(names->arena, "_%s", name);
	return name && tsearch(name, &names->taken, compare_names) ? name : NULL;
}

void qs_member_names_end(qs_member_names *names)
{
	while (names->taken)
		tdelete(*(const char **)names->taken, &names->taken, compare_names);
}

/* Names of the tar members, by FORMAT.md, section 1. The packer gives them, and qstore_verify checks them. */
#ifndef QS_MEMBER_NAMES_H
#define QS_MEMBER_NAMES_H

#include "core/index.h"
#include "os/arena.h"

#define QS_MEMBER_INDEX "qstore/index"
#define QS_MEMBER_LAYER "qstore/layer-"

enum { QS_MEMBER_LAYER_SIZE = sizeof(QS_MEMBER_LAYER) + 64 };

/* Sets `name` to that of a variant's layer. */
void qs_member_name_layer(char name[QS_MEMBER_LAYER_SIZE], const char *variant);

/* Names the members of small files, one after the other. */
typedef struct qs_member_names {
	qs_arena *arena; /* owns the names */
	void *taken;     /* the names that were given, for tsearch() */
} qs_member_names;

/* Returns the name of the next small file's member, which lives as long as the arena; NULL if memory is out.
 * variant: the name of the finest variant that has the file; NULL if that is the archive's finest one. Files
 * are named in the order of the index. */
const char *qs_member_name_next(qs_member_names *names, const char *variant, const char *file, int is_zstd);

void qs_member_names_end(qs_member_names *names);

#endif

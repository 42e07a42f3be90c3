/* The first stage: which variants are packed, which files they have, which tensors are in them, and how all
 * of it is read.
 *
 * input/ depends on no other stage; the others depend on it in this direction: input <- match <- make <-
 * write <- pack.c. In this folder, progress.h and source.h are below tensor.h, that is below derived.h,
 * grid.h and this header. */
#ifndef QS_PACK_INPUT_H
#define QS_PACK_INPUT_H

#include "derived.h"
#include "formats/model.h"
#include "progress.h"

/* A variant of the archive. */
typedef struct pack_variant {
	const char *path;      /* of the model that it is in, for messages */
	const qs_model *model; /* NULL for a variant that the packer makes */
	uint32_t precision;    /* number of the model's precision that it is */
	const char *name;
	uint32_t dtype;   /* of most of its weights */
	unsigned bits;    /* of a code or float; 0: not known */
	uint32_t coarser; /* the variant that it builds on, or QS_NONE */
} pack_variant;

/* A file that is made of objects. */
typedef struct pack_file {
	const char *name, *path;    /* path: for messages */
	const qs_model_file *input; /* NULL: made by the packer */
	uint32_t variants;          /* bit v: variant v has this file; its tensors are stored with the coarsest */
	uint64_t size;
	pack_range gaps; /* bytes that are in no tensor: byte `at` of the file is at gaps.offset + at … */
	int is_padded;   /* … but from gaps.size on these bytes are zero, as are those from `padding` on in that
	                    source */
	uint64_t padding;
	size_t n_tensors;
	pack_tensor *tensors; /* in order of offset */
} pack_file;

/* A file that is one member of the archive. */
typedef struct pack_small {
	const char *name, *path; /* path: for messages */
	uint32_t variants;
	pack_range bytes;
} pack_small;

typedef struct pack_input {
	qs_arena *arena; /* for tensors, names and sources */
	pack_sources sources;
	qs_model models[QS_VARIANTS_MAX]; /* in the order of the options */
	uint32_t n_models;
	pack_variant variants[QS_VARIANTS_MAX]; /* coarse to fine */
	uint32_t n_variants;
	pack_file *files;
	size_t n_files;
	pack_small *smalls;
	size_t n_smalls;
} pack_input;

/* Opens the models that the options name, and their files. A zeroed input, but for the arena; close it even
 * after errors. */
qstore_status pack_open_input(pack_input *input, const qstore_pack_options *options, qstore_error *error);
void pack_close_input(pack_input *input);

/* Gives the weights of components prefixes, as far as tensors need them to be told apart: a component whose
 * tensors have names that another one has in any variant, in all variants. (prefix.c) */
qstore_status pack_set_prefixes(pack_input *input, qstore_error *error);

/* Are several models in the folder that a variant is from: components in folders of their own, or with
 * tensors of the same names? (prefix.c) */
int pack_has_several_models(const pack_variant *variant);

/* The file of weights that says best what was taken for this variant: the largest of those that are in the
 * fewest variants. NULL when its path has no other precision. *n_more: its other files of weights. */
const pack_file *pack_main_file(const pack_input *input, uint32_t variant, uint32_t *n_more);

/* The finest variant's path, for messages. */
const char *pack_high_path(const pack_input *input);

/* These append to the input; what they return is valid until the next one is added. NULL when out of memory.
 */
pack_file *pack_add_file(pack_input *input);
pack_small *pack_add_small(pack_input *input);

/* Makes room for a variant that is coarser than all others: it becomes number 0, and the numbers of the
 * others grow by one. */
void pack_insert_coarsest(pack_input *input, const char *name, uint32_t dtype);

/* The coarsest of these variants. */
uint32_t pack_coarsest(uint32_t variants);

/* The offset in its source of byte `at` of a file, which is in no tensor. */
uint64_t pack_gap_offset(const pack_file *file, uint64_t at);

/* Bytes [offset, offset + size) of a file as it will be restored. scratch: PACK_SCRATCH_SIZE bytes. (file.c)
 */
qstore_status pack_file_read(const pack_file *file, uint8_t *dst, size_t size, uint64_t offset,
                             uint8_t *scratch, qstore_error *error);

/* ---- Tensors by name (map.c) ---- */

/* The tensors of a variant or a file, sorted by full name or by key. */
typedef struct pack_map {
	pack_tensor **tensors; /* the caller frees it */
	size_t n_tensors;
	int by_key;
} pack_map;

qstore_status pack_map_variant(const pack_input *input, uint32_t variant, int by_key, pack_map *map,
                               qstore_error *error);
qstore_status pack_map_file(const pack_file *file, pack_map *map, qstore_error *error); /* by full name */
void pack_map_sort(pack_map *map);                                 /* after keys have changed */
pack_tensor *pack_map_find(const pack_map *map, const char *name); /* or NULL */
/* The number of the first tensor whose name is not before this one. */
size_t pack_map_first(const pack_map *map, const char *name);

#endif

/* A model as hubs have it: a folder (weights in safetensors, ONNX or GGUF files, and small files), or one
 * file of weights. */
#ifndef QS_MODEL_H
#define QS_MODEL_H

#include "model_label.h"
#include "onnx.h"

/* A precision that a model has. */
typedef struct qs_precision {
	const char *name; /* "fp16", "int8", "q4_k_m", "mlx-4bit" …; in the model's arena, or static */
	uint32_t dtype;   /* of most of its weights; of codes of 4 bits U4, however they are packed */
	unsigned bits;    /* of a code, or of a float; 0: not known */
} qs_precision;

#define QS_PRECISIONS_MAX 32

typedef struct qs_model_file {
	char *name; /* relative to the folder, '/'-separated */
	char *path; /* to open it with */
	uint64_t size;
	uint32_t precisions; /* bit p: precision p of the model has this file */
	int is_weights;      /* weights is valid, as are label, component and set */
	qs_weights weights;
	qs_label label;        /* as its name says; of external data, as that of its ONNX file */
	char *component, *set; /* model_label.h */
	size_t n_quants;       /* of an ONNX file */
	qs_onnx_quant *quants;
	size_t n_externals; /* of an ONNX file: names of its files of external data */
	char **externals;
} qs_model_file;

/* A file that cannot be read as it should, and why. */
typedef struct qs_refused {
	char *name, *text; /* text: a message */
	const char *why;   /* the message's end, without the path */
} qs_refused;

typedef struct qs_model {
	char *path;
	int is_single; /* path is a file */
	size_t n_files;
	qs_model_file *files; /* sorted by name, bytewise */
	uint32_t n_precisions;
	qs_precision precisions[QS_PRECISIONS_MAX]; /* fine to coarse; their names differ */
	size_t n_warnings;
	char **warnings; /* what is odd about the model and was read all the same, a line each */
	uint64_t skips;  /* bit k: pattern k of options->skip has left something out; of the first 64 */
	size_t n_refused;
	qs_refused *refused; /* while it is opened */
	qs_arena arena;      /* of names, paths and lines */
} qs_model;

typedef struct qs_model_options {
	/* Leaves out the files and folders whose names (relative to the folder, '/'-separated) match one of these
	 * shell patterns, in which '*' stands for '/' too; a pattern without '/' may also match the last part of
	 * a name. A NULL-terminated list, or NULL. */
	const char *const *skip;
	int takes_beside;  /* of a path to a file: the small files in its folder are taken too */
	int takes_pickles; /* pickled weights are small files, not refused */
} qs_model_options;

/* Opens a model.
 *
 * A folder is read with the folders in it. Hidden entries (".git", ".cache", ".DS_Store" …), symbolic links
 * to folders and empty folders are left out; symbolic links to files are followed, since hub caches are made
 * of them. Files named *.safetensors, *.gguf or *.onnx are weights, as are the files that ONNX files call
 * external data (onnx.h); all others are small files. A path to a file is a model of this file, with the
 * other shards when it is the first of a GGUF model (NAME-00001-of-00003.gguf), or with the external data
 * beside it when it is ONNX.
 *
 * A folder may have several precisions (model_split.h). All others have one.
 *
 * Warnings: an index (*.safetensors.index.json) that does not tell the truth about the weights beside it;
 * and files that are packed as they are, but probably should not be (model_warnings.h).
 *
 * INPUT when there are no weights; when shards of a GGUF model are missing; and for files that cannot be
 * read: weights in which something is wrong, names that would not be safe to restore (qs_path_is_safe) or are
 * not UTF-8, links to nothing, pickled weights (.bin, .pt, .pth, .ckpt, .pkl that begin like a pickle or a
 * zip) but those of less than 64 KiB (training_args.bin) where there are other weights. The message names all
 * such files of a folder. IO; MEMORY; LIMIT. Close the model with qs_model_close, also after errors.
 * options: NULL for none. */
qstore_status qs_model_open_with(qs_model *model, const char *path, const qs_model_options *options,
                                 qstore_error *error);
qstore_status qs_model_open(qs_model *model, const char *path, qstore_error *error);
void qs_model_close(qs_model *model);

/* Tensor by name over all weights files, the first that has it; *file is set when found. NULL when not. */
const qs_weight *qs_model_find(const qs_model *model, const char *name, const qs_model_file **file);

#endif

/* A model as hubs have it: a folder (weights in one or many safetensors, and small files) or one safetensors file. */
#ifndef QS_MODEL_H
#define QS_MODEL_H

#include "safetensors.h"

typedef struct qs_model_file {
	char *name;              /* relative to the folder, '/'-separated */
	char *path;              /* to open it with */
	uint64_t size;
	int is_weights;          /* st is valid */
	qs_safetensors st;
} qs_model_file;

typedef struct qs_model {
	char *path;
	size_t n_files;
	qs_model_file *files;    /* sorted by name, bytewise */
} qs_model;

/* Folders are read recursively; hidden entries (".git", ".cache", ".DS_Store" …), symbolic links to outside folders and empty
 * folders are left out (symbolic links to files are followed: hub caches are made of them). INPUT when there is no safetensors
 * file, when a name would not be safe to restore (qs_path_is_safe), when two shards have a tensor of the same name, when
 * model.safetensors.index.json names a missing shard or tensor, or for pickled weights (.bin, .pt, .pth: the message says how to
 * convert); pickles beside safetensors are refused too unless named "training_args.bin"-like small files (< 64 KiB), which are kept. */
qstore_status qs_model_open(qs_model *model, const char *path, qs_error *error);
void qs_model_close(qs_model *model);

/* Tensor by name over all weights files; *file is set when found. NULL when not. */
const qs_st_tensor *qs_model_find(const qs_model *model, const char *name, const qs_model_file **file);

/* "int8", "bf16", "fp16", "fp32" …: the dtype that most weight bytes have. */
const char *qs_model_precision(const qs_model *model, uint32_t *dtype);

#endif

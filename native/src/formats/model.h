/* A model as hubs have it: a folder (weights in one or many safetensors files or in one GGUF file or its
 * shards, and small files), or one file of weights. */
#ifndef QS_MODEL_H
#define QS_MODEL_H

#include "safetensors.h"

typedef struct qs_model_file {
	char *name; /* relative to the folder, '/'-separated */
	char *path; /* to open it with */
	uint64_t size;
	int is_weights; /* weights is valid */
	qs_weights weights;
} qs_model_file;

typedef struct qs_model {
	char *path;
	size_t n_files;
	qs_model_file *files; /* sorted by name, bytewise */
} qs_model;

/* Folders are read recursively; hidden entries (".git", ".cache", ".DS_Store" …), symbolic links to folders
 * and empty folders are left out (symbolic links to files are followed: hub caches are made of them). Every
 * file named *.safetensors or *.gguf is weights; GGUF files must be one model, whole. INPUT when there is
 * none, when a name would not be safe to restore (qs_path_is_safe) or is not UTF-8, when two weights files
 * have a tensor of the same name, when an index
 * (*.safetensors.index.json) names a missing shard or tensor, or for pickled weights (.bin, .pt, .pth, .ckpt,
 * .pkl that begin like a pickle or a zip; the message says how to convert); small ones (training_args.bin;
 * under 64 KiB) are kept as small files when there are weights. A path to a file is a model of this one
 * weights file, or, for the first shard of a GGUF model (NAME-00001-of-00003.gguf), of all its shards. Close
 * with qs_model_close, also after errors. */
qstore_status qs_model_open(qs_model *model, const char *path, qs_error *error);
void qs_model_close(qs_model *model);

/* Tensor by name over all weights files; *file is set when found. NULL when not. */
const qs_weight *qs_model_find(const qs_model *model, const char *name, const qs_model_file **file);

/* "int8", "bf16", "fp16", "fp32" …: the dtype that most weight bytes have; "int8" too when there are matrices
 * in I8 with scales beside them (X.weight and X.SCB, X.weight_scale …), for the embeddings of a small model
 * outweigh them; "q4_k", "q8_0" …: of ggml's types in blocks the one that most elements have, when there are
 * any. Static storage. dtype may be NULL. */
const char *qs_model_precision(const qs_model *model, uint32_t *dtype);

#endif

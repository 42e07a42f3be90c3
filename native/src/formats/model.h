/* A model as hubs have it: a folder (weights in one or many safetensors or ONNX files or in one GGUF file or
 * its shards, and small files), or one file of weights. */
#ifndef QS_MODEL_H
#define QS_MODEL_H

#include "onnx.h"

typedef struct qs_model_file {
	char *name; /* relative to the folder, '/'-separated */
	char *path; /* to open it with */
	uint64_t size;
	int is_weights; /* weights is valid */
	qs_weights weights;
	size_t n_quants; /* of an ONNX file: names are of tensors with the prefix of its weights */
	qs_onnx_quant *quants;
} qs_model_file;

typedef struct qs_model {
	char *path;
	int is_single;         /* path is a file */
	const char *precision; /* as names of its ONNX files say, or NULL. Static */
	size_t n_files;
	qs_model_file *files; /* sorted by name, bytewise */
	qs_arena arena;       /* of names and paths */
} qs_model;

/* Folders are read recursively; hidden entries (".git", ".cache", ".DS_Store" …), symbolic links to folders
 * and empty folders are left out (symbolic links to files are followed: hub caches are made of them). Every
 * file named *.safetensors or *.gguf is weights; GGUF files must be one model, whole. INPUT when there is
 * none, when a name would not be safe to restore (qs_path_is_safe) or is not UTF-8, when two weights files
 * have a tensor of the same name, when an index
 * (*.safetensors.index.json) names a missing shard or tensor, or for pickled weights (.bin, .pt, .pth, .ckpt,
 * .pkl that begin like a pickle or a zip; the message says how to convert); small ones (training_args.bin;
 * under 64 KiB) are kept as small files when there are weights. Files named *.onnx are weights too, and what
 * they call external data (onnx.h): their tensors have prefixes of names, which are the file's name without
 * ".onnx", and without what says the precision (below) where all are of one; those of external data have that
 * of the (first) file that describes them. A path to a file is a model of this one weights file, of the
 * shards of a GGUF model when it is the first (NAME-00001-of-00003.gguf), or of an ONNX file and the external
 * data beside it, without prefixes. Close with qs_model_close, also after errors. */
qstore_status qs_model_open(qs_model *model, const char *path, qstore_error *error);
void qs_model_close(qs_model *model);

/* A precision that a folder for transformers.js has a model in: onnx/BASE + suffix + ".onnx". */
typedef struct qs_precision {
	const char *suffix, *name; /* "_fp16", "fp16" … Static */
} qs_precision;

#define QS_PRECISIONS_MAX 12

/* The precisions that an open model has ONNX files of, fine to coarse; 0 when it has none. A name without one
 * of the suffixes is of "", "fp32". */
size_t qs_model_precisions(const qs_model *model, qs_precision found[QS_PRECISIONS_MAX]);

/* As qs_model_open of a folder, but a model of one precision: the ONNX files of this suffix, the external
 * data that they name, and all files that are no weights. Files of other weights (safetensors) are of the
 * finest precision only. A tensor is paired with one of another precision by prefix and name. INPUT too when
 * no file has the suffix. */
qstore_status qs_model_open_precision(qs_model *model, const char *path, const char *suffix,
                                      qstore_error *error);

/* Tensor by name over all weights files, the first that has it; *file is set when found. NULL when not. */
const qs_weight *qs_model_find(const qs_model *model, const char *name, const qs_model_file **file);

/* "int8", "bf16", "fp16", "fp32" …: what the names of ONNX files say, or the dtype that most weight bytes
 * have; "int8" too when there are matrices in I8 with scales beside them (X.weight and X.SCB, X.weight_scale
 * …), for the embeddings of a small model outweigh them; "q4_k", "q8_0" …: of ggml's types in blocks the one
 * that most elements have, when there are any. Static storage. dtype may be NULL. */
const char *qs_model_precision(const qs_model *model, uint32_t *dtype);

#endif

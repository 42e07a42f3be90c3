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
	size_t n_warnings;
	char **warnings; /* what is odd about the model and was read all the same, a line each */
	qs_arena arena;       /* of names and paths */
} qs_model;

/* Opens a model.
 *
 * A folder is read with the folders in it. Hidden entries (".git", ".cache", ".DS_Store" …), symbolic links
 * to folders and empty folders are left out; symbolic links to files are followed, since hub caches are made
 * of them. Files named *.safetensors, *.gguf or *.onnx are weights, as are the files that ONNX files call
 * external data (onnx.h); all others are small files. The prefix of an ONNX file's tensors is its name
 * without ".onnx", and without the suffix of the precision (below) where all files are of one; external data
 * has the prefix of the first file that describes it.
 *
 * A path to a file is a model of this file, with the other shards when it is the first of a GGUF model
 * (NAME-00001-of-00003.gguf), or with the external data beside it when it is ONNX; then there are no
 * prefixes.
 *
 * An index (*.safetensors.index.json) that does not tell the truth about the weights beside it is a warning.
 *
 * INPUT when there are no weights; when GGUF files are not one whole model; when a name would not be safe to
 * restore (qs_path_is_safe) or is not UTF-8; when two files have a tensor of the same name; for pickled weights (.bin, .pt, .pth,
 * .ckpt, .pkl that begin like a pickle or a zip; the message says how to convert them), but those of less
 * than 64 KiB (training_args.bin) are small files where there are other weights. IO; MEMORY; LIMIT. Close the
 * model with qs_model_close, also after errors. */
qstore_status qs_model_open(qs_model *model, const char *path, qstore_error *error);
void qs_model_close(qs_model *model);

/* A precision of a model in a folder for transformers.js, whose files are named onnx/BASE + suffix + ".onnx".
 */
typedef struct qs_precision {
	const char *suffix, *name; /* "_fp16", "fp16" … Static */
} qs_precision;

#define QS_PRECISIONS_MAX 12

/* The precisions that an open model has ONNX files of, fine to coarse; 0 when it has none. A name without one
 * of the suffixes is of "", "fp32". */
size_t qs_model_precisions(const qs_model *model, qs_precision found[QS_PRECISIONS_MAX]);

/* Opens a folder as a model of one precision: the ONNX files of this suffix, the external data that they
 * name, and all files that are no weights. Weights of other formats belong to the finest precision only. A
 * tensor belongs to the tensor of another precision that has its prefix and name. Errors of qs_model_open;
 * INPUT too when no file has the suffix. */
qstore_status qs_model_open_precision(qs_model *model, const char *path, const char *suffix,
                                      qstore_error *error);

/* Tensor by name over all weights files, the first that has it; *file is set when found. NULL when not. */
const qs_weight *qs_model_find(const qs_model *model, const char *name, const qs_model_file **file);

/* The name of the model's precision: "int8", "bf16", "fp16", "fp32" …, as the names of its ONNX files say, or
 * the type of most bytes of its weights. It is "int8" too when there are matrices in I8 with scales beside
 * them (X.weight and X.SCB, X.weight_scale …), since the embeddings of a small model may weigh more than
 * these. Where there are ggml's blocks, it is the type of most elements in blocks ("q4_k", "q8_0" …). Static.
 * *dtype is the type; dtype may be NULL.
 */
const char *qs_model_precision(const qs_model *model, uint32_t *dtype);

#endif

/* The precisions of a model: a folder may have one model in several of them. */
#ifndef QS_MODEL_SPLIT_H
#define QS_MODEL_SPLIT_H

#include "model.h"

/* Finds out which precisions the model has, and which files belong to each. Files must be sorted and open.
 *
 * The name of a file of weights says which part of the model it is (its component) and in which precision
 * (its label). Two files of one component and of different labels are that component in two precisions:
 * model.safetensors and model.fp16.safetensors, onnx/model.onnx and onnx/model_int8_dynamic.onnx,
 * NAME-Q4_K_M.gguf and BF16/NAME-BF16-00001-of-00002.gguf. A folder without such a pair has one precision.
 *
 *  - A precision of safetensors or GGUF files is a whole model: a component that has no file of it takes part
 *    with its next finer file, or else its finest one. So a projector (mmproj), or an encoder that was
 *    published once, belongs to all.
 *  - An ONNX file belongs to the precision of its label only, as runtimes choose a precision for each
 *    component. External data belongs to all precisions of the files that name it.
 *  - Weights of a format that is there in one precision, beside several of another format, belong to the
 *    finest one. GGUF files beside other weights are a precision of their own, if those differ.
 *  - Small files belong to all, but those in a folder of one precision (fp16/config.json).
 *
 * A precision is called as the label says; the one whose files have no label, after what is in them. Two
 * files that are the same part in the same precision become components of their own. Warnings: two such
 * files beside each other that have the same tensors. LIMIT: more precisions than an archive has variants;
 * IO; MEMORY. */
qstore_status qs_model_split(qs_model *model, qstore_error *error);

#endif

/* ONNX files of a model, and the precisions that their names say. */
#ifndef QS_MODEL_ONNX_H
#define QS_MODEL_ONNX_H

#include "model.h"

int qs_model_is_onnx(const char *name);

/* The precision that this name's end says; of fp32 when it says none. NULL: not named *.onnx. */
const qs_precision *qs_model_onnx_precision(const char *name);

/* Opens the model's ONNX files and takes what they call external data as weights too. suffix: of the
 * precision whose files are kept (see qs_model_open_precision); NULL: all are. Files must be sorted. */
qstore_status qs_model_open_onnx(qs_model *model, const char *suffix, qstore_error *error);

#endif

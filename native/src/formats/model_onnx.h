/* ONNX files of a model. */
#ifndef QS_MODEL_ONNX_H
#define QS_MODEL_ONNX_H

#include "model.h"

int qs_model_is_onnx(const char *name);

/* Opens the model's ONNX files and takes what they call external data as weights too, with the label and
 * component of the first file that does. Files must be sorted. Files of a folder in which something is wrong
 * are refused (model_refused.h). INPUT, IO, MEMORY. */
qstore_status qs_model_open_onnx(qs_model *model, qstore_error *error);

#endif

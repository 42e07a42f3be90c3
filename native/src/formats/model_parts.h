/* Between model.c, which finds a model's files, and what opens those of a format. */
#ifndef QS_MODEL_PARTS_H
#define QS_MODEL_PARTS_H

#include "text.h"
#include "model.h"

/* FOLDER/NAME, malloc'd; NULL: no memory. */
char *qs_model_join(const char *folder, const char *name);

/* File by name, or NULL. Files are sorted. */
qs_model_file *qs_model_find_file(const qs_model *model, const char *name);

void qs_model_sort_files(qs_model *model);
void qs_model_free_file(qs_model_file *file);

/* ---- ONNX (model_onnx.c) ---- */

int qs_model_is_onnx(const char *name);

/* The precision that this name's end says; of fp32 when it says none. NULL: not named *.onnx. */
const qs_precision *qs_model_onnx_precision(const char *name);

/* Opens the model's ONNX files and takes what they call external data as weights too. suffix: of the
 * precision whose files are kept (see qs_model_open_precision); NULL: all are. */
qstore_status qs_model_open_onnx(qs_model *model, const char *suffix, qs_error *error);

#endif

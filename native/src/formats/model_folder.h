/* The files of a model's folder. */
#ifndef QS_MODEL_FOLDER_H
#define QS_MODEL_FOLDER_H

#include "model.h"

/* Appends all files of the folder at model->path and of the folders in it, unsorted; files whose names say so
 * are marked as weights. Hidden entries, links to folders and what the options say are left out. Files that
 * cannot be packed are refused (model_refused.h). LIMIT, IO, MEMORY. */
qstore_status qs_model_scan_folder(qs_model *model, const qs_model_options *options, qstore_error *error);

/* Appends the small files in the folder of the file at model->path: those that are no weights, pickles or
 * archives. */
qstore_status qs_model_scan_beside(qs_model *model, const qs_model_options *options, qstore_error *error);

#endif

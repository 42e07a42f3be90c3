/* The files of a model's folder. */
#ifndef QS_MODEL_FOLDER_H
#define QS_MODEL_FOLDER_H

#include "model.h"

/* Appends all files of the folder at model->path and of the folders in it, unsorted; files whose names say so
 * are marked as weights. Hidden entries and links to folders are left out. INPUT, LIMIT, IO, MEMORY. */
qstore_status qs_model_scan_folder(qs_model *model, qstore_error *error);

#endif

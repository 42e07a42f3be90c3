/* Files of a model that cannot be packed. All of a folder are found before one message names them. */
#ifndef QS_MODEL_REFUSED_H
#define QS_MODEL_REFUSED_H

#include "model.h"

/* Notes that the file of this name is refused with *error, and returns OK. It returns *error's status when
 * the model is one file, or when that status says nothing of the file (MEMORY). */
qstore_status qs_model_refuse(qs_model *model, const char *name, qstore_error *error);

/* Fails with INPUT when files were refused: the message names them, says why, and how to leave them out. */
qstore_status qs_model_check_refused(qs_model *model, qstore_error *error);

#endif

/* The lists that readers of a model fill: its files, and its warnings. */
#ifndef QS_MODEL_FILES_H
#define QS_MODEL_FILES_H

#include "model.h"

/* Appends a file, with copies of name and path. *added may be NULL. INPUT when no archive can hold a file of
 * this name; MEMORY. */
qstore_status qs_model_add_file(qs_model *model, const char *name, const char *path, uint64_t size,
                                qs_model_file **added, qstore_error *error);

/* Marks a file as weights, and takes its name apart. MEMORY. */
qstore_status qs_model_set_weights(qs_model *model, qs_model_file *file, qstore_error *error);

/* The file by name, or NULL. Files must be sorted. */
qs_model_file *qs_model_find_file(const qs_model *model, const char *name);

/* The file NAME of the folder that `beside` is in, names within the model; or NULL. Files must be sorted. */
qs_model_file *qs_model_find_beside(const qs_model *model, const char *beside, const char *name);

/* Appends a line to the model's warnings, cut as errors are. MEMORY. */
__attribute__((format(printf, 3, 4))) qstore_status qs_model_warn(qs_model *model, qstore_error *error,
                                                                  const char *format, ...);

void qs_model_sort_files(qs_model *model);
void qs_model_free_file(qs_model_file *file);

#endif

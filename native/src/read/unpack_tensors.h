/* Planning the outputs that qstore_unpack makes of selected tensors. */
#ifndef QS_UNPACK_TENSORS_H
#define QS_UNPACK_TENSORS_H

#include "restore.h"

/* How the tensors are to be written. */
typedef enum qs_form {
	QS_FORM_FOLDER, /* tensors.safetensors in a folder; those that it cannot have in .bin files beside it */
	QS_FORM_SAFETENSORS, /* the output is a file of one of these formats, as its name says */
	QS_FORM_NPY,
	QS_FORM_BIN
} qs_form;

qs_form qs_unpack_form(const qstore_unpack_options *options);

/* Fails with USAGE if the options for selected tensors contradict each other. */
qstore_status qs_check_form(const qstore_unpack_options *options, qstore_error *error);

/* Returns "FOLDER/NAME", or "NAME" without a folder. malloc'd; NULL if memory is out. */
char *qs_output_name(const char *folder, const char *name);

/* Adds the outputs that have these tensors, whose numbers are in the archive's order, below the folder (NULL:
 * in the output folder itself). Fails with USAGE, LIMIT, MEMORY, or INPUT if two have one name. */
qstore_status qs_plan_tensors(const qstore_archive *archive, const qstore_unpack_options *options,
                              const uint32_t *numbers, size_t n_numbers, const char *folder,
                              qs_output **outputs, size_t *n_outputs, qstore_error *error);

#endif

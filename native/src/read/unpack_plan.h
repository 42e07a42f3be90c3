/* Planning the outputs that qstore_unpack makes. */
#ifndef QS_UNPACK_PLAN_H
#define QS_UNPACK_PLAN_H

#include "restore.h"

/* Lists the outputs that the options ask for; free them with qs_outputs_free, also after errors. Fails with
 * NOT_FOUND, USAGE, LIMIT, MEMORY, INPUT if tensors have the same name, or TRUNCATED if the archive is a
 * prefix that lacks the variant. */
qstore_status qs_unpack_plan(const qstore_archive *archive, const qstore_unpack_options *options,
                             qs_output **outputs, size_t *n_outputs, qstore_error *error);

#endif

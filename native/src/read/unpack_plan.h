/* Which outputs qstore_unpack makes. */
#ifndef QS_UNPACK_PLAN_H
#define QS_UNPACK_PLAN_H

#include "restore.h"

/* The outputs that the options ask for; free them with qs_outputs_free, also after errors. NOT_FOUND;
 * TRUNCATED when the archive at hand does not reach far enough; USAGE, INPUT (tensors of one name), MEMORY.
 */
qstore_status qs_unpack_plan(const qstore_archive *archive, const qstore_unpack_options *options,
                             qs_output **outputs, size_t *n_outputs, qstore_error *error);

#endif

/* The files of qstore_unpack that could not be restored as a whole. */
#ifndef QS_UNPACK_DAMAGE_H
#define QS_UNPACK_DAMAGE_H

#include "unpack_place.h"

/* Sets `damaged_name` of the targets' outputs that lack bytes, and `is_lost` of those that lack all of them.
 * MEMORY. */
qstore_status qs_settle_damage(const qs_targets *targets, const qs_damages *damages, qstore_error *error);

/* Calls options->on_damage for each entry of the list. */
void qs_tell_damage(const qstore_unpack_options *options, const qs_targets *targets,
                    const qs_damages *damages);

#endif

/* Which precision weights have, by what is in them. */
#ifndef QS_MODEL_PRECISION_H
#define QS_MODEL_PRECISION_H

#include "model.h"

/* Files of weights of one model, and its config.json or NULL. */
typedef struct qs_weights_list {
	const qs_model_file *const *files;
	size_t n_files;
	const qs_model_file *config;
} qs_weights_list;

/* Finds the precision of weights (qs_precision says how it is named). Texts are static or in the arena.
 * MEMORY. */
qstore_status qs_find_precision(const qs_weights_list *list, qs_arena *arena, qs_precision *precision,
                                qstore_error *error);

#endif

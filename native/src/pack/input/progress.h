/* Progress and cancellation of one pack; all threads use the same. */
#ifndef QS_PACK_PROGRESS_H
#define QS_PACK_PROGRESS_H

#include <qstore.h>
#include <pthread.h>

#include "error.h"

typedef struct pack_progress {
	const qstore_work *work;
	qstore_progress reported;
	pthread_mutex_t lock;
} pack_progress;

void pack_progress_init(pack_progress *progress, const qstore_work *work);
void pack_progress_free(pack_progress *progress);

/* Begins a phase that takes `total` bytes. */
void pack_phase(pack_progress *progress, const char *phase, uint64_t total);
void pack_advance(pack_progress *progress, uint64_t bytes);

/* CANCELLED when the caller wants to stop. */
qstore_status pack_check_cancelled(const pack_progress *progress, qstore_error *error);

#endif

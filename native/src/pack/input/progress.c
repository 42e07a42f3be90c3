#include "progress.h"

void pack_progress_init(pack_progress *progress, const qstore_work *work)
{
	*progress = (pack_progress){.work = work};
	pthread_mutex_init(&progress->lock, NULL);
}

void pack_progress_free(pack_progress *progress)
{
	pthread_mutex_destroy(&progress->lock);
}

void pack_phase(pack_progress *progress, const char *phase, uint64_t total)
{
	progress->reported = (qstore_progress){phase, 0, total};
	pack_advance(progress, 0);
}

void pack_advance(pack_progress *progress, uint64_t bytes)
{
	const qstore_work *work = progress->work;
	pthread_mutex_lock(&progress->lock);
	progress->reported.done += bytes;
	if (work->on_progress)
		work->on_progress(work->user, &progress->reported);
	pthread_mutex_unlock(&progress->lock);
}

qstore_status pack_check_cancelled(const pack_progress *progress, qstore_error *error)
{
	return qs_is_cancelled(progress->work->cancel) ? qs_cancelled(error) : QSTORE_OK;
}

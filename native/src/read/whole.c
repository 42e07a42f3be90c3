#include "whole.h"

#include <pthread.h>
#include <stdlib.h>

struct qs_wholes {
	pthread_mutex_t lock;
	pthread_cond_t is_done;
	qs_whole *last; /* the one that was asked for last; it counts as one user */
};

qs_wholes *qs_wholes_create(void)
{
	qs_wholes *wholes = calloc(1, sizeof(*wholes));
	if (!wholes)
		return NULL;
	pthread_mutex_init(&wholes->lock, NULL);
	pthread_cond_init(&wholes->is_done, NULL);
	return wholes;
}

/* With the lock held. */
static void release(qs_whole *whole)
{
	if (!whole || --whole->users > 0)
		return;
	free(whole->data);
	free(whole);
}

void qs_wholes_destroy(qs_wholes *wholes)
{
	if (!wholes)
		return;
	release(wholes->last);
	pthread_cond_destroy(&wholes->is_done);
	pthread_mutex_destroy(&wholes->lock);
	free(wholes);
}

void qs_wholes_put(qs_wholes *wholes, qs_whole *whole)
{
	pthread_mutex_lock(&wholes->lock);
	release(whole);
	pthread_mutex_unlock(&wholes->lock);
}

/* The one that is asked for, made if it is not there; NULL: out of memory. With the lock held. */
static qs_whole *find(qs_wholes *wholes, const qstore_archive *archive, uint32_t number)
{
	qs_whole *whole = wholes->last;
	if (!whole || whole->archive != archive || whole->object != number) {
		qs_object object;
		qs_index_object(&archive->index, number, &object);
		/* What is no longer used makes room first. */
		release(wholes->last);
		wholes->last = NULL;
		whole = calloc(1, sizeof(*whole));
		uint8_t *data = malloc((size_t)qs_object_bytes(&object) + 1);
		if (!whole || !data) {
			free(whole);
			free(data);
			return NULL;
		}
		*whole = (qs_whole){
		    .archive = archive, .object = number, .data = data, .n_chunks = object.n_chunks, .users = 1};
		wholes->last = whole;
	}
	whole->users++;
	return whole;
}

qstore_status qs_wholes_get(qs_wholes *wholes, const qstore_archive *archive, uint32_t object,
                            qs_whole_decode *decode, void *user, qs_whole **found, qs_error *error)
{
	pthread_mutex_lock(&wholes->lock);
	qs_whole *whole = find(wholes, archive, object);
	while (whole && whole->next < whole->n_chunks) {
		uint32_t chunk = whole->next++;
		qs_error own = {QSTORE_OK, ""};
		pthread_mutex_unlock(&wholes->lock);
		qstore_status status = decode(user, chunk, whole->data, &own);
		pthread_mutex_lock(&wholes->lock);
		whole->n_done++;
		if (status && !whole->status) {
			whole->status = status;
			whole->error = own;
			/* No more of it. */
			whole->n_done += whole->n_chunks - whole->next;
			whole->next = whole->n_chunks;
		}
		if (whole->n_done == whole->n_chunks)
			pthread_cond_broadcast(&wholes->is_done);
	}
	while (whole && whole->n_done < whole->n_chunks)
		pthread_cond_wait(&wholes->is_done, &wholes->lock);
	qstore_status status = whole ? whole->status : QSTORE_MEMORY;
	if (whole && status) {
		*error = whole->error;
		release(whole);
		whole = NULL;
	}
	pthread_mutex_unlock(&wholes->lock);
	*found = whole;
	return status;
}

#include "whole.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

struct qs_wholes {
	const qstore_archive *archive;
	pthread_mutex_t lock;
	pthread_cond_t is_done;
	qs_whole *last; /* the matrix that was asked for last; `last` counts as one of its users */
};

qs_wholes *qs_wholes_create(const qstore_archive *archive)
{
	qs_wholes *wholes = calloc(1, sizeof(*wholes));
	if (!wholes)
		return NULL;
	wholes->archive = archive;
	pthread_mutex_init(&wholes->lock, NULL);
	pthread_cond_init(&wholes->is_done, NULL);
	return wholes;
}

/* Removes a user. The lock is held. */
static void release(qs_whole *whole)
{
	if (!whole)
		return;
	assert(whole->users > 0);
	if (--whole->users > 0)
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

/* Returns the matrix with one user more, and makes it if it is not there. Returns NULL if memory is out. The
 * lock is held. */
static qs_whole *find_whole(qs_wholes *wholes, uint32_t number)
{
	qs_whole *whole = wholes->last;
	if (!whole || whole->object != number) {
		qs_object object;
		qs_index_object(&wholes->archive->index, number, &object);
		/* A matrix that is no longer used is freed first, to make room. */
		release(wholes->last);
		wholes->last = NULL;
		whole = calloc(1, sizeof(*whole));
		uint8_t *data = malloc((size_t)qs_object_bytes(&object) + 1);
		if (!whole || !data) {
			free(whole);
			free(data);
			return NULL;
		}
		*whole = (qs_whole){.object = number, .data = data, .n_chunks = object.n_chunks, .users = 1};
		wholes->last = whole;
	}
	whole->users++;
	return whole;
}

/* Decodes the next chunk that no thread has taken. The lock is held, except while the chunk is decoded. */
static void decode_next(qs_wholes *wholes, qs_whole *whole, qs_whole_decode *decode, void *user)
{
	qs_part part = qs_part_of(wholes->archive, whole->object, whole->next++);
	qstore_error own = {QSTORE_OK, ""};
	pthread_mutex_unlock(&wholes->lock);
	uint8_t *dst = whole->data + (size_t)part.number * (size_t)qs_part_bytes(&part.object);
	qstore_status status = decode(user, &part, dst, &own);
	pthread_mutex_lock(&wholes->lock);
	whole->n_done++;
	if (status && !whole->status) {
		whole->status = status;
		whole->error = own;
		/* The chunks that no thread has taken will not be decoded, so they count as done. */
		whole->n_done += whole->n_chunks - whole->next;
		whole->next = whole->n_chunks;
	}
	if (whole->n_done == whole->n_chunks)
		pthread_cond_broadcast(&wholes->is_done);
}

qstore_status qs_wholes_get(qs_wholes *wholes, uint32_t object, qs_whole_decode *decode, void *user,
                            qs_whole **found, qstore_error *error)
{
	*found = NULL;
	pthread_mutex_lock(&wholes->lock);
	qs_whole *whole = find_whole(wholes, object);
	if (!whole) {
		pthread_mutex_unlock(&wholes->lock);
		return qs_no_memory(error);
	}
	while (whole->next < whole->n_chunks)
		decode_next(wholes, whole, decode, user);
	while (whole->n_done < whole->n_chunks)
		pthread_cond_wait(&wholes->is_done, &wholes->lock);
	qstore_status status = whole->status;
	if (status) {
		if (error)
			*error = whole->error;
		release(whole);
	} else {
		*found = whole;
	}
	pthread_mutex_unlock(&wholes->lock);
	return status;
}

#include "ahead.h"

#include <pthread.h>
#include <stdlib.h>

/* Bytes that a thread decodes at once: about one chunk. */
#define PIECE ((uint64_t)1 << 20)

/* Readers that are followed at once; the one that was idle for the longest time is forgotten first. */
#define STREAMS_MAX 16

/* Requests of one reader come in a slightly different order, since several threads of the kernel's and ours
 * handle them: up to this many bytes off count as the next ones. */
#define SLACK ((uint64_t)1 << 20)

/* A program that reads a file in order. */
typedef struct stream {
	uint32_t file;
	uint64_t size;     /* of the file, in bytes */
	uint64_t next;     /* byte behind the last one that was read */
	uint64_t planned;  /* byte behind the last one that a thread has taken to decode */
	uint64_t in_order; /* bytes that were read in order so far; few: nothing is decoded ahead */
	uint64_t last_use; /* a count; 0: the stream is free */
} stream;

struct read_ahead {
	const qstore_archive *archive;
	uint64_t window;
	pthread_t *threads;
	unsigned n_threads;
	pthread_mutex_t lock; /* of the fields below */
	pthread_cond_t has_work;
	stream streams[STREAMS_MAX];
	uint64_t n_uses;
	int is_ending;
};

/* Are there bytes of the stream to decode ahead? The lock is held. */
static int has_piece(const read_ahead *ahead, const stream *s)
{
	return s->in_order >= 2 * SLACK && s->planned < s->size && s->planned < s->next + ahead->window;
}

/* Takes the next bytes to decode, of the stream that is least far ahead. 0: there are none. The lock is held.
 */
static int take_piece(read_ahead *ahead, uint32_t *file, uint64_t *offset, uint64_t *size)
{
	stream *best = NULL;
	for (size_t i = 0; i < STREAMS_MAX; i++) {
		stream *s = &ahead->streams[i];
		if (has_piece(ahead, s) && (!best || s->planned - s->next < best->planned - best->next))
			best = s;
	}
	if (!best)
		return 0;
	*file = best->file;
	*offset = best->planned;
	*size = best->size - best->planned < PIECE ? best->size - best->planned : PIECE;
	best->planned += *size;
	return 1;
}

static void *work(void *user)
{
	read_ahead *ahead = user;
	uint32_t file;
	uint64_t offset, size;
	pthread_mutex_lock(&ahead->lock);
	while (!ahead->is_ending) {
		if (!take_piece(ahead, &file, &offset, &size)) {
			pthread_cond_wait(&ahead->has_work, &ahead->lock);
			continue;
		}
		pthread_mutex_unlock(&ahead->lock);
		/* A failure is reported to the program when it reads these bytes. */
		(void)qstore_read_file(ahead->archive, file, offset, (size_t)size, NULL, NULL, NULL);
		pthread_mutex_lock(&ahead->lock);
	}
	pthread_mutex_unlock(&ahead->lock);
	return NULL;
}

read_ahead *read_ahead_create(const qstore_archive *archive, unsigned n_threads, uint64_t window)
{
	read_ahead *ahead = calloc(1, sizeof(*ahead));
	if (!ahead)
		return NULL;
	*ahead = (read_ahead){.archive = archive, .window = window};
	pthread_mutex_init(&ahead->lock, NULL);
	pthread_cond_init(&ahead->has_work, NULL);
	ahead->threads = calloc(n_threads, sizeof(*ahead->threads));
	while (ahead->threads && ahead->n_threads < n_threads &&
	       pthread_create(&ahead->threads[ahead->n_threads], NULL, work, ahead) == 0)
		ahead->n_threads++;
	if (ahead->n_threads == n_threads)
		return ahead;
	read_ahead_destroy(ahead);
	return NULL;
}

void read_ahead_destroy(read_ahead *ahead)
{
	if (!ahead)
		return;
	pthread_mutex_lock(&ahead->lock);
	ahead->is_ending = 1;
	pthread_cond_broadcast(&ahead->has_work);
	pthread_mutex_unlock(&ahead->lock);
	for (unsigned i = 0; i < ahead->n_threads; i++)
		pthread_join(ahead->threads[i], NULL);
	free(ahead->threads);
	pthread_cond_destroy(&ahead->has_work);
	pthread_mutex_destroy(&ahead->lock);
	free(ahead);
}

/* The stream that these bytes continue, or the one that was not used for the longest time, started anew. The
 * lock is held. */
static stream *find_stream(read_ahead *ahead, uint32_t file, uint64_t file_size, uint64_t offset)
{
	stream *oldest = &ahead->streams[0];
	for (size_t i = 0; i < STREAMS_MAX; i++) {
		stream *s = &ahead->streams[i];
		if (s->last_use && s->file == file && offset + SLACK >= s->next && offset <= s->next + SLACK)
			return s;
		if (s->last_use < oldest->last_use)
			oldest = s;
	}
	*oldest = (stream){.file = file, .size = file_size, .next = offset, .planned = offset};
	return oldest;
}

void read_ahead_note(read_ahead *ahead, uint32_t file, uint64_t file_size, uint64_t offset, uint64_t size)
{
	pthread_mutex_lock(&ahead->lock);
	stream *s = find_stream(ahead, file, file_size, offset);
	s->last_use = ++ahead->n_uses;
	s->in_order += size;
	if (offset + size > s->next)
		s->next = offset + size;
	if (s->planned < s->next)
		s->planned = s->next;
	if (has_piece(ahead, s))
		pthread_cond_signal(&ahead->has_work);
	pthread_mutex_unlock(&ahead->lock);
}

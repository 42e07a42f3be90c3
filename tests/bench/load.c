#include "load.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "methods.h"

/* Quick loads are repeated, up to PASSES times within REPEAT_SECONDS, and the fastest counts. Long loads are
 * less sensitive to what else the machine does. */
enum { READ_SIZE = 1 << 17, STAGES_MAX = 2, PASSES = 15, REPEAT_SECONDS = 3 };

/* The token bucket holds this many seconds of reading: about what sockets and disks read ahead while a
 * machine is busy. */
static const double bucket = 0.1;

/* A way to load a model: the methods of its stages. That is one for INT8 and one for the rest, or one for
 * everything. NULL ends the list. */
typedef struct load_way {
	const char *name;
	const char *methods[STAGES_MAX];
} load_way;

/* Uncoded weights are "decoded" by memcpy: the copy that any reader makes of the bytes that it has read. */
static const load_way ways[] = {
    {"safetensors INT8", {"INT8, raw safetensors (memcpy)"}},
    {"safetensors 16-bit", {"%s, raw safetensors (memcpy)"}},
    {"safetensors INT8, then 16-bit", {"INT8, raw safetensors (memcpy)", "%s, raw safetensors (memcpy)"}},
    {"as ZipNN, 16-bit", {"%s, as ZipNN"}},
    {"qstore INT8", {"INT8, qstore base layer"}},
    {"qstore 16-bit", {"%s, qstore base and refinement"}},
    {"qstore INT8, then 16-bit", {"INT8, qstore base layer", "%s, qstore refinement alone"}},
};
enum { WAYS = sizeof ways / sizeof *ways };

/* A file that a thread of its own reads, no faster than the bandwidth. */
typedef struct reading {
	int file;
	size_t size, ready; /* bytes of the file, and those that were read; the mutex guards `ready` */
	uint8_t *bytes;
	double bandwidth; /* bytes a second */
	pthread_mutex_t mutex;
	pthread_cond_t more;
} reading;

/* Reads the file as a token bucket allows, which is empty at first and fills at the bandwidth. */
static void *read_file(void *user)
{
	reading *r = user;
	double tokens = 0, last = now();
	for (size_t at = 0; at < r->size;) {
		size_t n = r->size - at < READ_SIZE ? r->size - at : READ_SIZE;
		double t = now();
		tokens += (t - last) * r->bandwidth;
		last = t;
		double most = bucket * r->bandwidth + READ_SIZE;
		tokens = tokens < most ? tokens : most;
		if (tokens < (double)n) {
			double wait = ((double)n - tokens) / r->bandwidth;
			nanosleep(&(struct timespec){.tv_sec = (time_t)wait,
			                             .tv_nsec = (long)(1e9 * (wait - (double)(time_t)wait))},
			          NULL);
			continue;
		}
		tokens -= (double)n;
		ssize_t got = pread(r->file, r->bytes + at, n, (off_t)at);
		if (got <= 0)
			fail("cannot read: %s", strerror(errno));
		at += (size_t)got;
		pthread_mutex_lock(&r->mutex);
		r->ready = at;
		pthread_cond_signal(&r->more);
		pthread_mutex_unlock(&r->mutex);
	}
	return NULL;
}

static void wait_for(reading *r, size_t end)
{
	pthread_mutex_lock(&r->mutex);
	while (r->ready < end)
		pthread_cond_wait(&r->more, &r->mutex);
	pthread_mutex_unlock(&r->mutex);
}

/* The stages of a way, coded into one file. */
typedef struct way_image {
	const method *methods[STAGES_MAX];
	unsigned n_stages;
	size_t *begins[STAGES_MAX]; /* the offset of each chunk, and the stage's end */
	size_t size;
	int file;
} way_image;

static way_image write_image(const load_way *way, const batch *b, worker *w, const char *path)
{
	way_image image = {.file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600)};
	uint8_t *coded = need(malloc(METHOD_ROOM));
	if (image.file < 0)
		fail("cannot write %s: %s", path, strerror(errno));
	unlink(path); /* so that the file is gone when it is closed */
	for (unsigned s = 0; s < STAGES_MAX && way->methods[s]; s++, image.n_stages++) {
		image.methods[s] = method_named(way->methods[s]);
		image.begins[s] = need(malloc((b->n_chunks + 1) * sizeof **image.begins));
		for (size_t i = 0; i < b->n_chunks; i++) {
			size_t size = image.methods[s]->encode(w, b->dtype, &b->chunks[i], coded);
			image.begins[s][i] = image.size;
			for (size_t done = 0; done < size;) {
				ssize_t wrote = write(image.file, coded + done, size - done);
				if (wrote <= 0)
					fail("cannot write %s: %s", path, strerror(errno));
				done += (size_t)wrote;
			}
			image.size += size;
		}
		image.begins[s][b->n_chunks] = image.size;
	}
	free(coded);
	return image;
}

/* Finds the seconds until each stage is decoded. */
static void load_image(const way_image *image, const batch *b, worker *w, double bandwidth, uint8_t *bytes,
                       uint8_t *codes, uint8_t *values, double *seconds)
{
	reading r = {.file = image->file, .size = image->size, .bytes = bytes, .bandwidth = bandwidth};
	pthread_t thread;
	pthread_mutex_init(&r.mutex, NULL);
	pthread_cond_init(&r.more, NULL);
	double start = now();
	if (pthread_create(&thread, NULL, read_file, &r))
		fail("cannot start a thread");
	for (unsigned s = 0; s < image->n_stages; s++) {
		const size_t *begins = image->begins[s];
		for (size_t i = 0; i < b->n_chunks; i++) {
			const chunk *c = &b->chunks[i];
			wait_for(&r, begins[i + 1]);
			image->methods[s]->decode(w, b->dtype, c, bytes + begins[i], begins[i + 1] - begins[i],
			                          codes + c->at, values + 2 * c->at);
		}
		seconds[s] = now() - start;
	}
	pthread_join(thread, NULL);
	pthread_mutex_destroy(&r.mutex);
	pthread_cond_destroy(&r.more);
}

json_t *load_experiment(const batch *b, const char *scratch, const unsigned *bandwidths, size_t n_bandwidths)
{
	worker *w = worker_create();
	size_t room = 4 * b->n_weights;
	uint8_t *bytes = need(malloc(room)), *codes = need(malloc(b->n_weights)),
	        *values = need(malloc(2 * b->n_weights));
	json_t *rows = json_array();
	memset(bytes, 1, room);
	memset(codes, 1, b->n_weights);
	memset(values, 1, 2 * b->n_weights);
	printf("Seconds until %.1f M weights are in memory, read at so many MB/s:\n  %-32s %8s",
	       (double)b->n_weights / 1e6, "", "MB");
	for (size_t i = 0; i < n_bandwidths; i++)
		printf(" %7u", bandwidths[i]);
	printf("\n");
	for (size_t k = 0; k < WAYS; k++) {
		way_image image = write_image(&ways[k], b, w, scratch);
		json_t *stages[STAGES_MAX];
		for (unsigned s = 0; s < image.n_stages; s++)
			stages[s] = json_array();
		for (size_t i = 0; i < n_bandwidths; i++) {
			double seconds[STAGES_MAX], best[STAGES_MAX] = {0}, start = now();
			unsigned last = image.n_stages - 1;
			for (int pass = 0; !pass || (pass < PASSES && now() - start < REPEAT_SECONDS); pass++) {
				load_image(&image, b, w, 1e6 * bandwidths[i], bytes, codes, values, seconds);
				if (!pass || seconds[last] < best[last])
					memcpy(best, seconds, sizeof best);
			}
			for (unsigned s = 0; s < image.n_stages; s++)
				json_array_append_new(stages[s], json_real(best[s]));
		}
		for (unsigned s = 0; s < image.n_stages; s++) {
			size_t end = image.begins[s][b->n_chunks];
			printf("  %-32s %8.1f", s + 1 < image.n_stages ? "  … its INT8" : ways[k].name,
			       (double)end / 1e6);
			for (size_t i = 0; i < n_bandwidths; i++)
				printf(" %7.3f", json_real_value(json_array_get(stages[s], i)));
			printf("\n");
			json_array_append_new(rows, json_pack("{s:s, s:s, s:I, s:o}", "way", ways[k].name, "loaded",
			                                      image.methods[s]->decodes == 1 ? "int8" : "16-bit", "bytes",
			                                      (json_int_t)end, "seconds", stages[s]));
			free(image.begins[s]);
		}
		close(image.file);
	}
	printf("\n");
	free(bytes);
	free(codes);
	free(values);
	worker_destroy(w);
	return rows;
}

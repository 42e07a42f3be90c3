#include "cache.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"

/* Lists of entries that have the same hash; the default bound is 64 chunks of 1 MiB, or more small ones. */
#define BUCKETS 1024

/* Memory of an entry is aligned for the widest vectors. */
#define ALIGNMENT 64

typedef struct cache_entry {
	qs_cache_key key;
	uint8_t *data;
	size_t size;
	unsigned users; /* threads that make it, wait for it or copy from it; while there are any, it stays */
	int is_done;
	qstore_status status; /* of making it */
	qstore_error error;
	struct cache_entry *next_in_bucket;
	struct cache_entry *newer, *older; /* in the order of last use */
} cache_entry;

struct qs_cache {
	pthread_mutex_t lock;
	pthread_cond_t is_done;
	size_t bound, size; /* bytes */
	cache_entry *buckets[BUCKETS];
	cache_entry *newest, *oldest;
};

qs_cache *qs_cache_create(size_t bound)
{
	qs_cache *cache = calloc(1, sizeof(*cache));
	if (!cache)
		return NULL;
	cache->bound = bound;
	pthread_mutex_init(&cache->lock, NULL);
	pthread_cond_init(&cache->is_done, NULL);
	return cache;
}

/* ---- Entries; the lock is held in all of these ---- */

static cache_entry **bucket_of(qs_cache *cache, qs_cache_key key)
{
	uint64_t hash = ((uint64_t)key.object << 32 | key.number) * 0x9e3779b97f4a7c15u;
	return &cache->buckets[hash >> 54];
}
_Static_assert(BUCKETS == 1 << (64 - 54), "the hash has another number of bits");

static cache_entry *find_entry(qs_cache *cache, qs_cache_key key)
{
	cache_entry *entry = *bucket_of(cache, key);
	while (entry && (entry->key.object != key.object || entry->key.number != key.number))
		entry = entry->next_in_bucket;
	return entry;
}

static void unlink_by_age(qs_cache *cache, cache_entry *entry)
{
	*(entry->newer ? &entry->newer->older : &cache->newest) = entry->older;
	*(entry->older ? &entry->older->newer : &cache->oldest) = entry->newer;
}

static void link_as_newest(qs_cache *cache, cache_entry *entry)
{
	entry->newer = NULL;
	entry->older = cache->newest;
	*(cache->newest ? &cache->newest->newer : &cache->oldest) = entry;
	cache->newest = entry;
}

static void drop_entry(qs_cache *cache, cache_entry *entry)
{
	cache_entry **link = bucket_of(cache, entry->key);
	assert(entry->users == 0);
	while (*link != entry)
		link = &(*link)->next_in_bucket;
	*link = entry->next_in_bucket;
	unlink_by_age(cache, entry);
	cache->size -= entry->size;
	free(entry->data);
	free(entry);
}

/* Drops the entries that were not used for the longest time, until the bound is kept. */
static void drop_oldest(qs_cache *cache)
{
	for (cache_entry *entry = cache->oldest; entry && cache->size > cache->bound;) {
		cache_entry *next = entry->newer;
		if (entry->users == 0)
			drop_entry(cache, entry);
		entry = next;
	}
}

/* Returns NULL if memory is out. */
static cache_entry *add_entry(qs_cache *cache, qs_cache_key key, size_t size)
{
	cache_entry *entry = calloc(1, sizeof(*entry));
	size_t capacity = (size / ALIGNMENT + 1) * ALIGNMENT;
	uint8_t *data = aligned_alloc(ALIGNMENT, capacity);
	if (!entry || !data) {
		free(entry);
		free(data);
		return NULL;
	}
	cache_entry **bucket = bucket_of(cache, key);
	*entry = (cache_entry){.key = key, .data = data, .size = size, .next_in_bucket = *bucket};
	*bucket = entry;
	link_as_newest(cache, entry);
	cache->size += size;
	return entry;
}

static void release_entry(qs_cache *cache, cache_entry *entry)
{
	if (--entry->users > 0)
		return;
	if (entry->status)
		drop_entry(cache, entry);
	else
		drop_oldest(cache);
}

/* ---- The cache ---- */

void qs_cache_clear(qs_cache *cache)
{
	while (cache->oldest)
		drop_entry(cache, cache->oldest);
}

void qs_cache_destroy(qs_cache *cache)
{
	if (!cache)
		return;
	qs_cache_clear(cache);
	pthread_cond_destroy(&cache->is_done);
	pthread_mutex_destroy(&cache->lock);
	free(cache);
}

void qs_cache_set_bound(qs_cache *cache, size_t bound)
{
	pthread_mutex_lock(&cache->lock);
	cache->bound = bound;
	drop_oldest(cache);
	pthread_mutex_unlock(&cache->lock);
}

/* Returns the entry with one user more, and makes it the newest; NULL if the cache does not have it. The lock
 * is held. */
static cache_entry *use_entry(qs_cache *cache, qs_cache_key key)
{
	cache_entry *entry = find_entry(cache, key);
	if (!entry)
		return NULL;
	entry->users++;
	unlink_by_age(cache, entry);
	link_as_newest(cache, entry);
	return entry;
}

int qs_cache_copy(qs_cache *cache, qs_cache_key key, uint8_t *dst, size_t size)
{
	pthread_mutex_lock(&cache->lock);
	cache_entry *entry = find_entry(cache, key);
	entry = entry && entry->is_done && !entry->status ? use_entry(cache, key) : NULL;
	pthread_mutex_unlock(&cache->lock);
	if (!entry)
		return 0;
	assert(size == entry->size);
	memcpy(dst, entry->data, size);
	pthread_mutex_lock(&cache->lock);
	release_entry(cache, entry);
	pthread_mutex_unlock(&cache->lock);
	return 1;
}

qstore_status qs_cache_read(qs_cache *cache, qs_cache_key key, size_t entry_size, qs_cache_fill *fill,
                            void *user, size_t skip, size_t size, uint8_t *dst, qstore_error *error)
{
	pthread_mutex_lock(&cache->lock);
	cache_entry *entry = use_entry(cache, key);
	if (entry) {
		while (!entry->is_done)
			pthread_cond_wait(&cache->is_done, &cache->lock);
		pthread_mutex_unlock(&cache->lock);
	} else {
		entry = add_entry(cache, key, entry_size);
		if (!entry) {
			pthread_mutex_unlock(&cache->lock);
			return qs_no_memory(error);
		}
		entry->users = 1;
		drop_oldest(cache);
		pthread_mutex_unlock(&cache->lock);
		entry->status = fill(user, entry->data, &entry->error);
		pthread_mutex_lock(&cache->lock);
		entry->is_done = 1;
		pthread_cond_broadcast(&cache->is_done);
		pthread_mutex_unlock(&cache->lock);
	}
	qstore_status status = entry->status;
	assert(skip <= entry->size && size <= entry->size - skip);
	if (!status && dst)
		memcpy(dst, entry->data + skip, size);
	else if (status && error)
		*error = entry->error;
	pthread_mutex_lock(&cache->lock);
	release_entry(cache, entry);
	pthread_mutex_unlock(&cache->lock);
	return status;
}

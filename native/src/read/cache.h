/* A cache of decoded parts of an archive, up to a bound. Threads that want the same part at the same time
 * decode it only once. */
#ifndef QS_CACHE_H
#define QS_CACHE_H

#include <qstore.h>

typedef struct qs_cache qs_cache;

/* The number of a part, or of a member of the archive. */
typedef struct qs_cache_key {
	uint32_t object; /* QS_NONE: a member, whose file is `number` */
	uint32_t number; /* of the part within the object */
} qs_cache_key;

/* A function that fills dst with the bytes of an entry. */
typedef qstore_status qs_cache_fill(void *user, uint8_t *dst, qstore_error *error);

/* Returns NULL if memory is out. bound: the most bytes that are kept; entries in use may exceed it. */
qs_cache *qs_cache_create(size_t bound);
void qs_cache_destroy(qs_cache *cache); /* NULL is allowed */

/* Changes the bound, and drops entries until it is kept. */
void qs_cache_set_bound(qs_cache *cache, size_t bound);

/* Drops all entries; none may be in use. */
void qs_cache_clear(qs_cache *cache);

/* Copies an entry's bytes to dst and returns 1; returns 0 if the cache does not have it. */
int qs_cache_copy(qs_cache *cache, qs_cache_key key, uint8_t *dst, size_t size);

/* Copies bytes [skip, skip + size) of an entry of entry_size bytes to dst, after `fill` has made it, unless
 * it is there or another thread is making it; dst NULL: nothing is copied. An entry that could not be made is
 * forgotten. */
qstore_status qs_cache_read(qs_cache *cache, qs_cache_key key, size_t entry_size, qs_cache_fill *fill,
                            void *user, size_t skip, size_t size, uint8_t *dst, qstore_error *error);

#endif

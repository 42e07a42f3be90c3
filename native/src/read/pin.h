/* Proving an archive's bytes by its digest, the SHA-256 of the index's header and coded body. The index has a
 * seal for each stretch of chunks (FORMAT.md, 2.5), so that a chunk is proved when its stretch has been read.
 */
#ifndef QS_PIN_H
#define QS_PIN_H

#include <qstore.h>

typedef struct qs_pin qs_pin;

/* Finds the stretches of an archive's chunks. Returns NULL if memory is out. */
qs_pin *qs_pin_create(const qstore_archive *archive);
void qs_pin_destroy(qs_pin *pin); /* NULL is allowed */

/* One thread's memory: the stretch that was read and proved last. Zeroed: none yet. */
typedef struct qs_pin_memory {
	struct qs_sha256 *sha256;
	unsigned char *stretch; /* QS_STRETCH_SIZE_MAX bytes */
	unsigned number;        /* of the stretch, plus 1; 0: none */
} qs_pin_memory;

void qs_pin_memory_free(qs_pin_memory *memory);

/* Reads a chunk with its stretch, proves the stretch, and copies the chunk's coded bytes to dst. Fails with
 * INTEGRITY if the stretch has other bytes than its seal promises (the error has no text then), with MEMORY,
 * TRUNCATED, IO.
 */
qstore_status qs_pin_read(const qstore_archive *archive, uint32_t chunk, qs_pin_memory *memory, void *dst,
                          qstore_error *error);

/* A stretch whose bytes are not those of its seal: chunks [first_chunk, first_chunk + n_chunks), counted
 * through all objects, which are `size` bytes from `offset` on in the archive. */
typedef struct qs_bad_stretch {
	uint64_t offset;
	uint32_t size, first_chunk, n_chunks;
} qs_bad_stretch;

/* A function that is called for each stretch that is not what its seal promises, in their order, by one
 * thread at a time. *error says which bytes are bad. It returns a status that is not QSTORE_OK to end the
 * check. */
typedef qstore_status qs_pin_take(void *user, const qs_bad_stretch *bad, qstore_status status,
                                  qstore_error *error);

/* Compares all stretches with their seals. take: NULL: the first bad one ends the check, with CORRUPT,
 * TRUNCATED or IO. MEMORY, CANCELLED, and as `take` fails. */
qstore_status qs_pin_check(const qstore_archive *archive, const qstore_work *work, qs_pin_take *take,
                           void *user, qstore_error *error);

/* From now on, all reads of an archive are proved by the seals of its index, which is trusted. MEMORY. */
qstore_status qs_pin_archive(qstore_archive *archive, qstore_error *error);

#endif

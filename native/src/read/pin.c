#include "pin.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "archive.h"
#include "error.h"
#include "os/pool.h"
#include "os/search.h"
#include "os/sha256.h"

/* "sha256-", 44 digits of base 64, a zero byte. */
#define PREFIX "sha256-"
#define PREFIX_SIZE (sizeof(PREFIX) - 1)
#define BASE64_SIZE 44
_Static_assert(QSTORE_DIGEST_SIZE == PREFIX_SIZE + BASE64_SIZE + 1, "qstore.h has another size");

/* ---- Stretches ---- */

typedef struct sealed_bytes {
	uint64_t offset; /* in the source */
	uint32_t size;
	uint32_t first_chunk;
} sealed_bytes;

struct qs_pin {
	uint32_t n_stretches;
	sealed_bytes stretches[];
};

qs_pin *qs_pin_create(const qstore_archive *archive)
{
	const qs_index *index = &archive->index;
	qs_pin *pin = malloc(sizeof(*pin) + (size_t)index->n_seals * sizeof(*pin->stretches));
	if (!pin)
		return NULL;
	pin->n_stretches = 0;
	qs_stretch last = {0, 0};
	for (uint32_t i = 0; i < index->n_objects; i++) {
		qs_object object;
		qs_index_object(index, i, &object);
		for (uint32_t chunk = object.first_chunk; chunk < object.first_chunk + object.n_chunks; chunk++) {
			uint32_t begins =
			    (uint32_t)qs_stretch_add(&last, object.variant, qs_index_chunk_size(index, chunk));
			pin->n_stretches += begins;
			sealed_bytes *stretch = &pin->stretches[pin->n_stretches - 1];
			if (begins)
				*stretch = (sealed_bytes){.offset = archive->chunk_offsets[chunk], .first_chunk = chunk};
			stretch->size = last.size;
		}
	}
	return pin;
}

void qs_pin_destroy(qs_pin *pin)
{
	free(pin);
}

static uint64_t first_chunk_of(const void *stretch)
{
	return ((const sealed_bytes *)stretch)->first_chunk;
}

/* Returns the number of the stretch that a chunk is in. */
static uint32_t find_stretch(const qs_pin *pin, uint32_t chunk)
{
	return (uint32_t)qs_last_begun(pin->stretches, pin->n_stretches, sizeof(*pin->stretches), chunk,
	                               first_chunk_of);
}

void qs_pin_memory_free(qs_pin_memory *memory)
{
	qs_sha256_destroy(memory->sha256);
	free(memory->stretch);
	*memory = (qs_pin_memory){0};
}

/* Reads a stretch into the thread's memory. Fails with INTEGRITY, without a text, if it is not what its seal
 * promises. */
static qstore_status prove_stretch(const qstore_archive *archive, const sealed_bytes *stretch,
                                   uint32_t number, qs_pin_memory *memory, qstore_error *error)
{
	uint8_t digest[32];
	if (!memory->sha256)
		memory->sha256 = qs_sha256_create();
	if (!memory->stretch)
		memory->stretch = malloc(QS_STRETCH_SIZE_MAX);
	memory->number = 0;
	if (!memory->sha256 || !memory->stretch)
		return qs_no_memory(error);
	qstore_status status =
	    qs_source_read(&archive->source, stretch->offset, stretch->size, memory->stretch, error);
	if (status)
		return status;
	if (!qs_sha256_reset(memory->sha256) ||
	    !qs_sha256_update(memory->sha256, memory->stretch, stretch->size) ||
	    !qs_sha256_final(memory->sha256, digest))
		return qs_no_memory(error);
	if (memcmp(digest, qs_index_seal(&archive->index, number), QS_SEAL_BYTES) != 0)
		return QSTORE_INTEGRITY;
	memory->number = number + 1;
	return QSTORE_OK;
}

qstore_status qs_pin_read(const qstore_archive *archive, uint32_t chunk, qs_pin_memory *memory, void *dst,
                          qstore_error *error)
{
	uint32_t number = find_stretch(archive->pin, chunk);
	const sealed_bytes *stretch = &archive->pin->stretches[number];
	if (memory->number != number + 1) {
		qstore_status status = prove_stretch(archive, stretch, number, memory, error);
		if (status == QSTORE_INTEGRITY)
			qs_fail(error, status, "%s: %u bytes from byte %llu on are not what the digest promises",
			        archive->path, (unsigned)stretch->size, (unsigned long long)stretch->offset);
		if (status)
			return status;
	}
	size_t skip = (size_t)(archive->chunk_offsets[chunk] - stretch->offset);
	memcpy(dst, memory->stretch + skip, qs_index_chunk_size(&archive->index, chunk));
	return QSTORE_OK;
}

/* ---- Checking all stretches ---- */

typedef struct seal_check {
	const qstore_archive *archive;
	qs_pin *pin;
	qs_pin_take *take; /* or NULL */
	void *user;
	const qstore_work *work;
	qstore_progress progress;
} seal_check;

typedef struct seal_thread {
	qs_pin_memory memory;
	qstore_status status; /* of the stretch that is checked */
	qstore_error error;
} seal_thread;

static void *create_thread(void *user)
{
	(void)user;
	return calloc(1, sizeof(seal_thread));
}

static void destroy_thread(void *user, void *memory)
{
	(void)user;
	seal_thread *thread = memory;
	qs_pin_memory_free(&thread->memory);
	free(thread);
}

static qstore_status check_stretch(void *user, void *memory, uint64_t job, qstore_error *error)
{
	const seal_check *check = user;
	seal_thread *thread = memory;
	const sealed_bytes *stretch = &check->pin->stretches[job];
	qs_error_clear(&thread->error);
	thread->status = prove_stretch(check->archive, stretch, (uint32_t)job, &thread->memory, &thread->error);
	if (thread->status == QSTORE_INTEGRITY)
		thread->status =
		    qs_fail(&thread->error, QSTORE_CORRUPT,
		            "%s: %u bytes from byte %llu on are damaged: their SHA-256 differs", check->archive->path,
		            (unsigned)stretch->size, (unsigned long long)stretch->offset);
	int is_bad =
	    thread->status == QSTORE_CORRUPT || thread->status == QSTORE_TRUNCATED || thread->status == QSTORE_IO;
	return thread->status && (!is_bad || !check->take)
	           ? qs_fail(error, thread->status, "%s", thread->error.text)
	           : QSTORE_OK;
}

/* Tells of a stretch, in their order. */
static qstore_status tell_stretch(void *user, void *memory, uint64_t job, qstore_error *error)
{
	seal_check *check = user;
	const seal_thread *thread = memory;
	const sealed_bytes *stretch = &check->pin->stretches[job];
	check->progress.done += stretch->size;
	if (check->work && check->work->on_progress)
		check->work->on_progress(check->work->user, &check->progress);
	if (!thread->status)
		return QSTORE_OK;
	uint32_t end =
	    job + 1 < check->pin->n_stretches ? stretch[1].first_chunk : check->archive->index.n_chunks;
	qs_bad_stretch bad = {stretch->offset, stretch->size, stretch->first_chunk, end - stretch->first_chunk};
	qs_error_set(error, thread->status, "%s", thread->error.text);
	return check->take(check->user, &bad, thread->status, error);
}

qstore_status qs_pin_check(const qstore_archive *archive, const qstore_work *work, qs_pin_take *take,
                           void *user, qstore_error *error)
{
	seal_check check = {archive, qs_pin_create(archive), take, user, work, {.phase = "verifying"}};
	if (!check.pin)
		return qs_no_memory(error);
	for (uint32_t i = 0; i < check.pin->n_stretches; i++)
		check.progress.total += check.pin->stretches[i].size;
	qs_jobs jobs = {.n_jobs = check.pin->n_stretches,
	                .user = &check,
	                .create = create_thread,
	                .destroy = destroy_thread,
	                .work = check_stretch,
	                .commit = take ? tell_stretch : NULL,
	                .cancel = work ? work->cancel : NULL};
	qstore_status status = qs_pool_run(&jobs, work ? work->threads : 0, error);
	qs_pin_destroy(check.pin);
	return status;
}

/* ---- Digests ---- */

static void write_digest(const uint8_t digest[32], char text[QSTORE_DIGEST_SIZE])
{
	memcpy(text, PREFIX, PREFIX_SIZE);
	EVP_EncodeBlock((unsigned char *)text + PREFIX_SIZE, digest, 32);
}

/* Reads "sha256-" and base 64, or 64 hexadecimal digits. Returns 0 if the text is neither. */
static int read_digest(const char *text, uint8_t digest[32])
{
	size_t size = strlen(text);
	if (size == 64 && strspn(text, "0123456789abcdefABCDEF") == 64) {
		for (size_t i = 0; i < 32; i++) {
			char digits[3] = {text[2 * i], text[2 * i + 1], 0};
			digest[i] = (uint8_t)strtoul(digits, NULL, 16);
		}
		return 1;
	}
	unsigned char bytes[BASE64_SIZE / 4 * 3];
	if (size != PREFIX_SIZE + BASE64_SIZE || memcmp(text, PREFIX, PREFIX_SIZE) != 0 ||
	    text[size - 1] != '=' ||
	    EVP_DecodeBlock(bytes, (const unsigned char *)text + PREFIX_SIZE, BASE64_SIZE) != sizeof(bytes))
		return 0;
	memcpy(digest, bytes, 32);
	/* The last digit has two bits that are not used, and may not be set. */
	char canonical[QSTORE_DIGEST_SIZE];
	write_digest(digest, canonical);
	return strcmp(text, canonical) == 0;
}

qstore_status qs_pin_archive(qstore_archive *archive, qstore_error *error)
{
	if (!archive->pin)
		archive->pin = qs_pin_create(archive);
	return archive->pin ? QSTORE_OK : qs_no_memory(error);
}

void qstore_get_digest(const qstore_archive *archive, char text[QSTORE_DIGEST_SIZE])
{
	write_digest(archive->digest, text);
}

qstore_status qstore_pin(qstore_archive *archive, const char *digest, qstore_error *error)
{
	uint8_t wanted[32];
	char own[QSTORE_DIGEST_SIZE];
	qs_error_clear(error);
	if (archive->base)
		return qs_fail(error, QSTORE_USAGE, "%s: give the digest before the base", archive->path);
	if (!read_digest(digest, wanted))
		return qs_fail(error, QSTORE_USAGE,
		               "%.100s: is no digest: it is sha256- and 44 digits, as qstore-info prints it", digest);
	if (memcmp(wanted, archive->digest, 32) != 0) {
		write_digest(archive->digest, own);
		return qs_fail(error, QSTORE_INTEGRITY, "%s: is not the archive of this digest: its own is %s",
		               archive->path, own);
	}
	return qs_pin_archive(archive, error);
}

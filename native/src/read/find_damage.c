/* qstore_find_damage, which lists the bytes of an archive that are not as its index says. */
#include <stdlib.h>
#include <string.h>

#include "archive.h"
#include "core/checksum.h"
#include "describe.h"
#include "error.h"
#include "framing.h"
#include "member.h"
#include "os/array.h"
#include "verify.h"

/* Ranges up to which bad stretches are narrowed to their bad chunks. */
#define NARROWED_MAX 256

typedef struct bad_range {
	uint64_t offset, size; /* in the archive */
	char *reason;          /* owned */
} bad_range;

typedef struct finder {
	const qstore_archive *archive;
	bad_range *ranges;
	size_t n_ranges;
	qs_chunk_memory memory;
} finder;

/* Adds a range. reason: it may be the text of *error. */
static qstore_status add_range(finder *f, uint64_t offset, uint64_t size, const char *reason,
                               qstore_error *error)
{
	bad_range *added = qs_array_add(&f->ranges, &f->n_ranges, sizeof(*added));
	if (!added)
		return qs_no_memory(error);
	*added = (bad_range){offset, size, strdup(reason)};
	return added->reason ? QSTORE_OK : qs_no_memory(error);
}

static int is_beyond(const finder *f, uint64_t end)
{
	return end > f->archive->source.size;
}

/* Adds what is missing at the archive's end, or is too much. */
static qstore_status check_end(finder *f, qstore_error *error)
{
	const qstore_archive *archive = f->archive;
	uint64_t end = archive->payload_offset + archive->header.payload_size, size = archive->source.size;
	if (!qs_archive_check_size(archive, error))
		return QSTORE_OK;
	return size < end ? add_range(f, size, end - size, error->text, error)
	                  : add_range(f, end, size - end, error->text, error);
}

static qstore_status take_gap(void *user, const qs_gap *gap, qstore_status status, qstore_error *error)
{
	finder *f = user;
	if (!status || is_beyond(f, gap->offset + gap->size))
		return QSTORE_OK;
	return add_range(f, gap->offset, gap->size, error->text, error);
}

static qstore_status take_nothing(void *user, const uint8_t *data, size_t size, qstore_error *error)
{
	(void)user;
	(void)data;
	(void)size;
	(void)error;
	return QSTORE_OK;
}

static qstore_status check_files(finder *f, const qstore_work *work, qstore_error *error)
{
	const qstore_archive *archive = f->archive;
	for (uint32_t i = 0; i < archive->index.n_files; i++) {
		qs_file file;
		qstore_error own = {0};
		qs_index_file(&archive->index, i, &file);
		uint64_t offset = archive->payload_offset + file.offset;
		if (!qs_file_is_member(&file) || is_beyond(f, offset + file.coded_size))
			continue;
		if (work && qs_is_cancelled(work->cancel))
			return qs_cancelled(error);
		qstore_status status = qs_member_read(archive, &file, take_nothing, NULL, &own);
		if (status == QSTORE_MEMORY)
			return qs_no_memory(error);
		if (status)
			status = add_range(f, offset, file.coded_size, own.text, error);
		if (status)
			return status;
	}
	return QSTORE_OK;
}

/* Returns the part that a chunk is. */
static qs_part part_of_chunk(const qstore_archive *archive, uint32_t chunk)
{
	for (uint32_t i = 0;; i++) {
		qs_part part = qs_part_of(archive, i, 0);
		if (chunk >= part.object.first_chunk && chunk - part.object.first_chunk < part.object.n_chunks) {
			part.number = chunk - part.object.first_chunk;
			return part;
		}
	}
}

/* Adds the chunks of a bad stretch whose checksums differ; if there are none, all of it. */
static qstore_status take_stretch(void *user, const qs_bad_stretch *bad, qstore_status status,
                                  qstore_error *error)
{
	finder *f = user;
	const qstore_archive *archive = f->archive;
	size_t before = f->n_ranges;
	/* Finding a chunk's tensor takes a while. */
	uint32_t n_chunks = before < NARROWED_MAX ? bad->n_chunks : 0;
	if (is_beyond(f, bad->offset + bad->size) && status == QSTORE_TRUNCATED)
		status = QSTORE_OK;
	for (uint32_t i = bad->first_chunk; i < bad->first_chunk + n_chunks; i++) {
		uint64_t offset = archive->chunk_offsets[i];
		uint32_t size = qs_index_chunk_size(&archive->index, i);
		qstore_error own = {0};
		if (is_beyond(f, offset + size))
			break;
		qs_part part = part_of_chunk(archive, i);
		size_t coded_size;
		if (qs_part_read(&part, &f->memory, 1, &coded_size, &own) &&
		    add_range(f, offset, size, own.text, error))
			return QSTORE_MEMORY;
	}
	return status && f->n_ranges == before ? add_range(f, bad->offset, bad->size, error->text, error)
	                                       : QSTORE_OK;
}

static int compare_ranges(const void *a, const void *b)
{
	const bad_range *x = a, *y = b;
	return (x->offset > y->offset) - (x->offset < y->offset);
}

qstore_status qstore_find_damage(const qstore_archive *archive, const qstore_work *work,
                                 void (*on_range)(void *user, uint64_t offset, uint64_t size,
                                                  const char *reason),
                                 void *user, uint64_t *n_ranges, qstore_error *error)
{
	finder f = {.archive = archive};
	qs_error_clear(error);
	qstore_error own = {0};
	error = error ? error : &own; /* the checks' texts are needed */
	qstore_status status = qs_chunk_memory_create(&f.memory) ? QSTORE_OK : qs_no_memory(error);
	if (!status)
		status = check_end(&f, error);
	if (!status)
		status = qs_framing_check(archive, take_gap, &f, error);
	if (!status)
		status = check_files(&f, work, error);
	if (!status)
		status = qs_pin_check(archive, work, take_stretch, &f, error);
	if (!status && f.n_ranges > 0)
		qsort(f.ranges, f.n_ranges, sizeof(*f.ranges), compare_ranges);
	for (size_t i = 0; i < f.n_ranges; i++) {
		if (!status && on_range)
			on_range(user, f.ranges[i].offset, f.ranges[i].size, f.ranges[i].reason);
		free(f.ranges[i].reason);
	}
	if (!status && n_ranges)
		*n_ranges = f.n_ranges;
	if (!status)
		qs_error_clear(error);
	free(f.ranges);
	qs_chunk_memory_free(&f.memory);
	return status;
}

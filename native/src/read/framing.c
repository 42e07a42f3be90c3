#include "framing.h"

#include <string.h>

#include "container/member_names.h"
#include "container/tar.h"
#include "error.h"
#include "os/arena.h"

/* Bytes of zeros that end a tar archive. */
#define TAR_END 1024

/* A member, and the bytes in front of its data. */
typedef struct framed {
	const qstore_archive *archive;
	const char *name; /* NULL: there are no more members, and the gap is the archive's end */
	uint64_t size;    /* of its data */
	qs_gap gap;
	uint64_t header_offset; /* in the archive; the gap begins with padding of the member before */
	int n_found;            /* members whose headers are in the gap */
} framed;

/* Where the member's data begins, or the archive ends. */
static uint64_t gap_end(const framed *f)
{
	return f->gap.offset + f->gap.size;
}

/* Reads from a tar archive that has the member alone: its headers as they are, then zeros. */
static qstore_status read_member(void *user, uint64_t offset, size_t size, void *dst, qstore_error *error)
{
	const framed *f = user;
	uint64_t end = gap_end(f);
	size_t n = offset >= end ? 0 : end - offset < size ? (size_t)(end - offset) : size;
	memset((uint8_t *)dst + n, 0, size - n);
	return n == 0 ? QSTORE_OK : qs_source_read(&f->archive->source, offset, n, dst, error);
}

static qstore_status compare_member(void *user, const qs_tar_member *member, qstore_error *error)
{
	framed *f = user;
	const char *path = f->archive->path;
	unsigned long long offset = gap_end(f), size = f->size;
	if (strcmp(member->name, f->name) != 0 || member->size != f->size || member->data_offset != gap_end(f) ||
	    f->n_found++ > 0)
		return qs_fail(
		    error, QSTORE_CORRUPT,
		    "%s: where its index has %.400s, of %llu bytes at byte %llu, is member %.400s, of %llu "
		    "bytes at byte %llu",
		    path, f->name, size, offset, member->name, (unsigned long long)member->size,
		    (unsigned long long)member->data_offset);
	return member->is_ours
	           ? QSTORE_OK
	           : qs_fail(error, QSTORE_CORRUPT,
	                     "%s: member %.400s is no regular file of mode 0644 without owner and time", path,
	                     member->name);
}

static qstore_status check_gap(framed *f, qstore_error *error)
{
	uint64_t end = gap_end(f);
	f->header_offset = qs_tar_padded(f->gap.offset);
	f->n_found = 0;
	if (!f->name)
		return qs_tar_check_zeros(f->archive->path, f->gap.offset, end, read_member, f, error);
	if (end < f->header_offset)
		return qs_fail(error, QSTORE_CORRUPT, "%s: has no header of member %.400s", f->archive->path,
		               f->name);
	qstore_status status =
	    qs_tar_check_zeros(f->archive->path, f->gap.offset, f->header_offset, read_member, f, error);
	if (!status)
		status = qs_tar_list(f->archive->path, f->header_offset, end + qs_tar_padded(f->size) + TAR_END,
		                     read_member, f, compare_member, f, error);
	if (!status && f->n_found == 0)
		status = qs_fail(error, QSTORE_CORRUPT, "%s: has no member %.400s", f->archive->path, f->name);
	return status;
}

typedef struct framing {
	framed next;
	qs_gap_take *take;
	void *user;
} framing;

/* Checks the gap in front of a member, or the archive's end if name is NULL. */
static qstore_status frame(framing *f, const char *name, uint64_t offset, uint64_t size, qstore_error *error)
{
	framed *next = &f->next;
	next->name = name;
	next->size = size;
	next->gap.size = offset - next->gap.offset;
	qstore_status status = check_gap(next, error);
	if (!status || status == QSTORE_CORRUPT || status == QSTORE_TRUNCATED || status == QSTORE_IO)
		status = f->take(f->user, &next->gap, status, error);
	next->gap.offset = offset + size;
	return status;
}

static qstore_status check_all(framing *f, qs_member_names *names, qstore_error *error)
{
	const qstore_archive *archive = f->next.archive;
	const qs_index *index = &archive->index;
	qstore_status status = frame(f, QS_MEMBER_INDEX, QS_INDEX_OFFSET,
	                             QS_INDEX_HEADER_SIZE + archive->header.body_coded_size, error);
	qs_variant variant;
	for (uint32_t i = 0; i < index->n_files && !status; i++) {
		qs_file file;
		qs_index_file(index, i, &file);
		if (!qs_file_is_member(&file))
			continue;
		uint32_t finest = 31 - (uint32_t)__builtin_clz(file.variants);
		qs_index_variant(index, finest, &variant);
		const char *name = qs_member_name_next(names, finest == index->n_variants - 1 ? NULL : variant.name,
		                                       file.name, file.kind == QS_FILE_ZSTD);
		status = name ? frame(f, name, archive->payload_offset + file.offset, file.coded_size, error)
		              : qs_no_memory(error);
	}
	for (uint32_t i = 0; i < index->n_variants && !status; i++) {
		char name[QS_MEMBER_LAYER_SIZE];
		qs_index_variant(index, i, &variant);
		qs_member_name_layer(name, variant.name);
		status = frame(f, name, archive->payload_offset + variant.layer_offset, variant.layer_size, error);
	}
	return status ? status : frame(f, NULL, archive->payload_offset + archive->header.payload_size, 0, error);
}

qstore_status qs_framing_check(const qstore_archive *archive, qs_gap_take *take, void *user,
                               qstore_error *error)
{
	framing f = {.next.archive = archive, .take = take, .user = user};
	qs_arena arena = {0};
	qs_member_names names = {.arena = &arena};
	qstore_status status = check_all(&f, &names, error);
	qs_member_names_end(&names);
	qs_arena_free(&arena);
	return status;
}

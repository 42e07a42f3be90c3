#include "tar.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#ifdef __APPLE__
#include <xlocale.h>
#endif

#include "os/file.h"

struct qs_tar_writer {
	struct archive *archive;
	struct archive_entry *entry;
	locale_t locale;
	int fd; /* -1: only count */
	const char *path;
	uint64_t written;  /* bytes */
	uint64_t data_end; /* offset in the archive at which the member's data ends */
	int abandoned;     /* nothing more is written */
	qstore_error io_error;
};

static la_ssize_t write_callback(struct archive *archive, void *user, const void *src, size_t size)
{
	qs_tar_writer *writer = user;
	if (writer->abandoned) {
		archive_set_error(archive, ECANCELED, "%s", "abandoned");
		return -1;
	}
	if (writer->fd >= 0 && qs_write_all(writer->fd, src, size, writer->path, &writer->io_error)) {
		archive_set_error(archive, EIO, "%s", "cannot write");
		return -1;
	}
	writer->written += size;
	return (la_ssize_t)size;
}

static qstore_status fail_tar(qs_tar_writer *writer, qstore_error *error)
{
	if (writer->io_error.status) {
		if (error)
			*error = writer->io_error;
		return writer->io_error.status;
	}
	const char *text = archive_error_string(writer->archive);
	return qs_fail(error, QSTORE_IO, "%s: cannot write: %s", writer->path, text ? text : "libarchive failed");
}

qstore_status qs_tar_writer_create(qs_tar_writer **out, int fd, const char *path, qstore_error *error)
{
	qs_tar_writer *writer = calloc(1, sizeof(*writer));
	*out = writer;
	if (!writer)
		return qs_no_memory(error);
	writer->fd = fd;
	writer->path = path;
	writer->archive = archive_write_new();
	writer->entry = archive_entry_new();
	writer->locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
	if (!writer->archive || !writer->entry || writer->locale == (locale_t)0)
		return qs_no_memory(error);
	/* libarchive must not buffer, so that `written` is exact, and must not pad to blocks of a tape. */
	if (archive_write_set_format_pax_restricted(writer->archive) != ARCHIVE_OK ||
	    archive_write_set_bytes_per_block(writer->archive, 0) != ARCHIVE_OK ||
	    archive_write_set_bytes_in_last_block(writer->archive, 1) != ARCHIVE_OK ||
	    archive_write_open(writer->archive, writer, NULL, write_callback, NULL) != ARCHIVE_OK)
		return fail_tar(writer, error);
	return QSTORE_OK;
}

void qs_tar_writer_destroy(qs_tar_writer *writer)
{
	if (!writer)
		return;
	if (writer->archive) {
		/* Freeing an archive completes it, unless writing fails. (archive_write_fail would prevent that too,
		 * but leaks memory in libarchive 3.6.) */
		writer->abandoned = 1;
		archive_write_free(writer->archive);
	}
	archive_entry_free(writer->entry);
	if (writer->locale != (locale_t)0)
		freelocale(writer->locale);
	free(writer);
}

static qstore_status write_header(qs_tar_writer *writer, const char *name, uint64_t size, qstore_error *error)
{
	archive_entry_clear(writer->entry);
	archive_entry_set_pathname(writer->entry, name);
	archive_entry_set_filetype(writer->entry, AE_IFREG);
	archive_entry_set_perm(writer->entry, 0644);
	archive_entry_set_size(writer->entry, (la_int64_t)size);
	archive_entry_set_mtime(writer->entry, 0, 0);
	archive_entry_set_uid(writer->entry, 0);
	archive_entry_set_gid(writer->entry, 0);
	/* libarchive converts names from the locale's character set. In the C locale it writes bytes that are not
	 * ASCII as they are, and says so in the member's header: the archive does not depend on where the packer
	 * runs. */
	locale_t before = uselocale(writer->locale);
	int result = archive_write_header(writer->archive, writer->entry);
	uselocale(before);
	return result < ARCHIVE_WARN ? fail_tar(writer, error) : QSTORE_OK;
}

qstore_status qs_tar_writer_member(qs_tar_writer *writer, const char *name, uint64_t size,
                                   uint64_t data_offset, qstore_error *error)
{
	/* libarchive pads the member before this one; if its data were incomplete, it would fill it with zeros.
	 */
	if (writer->written != writer->data_end)
		return qs_fail(error, QSTORE_IO, "%s: member before %s is incomplete", writer->path, name);
	qstore_status status = write_header(writer, name, size, error);
	if (status)
		return status;
	if (writer->written != data_offset)
		return qs_fail(error, QSTORE_IO, "%s: member %s starts at byte %llu, not at %llu as planned",
		               writer->path, name, (unsigned long long)writer->written,
		               (unsigned long long)data_offset);
	writer->data_end = data_offset + size;
	return QSTORE_OK;
}

qstore_status qs_tar_writer_data(qs_tar_writer *writer, const void *src, size_t size, qstore_error *error)
{
	const uint8_t *p = src;
	if (size > writer->data_end - writer->written)
		return qs_fail(error, QSTORE_IO, "%s: more data than planned", writer->path);
	while (size > 0) {
		la_ssize_t n = archive_write_data(writer->archive, p, size);
		if (n <= 0)
			return fail_tar(writer, error);
		p += n;
		size -= (size_t)n;
	}
	return QSTORE_OK;
}

qstore_status qs_tar_writer_finish(qs_tar_writer *writer, uint64_t archive_size, qstore_error *error)
{
	if (writer->written != writer->data_end)
		return qs_fail(error, QSTORE_IO, "%s: the last member is incomplete", writer->path);
	if (archive_write_close(writer->archive) != ARCHIVE_OK)
		return fail_tar(writer, error);
	if (writer->written != archive_size)
		return qs_fail(error, QSTORE_IO, "%s: has %llu bytes, not %llu as planned", writer->path,
		               (unsigned long long)writer->written, (unsigned long long)archive_size);
	return QSTORE_OK;
}

qstore_status qs_tar_header_size(const char *name, uint64_t size, uint64_t *header_size, qstore_error *error)
{
	qs_tar_writer *writer;
	qstore_status status = qs_tar_writer_create(&writer, -1, name, error);
	if (!status)
		status = write_header(writer, name, size, error);
	if (!status)
		*header_size = writer->written;
	qs_tar_writer_destroy(writer);
	return status;
}

qstore_status qs_tar_trailer_size(uint64_t *trailer_size, qstore_error *error)
{
	qs_tar_writer *writer;
	qstore_status status = qs_tar_writer_create(&writer, -1, "archive", error);
	if (!status && archive_write_close(writer->archive) != ARCHIVE_OK)
		status = fail_tar(writer, error);
	if (!status)
		*trailer_size = writer->written;
	qs_tar_writer_destroy(writer);
	return status;
}

/* Bytes that are read at once: a header, since the data behind it are skipped. */
#define LIST_BLOCK ((size_t)4096)

/* An archive that is listed. */
typedef struct tar_list {
	qs_tar_read *read;
	void *user;
	uint64_t begin, end, at; /* bytes, as `read` counts them */
	uint8_t *block;          /* LIST_BLOCK bytes */
	qstore_error error;      /* of the first read that failed */
} tar_list;

static la_ssize_t read_block(struct archive *archive, void *user, const void **block)
{
	tar_list *list = user;
	uint64_t left = list->end - list->at;
	size_t size = left < LIST_BLOCK ? (size_t)left : LIST_BLOCK;
	*block = list->block;
	if (size > 0 && list->read(list->user, list->at, size, list->block, &list->error)) {
		archive_set_error(archive, EIO, "%s", list->error.text);
		return ARCHIVE_FATAL;
	}
	list->at += size;
	return (la_ssize_t)size;
}

static la_int64_t skip_bytes(struct archive *archive, void *user, la_int64_t size)
{
	tar_list *list = user;
	uint64_t left = list->end - list->at;
	(void)archive;
	if ((uint64_t)size > left)
		size = (la_int64_t)left;
	list->at += (uint64_t)size;
	return size;
}

static qstore_status fail_list(const tar_list *list, const char *path, struct archive *archive,
                               qstore_error *error)
{
	if (list->error.status)
		return qs_fail(error, list->error.status, "%s", list->error.text);
	return qs_fail(error, QSTORE_CORRUPT, "%s: not a good tar archive: %s", path,
	               archive_error_string(archive));
}

/* Where a header of POSIX's ustar format has the kind of its member, and the member's size in octal digits.
 */
enum { TYPE_AT = 156, SIZE_AT = 124, SIZE_DIGITS = 11 };

qstore_status qs_tar_check_zeros(const char *path, uint64_t from, uint64_t to, qs_tar_read *read, void *user,
                                 qstore_error *error)
{
	uint8_t block[4096];
	while (from < to) {
		size_t size = to - from < sizeof(block) ? (size_t)(to - from) : sizeof(block);
		qstore_status status = read(user, from, size, block, error);
		if (status)
			return status;
		for (size_t i = 0; i < size; i++) {
			if (block[i] != 0)
				return qs_fail(error, QSTORE_CORRUPT, "%s: byte %llu, between two members, is not zero", path,
				               (unsigned long long)(from + i));
		}
		from += size;
	}
	return QSTORE_OK;
}

/* Checks the kinds of the headers in [from, to): programs disagree about what others than these mean. */
static qstore_status check_header_kinds(tar_list *list, const char *path, uint64_t from, uint64_t to,
                                        qstore_error *error)
{
	while (from < to) {
		uint8_t header[512];
		qstore_status status = list->read(list->user, from, sizeof(header), header, error);
		if (status)
			return status;
		uint8_t kind = header[TYPE_AT];
		if (kind == '0' && from + sizeof(header) == to)
			return QSTORE_OK;
		if (kind != 'x')
			break;
		char digits[SIZE_DIGITS + 1] = {0};
		memcpy(digits, header + SIZE_AT, SIZE_DIGITS);
		from += sizeof(header) + qs_tar_padded(strtoull(digits, NULL, 8));
	}
	return qs_fail(error, QSTORE_CORRUPT, "%s: a header before byte %llu is none that qstore-pack writes",
	               path, (unsigned long long)to);
}

/* Has the entry nothing that qs_tar_writer does not write? */
static int is_ours(struct archive_entry *entry)
{
	return archive_entry_filetype(entry) == AE_IFREG && archive_entry_perm(entry) == 0644 &&
	       !archive_entry_hardlink(entry) && !archive_entry_symlink(entry) && archive_entry_uid(entry) == 0 &&
	       archive_entry_gid(entry) == 0 && archive_entry_mtime(entry) == 0 &&
	       archive_entry_xattr_count(entry) == 0 && archive_entry_sparse_count(entry) == 0 &&
	       archive_entry_acl_types(entry) == 0;
}

/* A header that was read. */
typedef struct tar_header {
	char *name; /* owned; NULL: the archive ends here */
	uint64_t size, position;
	int is_ours;
} tar_header;

static qstore_status next_header(struct archive *archive, const tar_list *list, const char *path,
                                 tar_header *header, qstore_error *error)
{
	struct archive_entry *entry;
	*header = (tar_header){0};
	int result = archive_read_next_header(archive, &entry);
	if (result != ARCHIVE_OK && result != ARCHIVE_EOF && result != ARCHIVE_WARN)
		return fail_list(list, path, archive, error);
	header->position = list->begin + (uint64_t)archive_read_header_position(archive);
	if (result == ARCHIVE_EOF)
		return QSTORE_OK;
	const char *name = archive_entry_pathname(entry);
	if (!name)
		return qs_fail(error, QSTORE_CORRUPT, "%s: a member has no name", path);
	header->name = strdup(name);
	header->size = (uint64_t)archive_entry_size(entry);
	header->is_ours = is_ours(entry);
	return header->name ? QSTORE_OK : qs_no_memory(error);
}

/* Checks the member of `header`, whose data ends where the next header begins, and its padding. */
static qstore_status check_member(tar_list *list, const char *path, const tar_header *header, uint64_t next,
                                  qs_tar_member *member, qstore_error *error)
{
	uint64_t padded = qs_tar_padded(header->size);
	if (next < padded || next - padded < header->position)
		return qs_fail(error, QSTORE_CORRUPT, "%s: member %s is cut short", path, header->name);
	*member = (qs_tar_member){header->name, header->size, next - padded, header->is_ours};
	qstore_status status = check_header_kinds(list, path, header->position, member->data_offset, error);
	return status ? status
	              : qs_tar_check_zeros(path, member->data_offset + member->size, next, list->read, list->user,
	                                   error);
}

/* libarchive tells only where headers begin, so each member is taken when the next header has been read. */
static qstore_status list_members(struct archive *archive, tar_list *list, const char *path,
                                  qs_tar_take *take, void *user, qstore_error *error)
{
	tar_header header = {0}, next = {0};
	qstore_status status = next_header(archive, list, path, &header, error);
	if (!status && header.position != list->begin)
		status = qs_fail(error, QSTORE_CORRUPT, "%s: bytes before its first member", path);
	while (!status && header.name) {
		qs_tar_member member;
		status = next_header(archive, list, path, &next, error);
		if (!status)
			status = check_member(list, path, &header, next.position, &member, error);
		if (!status)
			status = take(user, &member, error);
		free(header.name);
		header = next;
		next.name = NULL;
	}
	free(header.name);
	return status ? status
	              : qs_tar_check_zeros(path, header.position, list->end, list->read, list->user, error);
}

qstore_status qs_tar_list(const char *path, uint64_t begin, uint64_t end, qs_tar_read *read, void *read_user,
                          qs_tar_take *take, void *user, qstore_error *error)
{
	struct archive *archive = archive_read_new();
	if (!archive)
		return qs_no_memory(error);
	tar_list list = {.read = read,
	                 .user = read_user,
	                 .begin = begin,
	                 .end = end,
	                 .at = begin,
	                 .block = malloc(LIST_BLOCK)};
	qstore_status status = list.block ? QSTORE_OK : qs_no_memory(error);
	archive_read_support_format_tar(archive);
	archive_read_set_callback_data(archive, &list);
	archive_read_set_read_callback(archive, read_block);
	archive_read_set_skip_callback(archive, skip_bytes);
	if (!status && archive_read_open1(archive) != ARCHIVE_OK)
		status = fail_list(&list, path, archive, error);
	if (!status)
		status = list_members(archive, &list, path, take, user, error);
	archive_read_free(archive);
	free(list.block);
	return status;
}

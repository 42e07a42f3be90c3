/* Writing and listing the tar file around index and payload, through libarchive. All members have mode 0644,
 * no owner and no time. */
#ifndef QS_TAR_H
#define QS_TAR_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"

/* Returns the bytes that data or a header take with their padding: whole blocks of 512 bytes. */
static inline uint64_t qs_tar_padded(uint64_t size)
{
	return (size + 511) / 512 * 512;
}

/* Sets *header_size to the bytes of the headers, extended ones included, that libarchive writes for a member.
 */
qstore_status qs_tar_header_size(const char *name, uint64_t size, uint64_t *header_size, qstore_error *error);

/* Sets *trailer_size to the bytes that libarchive writes at the end of an archive. */
qstore_status qs_tar_trailer_size(uint64_t *trailer_size, qstore_error *error);

typedef struct qs_tar_writer qs_tar_writer;

/* Creates a writer to fd, whose offset must be 0. path is for messages, and must outlive the writer. Destroy
 * the writer after errors too. */
qstore_status qs_tar_writer_create(qs_tar_writer **writer, int fd, const char *path, qstore_error *error);

/* Starts a member. Its data must begin at byte data_offset of the archive, as planned. */
qstore_status qs_tar_writer_member(qs_tar_writer *writer, const char *name, uint64_t size,
                                   uint64_t data_offset, qstore_error *error);
qstore_status qs_tar_writer_data(qs_tar_writer *writer, const void *src, size_t size, qstore_error *error);

/* Ends the last member and the archive, which must then have archive_size bytes. */
qstore_status qs_tar_writer_finish(qs_tar_writer *writer, uint64_t archive_size, qstore_error *error);
void qs_tar_writer_destroy(qs_tar_writer *writer);

/* Reads bytes of a tar archive. */
typedef qstore_status qs_tar_read(void *user, uint64_t offset, size_t size, void *dst, qstore_error *error);

/* Fails with CORRUPT if bytes [from, to), which are between two members or behind the last one, are not all
 * zero. */
qstore_status qs_tar_check_zeros(const char *name, uint64_t from, uint64_t to, qs_tar_read *read, void *user,
                                 qstore_error *error);

/* A member as its header says. */
typedef struct qs_tar_member {
	const char *name;
	uint64_t size, data_offset; /* bytes */
	int is_ours; /* as qs_tar_writer writes it: a regular file of mode 0644, no owner, no time */
} qs_tar_member;

typedef qstore_status qs_tar_take(void *user, const qs_tar_member *member, qstore_error *error);

/* Calls `take` for each member of an archive, in order. The archive is bytes [begin, end) of what `read`
 * gives; members' data are skipped. name: for messages. Fails with CORRUPT if the archive is no good tar
 * file, if bytes between the members or behind the last one are not zero, or if there are headers of other
 * kinds than qs_tar_writer writes. */
qstore_status qs_tar_list(const char *name, uint64_t begin, uint64_t end, qs_tar_read *read, void *read_user,
                          qs_tar_take *take, void *user, qstore_error *error);

#endif

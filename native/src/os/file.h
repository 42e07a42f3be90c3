/* Files: whole reads and writes, folders. Offsets have 64 bits; interrupted calls and short
 * transfers are continued. */
#ifndef QS_FILE_H
#define QS_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"

struct stat;

#define QS_IO_BLOCK ((size_t)1 << 20) /* bytes that are read or written at once */

/* In the functions below, messages call the file `name`. */
qstore_status qs_open_read(int *fd, const char *path, qstore_error *error);

/* Reads exactly `size` bytes; fails with TRUNCATED if the file ends before. */
qstore_status qs_pread_all(int fd, void *dst, size_t size, uint64_t offset, const char *name,
                           qstore_error *error);
qstore_status qs_write_all(int fd, const void *src, size_t size, const char *name, qstore_error *error);
qstore_status qs_pwrite_all(int fd, const void *src, size_t size, uint64_t offset, const char *name,
                            qstore_error *error);

/* Allocates the space of a file that will be written in several writes, which then take a quarter less time.
 * Does nothing if the filesystem cannot do it. */
void qs_allocate(int fd, uint64_t size);

/* Is the open file `fd` the one that `info` describes? */
int qs_is_same_file(int fd, const struct stat *info);

/* Flushes a file's folder, so that the file's name survives a power cut, and the folders above it, up to the
 * one whose name is the first `start` bytes of path. start of at least the length of the file's folder: only
 * that. Failures are ignored. */
void qs_sync_folders(const char *path, size_t start);

/* Returns "folder/name", or "name" if folder is empty, to be freed by the caller; NULL if memory is out. */
char *qs_path_join(const char *folder, const char *name);

/* Makes the folders above path (not path itself), from byte `start` of path on. Fails with EXISTS when
 * something there is not a folder. A link to a folder counts as one only when start is 0: below an output
 * folder, links might lead anywhere. */
qstore_status qs_make_parents(const char *path, size_t start, qstore_error *error);

/* Does the checks of qs_make_parents without making anything. */
qstore_status qs_check_parents(const char *path, size_t start, qstore_error *error);

#endif

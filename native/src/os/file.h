/* Files: whole reads and writes, temporary files, folders. Offsets have 64 bits; interrupted calls and short
 * transfers are continued. */
#ifndef QS_FILE_H
#define QS_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"

#define QS_IO_BLOCK ((size_t)1 << 20) /* bytes that are read or written at once */

/* In the functions below, messages call the file `name`. */
qstore_status qs_open_read(int *fd, const char *path, qstore_error *error);

/* Reads exactly size bytes; TRUNCATED when the file ends before. */
qstore_status qs_pread_all(int fd, void *dst, size_t size, uint64_t offset, const char *name,
                           qstore_error *error);
qstore_status qs_write_all(int fd, const void *src, size_t size, const char *name, qstore_error *error);
qstore_status qs_pwrite_all(int fd, const void *src, size_t size, uint64_t offset, const char *name,
                            qstore_error *error);

/* Allocates the space of a file that will be written in pieces, which then take a quarter less of the
 * kernel's time. Where the filesystem cannot do it, nothing happens. */
void qs_allocate(int fd, uint64_t size);

/* Creates a file named path + ".tmp-" + 12 random characters, open for reading and writing, with the
 * permissions of any new file. *temp_path is malloc'd. */
qstore_status qs_temp_create(int *fd, char **temp_path, const char *path, qstore_error *error);

/* Creates a file without a name, on the filesystem of path. It is gone when it is closed, whatever happens.
 */
qstore_status qs_spool_create(int *fd, const char *path, qstore_error *error);

/* Gives a finished file its name. Without force, EXISTS when the name is taken, even if that happened
 * meanwhile. */
qstore_status qs_temp_rename(const char *temp_path, const char *path, int force, qstore_error *error);

/* Flushes a file's folder, so that the file's name survives a power cut. Failures are ignored. */
void qs_sync_folder(const char *path);

/* "folder/name", malloc'd; "name" when folder is empty. NULL when out of memory. */
char *qs_path_join(const char *folder, const char *name);

/* Makes the folders above path (not path itself), from byte `start` of path on. Fails with EXISTS when
 * something there is not a folder. A link to a folder counts as one only when start is 0: below an output
 * folder, links might lead anywhere. */
qstore_status qs_make_parents(const char *path, size_t start, qstore_error *error);

/* Checks the same without making anything. */
qstore_status qs_check_parents(const char *path, size_t start, qstore_error *error);

#endif

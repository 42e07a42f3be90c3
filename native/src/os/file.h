/* Files: whole reads and writes, temporary files, SHA-256. 64-bit offsets; EINTR and short transfers are
 * dealt with. */
#ifndef QS_IO_H
#define QS_IO_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"

#define QS_IO_BLOCK ((size_t)1 << 20)

/* `name` is what messages call the file. */
qstore_status qs_open_read(int *fd, const char *path, qstore_error *error);

/* Exactly size bytes; TRUNCATED when the file ends before. */
qstore_status qs_pread_all(int fd, void *dst, size_t size, uint64_t offset, const char *name,
                           qstore_error *error);
qstore_status qs_write_all(int fd, const void *src, size_t size, const char *name, qstore_error *error);
qstore_status qs_pwrite_all(int fd, const void *src, size_t size, uint64_t offset, const char *name,
                            qstore_error *error);

/* Room for all of a file that will be written in pieces: these take a quarter less of the kernel's time then.
 * A filesystem that cannot do that does not matter. */
void qs_allocate(int fd, uint64_t size);

/* A new file `path` + ".tmp-" + 12 random characters, open for reading and writing, with the permissions of
 * any new file. *temp_path is malloc'd. */
qstore_status qs_temp_create(int *fd, char **temp_path, const char *path, qstore_error *error);

/* A new file without a name, beside path: gone when it is closed, whatever happens. */
qstore_status qs_spool_create(int *fd, const char *path, qstore_error *error);

/* Gives a finished file its name. Without force an existing one is EXISTS (also when it appeared meanwhile).
 */
qstore_status qs_temp_rename(const char *temp_path, const char *path, int force, qstore_error *error);

/* Flushes a file's folder, so that the name survives a power cut; failures do not matter. */
void qs_sync_folder(const char *path);

/* malloc'd "a/b"; NULL when out of memory. */
char *qs_path_join(const char *folder, const char *name);

/* Makes the folders above path (not path itself), from byte `start` of it on. What exists there already and
 * is not a folder is EXISTS; so is a link to one, unless start is 0: below an output folder links may lead
 * anywhere.
 */
qstore_status qs_make_parents(const char *path, size_t start, qstore_error *error);

/* The same check without making anything. */
qstore_status qs_check_parents(const char *path, size_t start, qstore_error *error);

#endif

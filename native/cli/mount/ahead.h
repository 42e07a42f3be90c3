/* Decoding ahead of programs that read a file from its beginning to its end: the kernel asks for at most 128
 * KiB or so at a time, which keeps one core busy. */
#ifndef QSTORE_MOUNT_AHEAD_H
#define QSTORE_MOUNT_AHEAD_H

#include <qstore.h>

typedef struct read_ahead read_ahead;

/* Starts n_threads threads, which decode up to `window` bytes ahead of a reader. The archive must outlive it.
 * NULL: there is no memory, or a thread cannot be started. */
read_ahead *read_ahead_create(const qstore_archive *archive, unsigned n_threads, uint64_t window);
void read_ahead_destroy(read_ahead *ahead); /* NULL is allowed */

/* Tells the threads that a program reads bytes [offset, offset + size) of a file of file_size bytes. */
void read_ahead_note(read_ahead *ahead, uint32_t file, uint64_t file_size, uint64_t offset, uint64_t size);

#endif

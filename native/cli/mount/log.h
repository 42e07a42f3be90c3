/* One line for each fault of a mounted archive, however often programs run into it. */
#ifndef QSTORE_MOUNT_LOG_H
#define QSTORE_MOUNT_LOG_H

#include <pthread.h>
#include <stdint.h>

/* Faults that are remembered; later ones are logged each time. */
#define MOUNT_LOG_MAX 1024

typedef struct mount_log {
	int to_system; /* to syslog, instead of standard error */
	const char *name;
	pthread_mutex_t lock;         /* of the fields below */
	uint64_t seen[MOUNT_LOG_MAX]; /* hashes of lines */
	unsigned n_seen;
} mount_log;

/* name: the program's, at the beginning of each line. */
void mount_log_init(mount_log *log, const char *name);

/* Logs the line unless it was logged before. */
void mount_log_add(mount_log *log, const char *line);

#endif

#include "log.h"

#include <stdio.h>
#include <syslog.h>

void mount_log_init(mount_log *log, const char *name)
{
	*log = (mount_log){.name = name};
	pthread_mutex_init(&log->lock, NULL);
}

/* FNV-1a, 64 bits (Fowler, Noll and Vo). */
static uint64_t hash_line(const char *line)
{
	uint64_t hash = 0xcbf29ce484222325u;
	for (; *line; line++)
		hash = (hash ^ (unsigned char)*line) * 0x100000001b3u;
	return hash;
}

void mount_log_add(mount_log *log, const char *line)
{
	uint64_t hash = hash_line(line);
	pthread_mutex_lock(&log->lock);
	unsigned i = 0;
	while (i < log->n_seen && log->seen[i] != hash)
		i++;
	int is_new = i == log->n_seen;
	if (is_new && i < MOUNT_LOG_MAX)
		log->seen[log->n_seen++] = hash;
	if (is_new && log->to_system)
		syslog(LOG_ERR, "%s", line);
	else if (is_new)
		fprintf(stderr, "%s: %s\n", log->name, line);
	pthread_mutex_unlock(&log->lock);
}

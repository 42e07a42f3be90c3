#include "source.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"
#include "os/file.h"

qstore_status qs_source_open_file(qs_source *source, const char *path, qstore_error *error)
{
	struct stat info;
	*source = (qs_source){.name = path, .fd = -1};
	qstore_status status = qs_open_read(&source->fd, path, error);
	if (status)
		return status;
	if (fstat(source->fd, &info) != 0 || !S_ISREG(info.st_mode))
		return qs_fail(error, QSTORE_NOT_QSTORE, "%s: not a qstore archive: not a regular file", path);
	source->size = (uint64_t)info.st_size;
	return QSTORE_OK;
}

qstore_status qs_source_open_caller(qs_source *source, const char *name, const qstore_source *caller,
                                    qstore_error *error)
{
	*source = (qs_source){.name = name, .fd = -1, .caller = *caller, .size = caller->size};
	if (!caller->read)
		return qs_fail(error, QSTORE_USAGE, "%s: the source has no read callback", name);
	if (caller->is_serial && !(source->lock = malloc(sizeof(*source->lock))))
		return qs_no_memory(error);
	if (source->lock)
		pthread_mutex_init(source->lock, NULL);
	return QSTORE_OK;
}

void qs_source_close(qs_source *source)
{
	if (source->fd >= 0)
		close(source->fd);
	if (source->caller.close)
		source->caller.close(source->caller.user);
	if (source->lock)
		pthread_mutex_destroy(source->lock);
	free(source->lock);
}

static qstore_status call_back(const qs_source *source, uint64_t offset, size_t size, void *dst,
                               qstore_error *error)
{
	qstore_error own = {QSTORE_OK, ""};
	if (source->lock)
		pthread_mutex_lock(source->lock);
	qstore_status status = source->caller.read(source->caller.user, offset, size, dst, &own);
	if (source->lock)
		pthread_mutex_unlock(source->lock);
	if (!status)
		return QSTORE_OK;
	own.text[sizeof(own.text) - 1] = 0;
	return qs_fail(error, status, "%s: cannot read %zu bytes from byte %llu on: %s", source->name, size,
	               (unsigned long long)offset, own.text[0] ? own.text : qstore_status_message(status));
}

qstore_status qs_source_read(const qs_source *source, uint64_t offset, size_t size, void *dst,
                             qstore_error *error)
{
	if (size == 0)
		return QSTORE_OK;
	if (offset > source->size || size > source->size - offset)
		return qs_fail(error, QSTORE_TRUNCATED, "%s: ends too early: it has %llu bytes", source->name,
		               (unsigned long long)source->size);
	return source->fd >= 0 ? qs_pread_all(source->fd, dst, size, offset, source->name, error)
	                       : call_back(source, offset, size, dst, error);
}

#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The largest single transfer. Some systems refuse more than 2^31 - 1 bytes. */
#define TRANSFER_MAX ((size_t)1 << 30)

qstore_status qs_open_read(int *fd, const char *path, qstore_error *error)
{
	do
		*fd = open(path, O_RDONLY | O_CLOEXEC);
	while (*fd < 0 && errno == EINTR);
	if (*fd < 0)
		return qs_fail(error, QSTORE_IO, "%s: cannot open: %s", path, strerror(errno));
	return QSTORE_OK;
}

qstore_status qs_pread_all(int fd, void *dst, size_t size, uint64_t offset, const char *name,
                           qstore_error *error)
{
	uint8_t *p = dst;
	if (offset > (uint64_t)INT64_MAX - size)
		return qs_fail(error, QSTORE_TRUNCATED, "%s: ends too early", name);
	while (size > 0) {
		ssize_t n = pread(fd, p, size < TRANSFER_MAX ? size : TRANSFER_MAX, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return qs_fail(error, QSTORE_IO, "%s: cannot read: %s", name, strerror(errno));
		if (n == 0)
			return qs_fail(error, QSTORE_TRUNCATED, "%s: ends too early, at byte %llu", name,
			               (unsigned long long)offset);
		p += n;
		size -= (size_t)n;
		offset += (uint64_t)n;
	}
	return QSTORE_OK;
}

/* Writes at `offset`, or at the file's own position if that is negative. */
static qstore_status write_all(int fd, const uint8_t *p, size_t size, off_t offset, const char *name,
                               qstore_error *error)
{
	while (size > 0) {
		size_t most = size < TRANSFER_MAX ? size : TRANSFER_MAX;
		ssize_t n = offset < 0 ? write(fd, p, most) : pwrite(fd, p, most, offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0)
			errno = ENOSPC;
		if (n <= 0)
			return qs_fail(error, QSTORE_IO, "%s: cannot write: %s", name, strerror(errno));
		p += n;
		size -= (size_t)n;
		offset += offset < 0 ? 0 : (off_t)n;
	}
	return QSTORE_OK;
}

qstore_status qs_write_all(int fd, const void *src, size_t size, const char *name, qstore_error *error)
{
	return write_all(fd, src, size, -1, name, error);
}

qstore_status qs_pwrite_all(int fd, const void *src, size_t size, uint64_t offset, const char *name,
                            qstore_error *error)
{
	if (offset > (uint64_t)INT64_MAX - size)
		return qs_fail(error, QSTORE_LIMIT, "%s: larger than a file can be", name);
	return write_all(fd, src, size, (off_t)offset, name, error);
}

void qs_allocate(int fd, uint64_t size)
{
#ifdef __linux__
	/* posix_fallocate() would write zeros where the filesystem has no such call. */
	if (size >= QS_IO_BLOCK && size <= INT64_MAX)
		(void)!fallocate(fd, 0, 0, (off_t)size);
#else
	(void)fd;
	(void)size;
#endif
}

int qs_is_same_file(int fd, const struct stat *info)
{
	struct stat own;
	return fd >= 0 && fstat(fd, &own) == 0 && own.st_dev == info->st_dev && own.st_ino == info->st_ino;
}

static void sync_folder(const char *folder)
{
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return;
	(void)!fsync(fd);
	close(fd);
}

void qs_sync_folders(const char *path, size_t start)
{
	char *folder = strdup(path), *slash;
	if (!folder)
		return;
	do {
		slash = strrchr(folder, '/');
		if (slash)
			slash[slash == folder] = 0;
		sync_folder(slash ? folder : ".");
	} while (slash && slash != folder && (size_t)(slash - folder) > start);
	free(folder);
}

char *qs_path_join(const char *folder, const char *name)
{
	size_t folder_size = strlen(folder), size = folder_size + strlen(name) + 2;
	char *path = malloc(size);
	if (path)
		snprintf(path, size, "%s%s%s", folder, folder_size > 0 && folder[folder_size - 1] != '/' ? "/" : "",
		         name);
	return path;
}

static qstore_status parents(const char *path, size_t start, int make, qstore_error *error)
{
	char *folder = strdup(path);
	if (!folder)
		return qs_no_memory(error);
	qstore_status status = QSTORE_OK;
	for (char *p = folder + start; *p != 0 && !status; p++) {
		struct stat info;
		if (*p != '/' || p == folder)
			continue;
		*p = 0;
		if (!make || mkdir(folder, 0777) != 0) {
			int reason = errno;
			if ((start == 0 ? stat(folder, &info) : lstat(folder, &info)) == 0) {
				if (!S_ISDIR(info.st_mode))
					status = qs_fail(error, QSTORE_EXISTS, "%s: exists and is not a folder", folder);
			} else if (make) {
				status =
				    qs_fail(error, QSTORE_IO, "%s: cannot create the folder: %s", folder, strerror(reason));
			} else {
				break; /* the folder does not exist, so nothing below it does */
			}
		}
		*p = '/';
	}
	free(folder);
	return status;
}

qstore_status qs_make_parents(const char *path, size_t start, qstore_error *error)
{
	return parents(path, start, 1, error);
}

qstore_status qs_check_parents(const char *path, size_t start, qstore_error *error)
{
	return parents(path, start, 0, error);
}

#include "source.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/array.h"
#include "os/file.h"
#include "os/temp.h"

struct pack_source_file {
	pack_source source;
	const char *path;
	int fd;
	uint64_t size;
	struct timespec mtime;
};

static struct timespec modification_time(const struct stat *info)
{
#ifdef __APPLE__
	return info->st_mtimespec;
#else
	return info->st_mtim;
#endif
}

static qstore_status fail_changed(const char *path, qstore_error *error)
{
	return qs_fail(error, QSTORE_INPUT, "%s: changed while it was read; pack again when nothing writes to it",
	               path);
}

static qstore_status read_source_file(void *state, void *dst, size_t size, uint64_t offset,
                                      qstore_error *error)
{
	const pack_source_file *file = state;
	qstore_status status = qs_pread_all(file->fd, dst, size, offset, file->path, error);
	return status == QSTORE_TRUNCATED ? fail_changed(file->path, error) : status;
}

qstore_status pack_open_source(pack_sources *sources, qs_arena *arena, const char *path, uint64_t size,
                               const pack_source **opened, qstore_error *error)
{
	pack_source_file *file = qs_arena_alloc(arena, sizeof(*file));
	pack_source_file **slot = file ? qs_array_add(&sources->files, &sources->n_files, sizeof(*slot)) : NULL;
	struct stat info;
	if (!slot)
		return qs_no_memory(error);
	*slot = file;
	*file = (pack_source_file){.source = {read_source_file, file}, .path = path, .fd = -1, .size = size};
	qstore_status status = qs_open_read(&file->fd, path, error);
	if (status)
		return status;
	if (fstat(file->fd, &info) != 0 || (uint64_t)info.st_size != size)
		return fail_changed(path, error);
	file->mtime = modification_time(&info);
#ifdef POSIX_FADV_SEQUENTIAL
	/* Each pass reads a file front to back. */
	(void)posix_fadvise(file->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
#endif
	*opened = &file->source;
	return QSTORE_OK;
}

qstore_status pack_check_sources(const pack_sources *sources, qstore_error *error)
{
	for (size_t i = 0; i < sources->n_files; i++) {
		const pack_source_file *file = sources->files[i];
		struct stat info = {0};
		int failed = fstat(file->fd, &info) != 0;
		struct timespec mtime = modification_time(&info);
		if (failed || (uint64_t)info.st_size != file->size || mtime.tv_sec != file->mtime.tv_sec ||
		    mtime.tv_nsec != file->mtime.tv_nsec)
			return fail_changed(file->path, error);
	}
	return QSTORE_OK;
}

int pack_is_source(const pack_sources *sources, const struct stat *file)
{
	for (size_t i = 0; i < sources->n_files; i++) {
		if (qs_is_same_file(sources->files[i]->fd, file))
			return 1;
	}
	return 0;
}

void pack_close_sources(pack_sources *sources)
{
	for (size_t i = 0; i < sources->n_files; i++)
		if (sources->files[i]->fd >= 0)
			close(sources->files[i]->fd);
	free(sources->files);
	*sources = (pack_sources){0};
}

/* ---- Spools ---- */

static qstore_status read_spool(void *state, void *dst, size_t size, uint64_t offset, qstore_error *error)
{
	const pack_spool *spool = state;
	return qs_pread_all(spool->fd, dst, size, offset, spool->output, error);
}

qstore_status pack_open_spool(pack_spool *spool, const char *output, qstore_error *error)
{
	*spool = (pack_spool){.source = {read_spool, spool}, .fd = -1, .output = output};
	return qs_spool_create(&spool->fd, output, error);
}

void pack_close_spool(pack_spool *spool)
{
	if (spool->source.read && spool->fd >= 0)
		close(spool->fd);
	*spool = (pack_spool){0};
}

uint64_t pack_spool_reserve(pack_spool *spool, uint64_t size)
{
	uint64_t offset = spool->size;
	spool->size += size;
	return offset;
}

qstore_status pack_spool_write(const pack_spool *spool, const void *src, size_t size, uint64_t offset,
                               qstore_error *error)
{
	return qs_pwrite_all(spool->fd, src, size, offset, spool->output, error);
}

qstore_status pack_spool_append(pack_spool *spool, const void *src, size_t size, uint64_t *offset,
                                qstore_error *error)
{
	*offset = pack_spool_reserve(spool, size);
	return pack_spool_write(spool, src, size, *offset, error);
}

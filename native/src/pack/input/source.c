/* Reading what is packed. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "pack/pack.h"

qstore_status pack_no_memory(qs_error *error)
{
	return qs_fail(error, QSTORE_MEMORY, "out of memory");
}

int pack_is_cancelled(const packer *p)
{
	return p->options->work.cancel && *p->options->work.cancel;
}

void pack_phase(packer *p, const char *phase, uint64_t total)
{
	p->progress = (qstore_progress){phase, 0, total};
	pack_advance(p, 0);
}

void pack_advance(packer *p, uint64_t bytes)
{
	const qstore_work *work = &p->options->work;
	pthread_mutex_lock(&p->progress_lock);
	p->progress.done += bytes;
	if (work->on_progress)
		work->on_progress(work->user, &p->progress);
	pthread_mutex_unlock(&p->progress_lock);
}

static qstore_status append_source(packer *p, pack_source source, uint32_t *number, qs_error *error)
{
	pack_source *larger = realloc(p->sources, (p->n_sources + 1) * sizeof(*larger));
	if (!larger)
		return pack_no_memory(error);
	p->sources = larger;
	*number = (uint32_t)p->n_sources;
	p->sources[p->n_sources++] = source;
	return QSTORE_OK;
}

static struct timespec modified(const struct stat *info)
{
#ifdef __APPLE__
	return info->st_mtimespec;
#else
	return info->st_mtim;
#endif
}

qstore_status pack_add_source(packer *p, const char *path, uint64_t size, uint32_t *number, qs_error *error)
{
	pack_source source = {.path = path, .fd = -1, .is_input = 1, .size = size};
	struct stat info;
	qstore_status status = append_source(p, source, number, error);
	if (status)
		return status;
	pack_source *added = &p->sources[*number];
	status = qs_open_read(&added->fd, path, error);
	if (status)
		return status;
	if (fstat(added->fd, &info) != 0 || (uint64_t)info.st_size != size)
		return qs_fail(error, QSTORE_INPUT, "%s: changed while it was read", path);
	added->mtime = modified(&info);
#ifdef POSIX_FADV_SEQUENTIAL
	/* Each pass reads a file front to back. */
	(void)posix_fadvise(added->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
#endif
	return QSTORE_OK;
}

qstore_status pack_read(const packer *p, uint32_t source, void *dst, size_t size, uint64_t offset,
                        qs_error *error)
{
	const pack_source *s = &p->sources[source];
	if (s->fd < 0)
		return pack_base_read(p, s->file, dst, size, offset, error);
	qstore_status status = qs_pread_all(s->fd, dst, size, offset, s->path, error);
	if (status == QSTORE_TRUNCATED)
		return qs_fail(error, QSTORE_INPUT, "%s: changed while it was read", s->path);
	return status;
}

qstore_status pack_check_sources(const packer *p, qs_error *error)
{
	for (size_t i = 0; i < p->n_sources; i++) {
		const pack_source *s = &p->sources[i];
		struct stat info = {0};
		if (!s->is_input)
			continue;
		int failed = fstat(s->fd, &info) != 0;
		struct timespec mtime = modified(&info);
		if (failed || (uint64_t)info.st_size != s->size || mtime.tv_sec != s->mtime.tv_sec ||
		    mtime.tv_nsec != s->mtime.tv_nsec)
			return qs_fail(error, QSTORE_INPUT, "%s: changed while it was read", s->path);
	}
	return QSTORE_OK;
}

qstore_status pack_generate(packer *p, const void *src, size_t size, uint64_t *offset, qs_error *error)
{
	if (p->generated == QS_NONE) {
		pack_source source = {.path = p->options->output, .fd = -1};
		qstore_status status = append_source(p, source, &p->generated, error);
		if (!status)
			status = qs_spool_create(&p->sources[p->generated].fd, p->options->output, error);
		if (status)
			return status;
	}
	*offset = p->generated_size;
	p->generated_size += size;
	return qs_pwrite_all(p->sources[p->generated].fd, src, size, *offset, p->options->output, error);
}

const char *pack_keep(packer *p, char *text)
{
	char **larger = realloc(p->texts, (p->n_texts + 1) * sizeof(*larger));
	if (larger)
		p->texts = larger;
	if (!larger || !text) {
		free(text);
		return NULL;
	}
	p->texts[p->n_texts++] = text;
	return text;
}

qstore_status pack_add_file(packer *p, pack_file **added, qs_error *error)
{
	pack_file *larger = realloc(p->files, (p->n_files + 1) * sizeof(*larger));
	if (!larger)
		return pack_no_memory(error);
	p->files = larger;
	*added = &p->files[p->n_files++];
	memset(*added, 0, sizeof(**added));
	(*added)->literal = QS_NONE;
	return QSTORE_OK;
}

qstore_status pack_add_base_source(packer *p, uint32_t file, uint64_t size, uint32_t *number, qs_error *error)
{
	return append_source(p, (pack_source){.path = p->options->base, .fd = -1, .file = file, .size = size},
	                     number, error);
}

uint64_t pack_gap_offset(const pack_file *file, uint64_t at)
{
	return file->is_padded && at >= file->gaps.size ? file->padding : file->gaps.offset + at;
}

qstore_status pack_add_small(packer *p, pack_small **added, qs_error *error)
{
	pack_small *larger = realloc(p->smalls, (p->n_smalls + 1) * sizeof(*larger));
	if (!larger)
		return pack_no_memory(error);
	p->smalls = larger;
	*added = &p->smalls[p->n_smalls++];
	memset(*added, 0, sizeof(**added));
	return QSTORE_OK;
}

#include "pipe.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIPE_NAME "standard input"
#define PIPE_BLOCK ((size_t)1 << 20) /* bytes that are read at once */

/* The bytes of standard input that have been read. */
typedef struct spool {
	int fd; /* of the temporary file; −1: none yet */
	uint64_t size;
	int is_complete; /* standard input has ended */
	char *block;
} spool;

static qstore_status fail(qstore_error *error, const char *what)
{
	snprintf(error->text, sizeof(error->text), PIPE_NAME ": %s: %s", what, strerror(errno));
	return error->status = QSTORE_IO;
}

static qstore_status create(spool *s, qstore_error *error)
{
	const char *folder = getenv("TMPDIR");
	char path[4096];
	snprintf(path, sizeof(path), "%s/qstore-XXXXXX", folder && *folder ? folder : "/tmp");
	s->block = malloc(PIPE_BLOCK);
	s->fd = s->block ? mkstemp(path) : -1;
	if (s->fd < 0)
		return fail(error, "cannot create a temporary file");
	unlink(path);
	return QSTORE_OK;
}

/* Adds a block to the temporary file. */
static qstore_status keep(spool *s, size_t size, qstore_error *error)
{
	for (size_t at = 0; at < size;) {
		ssize_t n = write(s->fd, s->block + at, size - at);
		if (n < 0 && errno != EINTR)
			return fail(error, "cannot write a temporary file");
		at += n < 0 ? 0 : (size_t)n;
	}
	s->size += size;
	return QSTORE_OK;
}

/* Reads standard input until there are `size` bytes of it, or it ends. */
static qstore_status fill(spool *s, uint64_t size, qstore_error *error)
{
	while (s->size < size && !s->is_complete) {
		uint64_t left = size - s->size;
		ssize_t n = read(STDIN_FILENO, s->block, left < PIPE_BLOCK ? (size_t)left : PIPE_BLOCK);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail(error, "cannot read");
		s->is_complete = n == 0;
		qstore_status status = keep(s, (size_t)n, error);
		if (status)
			return status;
	}
	return QSTORE_OK;
}

static qstore_status read_spool(void *user, uint64_t offset, size_t size, void *dst, qstore_error *error)
{
	spool *s = user;
	qstore_status status = fill(s, offset + size, error);
	if (status)
		return status;
	for (size_t at = 0; at < size;) {
		ssize_t n = pread(s->fd, (char *)dst + at, size - at, (off_t)(offset + at));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? fail(error, "cannot read a temporary file") : QSTORE_TRUNCATED;
		at += (size_t)n;
	}
	return QSTORE_OK;
}

static void close_spool(void *user)
{
	spool *s = user;
	if (s->fd >= 0)
		close(s->fd);
	free(s->block);
	free(s);
}

/* The bytes of the archive that hold what is wanted of it. */
static qstore_status wanted_size(const qstore_archive *archive, const char *precision, uint64_t *size,
                                 qstore_error *error)
{
	qstore_archive_info info;
	qstore_variant_info variant;
	uint32_t number;
	qstore_get_info(archive, &info);
	*size = info.archive_size;
	if (strcmp(precision, "all") == 0)
		return QSTORE_OK;
	qstore_status status = qstore_find_variant(archive, precision, &number, error);
	if (status)
		return status;
	qstore_get_variant(archive, number, &variant);
	*size = variant.prefix_size;
	return QSTORE_OK;
}

qstore_status cli_open(const char *path, const char *precision, qstore_archive **archive, qstore_error *error)
{
	*archive = NULL;
	if (strcmp(path, "-") != 0)
		return qstore_open(path, archive, error);
	spool *s = calloc(1, sizeof(*s));
	if (!s) {
		*error = (qstore_error){QSTORE_MEMORY, PIPE_NAME ": out of memory"};
		return QSTORE_MEMORY;
	}
	qstore_status status = create(s, error);
	/* The index is read as if the input had no end. Once it is known how much is wanted, and there, the
	 * archive is opened again with its size. */
	qstore_source source = {.struct_size = sizeof(source),
	                        .name = PIPE_NAME,
	                        .size = INT64_MAX,
	                        .read = read_spool,
	                        .user = s,
	                        .is_serial = 1};
	qstore_archive *index = NULL;
	uint64_t size = 0;
	if (!status)
		status = qstore_open_source(&source, &index, error);
	if (!status)
		status = wanted_size(index, precision, &size, error);
	qstore_close(index);
	if (!status)
		status = fill(s, size, error);
	if (status && !s->is_complete) {
		close_spool(s);
		return status;
	}
	source.size = s->size;
	source.close = close_spool;
	source.is_serial = 0;
	return qstore_open_source(&source, archive, error);
}

#include "escape.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "error.h"
#include "os/file.h"

#define PART_MAX 255 /* bytes of a name within its folder: Linux's limit */

/* True for the names that Windows has for devices, with any ending. */
static int is_device(const char *part, size_t size)
{
	static const char *const names[] = {"con", "prn", "aux", "nul", "conin$", "conout$"};
	size_t stem = 0;
	while (stem < size && part[stem] != '.')
		stem++;
	while (stem > 0 && part[stem - 1] == ' ')
		stem--;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (stem == strlen(names[i]) && strncasecmp(part, names[i], stem) == 0)
			return 1;
	if (stem < 4 || (strncasecmp(part, "com", 3) != 0 && strncasecmp(part, "lpt", 3) != 0))
		return 0;
	if (stem == 4)
		return part[3] >= '0' && part[3] <= '9';
	/* Windows takes the superscripts 1, 2 and 3 for digits, which have two bytes in UTF-8. */
	return stem == 5 && (memcmp(part + 3, "\xc2\xb9", 2) == 0 || memcmp(part + 3, "\xc2\xb2", 2) == 0 ||
	                     memcmp(part + 3, "\xc2\xb3", 2) == 0);
}

static int is_escaped(const char *part, size_t size, size_t at)
{
	unsigned char c = (unsigned char)part[at];
	return c < 0x20 || c == 0x7f || strchr("\\:*?\"<>|", c) || (at == 0 && is_device(part, size)) ||
	       (at + 1 == size && (c == '.' || c == ' '));
}

static int needs_escape(const char *part, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (is_escaped(part, size, i))
			return 1;
	return 0;
}

/* FNV-1a: cut parts that began alike stay different. */
static uint32_t part_checksum(const char *part, size_t size)
{
	uint32_t hash = 0x811c9dc5;
	for (size_t i = 0; i < size; i++)
		hash = (hash ^ (unsigned char)part[i]) * 0x01000193;
	return hash;
}

/* Appends the escaped part to dst, which has room for it. Returns its end. */
static char *escape_part(const char *part, size_t size, char *dst)
{
	static const char digits[] = "0123456789ABCDEF";
	char *begin = dst;
	int escapes = needs_escape(part, size);
	for (size_t i = 0; i < size; i++) {
		unsigned char c = (unsigned char)part[i];
		if (escapes && (c == '%' || is_escaped(part, size, i))) {
			*dst++ = '%';
			*dst++ = digits[c >> 4];
			*dst++ = digits[c & 15];
		} else {
			*dst++ = (char)c;
		}
	}
	if (dst - begin <= PART_MAX)
		return dst;
	dst = begin + PART_MAX - 9;
	while (((unsigned char)*dst & 0xc0) == 0x80) /* not within a character */
		dst--;
	for (size_t i = 1; i <= 2; i++) /* nor within an escape */
		if (escapes && dst[-(ptrdiff_t)i] == '%') {
			dst -= i;
			break;
		}
	return dst + snprintf(dst, 10, "~%08x", (unsigned)part_checksum(part, size));
}

char *qs_escape_name(const char *name)
{
	/* An escape takes three bytes. */
	char *escaped = malloc(3 * strlen(name) + 16), *dst = escaped;
	if (!escaped)
		return NULL;
	for (;;) {
		size_t size = strcspn(name, "/");
		dst = escape_part(name, size, dst);
		name += size;
		if (*name == 0)
			break;
		*dst++ = *name++;
	}
	*dst = 0;
	return escaped;
}

/* Can a file of this name be created in the folder? It is removed again. */
static int can_create(const char *folder, const char *name)
{
	char *path = qs_path_join(folder, name);
	int fd = -1;
	if (path && !qs_make_parents(path, strlen(folder) + 1, NULL))
		fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd >= 0) {
		close(fd);
		unlink(path);
	}
	free(path);
	return fd >= 0;
}

qstore_status qs_escape_outputs(const qstore_archive *archive, qs_output *outputs, size_t n_outputs,
                                const char *folder, const qstore_work *work, int *changed,
                                qstore_error *error)
{
	*changed = 0;
	for (size_t i = 0; i < n_outputs; i++) {
		char *name = outputs[i].name, *escaped = qs_escape_name(name);
		if (!escaped)
			return qs_no_memory(error);
		if (strcmp(escaped, name) == 0 || can_create(folder, name) || !can_create(folder, escaped)) {
			free(escaped);
			continue;
		}
		qs_warn(work, "%s: file %.300s: this system does not allow the name; it is restored as %.300s",
		        archive->path, name, escaped);
		free(name);
		outputs[i].name = escaped;
		*changed = 1;
	}
	return QSTORE_OK;
}

#include "temp.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file.h"
#include "sha256.h"

#define HOST_DIGITS 8
#define RANDOM_SIZE 12
#define NAME_MAX_SIZE (sizeof(QS_TEMP_PREFIX) + HOST_DIGITS + 1 + 20 + 1 + RANDOM_SIZE)
#define ATTEMPTS 100

int qs_temp_is_name(const char *name)
{
	return strncmp(name, QS_TEMP_PREFIX, sizeof(QS_TEMP_PREFIX) - 1) == 0;
}

/* ---- Names ---- */

static void random_text(char text[RANDOM_SIZE + 1])
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz234567";
	uint8_t bytes[RANDOM_SIZE];
	if (getentropy(bytes, sizeof(bytes)) != 0) {
		/* Names need not be random to be safe, since files are created exclusively. */
		for (size_t i = 0; i < sizeof(bytes); i++)
			bytes[i] = (uint8_t)((unsigned long)getpid() >> i);
	}
	for (size_t i = 0; i < sizeof(bytes); i++)
		text[i] = letters[bytes[i] & 31];
	text[RANDOM_SIZE] = 0;
}

/* Says where process numbers have the meaning that they have here. A folder may be shared by machines, and by
 * containers. Returns 0 if it cannot be found out. */
static int host_text(char text[HOST_DIGITS + 1])
{
	char machine[256] = {0}, name[256] = {0}, space[256] = {0};
	uint8_t digest[32];
	FILE *file = fopen("/etc/machine-id", "re");
	if (file) {
		size_t size = fread(machine, 1, sizeof(machine) - 1, file);
		machine[size] = 0;
		machine[strcspn(machine, "\n")] = 0;
		fclose(file);
	}
	if (gethostname(name, sizeof(name) - 1) != 0)
		return 0;
	ssize_t size = readlink("/proc/self/ns/pid", space, sizeof(space) - 1);
	space[size > 0 ? size : 0] = 0;
	qs_sha256 *sha256 = qs_sha256_create();
	int good = sha256 && qs_sha256_update(sha256, machine, strlen(machine) + 1) &&
	           qs_sha256_update(sha256, name, strlen(name) + 1) &&
	           qs_sha256_update(sha256, space, strlen(space) + 1) && qs_sha256_final(sha256, digest);
	qs_sha256_destroy(sha256);
	if (good)
		qs_hex(digest, HOST_DIGITS / 2, text);
	return good;
}

/* Returns a new name in a folder, to be freed by the caller; NULL if memory is out. `folder` has
 * `folder_size` bytes, with the slash at its end if there is one. */
static char *temp_name(const char *folder, size_t folder_size)
{
	char host[HOST_DIGITS + 1], random[RANDOM_SIZE + 1];
	size_t size = folder_size + NAME_MAX_SIZE;
	char *path = malloc(size);
	if (!path || !host_text(host)) {
		free(path);
		return NULL;
	}
	random_text(random);
	snprintf(path, size, "%.*s" QS_TEMP_PREFIX "%s-%" PRIdMAX "-%s", (int)folder_size, folder, host,
	         (intmax_t)getpid(), random);
	return path;
}

/* ---- Creating ---- */

static qstore_status fail_to_create(const char *path, int reason, qstore_error *error)
{
	const char *slash = strrchr(path, '/');
	if (reason == ENOENT && slash)
		return qs_fail(error, QSTORE_IO, "%s: cannot create: there is no folder %.*s", path,
		               (int)(slash - path), path);
	return qs_fail(error, QSTORE_IO, "%s: cannot create: %s", path, strerror(reason));
}

qstore_status qs_temp_create(int *fd, char **temp_path, const char *path, qstore_error *error)
{
	const char *slash = strrchr(path, '/');
	*fd = -1;
	for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
		*temp_path = temp_name(path, slash ? (size_t)(slash + 1 - path) : 0);
		if (!*temp_path)
			return qs_no_memory(error);
		*fd = open(*temp_path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
		if (*fd >= 0)
			return QSTORE_OK;
		int reason = errno;
		free(*temp_path);
		*temp_path = NULL;
		errno = reason;
		if (reason != EEXIST && reason != EINTR)
			break;
	}
	return fail_to_create(path, errno, error);
}

qstore_status qs_temp_create_folder(char **temp_path, const char *folder, qstore_error *error)
{
	char *base = qs_path_join(folder, "");
	*temp_path = NULL;
	for (int attempt = 0; attempt < ATTEMPTS && base; attempt++) {
		*temp_path = temp_name(base, strlen(base));
		if (!*temp_path)
			break;
		if (mkdir(*temp_path, 0700) == 0) {
			free(base);
			return QSTORE_OK;
		}
		int reason = errno;
		free(*temp_path);
		*temp_path = NULL;
		if (reason != EEXIST) {
			free(base);
			return qs_fail(error, QSTORE_IO, "%s: cannot create files in it: %s", folder, strerror(reason));
		}
	}
	free(base);
	return qs_no_memory(error);
}

qstore_status qs_spool_create(int *fd, const char *path, qstore_error *error)
{
	char *temp_path;
	qstore_status status = qs_temp_create(fd, &temp_path, path, error);
	if (status)
		return status;
	unlink(temp_path);
	free(temp_path);
	return QSTORE_OK;
}

qstore_status qs_temp_rename(const char *temp_path, const char *path, int force, qstore_error *error)
{
	if (!force) {
		/* link() fails if the name is taken, while rename() would replace the file. */
		if (link(temp_path, path) == 0) {
			unlink(temp_path);
			return QSTORE_OK;
		}
		struct stat info;
		if (errno == EEXIST || lstat(path, &info) == 0)
			return qs_fail(error, QSTORE_EXISTS, "%s: exists already; replace it with --force", path);
		/* Some filesystems have no hard links. */
	}
	if (rename(temp_path, path) != 0)
		return qs_fail(error, QSTORE_IO, "%s: cannot create: %s", path, strerror(errno));
	return QSTORE_OK;
}

/* ---- Removing ---- */

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *walk)
{
	(void)info;
	(void)type;
	(void)walk;
	remove(path);
	return 0;
}

void qs_temp_remove_folder(const char *path)
{
	nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* Returns the process that made a temporary file of this name on this host; 0: another host, or no such
 * name. */
static pid_t maker(const char *name, const char *host)
{
	if (!qs_temp_is_name(name))
		return 0;
	const char *p = name + sizeof(QS_TEMP_PREFIX) - 1;
	if (strncmp(p, host, HOST_DIGITS) != 0 || p[HOST_DIGITS] != '-')
		return 0;
	p += HOST_DIGITS + 1;
	size_t digits = strspn(p, "0123456789");
	if (digits == 0 || digits > 9 || p[digits] != '-' || strlen(p + digits + 1) != RANDOM_SIZE)
		return 0;
	return (pid_t)strtol(p, NULL, 10);
}

void qs_temp_sweep(const char *folder)
{
	char host[HOST_DIGITS + 1];
	DIR *entries = host_text(host) ? opendir(folder) : NULL;
	if (!entries)
		return;
	for (const struct dirent *entry; (entry = readdir(entries));) {
		pid_t pid = maker(entry->d_name, host);
		/* A process of another user cannot be signalled, but it is there. */
		if (pid <= 0 || kill(pid, 0) == 0 || errno != ESRCH)
			continue;
		char *path = qs_path_join(folder, entry->d_name);
		if (path)
			qs_temp_remove_folder(path);
		free(path);
	}
	closedir(entries);
}

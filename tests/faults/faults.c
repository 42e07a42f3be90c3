/* A library to preload (LD_PRELOAD) that makes one call of a program to the system fail, so that tests can
 * see what the program does then.
 *
 * QSTORE_FAULT=NAME:NUMBER[:ERRNO] lets call NUMBER (from 1 on) of the function NAME fail, and all later ones
 * if the number ends in "+". `kill` as ERRNO ends the process there instead, as SIGKILL does. malloc also
 * counts calloc, realloc and aligned_alloc; write counts pwrite; read counts pread. QSTORE_FAULT_LOG=FILE
 * appends a line for each call of a function but malloc and read: its name and the path of its file. At exit
 * come lines with the number of calls of each function. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef enum call { OPEN, READ, WRITE, SYNC, RENAME, LINK, CLOSE, MALLOC, N_CALLS } call;

static const char *const names[N_CALLS] = {"open",   "read", "write", "fsync",
                                           "rename", "link", "close", "malloc"};
static unsigned long counts[N_CALLS];
static uintptr_t program_start, program_end; /* addresses of the program's code */
static long fail_at, fail_errno;
static int fail_call = -1, fails_on, kills, log_fd = -1;

/* The system's own function of this name, in `next`. */
#define NEXT(name) __typeof__(&(name)) next = (__typeof__(&(name)))dlsym(RTLD_NEXT, #name)

static void say(const char *name, const char *path)
{
	char line[4200];
	int size = snprintf(line, sizeof(line), "%s %s\n", name, path);
	NEXT(write);
	if (log_fd >= 0 && size > 0 && next(log_fd, line, (size_t)size) < 0)
		abort();
}

static int find_program(struct dl_phdr_info *info, size_t size, void *user);

__attribute__((constructor)) static void begin(void)
{
	const char *fault = getenv("QSTORE_FAULT"), *path = getenv("QSTORE_FAULT_LOG");
	NEXT(open);
	dl_iterate_phdr(find_program, NULL);
	if (path)
		log_fd = next(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
	for (int i = 0; i < N_CALLS && fault; i++) {
		size_t size = strlen(names[i]);
		if (strncmp(fault, names[i], size) != 0 || fault[size] != ':')
			continue;
		char *end;
		fail_at = strtol(fault + size + 1, &end, 10);
		fails_on = *end == '+';
		end += fails_on;
		kills = strcmp(end, ":kill") == 0;
		fail_errno = *end == ':' && !kills ? strtol(end + 1, NULL, 10) : i == MALLOC ? ENOMEM : EIO;
		fail_call = i;
	}
}

__attribute__((destructor)) static void end(void)
{
	char number[32];
	for (int i = 0; i < N_CALLS; i++) {
		snprintf(number, sizeof(number), "%lu", counts[i]);
		say(names[i], number);
	}
}

/* Counts a call. Returns 1, with errno set, if it has to fail. */
static int fails(call which)
{
	long n = (long)__atomic_add_fetch(&counts[which], 1, __ATOMIC_RELAXED);
	if ((int)which != fail_call || (fails_on ? n < fail_at : n != fail_at))
		return 0;
	if (kills)
		kill(getpid(), SIGKILL);
	errno = (int)fail_errno;
	return 1;
}

/* Calls for other things than files and folders, such as Node's own pipes, are not counted. */
static int fails_on_file(call which, int fd)
{
	char link[64], path[4096];
	struct stat info;
	if (fstat(fd, &info) != 0 || !(S_ISREG(info.st_mode) || S_ISDIR(info.st_mode)))
		return 0;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t size = log_fd >= 0 ? readlink(link, path, sizeof(path) - 1) : -1;
	if (size > 0) {
		path[size] = 0;
		say(names[which], path);
	}
	return fails(which);
}

int open(const char *path, int flags, ...)
{
	va_list more;
	va_start(more, flags);
	mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(more, mode_t) : 0;
	va_end(more);
	NEXT(open);
	return fails(OPEN) ? -1 : next(path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
	va_list more;
	va_start(more, flags);
	mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(more, mode_t) : 0;
	va_end(more);
	NEXT(open64);
	return fails(OPEN) ? -1 : next(path, flags, mode);
}

ssize_t read(int fd, void *dst, size_t size)
{
	NEXT(read);
	return fails(READ) ? -1 : next(fd, dst, size);
}

ssize_t pread64(int fd, void *dst, size_t size, off64_t offset)
{
	NEXT(pread64);
	return fails(READ) ? -1 : next(fd, dst, size, offset);
}

ssize_t write(int fd, const void *src, size_t size)
{
	NEXT(write);
	return fails_on_file(WRITE, fd) ? -1 : next(fd, src, size);
}

ssize_t pwrite64(int fd, const void *src, size_t size, off64_t offset)
{
	NEXT(pwrite64);
	return fails_on_file(WRITE, fd) ? -1 : next(fd, src, size, offset);
}

int fsync(int fd)
{
	NEXT(fsync);
	return fails_on_file(SYNC, fd) ? -1 : next(fd);
}

int rename(const char *from, const char *to)
{
	NEXT(rename);
	say("rename", to);
	return fails(RENAME) ? -1 : next(from, to);
}

int link(const char *from, const char *to)
{
	NEXT(link);
	say("link", to);
	return fails(LINK) ? -1 : next(from, to);
}

/* A file is closed though close() fails. */
int close(int fd)
{
	NEXT(close);
	int failed = fd > 2 && fails(CLOSE), reason = errno, result = next(fd);
	if (failed)
		errno = reason;
	return failed ? -1 : result;
}

/* Only the program's own allocations fail: libcrypto 3.0 crashes when one of its first fails, and libarchive
 * ends the process. */
static int find_program(struct dl_phdr_info *info, size_t size, void *user)
{
	(void)size;
	(void)user;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		if (info->dlpi_phdr[i].p_type == PT_LOAD && info->dlpi_phdr[i].p_flags & PF_X) {
			program_start = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
			program_end = program_start + info->dlpi_phdr[i].p_memsz;
		}
	}
	return 1; /* the first one is the program */
}

static int allocation_fails(const void *caller)
{
	return (uintptr_t)caller >= program_start && (uintptr_t)caller < program_end && fails(MALLOC);
}

/* glibc's own names of its allocator, since dlsym() allocates. */
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);

void *malloc(size_t size)
{
	return allocation_fails(__builtin_return_address(0)) ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	return allocation_fails(__builtin_return_address(0)) ? NULL : __libc_calloc(n, size);
}

void *realloc(void *old, size_t size)
{
	return allocation_fails(__builtin_return_address(0)) ? NULL : __libc_realloc(old, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
	return allocation_fails(__builtin_return_address(0)) ? NULL : __libc_memalign(alignment, size);
}

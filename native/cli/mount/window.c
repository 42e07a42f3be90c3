#include "window.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* KiB that the kernel reads ahead: as much as it puts into one request. */
#define WINDOW_KIB 1024

/* Takes the escapes of /proc/self/mountinfo out of a path: \040 is a space. */
static void unescape(char *path)
{
	char *to = path;
	for (const char *from = path; *from != 0; to++) {
		unsigned code;
		if (*from == '\\' && sscanf(from + 1, "%3o", &code) == 1) {
			*to = (char)code;
			from += 4;
		} else {
			*to = *from++;
		}
	}
	*to = 0;
}

/* Finds the device number of the FUSE file system that was mounted last on this path; 0: there is none. The
 * folder itself cannot be asked, since it would wait for the session, which does not run yet. */
static int find_device(const char *path, unsigned *major, unsigned *minor)
{
	FILE *file = fopen("/proc/self/mountinfo", "re");
	char *line = NULL, place[4096];
	size_t room = 0;
	int found = 0;
	while (file && getline(&line, &room, file) > 0) {
		unsigned a, b;
		if (sscanf(line, "%*u %*u %u:%u %*s %4095s", &a, &b, place) != 3)
			continue;
		unescape(place);
		if (strcmp(place, path) != 0)
			continue;
		found = !!strstr(line, " - fuse");
		*major = a;
		*minor = b;
	}
	free(line);
	if (file)
		fclose(file);
	return found;
}

void mount_widen_window(const char *path)
{
	char setting[80];
	unsigned major, minor;
	if (!find_device(path, &major, &minor))
		return;
	snprintf(setting, sizeof(setting), "/sys/class/bdi/%u:%u/read_ahead_kb", major, minor);
	FILE *file = fopen(setting, "we");
	if (file) {
		fprintf(file, "%d\n", WINDOW_KIB);
		fclose(file);
	}
}

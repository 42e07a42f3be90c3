#include "pickle.h"

#include <stdio.h>
#include <string.h>

#include "text.h"

/* Zip archives (PyTorch since 1.6) and bare pickles of protocol 2 to 5. A .bin may be something else. */
static int looks_pickled(const char *path)
{
	unsigned char start[4];
	FILE *stream = fopen(path, "rb");
	if (!stream)
		return 0;
	size_t size = fread(start, 1, sizeof start, stream);
	fclose(stream);
	return (size == 4 && !memcmp(start, "PK\3\4", 4)) ||
	       (size >= 2 && start[0] == 0x80 && start[1] >= 2 && start[1] <= 5);
}

int qs_is_pickle_name(const char *name)
{
	static const char *const suffixes[] = {".bin", ".pt", ".pth", ".ckpt", ".pkl"};
	for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++)
		if (qs_ends_in(name, suffixes[i]))
			return 1;
	return 0;
}

int qs_is_pickle(const char *path)
{
	return qs_is_pickle_name(path) && looks_pickled(path);
}

qstore_status qs_refuse_pickle(const char *path, qstore_error *error)
{
	return qs_fail(error, QSTORE_INPUT,
	               "%s: pickled weights are not read, for a pickle is a program; convert them: load "
	               "with transformers and save_pretrained(…, safe_serialization=True)",
	               qs_shown_path(path));
}

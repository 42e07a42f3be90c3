/* Shared by the fuzzers of files of weights: checks that must hold for any file that is read, and a file of
 * these bytes. */
#ifndef FUZZ_WEIGHTS_FILE_H
#define FUZZ_WEIGHTS_FILE_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "formats/weights.h"

static inline void weights_require(int good)
{
	if (!good)
		abort();
}

/* Tensors lie in the file in order without overlap, and are found by name. */
static inline void weights_check(const qs_weights *file, uint64_t size)
{
	uint64_t at = file->header_size;
	weights_require(file->file_size == size && at <= size);
	for (size_t i = 0; i < file->n_tensors; i++) {
		const qs_weight *tensor = &file->tensors[i];
		weights_require(tensor->offset >= at && tensor->size <= size &&
		                tensor->offset <= size - tensor->size);
		at = tensor->offset + tensor->size;
		weights_require(qs_weights_find(file, tensor->name) == tensor);
	}
}

/* Refused with a line of text. */
static inline void weights_check_refusal(qstore_status status, const qstore_error *error)
{
	weights_require(status == QSTORE_INPUT && error->status == status && error->text[0]);
}

/* False when it cannot be written. */
static inline int weights_write(const char *path, const void *start, size_t start_size, const void *data,
                                size_t size)
{
	FILE *stream = fopen(path, "wb");
	if (!stream)
		return 0;
	int written = (!start_size || fwrite(start, 1, start_size, stream) == start_size) &&
	              fwrite(data, 1, size, stream) == size;
	return fclose(stream) == 0 && written;
}

/* path: a template of mkstemp's. False when it cannot be made. */
static inline int weights_write_temporary(char *path, const void *start, size_t start_size, const void *data,
                                          size_t size)
{
	int fd = mkstemp(path);
	if (fd < 0)
		return 0;
	close(fd);
	return weights_write(path, start, start_size, data, size);
}

#endif

/* Any bytes as a safetensors file: refused with a line of text, or tensors that lie in the file in order
 * without overlap. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../native/src/formats/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int good)
{
	if (!good)
		abort();
}

static void check_file(const qs_weights *file, uint64_t size)
{
	uint64_t at = file->header_size;
	check(file->file_size == size);
	for (size_t i = 0; i < file->n_tensors; i++) {
		const qs_weight *tensor = &file->tensors[i];
		check(tensor->offset >= at && tensor->size <= size && tensor->offset <= size - tensor->size);
		at = tensor->offset + tensor->size;
		check(qs_weights_find(file, tensor->name) == tensor);
	}
}

/* The eight bytes of length are made, for chance would seldom find them. The first byte chooses how wrong
 * they are. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char path[] = "/tmp/qstore-fuzz-XXXXXX";
	uint8_t start[8] = {0};
	if (size < 1 || size > 65536)
		return 0;
	const uint8_t *json = data + 1;
	const uint8_t *end = memrchr(json, '}', size - 1);
	size_t json_size = end ? (size_t)(end + 1 - json) : size - 1;
	json_size += data[0] < 8 ? data[0] : 0;
	for (int i = 0; i < 3; i++)
		start[i] = (uint8_t)(json_size >> 8 * i);
	int fd = mkstemp(path);
	if (fd < 0)
		return 0;
	int written = write(fd, start, 8) == 8 && (size == 1 || write(fd, json, size - 1) == (ssize_t)(size - 1));
	close(fd);
	if (written) {
		qs_weights file;
		qs_error error = {0};
		qstore_status status = qs_safetensors_open(&file, path, &error);
		if (status)
			check(status == QSTORE_INPUT && error.status == status && error.text[0]);
		else
			check_file(&file, 8 + size - 1);
		qs_weights_close(&file);
	}
	unlink(path);
	return 0;
}

/* Any bytes as a GGUF file: refused with a line of text, or tensors that lie in the file in order without
 * overlap; then the header of its Q8_0 copy can be made, or that is refused with a line. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../native/src/quantize/q8_0_gguf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require_gguf(int good)
{
	if (!good)
		abort();
}

static void check_gguf_tensors(const qs_weights *file, uint64_t size)
{
	uint64_t at = file->header_size;
	require_gguf(file->file_size == size && at <= size);
	for (size_t i = 0; i < file->n_tensors; i++) {
		const qs_weight *tensor = &file->tensors[i];
		uint64_t bytes;
		require_gguf(tensor->offset >= at && tensor->size <= size && tensor->offset <= size - tensor->size);
		at = tensor->offset + tensor->size;
		require_gguf(qs_weights_find(file, tensor->name) == tensor);
		require_gguf(qs_weights_size(tensor->dtype, tensor->dims, tensor->n_dims, &bytes) &&
		             bytes == tensor->size);
	}
}

static void check_q8_0(const qs_weights *file)
{
	uint8_t *header;
	size_t header_size;
	qs_weights planned;
	qs_error error = {0};
	qstore_status status = qs_gguf_q8_0_header(file->path, file, &header, &header_size, &planned, &error);
	if (status) {
		require_gguf(status == QSTORE_INPUT && error.text[0]);
	} else {
		require_gguf(planned.n_tensors == file->n_tensors && planned.header_size == header_size);
		check_gguf_tensors(&planned, planned.file_size);
	}
	free(header);
	qs_weights_close(&planned);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char path[] = "/tmp/qstore-fuzz-XXXXXX";
	if (size > 65536)
		return 0;
	int fd = mkstemp(path);
	if (fd < 0)
		return 0;
	int written = write(fd, data, size) == (ssize_t)size;
	close(fd);
	if (written) {
		qs_weights file;
		qs_gguf_info info;
		qs_error error = {0};
		qstore_status status = qs_gguf_open(&file, path, &error);
		if (status) {
			require_gguf(status == QSTORE_INPUT && error.status == status && error.text[0]);
		} else {
			check_gguf_tensors(&file, size);
			check_q8_0(&file);
		}
		qs_weights_close(&file);
		require_gguf(status || !qs_gguf_read_info(&info, path, &error));
	}
	unlink(path);
	return 0;
}

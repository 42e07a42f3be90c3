/* Any bytes as a GGUF file: refused with a line of text, or tensors that lie in the file in order without
 * overlap; then the header of its Q8_0 copy can be made, or that is refused with a line. */
#include "quantize/q8_0_gguf.h"
#include "weights_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_gguf_tensors(const qs_weights *file, uint64_t size)
{
	weights_check(file, size);
	for (size_t i = 0; i < file->n_tensors; i++) {
		const qs_weight *tensor = &file->tensors[i];
		uint64_t bytes;
		weights_require(qs_weights_size(tensor->dtype, tensor->dims, tensor->n_dims, &bytes) &&
		                bytes == tensor->size);
	}
}

static void check_q8_0(const qs_weights *file)
{
	uint8_t *header;
	size_t header_size;
	qs_weights planned;
	qstore_error error = {0};
	qstore_status status = qs_gguf_q8_0_header(file->path, file, &header, &header_size, &planned, &error);
	if (status) {
		weights_require(status == QSTORE_INPUT && error.text[0]);
	} else {
		weights_require(planned.n_tensors == file->n_tensors && planned.header_size == header_size);
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
	if (weights_write_temporary(path, NULL, 0, data, size)) {
		qs_weights file;
		qs_gguf_info info;
		qstore_error error = {0};
		qstore_status status = qs_gguf_open(&file, path, &error);
		if (status) {
			weights_check_refusal(status, &error);
		} else {
			check_gguf_tensors(&file, size);
			check_q8_0(&file);
		}
		qs_weights_close(&file);
		weights_require(status || !qs_gguf_read_info(&info, path, &error));
	}
	unlink(path);
	return 0;
}

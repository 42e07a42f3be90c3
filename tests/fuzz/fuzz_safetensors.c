/* Any bytes as a safetensors file: refused with a line of text, or tensors that lie in the file in order
 * without overlap. */
#include <string.h>

#include "formats/safetensors.h"
#include "weights_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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
	if (weights_write_temporary(path, start, 8, json, size - 1)) {
		qs_weights file;
		qstore_error error = {0};
		qstore_status status = qs_safetensors_open(&file, path, &error);
		if (status)
			weights_check_refusal(status, &error);
		else
			weights_check(&file, 8 + size - 1);
		qs_weights_close(&file);
	}
	unlink(path);
	return 0;
}

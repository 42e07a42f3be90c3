/* Any bytes as an ONNX file beside a file "data" of 64 bytes: refused with a line of text, or tensors that
 * lie in either in order without overlap, and quantized ones whose parts are there. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../native/src/formats/onnx.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require_onnx(int good)
{
	if (!good)
		abort();
}

static void check_onnx_tensors(const qs_weights *file, uint64_t size)
{
	uint64_t at = file->header_size;
	require_onnx(file->file_size == size && at <= size);
	for (size_t i = 0; i < file->n_tensors; i++) {
		const qs_weight *tensor = &file->tensors[i];
		uint64_t elems = 1;
		require_onnx(tensor->size && tensor->offset >= at && tensor->size <= size &&
		             tensor->offset <= size - tensor->size);
		at = tensor->offset + tensor->size;
		require_onnx(qs_weights_find(file, tensor->name) == tensor);
		for (uint32_t d = 0; d < tensor->n_dims; d++)
			elems *= tensor->dims[d];
		require_onnx(elems / qs_block_elems(tensor->dtype) * qs_block_size(tensor->dtype) == tensor->size);
	}
}

static const qs_weight *find_onnx_tensor(const qs_onnx *onnx, const char *name)
{
	const qs_weight *tensor = qs_weights_find(&onnx->weights, name);
	for (size_t i = 0; i < onnx->n_externals && !tensor; i++)
		tensor = qs_weights_find(&onnx->externals[i].weights, name);
	return tensor;
}

static void check_onnx_quant(const qs_onnx *onnx, const qs_onnx_quant *quant)
{
	const qs_weight *weight = find_onnx_tensor(onnx, quant->weight);
	require_onnx(weight && quant->op && quant->bits && quant->axis >= -1 &&
	             quant->axis < (int32_t)weight->n_dims);
	require_onnx(!quant->scale || find_onnx_tensor(onnx, quant->scale));
	require_onnx(!quant->zero_point || find_onnx_tensor(onnx, quant->zero_point));
	require_onnx(!quant->n_zeros == !quant->zeros);
	require_onnx(quant->n_zeros <= (quant->axis < 0 ? 1 : weight->dims[quant->axis]));
}

static int write_onnx_file(const char *path, const uint8_t *data, size_t size)
{
	FILE *stream = fopen(path, "wb");
	if (!stream)
		return 0;
	int written = fwrite(data, 1, size, stream) == size;
	return !fclose(stream) && written;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t external[64] = {0};
	char folder[] = "/tmp/qstore-fuzz-XXXXXX", path[64], data_path[64];
	if (size > 65536 || !mkdtemp(folder))
		return 0;
	snprintf(path, sizeof path, "%s/model.onnx", folder);
	snprintf(data_path, sizeof data_path, "%s/data", folder);
	if (write_onnx_file(path, data, size) && write_onnx_file(data_path, external, sizeof external)) {
		qs_onnx onnx;
		qs_error error = {0};
		qstore_status status = qs_onnx_open(&onnx, path, &error);
		if (status) {
			require_onnx(status == QSTORE_INPUT && error.status == status && error.text[0]);
		} else {
			check_onnx_tensors(&onnx.weights, size);
			require_onnx(onnx.n_externals <= 1);
			for (size_t i = 0; i < onnx.n_externals; i++)
				check_onnx_tensors(&onnx.externals[i].weights, sizeof external);
			for (size_t i = 0; i < onnx.n_quants; i++)
				check_onnx_quant(&onnx, &onnx.quants[i]);
		}
		qs_onnx_close(&onnx);
	}
	unlink(path);
	unlink(data_path);
	rmdir(folder);
	return 0;
}

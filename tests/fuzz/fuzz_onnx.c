/* Any bytes as an ONNX file beside a file "data" of 64 bytes: refused with a line of text, or tensors that
 * lie in either in order without overlap, and quantized ones whose parts are there. */
#include "formats/onnx.h"
#include "weights_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_onnx_tensors(const qs_weights *file, uint64_t size)
{
	weights_check(file, size);
	for (size_t i = 0; i < file->n_tensors; i++) {
		const qs_weight *tensor = &file->tensors[i];
		uint64_t elems = 1;
		for (uint32_t d = 0; d < tensor->n_dims; d++)
			elems *= tensor->dims[d];
		weights_require(tensor->size &&
		                elems / qs_block_elems(tensor->dtype) * qs_block_size(tensor->dtype) == tensor->size);
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
	weights_require(weight && quant->op && quant->bits && quant->axis >= -1 &&
	                quant->axis < (int32_t)weight->n_dims);
	weights_require(!quant->scale || find_onnx_tensor(onnx, quant->scale));
	weights_require(!quant->zero_point || find_onnx_tensor(onnx, quant->zero_point));
	weights_require(!quant->n_zero_points == !quant->zero_points);
	weights_require(quant->n_zero_points <= (quant->axis < 0 ? 1 : weight->dims[quant->axis]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t external[64] = {0};
	char folder[] = "/tmp/qstore-fuzz-XXXXXX", path[64], data_path[64];
	if (size > 65536 || !mkdtemp(folder))
		return 0;
	snprintf(path, sizeof path, "%s/model.onnx", folder);
	snprintf(data_path, sizeof data_path, "%s/data", folder);
	if (weights_write(path, NULL, 0, data, size) &&
	    weights_write(data_path, NULL, 0, external, sizeof external)) {
		qs_onnx onnx;
		qstore_error error = {0};
		qstore_status status = qs_onnx_open(&onnx, path, &error);
		if (status) {
			weights_check_refusal(status, &error);
		} else {
			check_onnx_tensors(&onnx.weights, size);
			weights_require(onnx.n_externals <= 1);
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

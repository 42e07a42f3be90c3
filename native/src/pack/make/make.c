#include "make.h"

#include <assert.h>

/* A tensor of a dtype that has no name here (qs_safetensors_open), so that no header can be made for it. */
static const qs_weight *find_bytes(const qs_model *model)
{
	for (size_t i = 0; i < model->n_files; i++)
		for (size_t j = 0; j < model->files[i].weights.n_tensors; j++)
			if (model->files[i].weights.tensors[j].dtype == QS_BYTES)
				return &model->files[i].weights.tensors[j];
	return NULL;
}

qstore_status pack_choose_quantizer(const qstore_pack_options *options, const pack_variant *given,
                                    qstore_quantize *quantizer, int *is_quantized, qstore_error *error)
{
	const qs_model *model = given->model;
	int gguf = 0, onnx = 0;
	for (size_t i = 0; i < model->n_files; i++) {
		gguf |= model->files[i].is_weights && model->files[i].weights.format == QS_FORMAT_GGUF;
		onnx |= model->files[i].is_weights && model->files[i].weights.format == QS_FORMAT_ONNX;
	}
	*is_quantized = 0;
	*quantizer = options->quantize;
	if (pack_has_several_models(given)) {
		if (*quantizer == QSTORE_QUANTIZE_LLM_INT8 || *quantizer == QSTORE_QUANTIZE_Q8_0)
			return qs_fail(
			    error, QSTORE_USAGE,
			    "%s has several models in it, of which no 8-bit variant can be made together: pack "
			    "each alone, or with --quantize none",
			    model->path);
		if (*quantizer == QSTORE_QUANTIZE_DEFAULT && !options->base && !onnx)
			qs_warn(&options->work, "%s has several models in it: no 8-bit variant is made of them",
			        model->path);
		*quantizer = QSTORE_QUANTIZE_NONE;
	}
	if (*quantizer == QSTORE_QUANTIZE_DEFAULT)
		*quantizer = options->base || onnx ? QSTORE_QUANTIZE_NONE
		             : gguf                ? QSTORE_QUANTIZE_Q8_0
		                                   : QSTORE_QUANTIZE_LLM_INT8;
	if (*quantizer == QSTORE_QUANTIZE_LLM_INT8 && (gguf || onnx))
		return qs_fail(error, QSTORE_USAGE,
		               "%s is %s, and llm.int8 is for safetensors: use another quantizer, or none",
		               model->path, gguf ? "GGUF" : "ONNX");
	if (*quantizer == QSTORE_QUANTIZE_Q8_0 && !gguf)
		return qs_fail(error, QSTORE_USAGE,
		               "%s is not GGUF, and q8_0 is for GGUF: use another quantizer, or none", model->path);
	const qs_weight *bytes = *quantizer == QSTORE_QUANTIZE_LLM_INT8 ? find_bytes(model) : NULL;
	if (bytes && options->quantize == QSTORE_QUANTIZE_LLM_INT8)
		return qs_fail(error, QSTORE_INPUT,
		               "%s: tensor %.200s is of a dtype that an INT8 model cannot be made with: pack with "
		               "--quantize none",
		               model->path, bytes->name);
	if (bytes) {
		qs_warn(&options->work,
		        "%s: tensor %.200s is of a dtype that an INT8 model cannot be made with: none is made",
		        model->path, bytes->name);
		*quantizer = QSTORE_QUANTIZE_NONE;
	}
	if (*quantizer != QSTORE_QUANTIZE_NONE && given->bits > 0 && given->bits <= 8) {
		*is_quantized = 1;
		*quantizer = QSTORE_QUANTIZE_NONE;
	}
	return QSTORE_OK;
}

void pack_share_with_made(pack_derived *derived, pack_tensor *fine, pack_tensor *made)
{
	assert(made->coding.role == fine->coding.role);
	if (fine->coding.role == PACK_LITERAL || fine->coding.role == PACK_DUPLICATE)
		return;
	for (size_t i = 0; i < derived->n_tensors; i++)
		if (derived->tensors[i]->owner == fine)
			derived->tensors[i]->owner = made;
	pack_set_duplicate(fine, made);
}

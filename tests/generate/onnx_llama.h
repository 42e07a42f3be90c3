/* Writing a Llama in ONNX, at several precisions, as a folder for transformers.js. */
#ifndef GENERATE_ONNX_LLAMA_H
#define GENERATE_ONNX_LLAMA_H

enum { ONNX_FP32, ONNX_FP16, ONNX_INT8, ONNX_UINT8, ONNX_QUANTIZED, ONNX_Q4, ONNX_Q4F16 };

typedef struct onnx_options {
	const char *model, *output; /* folders: the one with safetensors, and the one to write */
	const char *base;           /* the beginning of the files' names: "model" */
	int precision;
	int per_channel, reduced; /* for INT8, UINT8 and QUANTIZED, which is INT8 under another name */
	int block, asymmetric; /* for Q4 and Q4F16. block: inputs that share a scale (16 to 256); asymmetric: with
	                          zero points */
	int external;          /* weights of 1 KiB and more are in BASE.onnx_data */
	int gemm;              /* the head is a Gemm of the weight as it is (transB), and stays in floats */
} onnx_options;

/* Writes output/onnx/BASE….onnx, which makes logits [batch, length, vocab] F32 of input_ids [batch, length]
 * INT64. Any failure ends the program. */
void generate_onnx(const onnx_options *options);

/* Copies the model's small files; config.json says whether there is external data. */
void generate_onnx_small_files(const onnx_options *options);

#endif

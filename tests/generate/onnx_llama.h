/* A Llama as the folder for transformers.js that has it in ONNX, at several precisions. */
#ifndef GENERATE_ONNX_LLAMA_H
#define GENERATE_ONNX_LLAMA_H

enum { ONNX_FP32, ONNX_FP16, ONNX_INT8, ONNX_UINT8, ONNX_QUANTIZED, ONNX_Q4, ONNX_Q4F16 };

typedef struct onnx_options {
	const char *model, *output; /* folders: of safetensors, and to write */
	const char *base;           /* of the files' names: "model" */
	int precision;
	int per_channel, reduced; /* of INT8, UINT8 and QUANTIZED, which is INT8 by another name */
	int block, asymmetric;    /* of Q4 and Q4F16: inputs that share a scale (16 to 256); with zero points */
	int external;             /* weights of 1 KiB and more in BASE.onnx_data */
	int gemm;                 /* the head is a Gemm of the weight as it is (transB), which stays in floats */
} onnx_options;

/* Writes output/onnx/BASE….onnx: input_ids [batch, length] INT64 to logits [batch, length, vocab] F32. Any
 * failure ends the program. */
void generate_onnx(const onnx_options *options);

/* Copies the model's small files; config.json says whether there is external data. */
void generate_onnx_small_files(const onnx_options *options);

#endif
